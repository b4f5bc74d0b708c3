"""Where the files of a YOLO dataset lie: its YAML, the photos of its splits, the label file of a photo.

In: the YAML, or its folder. Out: names of classes, photos with their splits. A split is a folder, a text file with a
photo a line, or a list of these; it counts from `path`, and where that is on another machine from the YAML's folder.
The label file has the photo's path with the last `images` changed to `labels`. Reads no label. Source:
docs.ultralytics.com.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from miras.core.errors import InputError
from miras.core.text import read_text
from miras.data.formats.tools.labelled import is_photo, photos_in, plain_name
from miras.data.io.checks import Faults

CLASSES = "classes.txt"
AGAIN = "photos that are listed again"
KEYS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
"""Key of the YAML -> split."""
_NOT_LABELS = (CLASSES, "notes.txt", "README.txt")


class Listed(NamedTuple):
    """A photo of a split. folder: of the photos, that its name is counted from."""

    path: Path
    split: str
    folder: Path


class Dataset:
    """A dataset that was opened. file: its YAML, or `classes.txt`; names: class -> name."""

    def __init__(self, file: Path, names: Mapping[int, str], splits: Mapping[str, Any], roots: list[Path]) -> None:
        self.file, self.names = file, names
        self._splits, self._roots = splits, roots
        self._folders: set[Path] = set()

    def photos(self, faults: Faults) -> Iterator[Listed]:
        """Each photo once, in the first split that has it; splits that are missing are faults.

        Raises InputError when no split has any photo.
        """
        seen: dict[Path, str] = {}
        for split, value in self._splits.items():
            for entry in value if isinstance(value, list) else [value]:
                with faults.of(split or "images", "splits"):
                    for listed in self._entry(entry, split, faults):
                        if listed.path in seen:
                            faults.leave("photos", AGAIN, f"{listed.path.name} ({seen[listed.path]}, {split})")
                        else:
                            seen[listed.path] = split
                            yield listed
        if not seen:
            raise InputError(f"photos in the splits of {self.file}", "none", "look at path, train and val in it")

    def label_files(self) -> list[Path]:
        """The label files of the folders that were read as a whole."""
        folders = {label_file(folder / "a.jpg").parent for folder in self._folders}
        found = {file for folder in folders for file in folder.rglob("*.txt") if file.name not in _NOT_LABELS}
        return sorted(file for file in found if not file.name.startswith("."))

    def _entry(self, entry: Any, split: str, faults: Faults) -> Iterator[Listed]:
        if not isinstance(entry, str) or not entry.strip():
            raise InputError("a folder, a text file with photos, or a list of these", f"{entry!r:.60}")
        place = self._found(plain_name(entry.strip()))
        if place.is_dir():
            self._folders.add(place)
            yield from (Listed(path, split, place) for path in photos_in(place))
            return
        if place.suffix != ".txt":
            raise InputError("a folder, or a text file with photos", str(place))
        for number, line in lines_of(place):
            path = self._listed(plain_name(line), place)
            with faults.of(f"{place.name}, line {number}", "photos", apart=True):
                if not is_photo(path):
                    raise InputError("a photo", f"{line!r:.80}")
                yield Listed(path, split, _images_of(path))

    def _found(self, name: str) -> Path:
        """A folder or file of the YAML; exports say "../train/images" for the folder beside the YAML itself."""
        tried = [Path(os.path.normpath(root / name)) for root in self._roots]
        plain = name
        while plain.startswith("../"):
            plain = plain.removeprefix("../")
            tried += [root / plain for root in self._roots]
        found = next((path for path in tried if path.exists()), None)
        if found is None:
            raise InputError("photos", f"no folder or file {tried[0]}", f"look at path in {self.file.name}")
        return found

    def _listed(self, name: str, listing: Path) -> Path:
        """A photo of a text file: counted from there when it begins with "./", else from the roots."""
        places = [listing.parent, *self._roots] if name.startswith("./") else [*self._roots, listing.parent]
        tried = [Path(os.path.normpath(place / name)) for place in places]
        return next((path for path in tried if path.is_file()), tried[0])


def opened(path: Path) -> Dataset:
    """The dataset at a path: a YAML, `classes.txt`, or a folder with one of them. Raises InputError."""
    file = path if path.is_file() else _file_of(path)
    if file.name == CLASSES:
        names = {number: name for number, (_, name) in enumerate(lines_of(file))}
        return Dataset(file, _known(names, file), {"": "images"}, [file.parent])
    document = load(file)
    splits = {split: document[key] for key, split in KEYS.items() if document.get(key) not in (None, "", [])}
    if not splits:
        raise InputError(f"train, val or test in {file}", f"the keys {sorted(map(str, document))[:8]}")
    if "kpt_shape" in document:
        raise InputError("a dataset for segmentation", f"one of keypoints (kpt_shape in {file})")
    return Dataset(file, _names(document, file), splits, _roots(document.get("path"), file))


def load(file: Path) -> dict[Any, Any]:
    """The YAML, an object. Raises InputError for anything else."""
    try:
        document = yaml.safe_load(read_text(file).removeprefix("\ufeff"))
    except OSError as error:
        raise InputError("a YAML file", f"{file} ({error.strerror})") from error
    except InputError:
        raise
    except Exception as error:  # PyYAML raises whatever odd scalars make of it: IndexError, TypeError, ...
        raise InputError("valid YAML", f"{file}: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"a YAML object in {file}", f"a {type(document).__name__}")
    return document


def is_dataset(document: Mapping[Any, Any]) -> bool:
    """Whether a YAML describes a dataset."""
    return "names" in document and any(key in document for key in KEYS)


def label_file(photo: Path) -> Path:
    """The label file of a photo: the last folder `images` of its path changed to `labels`, or beside it."""
    parts = list(photo.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def lines_of(file: Path) -> list[tuple[int, str]]:
    """(number from 1, text) of the lines that hold something; none without the file. Raises InputError."""
    try:
        text = read_text(file) if file.is_file() else ""
    except OSError as error:
        raise InputError("a text file", f"{file} ({error.strerror})") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _file_of(folder: Path) -> Path:
    """The YAML of a folder that describes a dataset: `data.yaml`, or the only one; else `classes.txt`."""
    files = [file for file in sorted(folder.glob("*")) if file.suffix in (".yaml", ".yml") and file.is_file()]
    named = [file for file in files if file.stem == "data"] or [file for file in files if is_dataset(load(file))]
    if len(named) == 1:
        return named[0]
    if not named and (folder / CLASSES).is_file():
        return folder / CLASSES
    got = ", ".join(file.name for file in named) or "none"
    raise InputError(f"one data.yaml (or {CLASSES}) in {folder}", got, "name the file itself")


def _names(document: Mapping[Any, Any], file: Path) -> Mapping[int, str]:
    given = document.get("names")
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or not given:
        raise InputError(f"names of the classes in {file}", f"{given!r:.60}")
    found: dict[int, str] = {}
    for key, name in given.items():
        if isinstance(key, bool) or not isinstance(key, int) or key < 0:
            raise InputError(f"classes 0, 1, ... in {file}", f"{key!r:.40}")
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise InputError(f"a name for class {key} in {file}", f"{name!r:.40}", "put it in quotes")
        found[key] = str(name)
    count = document.get("nc")
    if count is not None and count != len(found):
        raise InputError(f"as many names as nc says in {file} ({count!r:.20})", str(len(found)))
    return _known(found, file)


def _known(names: dict[int, str], file: Path) -> Mapping[int, str]:
    """The names, one each. Raises InputError for none, and a name twice."""
    plain = {key: " ".join(name.split()) for key, name in names.items()}
    twice = sorted({name for name in plain.values() if name and list(plain.values()).count(name) > 1})
    if not plain or twice:
        raise InputError(f"different names of classes in {file}", f"{twice[:3]} twice" if twice else "none")
    return plain


def _roots(given: Any, file: Path) -> list[Path]:
    """The folders that splits are counted from: `path`, and the YAML's own."""
    own = file.parent.resolve()
    if given is None or given == "":
        return [own]
    if not isinstance(given, str):
        raise InputError(f"a folder as path in {file}", f"{given!r:.60}")
    return list(dict.fromkeys([Path(os.path.normpath(own / plain_name(given))), own]))


def _images_of(photo: Path) -> Path:
    """The folder `images` that a photo lies in; else its own."""
    return next((folder for folder in photo.parents if folder.name == "images"), photo.parent)
