"""One door to all readers: by format, and for the training folder as a whole.

In: a path and the name of its format. Out: `AnnotatedPhoto` records. Knows where each format's
files usually lie beside each other; knows nothing of splits.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.formats import indexed_png, instructpart
from miras.data.formats.coco import annotated as coco
from miras.data.formats.coco.stream import first_with
from miras.data.io.checks import OnFault, field, files_in, load_json
from miras.data.io.places import split_places
from miras.data.language import coverage
from miras.data.photos.identity import named_photos

Reader = Callable[[Path, OnFault | None], list[AnnotatedPhoto]]

log = logging.getLogger(__name__)


def read(path: Path | str, format: str, on_fault: OnFault | None = None) -> list[AnnotatedPhoto]:
    """The records at `path`, in the order of the file.

    path: the folder ("instructpart", "indexed-png"), or the JSON or a folder with exactly one
    ("coco", "coco-panoptic"). Raises InputError for an unknown format, a missing path, and faulty
    records unless `on_fault` takes them.
    """
    if format not in FORMATS:
        near = difflib.get_close_matches(format.lower().replace("_", "-"), FORMATS, n=1)
        raise InputError(
            f"a format of {', '.join(FORMATS)}", repr(format), f"did you mean {near[0]!r}?" if near else ""
        )
    path = Path(path)
    if not path.exists():
        raise InputError(f"{format} data", f"no file or folder {path}")
    return list(named_photos(FORMATS[format](path, on_fault)))


def read_sources(root: Path | str, on_fault: OnFault | None = None) -> list[AnnotatedPhoto]:
    """The training sets under one folder (see SOURCES); a missing set is a logged warning.

    InstructPart's records are merged by photograph. Raises InputError when no set is there.
    """
    root = Path(root)
    photos: list[AnnotatedPhoto] = []
    for name, (where, reader) in SOURCES.items():
        if (root / where).exists():
            photos += named_photos(reader(root / where, on_fault))
        else:
            log.warning("no %s: %s is missing", name, root / where)
    if not photos:
        raise InputError(f"at least one of {', '.join(SOURCES)} in {root}", "none")
    return photos


def _instances(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    json_path = _json(path)
    return coco.read_instances(json_path, _image_root(json_path), on_fault=on_fault)


def _panoptic(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
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


def _car_parts(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    json_path = path / "annotations.json"
    return coco.read_instances(json_path, path / "JPEGImages", part_of="car", on_fault=on_fault)


def _limited(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    """Instances of a set that does not label all it shows (`data.language.coverage`)."""
    json_path = path / "annotations.json"
    return [coverage.limited(photo) for photo in coco.read_instances(json_path, path / "images", on_fault=on_fault)]


TOOLS = ("yolo", "label-studio", "cvat", "supervisely")
"""Formats of annotation tools: a path is a whole dataset with all its splits."""


def _of_tool(name: str, path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    from miras.data.formats.tools import cvat, label_studio, supervisely, yolo
    from miras.data.formats.tools.labelled import annotated

    readers = {"yolo": yolo, "label-studio": label_studio, "cvat": cvat, "supervisely": supervisely}
    return annotated(readers[name].photos(path, on_fault))


FORMATS: dict[str, Reader] = {
    "instructpart": lambda path, on_fault: instructpart.read(path, on_fault),
    "indexed-png": lambda path, on_fault: indexed_png.read(path, on_fault=on_fault),
    "coco": _instances,
    "coco-panoptic": _panoptic,
    **{name: partial(_of_tool, name) for name in TOOLS},
}
"""Format name -> reader of a path."""

SOURCES: dict[str, tuple[str, Reader]] = {
    "instructpart": ("instructpart/dev", lambda p, on_fault: instructpart.merge(instructpart.read(p, on_fault))),
    "ccp": ("ccp", FORMATS["indexed-png"]),
    "car-parts": ("car-parts", _car_parts),
    "camvid": ("camvid", FORMATS["indexed-png"]),
    "coco128": ("coco128", _panoptic),
    **{name: (name, _limited) for name in coverage.COVERAGE},
}
"""Training set -> its place under the root, and its reader."""
