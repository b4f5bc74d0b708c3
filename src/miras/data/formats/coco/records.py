"""COCO and RefCOCO as records: where the files of a dataset lie, what they are told by, who reads and writes them.

In: a path. Out: `Record` values, `AnnotatedPhoto` values, and the three `Format` values. Knows no mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.formats.coco import annotated as coco
from miras.data.formats.coco import refcoco, stream, write
from miras.data.formats.coco.stream import first_with
from miras.data.formats.format import Format, Signs
from miras.data.io.checks import Faults, OnFault, field, files_in, load_json
from miras.data.io.left_out import count_bare
from miras.data.io.places import LOOKS, split_folders, split_of, split_places
from miras.data.io.single import records_of
from miras.data.io.stream import keys
from miras.data.photos.identity import named_photos
from miras.data.record import Record


def _instances(path: Path, on_fault: OnFault | None) -> Iterator[Record]:
    seen: dict[tuple[str, str], int] = {}
    for file, source, split in _jsons(path, "instances", on_fault):
        yield from stream.read(file, on_fault=on_fault, source=source, split=split, seen=seen)


def _panoptic(path: Path, on_fault: OnFault | None) -> Iterator[Record]:
    seen: dict[tuple[str, str], int] = {}
    for file, source, split in _jsons(path, "panoptic", on_fault):
        photos = list(named_photos(annotated_panoptic(file, on_fault)))
        photos = [replace(photo, source=source) for photo in photos] if source else photos
        count_bare(photos, on_fault)
        yield from records_of(photos, split or split_of(file.stem), seen=seen)


def _jsons(path: Path, kind: str, on_fault: OnFault | None) -> list[tuple[Path, str, str]]:
    """(file, source, split) of the JSON files of COCO at a path; source and split "" where the file itself tells them.

    The file itself, the only one of the folder, or those named after their kind; and those in folders of splits.
    """
    if path.is_file():
        return [(path, "", "")]
    faults = Faults(path, on_fault)
    here = path if files_in(path, "*.json") else path / "annotations"
    has = partial(_has_coco, kind)
    found = [(file, "", "") for file in _of_kind(here, kind, faults)] if files_in(here, "*.json") else []
    inside = [(folder, split) for folder, split in split_folders(path, None if found else has) if folder != path]
    read = [here]
    for folder, split in inside:
        if has(folder):
            found += [(file, path.resolve().name, split) for file in _of_kind(folder, kind, faults)]
            read.append(folder)
    found = found or [(file, "", "") for file in _of_kind(here, kind, faults)]  # raises: there is none
    faults.unread(path, read, "*.json")
    return found


def _of_kind(folder: Path, kind: str, faults: Faults) -> list[Path]:
    files = faults.files(folder, "*.json")
    named = [file for file in files if file.name.startswith(kind)]
    if len(files) != 1 and not named:
        got = ", ".join(file.name for file in files[:5]) or "none"
        raise InputError(f"one JSON file, or {kind}_*.json, in {folder}", got, "name the file itself")
    for file in files if named else ():
        if file not in named:
            faults.leave("files", f"JSON files that are not called {kind}", file.name)
    return named or files


def _has_coco(kind: str, folder: Path) -> bool:
    """Whether a folder itself holds a COCO JSON with masks of this kind."""
    wanted = {"images", "annotations", "segmentation" if kind == "instances" else "segments_info"}
    return any(wanted <= keys(file) for file in files_in(folder, "*.json")[:LOOKS])


# Photos with their classes


def annotated_instances(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    """Photos with the masks of instances. path: the JSON, or a folder with exactly one."""
    json_path = _json(path)
    return coco.read_instances(json_path, _image_root(json_path), on_fault=on_fault)


def annotated_panoptic(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    """Photos with the masks of panoptic segments. path: the JSON, or a folder with exactly one."""
    json_path = _json(path)
    mask_root = _first_with(json_path, "annotations", (json_path.with_suffix(""), json_path.parent / "panoptic"))
    return coco.read_panoptic(json_path, _image_root(json_path), mask_root, on_fault=on_fault)


def _json(path: Path) -> Path:
    if path.is_file():
        return path
    files = files_in(path, "*.json")
    if len(files) != 1:
        got = ", ".join(file.name for file in files[:5]) or "none"
        raise InputError(f"one JSON file in {path}", got, "name the file itself")
    return files[0]


def _image_root(json_path: Path) -> Path:
    """Where the photos of a COCO JSON lie: beside it, or as COCO's own archives unpack."""
    folder = json_path.parent
    split = json_path.stem.rpartition("_")[2]
    beside = (*split_places(folder, split), folder / "images", folder / "JPEGImages", folder)
    above = (*split_places(folder.parent, split), folder.parent / split, folder.parent / "images" / split)
    return _first_with(json_path, "images", (*beside, *above, folder.parent / "images"))


def _first_with(json_path: Path, key: str, folders: tuple[Path, ...]) -> Path:
    """The first folder that holds a file the JSON names under `key`; the first of all when none does.

    Then the reader names each missing file.
    """
    return first_with(field(load_json(json_path, dict), key, list), folders) or folders[0]


INSTANCES = Format(
    "COCO instances: instances.json, images/", _instances, write.write_instances,
    Signs(keys=lambda found: {"images", "annotations"} <= found), annotations=annotated_instances,
)  # fmt: skip
PANOPTIC = Format(
    "COCO panoptic: panoptic.json, panoptic/*.png, images/", _panoptic, write.write_panoptic,
    Signs(keys=lambda found: "segments_info" in found), annotations=annotated_panoptic,
)  # fmt: skip
REFCOCO = Format(
    "referring expressions: refs(NAME).json or .p, instances.json, images/", refcoco.read, write.write_refs,
    Signs(
        file=lambda path: path.suffix.lower() == ".p",
        folder=lambda path: bool(files_in(path, "*refs(*).json") or files_in(path, "*refs(*).p")),
        keys=lambda found: "sentences" in found,
    ),
    undivided=True,
)  # fmt: skip
