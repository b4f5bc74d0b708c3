"""Which format a file or folder is in.

In: a path. Out: the format's name, by the files that lie there and the keys of their JSON. Reads no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from miras.core.errors import InputError
from miras.data.formats.registry import FORMATS
from miras.data.io.checks import files_in
from miras.data.io.places import folders, split_named
from miras.data.io.stream import keys

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def guess_format(path: Path) -> str:
    """The name of the format. Raises InputError for a missing path, and when none or several fit."""
    if not path.exists():
        raise InputError("a dataset", f"no file or folder {path}")
    if path.is_file() and path.suffix.lower() in ARCHIVES:
        raise InputError("a dataset that is unpacked", str(path), "unpack it and name the folder")
    found = _of_file(path) if path.is_file() else _of_folder(path)
    if len(found) != 1:
        got = " or ".join(sorted(found)) if found else "files of no format that is known"
        raise InputError(f"one format that fits {path}", got, "name it with --format (convert: --from)")
    return found.pop()


def _of_file(path: Path) -> set[str]:
    """By its name or beginning; only then by its keys."""
    if named := {name for name, each in FORMATS.items() if each.signs.file(path)}:
        return named
    return _of_keys(keys(path)) if path.suffix.lower() == ".json" else set()


def _of_folder(path: Path) -> set[str]:
    """By what lies in it, in its `annotations` and its folders of splits; else in several others ("cam1", "cam2")."""
    inside = folders(path)
    usual = (folder for folder in inside if split_named(folder.name) or folder.name == "annotations")
    if found := _of_places(path, [path, *usual]):
        return found
    undivided = {name for name, about in FORMATS.items() if about.undivided}
    each = [found for folder in inside if (found := _of_places(folder, [folder]) - undivided)]
    return set().union(*each) if len(each) > 1 else set()


def _of_places(path: Path, places: Sequence[Path]) -> set[str]:
    """By the names of files; only then by what JSON files hold."""
    named = {
        name for name, each in FORMATS.items()
        if each.signs.folder(path) or any(each.signs.place(folder) for folder in places)
    }  # fmt: skip
    if named:
        return named
    for folder in places:
        # A folder with one JSON a photo is told by its first; others have few.
        for file in files_in(folder, "*.json")[:3]:
            named |= _of_keys(keys(file))
    return named


def _of_keys(found: set[str]) -> set[str]:
    """By the keys of a JSON file, see `stream.keys`."""
    return next(({name} for name, each in FORMATS.items() if each.signs.keys(found)), set())
