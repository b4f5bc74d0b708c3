"""Where the files of a dataset lie: folders of splits, files that belong together by their names.

In: a path. Out: the files in it, each with the split that a folder or a name tells. Whatever holds data is found;
hidden files are passed over. What is passed over is counted (`checks.Faults`). Knows no file format.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from miras.core.errors import InputError
from miras.data.io.checks import Faults, files_in, hidden_in, is_hidden
from miras.data.io.stream import keys
from miras.data.photos.contents import File, same_file
from miras.data.record import SPLITS

SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
"""What a folder or file is called -> its split."""
PHOTOS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif")
"""Endings of photos that are found by the name of another file."""
UNDIVIDED = "data_dev"
"""InstructPart's own development set: the recipes make their sides of it, so that it is no split."""
LOOKS = 3
"""Files of a folder by which its format is told."""
Has = Callable[[Path], bool]
"""Whether a folder itself holds data of a format."""


def split_named(word: str) -> str:
    """The split of a folder's name: "val" of "val", "Valid", "validation", "dev"; or ""."""
    return SPLIT_WORDS.get(word.casefold(), "")


def split_of(name: str) -> str:
    """The split that a folder or a file names: "val" of "val", "instances_val2017", "refs_valid"; or ""."""
    return "" if name == UNDIVIDED else split_named(name.rpartition("_")[2].rstrip("0123456789"))


def split_folders(path: Path, has: Has | None = None) -> list[tuple[Path, str]]:
    """The folders of splits inside a folder, train, val and test; else the folder itself, undivided.

    has: of all of them those that hold data; and the folder itself and its other folders where they do, undivided.
    """
    inside = folders(path)
    found = [(folder, split) for split in SPLITS for folder in inside if split_named(folder.name) == split]
    if has is not None:
        found += [(folder, "") for folder in (path, *inside) if not split_named(folder.name) or folder == path]
        found = [(folder, split) for folder, split in found if has(folder)] or [one for one in found if one[1]]
    return found or [(path, "")]


def split_places(path: Path, word: str) -> list[Path]:
    """The folders in a folder, or in its `images`, that are called like a split; word: "val2017", or no split."""
    split = split_named(word.rstrip("0123456789"))
    words = dict.fromkeys([word, *(name for name, of in SPLIT_WORDS.items() if of == split)] if split else ())
    return [place for top in (path, path / "images") for name in words if (place := top / name).is_dir()]


def folders(path: Path) -> list[Path]:
    """The folders inside a folder, without the hidden ones, sorted."""
    try:
        return sorted(inner for inner in path.iterdir() if inner.is_dir() and not is_hidden(inner))
    except OSError:
        return []


def files(path: Path, *endings: str, faults: Faults | None = None) -> list[Path]:
    """The files in a folder and in the folders inside it, with one of the endings (lower case; none: all), sorted.

    faults: counts the hidden ones.
    """
    found = [file for folder in _all(path) for file in _in(folder, *endings)]
    if faults is not None:
        for folder in _all(path):
            _count_hidden(folder, endings, faults)
    return sorted(found)


def json_files(
    path: Path, ours: Callable[[set[str]], bool], faults: Faults | None = None
) -> list[tuple[Path, str, str]]:
    """(file, split, its name) of every JSON of a dataset that has one for each photo; the file itself for a file.

    name: path without ending, from the folder of its split. ours: tells by the keys of a file (`stream.keys`)
    whether it is of the format: asked where other files may lie, beside folders of splits and in further folders.
    faults: counts what is passed over.
    """
    if path.is_file():
        return [(path, "", path.stem)]
    found = []
    divided = any(split_named(folder.name) for folder in folders(path))
    for top, split in [*split_folders(path), *([(path, "")] if divided else [])]:
        for folder in _all(top, skip=path if divided and not split else None):
            some = there = _in(folder, ".json")
            if folder == path and divided:
                some = [file for file in there if _is(file, ours)]
            elif folder != top and not any(_is(file, ours) for file in there[:LOOKS]):
                some = []
            if faults is not None:
                _count_hidden(folder, (".json",), faults)
                others = [file.relative_to(path).as_posix() for file in there if file not in some]
                faults.leave("files", "JSON files of another kind", "".join(others[:1]), len(others))
            for file in some:
                name = file.relative_to(top).with_suffix("")
                named = (word for part in name.parts[:-1] if (word := split_named(part)))
                found.append((file, split or next(named, ""), name.as_posix()))
    return found


def beside(file: Path) -> Path:
    """The one photo that lies beside a file and has its name; `.jpg` where there is none.

    Raises InputError that names them where there are several, unless they are copies of one.
    """
    return the_one([p for end in PHOTOS for p in (file.with_suffix(end), file.with_suffix(end.upper())) if p.is_file()],
                   file.name) or file.with_suffix(".jpg")  # fmt: skip


def the_one(photos: list[Path], of: str, what: str = "photo") -> Path | None:
    """The photo that belongs to a file called `of`, from all that have its name; None for none. Raises InputError."""
    different: list[Path] = []
    for photo in photos:
        if not any(same_file(File(photo), File(other)) for other in different):
            different.append(photo)
    if len(different) > 1:
        top = os.path.commonpath([photo.parent for photo in different])
        got = " and ".join(photo.relative_to(top).as_posix() for photo in different)
        raise InputError(f"one {what} for {of}", f"{got}, which differ", "take away or rename the other")
    return different[0] if different else None


def _all(path: Path, skip: Path | None = None) -> Iterator[Path]:
    """A folder and all folders inside it; skip: whose folders of splits are passed over. Links are followed once."""
    seen: set[Path] = set()

    def walk(folder: Path) -> Iterator[Path]:
        real = folder.resolve()
        if real in seen:
            return
        seen.add(real)
        yield folder
        for inner in folders(folder):
            if not (folder == skip and split_named(inner.name)):
                yield from walk(inner)

    return walk(path)


def _in(folder: Path, *endings: str) -> list[Path]:
    try:
        return [file for file in files_in(folder, "*") if not endings or file.suffix.lower() in endings]
    except OSError:
        return []


def _count_hidden(folder: Path, endings: Sequence[str], faults: Faults) -> None:
    for file in hidden_in(folder, "*"):
        if file.suffix.lower() in endings:
            faults.leave("files", "hidden files", file.name)


def _is(file: Path, ours: Callable[[set[str]], bool]) -> bool:
    """A file that cannot be read may be ours: whoever reads it names the fault."""
    try:
        return ours(keys(file))
    except InputError:
        return True
