"""Which format a file or folder is in.

In: a path. Out: the format's name, by the files that lie there and the keys of their JSON. Reads no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from miras.core.errors import InputError
from miras.data.formats.tools import sniff
from miras.data.formats.tools.label_studio import is_task
from miras.data.io.checks import files_in
from miras.data.io.places import folders, split_named
from miras.data.io.stream import keys

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")

UNDIVIDED = frozenset({"miras", "jsonl", "prist", "refcoco"})
"""Formats of which a dataset lies in one folder."""


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
    ending = path.suffix.lower()
    if tool := sniff.of_file(path):
        return tool
    if ending in (".parquet", ".jsonl", ".p"):
        return {{".parquet": "miras", ".jsonl": "jsonl", ".p": "refcoco"}[ending]}
    return _of_keys(keys(path)) if ending == ".json" else set()


def _of_folder(path: Path) -> set[str]:
    """By what lies in it, in its `annotations` and its folders of splits; else in several others ("cam1", "cam2")."""
    inside = folders(path)
    usual = (folder for folder in inside if split_named(folder.name) or folder.name == "annotations")
    if found := _of_places(path, [path, *usual]):
        return found
    each = [found for folder in inside if (found := _of_places(folder, [folder]) - UNDIVIDED)]
    return set().union(*each) if len(each) > 1 else set()


def _of_places(path: Path, places: Sequence[Path]) -> set[str]:
    """By the names of files; only then by what JSON files hold."""
    named = sniff.of_folder(path)
    if files_in(path, "*.parquet") or files_in(path / "data", "*.parquet"):
        named.add("miras")
    if files_in(path, "*.jsonl"):
        named.add("jsonl")
    for folder in places:
        if (folder / "labels.txt").is_file() and (folder / "masks").is_dir():
            named.add("indexed-png")
        if files_in(folder, "data_*.json") and (folder / "masks").is_dir():
            named.add("instructpart")
    if files_in(path, "*refs(*).json") or files_in(path, "*refs(*).p"):
        named.add("refcoco")
    if named:
        return named
    for folder in places:
        # A folder with one JSON a photo is told by its first; others have few.
        for file in files_in(folder, "*.json")[:3]:
            named |= _of_keys(keys(file))
    return named


def _of_keys(found: set[str]) -> set[str]:
    """By the keys of a JSON file, see `stream.keys`."""
    if "shapes" in found:
        return {"reasonseg" if "text" in found else "labelme"}
    if "segments_info" in found:
        return {"coco-panoptic"}
    if is_task(found):
        return {"label-studio"}
    if {"images", "annotations"} <= found:
        return {"coco"}
    if "dialogue" in found:
        return {"prist"}
    if "sentences" in found:
        return {"refcoco"}
    return {"instructpart"} if "part_list" in found else set()
