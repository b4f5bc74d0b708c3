"""Which format a file or folder is in.

In: a path. Out: the format's name, by the files that lie there and the keys of their JSON. Reads no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from miras.core.errors import InputError
from miras.data.places import folders, split_named
from miras.data.stream import keys

UNDIVIDED = frozenset({"miras", "jsonl", "prist", "refcoco"})
"""Formats of which a dataset lies in one folder."""


def guess_format(path: Path) -> str:
    """The name of the format. Raises InputError for a missing path, and when none or several fit."""
    if not path.exists():
        raise InputError("a dataset", f"no file or folder {path}")
    found = _of_file(path) if path.is_file() else _of_folder(path)
    if len(found) != 1:
        got = " or ".join(sorted(found)) if found else "files of no format that is known"
        raise InputError(f"one format that fits {path}", got, "name it with --format (convert: --from)")
    return found.pop()


def _of_file(path: Path) -> set[str]:
    ending = path.suffix.lower()
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
    named: set[str] = set()
    if any(path.glob("*.parquet")) or any((path / "data").glob("*.parquet")):
        named.add("miras")
    if any(path.glob("*.jsonl")):
        named.add("jsonl")
    for folder in places:
        if (folder / "labels.txt").is_file() and (folder / "masks").is_dir():
            named.add("indexed-png")
        if any(folder.glob("data_*.json")) and (folder / "masks").is_dir():
            named.add("instructpart")
    if any(path.glob("*refs(*).json")) or any(path.glob("*refs(*).p")):
        named.add("refcoco")
    if named:
        return named
    for folder in places:
        # A folder with one JSON a photo is told by its first; others have few.
        for file in sorted(folder.glob("*.json"))[:3]:
            named |= _of_keys(keys(file))
    return named


def _of_keys(found: set[str]) -> set[str]:
    """By the keys of a JSON file, see `stream.keys`."""
    if "shapes" in found:
        return {"reasonseg" if "text" in found else "labelme"}
    if "segments_info" in found:
        return {"coco-panoptic"}
    if {"images", "annotations"} <= found:
        return {"coco"}
    if "dialogue" in found:
        return {"prist"}
    if "sentences" in found:
        return {"refcoco"}
    return {"instructpart"} if "part_list" in found else set()
