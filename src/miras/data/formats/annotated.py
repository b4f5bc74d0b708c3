"""One door to all readers: by format, and for the training folder as a whole.

In: a path and the name of its format. Out: `AnnotatedPhoto` records. Knows where each format's
files usually lie beside each other; knows nothing of splits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.formats import instructpart
from miras.data.formats.coco import annotated as coco
from miras.data.formats.coco.records import annotated_panoptic
from miras.data.formats.registry import FORMATS as REGISTRY
from miras.data.formats.registry import known
from miras.data.io.checks import OnFault
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
    known(format, list(FORMATS))
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


def _car_parts(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    json_path = path / "annotations.json"
    return coco.read_instances(json_path, path / "JPEGImages", part_of="car", on_fault=on_fault)


def _limited(path: Path, on_fault: OnFault | None) -> list[AnnotatedPhoto]:
    """Instances of a set that does not label all it shows (`data.language.coverage`)."""
    json_path = path / "annotations.json"
    return [coverage.limited(photo) for photo in coco.read_instances(json_path, path / "images", on_fault=on_fault)]


FORMATS: dict[str, Reader] = {name: each.annotations for name, each in REGISTRY.items() if each.annotations is not None}
"""Format name -> reader of a path."""
TOOLS = tuple(name for name in FORMATS if REGISTRY[name].whole)
"""Formats of annotation tools: a path is a whole dataset with all its splits."""

SOURCES: dict[str, tuple[str, Reader]] = {
    "instructpart": ("instructpart/dev", lambda p, on_fault: instructpart.merge(instructpart.read(p, on_fault))),
    "ccp": ("ccp", FORMATS["indexed-png"]),
    "car-parts": ("car-parts", _car_parts),
    "camvid": ("camvid", FORMATS["indexed-png"]),
    "coco128": ("coco128", annotated_panoptic),
    **{name: (name, _limited) for name in coverage.COVERAGE},
}
"""Training set -> its place under the root, and its reader."""
