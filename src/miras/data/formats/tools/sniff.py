"""The formats of annotation tools, and what their files are told by.

In: a path. Out: four `Format` values; their modules read and write. Reads the beginning of XML, small YAML,
and no label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from miras.core.errors import InputError
from miras.data.formats.format import Annotations, Format, Signs
from miras.data.formats.tools import (
    cvat,
    label_studio,
    label_studio_write,
    markup,
    supervisely,
    yolo,
    yolo_files,
    yolo_write,
)
from miras.data.formats.tools.labelled import Labelled, annotated
from miras.data.io.checks import OnFault

YAML = (".yaml", ".yml")


def _is_yolo(path: Path) -> bool:
    if path.suffix.lower() in YAML and yolo_files.is_dataset(yolo_files.load(path)):
        return True
    return path.name == yolo_files.CLASSES and (path.parent / "labels").is_dir()


def _has_yolo(path: Path) -> bool:
    for file in [file for ending in YAML for file in path.glob(f"*{ending}")]:
        with suppress(InputError):
            if _is_yolo(file):
                return True
    return (path / "data.yaml").is_file() or _is_yolo(path / yolo_files.CLASSES)


def _is_cvat(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and markup.root_of(path) == cvat.ROOT


def _is_supervisely(path: Path) -> bool:
    if path.name == "meta.json" and any(path.parent.glob("**/ann/*.json")):
        return True
    return path.suffix == ".json" and path.parent.name == "ann"


def _has_supervisely(path: Path) -> bool:
    return (path / "ann").is_dir() or any(path.glob("*/ann/*.json")) or any(path.glob("**/datasets/*/ann/*.json"))


def _classes(photos: Callable[[Path, OnFault | None], Iterator[Labelled]]) -> Annotations:
    return lambda path, on_fault: annotated(photos(path, on_fault))


YOLO = Format(
    "YOLO for segmentation: data.yaml, images/, labels/*.txt with an outline a line", yolo.read, yolo_write.write,
    Signs(file=_is_yolo, folder=_has_yolo), annotations=_classes(yolo.photos), whole=True,
)  # fmt: skip
LABEL_STUDIO = Format(
    "Label Studio: export JSON (or JSON_MIN), photos beside it", label_studio.read, label_studio_write.write,
    Signs(keys=label_studio.is_task), annotations=_classes(label_studio.photos), whole=True,
)  # fmt: skip
CVAT = Format(
    "CVAT: XML for images or for video 1.1, images/", cvat.read,
    signs=Signs(file=_is_cvat, folder=lambda path: bool(cvat.files_of(path))),
    annotations=_classes(cvat.photos), whole=True,
)  # fmt: skip
SUPERVISELY = Format(
    "Supervisely: meta.json, and in each dataset ann/*.json and img/", supervisely.read,
    signs=Signs(file=_is_supervisely, folder=_has_supervisely), annotations=_classes(supervisely.photos), whole=True,
)  # fmt: skip
