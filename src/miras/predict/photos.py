"""Which photos are asked about: folders, globs, lists, datasets, standard input.

In: what a person names. Out: `Photo` values in a fixed order, each with a name of its own; a photo that is named twice
is there once. Photos that a dataset embeds are put into a folder. No pixel is decoded, and only names are held. Knows
no question and no model.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.text import read_text
from miras.data.formats.coco import stream as coco
from miras.data.formats.records import read_records
from miras.data.io.checks import Faults, OnFault, files_in
from miras.data.io.places import PHOTOS, files
from miras.data.io.stream import keys
from miras.data.photos.identity import FileNames

ENDINGS = (*PHOTOS, ".gif", ".jfif", ".jpe", ".jp2", ".mpo", ".dib", ".ppm", ".pgm")
"""Of the photos that are looked for in folders; what is named itself may have any."""
LISTS = (".txt", ".lst", ".list")
"""Endings of files with a path a line."""
STDIN = "-"
_GLOB = re.compile(r"[*?[]")
_UNSAFE = re.compile(r"[^\w.,()@+=~-]+")


@dataclass(frozen=True, slots=True)
class Photo:
    """name: its own among all photos, "/" between its parts, without ending; file: the same with its ending. path:
    absolute. stamp: another one when the file has changed; "" where there is none."""

    name: str
    file: str
    path: str
    stamp: str


class _Found(NamedTuple):
    """path: absolute. root: the folder that names count from. name: what a dataset calls it. data: embedded bytes."""

    path: str
    root: str
    name: str = ""
    data: bytes | None = None

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return self.path if self.data is None else f"{self.path}\0{self.name}"


def photos_of(
    sources: Sequence[str], *, out: Path, lines: Iterable[str] = (), format: str = "", on_fault: OnFault,
) -> list[Photo]:  # fmt: skip
    """The photos that `sources` name, in their order; those of a folder by name.

    A source is a photo, a folder (with all folders inside it; one with Parquet files is a dataset), a glob, a list
    (.txt, a path a line, from here or else from the list's folder), a COCO JSON, a Parquet or JSONL file of records, or
    "-" for `lines`. format: one of `miras data formats`, in which all sources are read then. out: nothing in it is
    looked for; embedded photos are put into its folder `photos`. on_fault: gets what a dataset names in vain. Raises
    InputError for a source that is not there, and when there is no photo at all.
    """
    names, seen, found = FileNames(stems=True), set[str](), list[Photo]()
    inside = os.path.abspath(out) + os.sep
    for one in _named(sources, lines, format, on_fault):
        if one.key in seen or (one.data is None and one.path.startswith(inside)):
            continue
        seen.add(one.key)
        found.append(_photo(one, names, out))
    if not found:
        raise InputError("photos", f"none in {', '.join(sources) or 'what was given'}", "name photos, or their folder")
    return found


def _photo(one: _Found, names: FileNames, out: Path) -> Photo:
    """Its name is its way from the root; a root's name goes before it where another photo has that already."""
    way = one.name + os.path.splitext(one.path)[1] if one.name else os.path.relpath(one.path, one.root)
    parts = [_UNSAFE.sub("_", part).strip(".") or "_" for part in PurePath(way).parts]
    folder = "".join(f"{part}/" for part in parts[:-1])
    root = _UNSAFE.sub("_", os.path.basename(one.root)).strip(".") or "root"
    stem, ending = os.path.splitext(parts[-1])
    file = names(one.key, stem + ending.lower(), f"{root}/{stem}", folder)
    name = os.path.splitext(file)[0]
    if one.data is None:
        return Photo(name, file, one.path, _stamp(one.path))
    path = out / "photos" / file
    if not path.is_file() or path.stat().st_size != len(one.data):
        write_whole(path, one.data)
    digest = hashlib.blake2b(one.data, digest_size=16).hexdigest()
    return Photo(name, file, os.path.abspath(path), digest)


def _stamp(path: str) -> str:
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{about.st_size}-{about.st_mtime_ns}"


# Sources


def _named(sources: Sequence[str], lines: Iterable[str], format: str, on_fault: OnFault) -> Iterator[_Found]:
    """All in the order of the sources; photos that are named one by one (as a shell writes a glob out) have the root
    that they share."""
    loose: list[str] = []
    for source in sources:
        path = Path(source)
        if not format and os.path.isfile(source) and path.suffix.lower() not in (*LISTS, *_DATASETS):
            loose.append(os.path.abspath(source))
            continue
        yield from _shared_root(loose)
        loose = []
        if source == STDIN:
            yield from _shared_root([os.path.abspath(line) for line in _lines(lines)])
        elif os.path.exists(source):
            yield from _records(path, format, on_fault) if format else _of(path, on_fault)
        elif _GLOB.search(source):
            yield from _glob(source)
        else:
            raise InputError("a photo, a folder, a glob, a list or a dataset", f"no file or folder {source}")
    yield from _shared_root(loose)


def _of(path: Path, on_fault: OnFault) -> Iterator[_Found]:
    if path.is_dir():
        if files_in(path, "*.parquet") or files_in(path / "data", "*.parquet"):
            yield from _records(path, "miras", on_fault)
            return
        root = os.path.abspath(path)
        yield from (_Found(os.path.abspath(file), root) for file in files(path, *ENDINGS))
    elif path.suffix.lower() in LISTS:
        yield from _list(path)
    elif path.suffix.lower() == ".json":
        yield from _coco(path, on_fault)
    else:
        yield from _records(path, _DATASETS[path.suffix.lower()], on_fault)


_DATASETS = {".json": "coco", ".parquet": "miras", ".jsonl": "jsonl"}


def _glob(pattern: str) -> Iterator[_Found]:
    fixed = Path(*_until_glob(Path(pattern)))
    for match in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isfile(match):
            yield _Found(os.path.abspath(match), os.path.abspath(fixed))


def _until_glob(pattern: Path) -> Iterator[str]:
    for part in pattern.parts[:-1]:
        if _GLOB.search(part):
            return
        yield part


def _list(path: Path) -> Iterator[_Found]:
    """A path that is not there stays in: it becomes a failure with its name."""
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError("a list of photos", f"{path} ({error.strerror})") from error
    beside = [line if os.path.exists(line) else os.path.join(path.parent, line) for line in _lines(text.splitlines())]
    yield from _shared_root([os.path.abspath(line) for line in beside])


def _lines(lines: Iterable[str]) -> list[str]:
    return [plain for line in lines if (plain := line.rstrip("\r\n")).strip() and "\0" not in plain]


def _shared_root(paths: Sequence[str]) -> Iterator[_Found]:
    """Paths that may lie in several folders: their names count from the folder that holds them all."""
    if paths:
        try:
            root = os.path.commonpath([os.path.dirname(path) for path in paths])
        except ValueError:  # several drives
            root = ""
        for path in paths:
            yield _Found(path, root or os.path.dirname(path))


def _coco(path: Path, on_fault: OnFault) -> Iterator[_Found]:
    """Every photo of the file, with annotations or without."""
    if "images" not in keys(path):
        raise InputError('a COCO JSON with "images"', f"{path} without", "name another format with --format")
    folder, faults = coco.photos_beside(path), Faults(path, on_fault)
    photos, _ = coco.images(path, folder, faults)
    for photo in photos.values():
        yield _Found(os.path.abspath(photo.path), os.path.abspath(folder), photo.id)


def _records(path: Path, format: str, on_fault: OnFault) -> Iterator[_Found]:
    """The photo of each record, once."""
    seen: set[tuple[str, str, str]] = set()
    for record in read_records(path, format, on_fault):
        key = (record["source"], record["image_id"], record["image"])
        if key not in seen:
            seen.add(key)
            yield _Found(record["image"], os.path.abspath(path), record["image_id"], record.get("image_bytes"))
