"""Which annotation tool a file or folder comes from.

In: a path. Out: names of formats, none or more. Reads the beginning of XML, small YAML, and no label.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from miras.core.errors import InputError
from miras.data.formats.tools import cvat, markup, yolo_files

YAML = (".yaml", ".yml")


def of_file(path: Path) -> set[str]:
    """By name and beginning. JSON of Label Studio is told by its keys (`label_studio.is_task`), not here."""
    if path.suffix.lower() == ".xml" and markup.root_of(path) == cvat.ROOT:
        return {"cvat"}
    if path.suffix.lower() in YAML and yolo_files.is_dataset(yolo_files.load(path)):
        return {"yolo"}
    if path.name == yolo_files.CLASSES and (path.parent / "labels").is_dir():
        return {"yolo"}
    if path.name == "meta.json" and any(path.parent.glob("**/ann/*.json")):
        return {"supervisely"}
    return {"supervisely"} if path.suffix == ".json" and path.parent.name == "ann" else set()


def of_folder(path: Path) -> set[str]:
    """By the files and folders in it."""
    found: set[str] = set()
    if (path / "ann").is_dir() or any(path.glob("*/ann/*.json")) or any(path.glob("**/datasets/*/ann/*.json")):
        found.add("supervisely")
    if cvat.files_of(path):
        found.add("cvat")
    for file in [file for ending in YAML for file in path.glob(f"*{ending}")]:
        with suppress(InputError):
            found |= of_file(file) & {"yolo"}
    if (path / "data.yaml").is_file() or of_file(path / yolo_files.CLASSES):
        found.add("yolo")
    return found
