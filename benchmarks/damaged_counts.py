"""How many annotations the files of a damaged dataset hold, counted without the readers.

In: the path that a reader gets. Out: a number, or None; whatever is raised says that it cannot be counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

GEOMETRY = ("points", "rle", "radiusX", "height")
CVAT = ("polygon", "box", "ellipse", "mask", "polyline", "points", "skeleton", "cuboid", "tag")


def lists(*keys: str) -> Callable[[Path], int | None]:
    """Counts the items of the last key's lists, through the lists of those before, in each JSON of a folder."""

    def count(path: Path) -> int | None:
        total = 0
        for file in [path] if path.is_file() else sorted(path.glob("*.json")):
            found = [json.loads(file.read_bytes())]
            for key in keys:
                found = [each for value in found for each in (value[key] if key else value)]
            if not all(isinstance(each, dict) for each in found):
                return None
            total += len(found)
        return total

    return count


def shapes(path: Path) -> int | None:
    """Of files that can be read at all: the others hold nobody knows what."""
    total = 0
    for file in path.rglob("*.json"):
        with suppress(ValueError, RecursionError):
            document = json.loads(file.read_bytes())
            shapes = document["shapes"] if isinstance(document, dict) and "shapes" in document else []
            total += len(shapes) if isinstance(shapes, list) else 0
    return total


def files(path: Path) -> int | None:
    return len([file for file in path.rglob("*.json") if not file.name.startswith(".")])


def lines(path: Path) -> int | None:
    file = path if path.is_file() else next(path.glob("*.jsonl"))
    return filled(file)


def filled(file: Path) -> int:
    """Lines that hold something. Raises ValueError for text that is not plainly UTF-8."""
    text = file.read_bytes().decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("UTF-16, perhaps")
    return sum(bool(line.strip()) for line in text.split("\n"))


def yolo(path: Path) -> int | None:
    return sum(filled(file) for file in (path / "labels").rglob("*.txt"))


def has_geometry(value: object) -> bool:
    return isinstance(value, dict) and any(key in value for key in GEOMETRY)


def figures(path: Path) -> int | None:
    total = 0
    for file in path.glob("*.json"):
        tasks = json.loads(file.read_bytes())
        if not {"data", "annotator", "annotation_id"} & set(tasks[0]):
            continue  # of another tool, as far as one can see
        for task in tasks:
            if "data" not in task:
                total += sum(has_geometry(each) for each in task["tag"])
                continue
            for annotation in task["annotations"]:
                ids = [r.get("id") for r in annotation["result"] if has_geometry(r["value"])]
                texts = [id for id in ids if isinstance(id, str)]
                total += len(ids) - len(texts) + len(set(texts))
    return total


def elements(path: Path) -> int | None:
    total = 0
    for page in ElementTree.parse(path / "annotations.xml").getroot():
        if page.tag in ("image", "track"):
            total += sum(each.tag in CVAT and not (page.tag == "track" and each.get("outside") == "1") for each in page)
    return total


def objects(path: Path) -> int | None:
    total = 0
    for file in path.glob("*/ann/*.json"):
        with suppress(ValueError, RecursionError):
            document = json.loads(file.read_bytes())
            objects = document.get("objects", []) if isinstance(document, dict) else []
            total += len(objects) if isinstance(objects, list) else 0
    return total


def parts(path: Path) -> int | None:
    total = 0
    for file in path.glob("*/data_*.json"):
        total += sum(len(item["part_list"]) for item in json.loads(file.read_bytes()))
    return total


def unknown(path: Path) -> int | None:
    return None
