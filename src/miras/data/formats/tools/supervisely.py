"""Supervisely: a project of datasets, each with `ann/*.json` and `img/`, and a `meta.json` with the classes.

In: the project, one of its datasets, or one JSON. Out: a `Labelled` photo for each JSON; a dataset called train, val
or test is that split. Bitmaps (a PNG, compressed and in base64, with its origin), polygons with holes and rectangles
are read. Whole coordinates are the middles of pixels, and outlines belong to the figure, as the tool itself draws;
where a figure has other numbers they count from the corner of the photo. Points, lines, graphs, cuboids and masks of
shades are no masks: counted. Source: docs.supervisely.com, "Annotation JSON format".
"""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import Mask
from miras.data.formats.reasonseg import outline
from miras.data.formats.tools import figures
from miras.data.formats.tools.labelled import (
    FIGURE,
    NO_LABEL,
    NO_PHOTO,
    UNIT,
    Ids,
    Labelled,
    Note,
    is_photo,
    records,
    split_named,
    vocabulary,
    without_suffix,
)
from miras.data.io.checks import Faults, OnFault, files_in, load_json, photo_size, same_size
from miras.data.io.checks import field as value_of
from miras.data.io.left_out import Omitted
from miras.data.language.vocabulary import is_null
from miras.data.record import Record

OTHERS = {
    "point": "points (no masks)", "line": "lines (no masks)", "graph": "graphs of keypoints (no masks)",
    "cuboid": "cuboids (no masks)", "cuboid_2d": "cuboids (no masks)",
    "alpha_mask": "masks of shades (alpha_mask)", "oriented_bbox": "turned boxes (oriented_bbox)",
}  # fmt: skip
_UNDRAWN = ("point", "line", "graph", "cuboid", "cuboid_2d")
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each mask. Raises InputError as `photos` does."""
    return records(photos(path, on_fault), on_fault)


def photos(path: Path, on_fault: OnFault | None = None) -> Iterator[Labelled]:
    """The photos with their masks, sorted by dataset and name.

    A photo or object that is faulty is left out and told to `on_fault`; without it all faults raise InputError after
    the last photo. What is no mask is counted. Raises InputError for a folder without `ann/`, and for a faulty
    `meta.json`.
    """
    root, files = files_of(path)
    if not files:
        raise InputError("a project of Supervisely: folders with ann/*.json and img/", f"none in {path}")
    labels = classes(root)
    faults, ids = Faults(path, on_fault), Ids()
    for file in files:
        folder = file.parent.parent
        dataset = "" if folder == root else folder.relative_to(root).as_posix()
        with faults.of(file.relative_to(root).as_posix(), "photos"):
            photo = _Photo(file, f"{dataset}/" if dataset else "", root.resolve().name, faults).labelled(ids)
            photo.split = split_named(folder.name)
            photo.vocabulary = labels
            yield photo
    faults.finish()


def files_of(path: Path) -> tuple[Path, list[Path]]:
    """(folder of the project, its JSON files), whatever of it the path is."""
    if path.is_file() and path.name != "meta.json":
        return _project_of(path.parent.parent), [path]
    folder = path.parent if path.is_file() else path
    if (folder / "ann").is_dir():
        return _project_of(folder), files_in(folder / "ann", "*.json")
    return folder, [file for place in sorted(folder.rglob("ann")) for file in files_in(place, "*.json")]


def _project_of(dataset: Path) -> Path:
    """The folder of the project, by its meta.json; the dataset's own where there is none."""
    return next((place for place in (dataset, *dataset.parents[:3]) if (place / "meta.json").is_file()), dataset)


def classes(root: Path) -> frozenset[str]:
    """The classes of meta.json, in words, that can have masks; none without the file. Raises InputError."""
    file = root / "meta.json"
    if not file.is_file():
        return frozenset()
    names = []
    for each in value_of(load_json(file, dict), "classes", list):
        title = value_of(each, "title", str)
        if each.get("shape") not in _UNDRAWN:
            names.append(title)
    return vocabulary(names)


class _Photo:
    """Reads one JSON."""

    def __init__(self, file: Path, prefix: str, source: str, faults: Faults) -> None:
        self._file, self._prefix, self._source, self._faults = file, prefix, source, faults

    def labelled(self, ids: Ids) -> Labelled:
        document = load_json(self._file, dict)
        objects = value_of(document, "objects", list)
        try:
            path = self._path()
            size = photo_size(path)
            given = value_of(document, "size", dict)
            same_size(path.name, (value_of(given, "height", int), value_of(given, "width", int)), size)
            name = f"{self._prefix}{path.name}"
            photo = Labelled(ids.of(path, without_suffix(name), name), path, size, "", self._source)
        except InputError:
            self._faults.leave(UNIT, NO_PHOTO, self._file.name, len(objects))
            raise
        for number, each in enumerate(objects):
            title = f"{self._prefix}{path.name}, object {number}"
            label = each.get("classTitle") if isinstance(each, dict) else None
            with self._faults.of(f"{title} ({label})" if isinstance(label, str) else title, UNIT):
                self._add(photo, each)
        return photo

    def _path(self) -> Path:
        """img/NAME of ann/NAME.json; of old files without the photo's ending, the only photo of that name."""
        folder, name = self._file.parent.parent / "img", self._file.name.removesuffix(".json")
        if is_photo(Path(name)):
            return folder / name
        found = [file for file in sorted(folder.glob("*")) if is_photo(file) and file.stem == name]
        if len(found) > 1:
            raise InputError("one photo of that name", ", ".join(file.name for file in found))
        return found[0] if found else folder / name

    def _add(self, photo: Labelled, each: Any) -> None:
        label = value_of(each, "classTitle", str)
        try:
            kind = value_of(each, "geometryType", str)
            if not label.strip():
                raise InputError("a classTitle", "an empty one")
            if is_null(label):
                raise Omitted(NO_LABEL)
            if kind in OTHERS:
                raise Omitted(OTHERS[kind])
            photo.notes.append(Note(label, encode_rle(mask_of(each, kind, photo.size)), _meta(each, kind)))
        except (InputError, Omitted):
            photo.unsure.add(label)
            raise


def mask_of(each: dict[str, Any], kind: str, size: Size) -> Mask:
    """The pixels of a bitmap, polygon or rectangle; size (H, W). Raises InputError for other kinds too."""
    if kind == "bitmap":
        return _bitmap(value_of(each, "bitmap", dict), size)
    if kind not in ("polygon", "rectangle"):
        raise InputError("a bitmap, polygon or rectangle", f"a {kind}")
    points = value_of(each, "points", dict)
    corners = value_of(points, "exterior", list)
    if kind == "rectangle":
        if len(corners) != 2:
            raise InputError("a rectangle of 2 corners", str(len(corners)))
        (x1, y1), (x2, y2) = figures.ring([*corners, corners[0]])[:2]
        (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
        corners = [list(corner) for corner in figures.corners_of(x1, y1, x2, y2)]
    holes = points.get("interior") or []
    if not isinstance(holes, list) or not all(isinstance(hole, list) for hole in holes):
        raise InputError("a list of rings as interior", f"{holes!r:.40}")
    rings = [figures.ring(corners), *(figures.ring(hole) for hole in holes)]
    pixels = all(x == int(x) and y == int(y) for ring in rings for x, y in ring)
    masks = [
        outline({"points": [list(corner) for corner in ring]}, 0, size) if pixels else figures.filled(ring, size)
        for ring in rings
    ]
    mask = masks[0]
    for hole in masks[1:]:
        mask = mask & ~hole
    return figures.shown(mask)


def _bitmap(bitmap: dict[str, Any], size: Size) -> Mask:
    origin = value_of(bitmap, "origin", list)
    if len(origin) != 2:
        raise InputError("an origin (x, y)", f"{origin!r:.40}")
    left, top = figures.whole(origin[0], "origin"), figures.whole(origin[1], "origin")
    try:
        packed = base64.b64decode(value_of(bitmap, "data", str), validate=True)
        most = 4 * size[0] * size[1] + 65536  # an honest PNG is far smaller
        unpacked = zlib.decompressobj().decompress(packed, most)
        with Image.open(io.BytesIO(unpacked), formats=["PNG"]) as image:
            if image.width > size[1] or image.height > size[0]:
                raise InputError(f"a bitmap inside {size[1]} x {size[0]} pixels", f"{image.width} x {image.height}")
            if image.has_transparency_data:
                crop: Mask = np.asarray(image.convert("RGBA"))[..., 3] > 0
            else:
                crop = np.asarray(image.convert("L")) > 0
    except (binascii.Error, zlib.error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("a bitmap: a PNG, compressed by zlib, in base64", str(error)) from error
    return figures.pasted(crop, left, top, size)


def _meta(each: dict[str, Any], kind: str) -> dict[str, Any]:
    """What else the file says of an object."""
    found: dict[str, Any] = {FIGURE: kind}
    if isinstance(each.get("description"), str) and each["description"]:
        found["description"] = each["description"]
    tags = each.get("tags")
    named = [tag["name"] for tag in tags if isinstance(tag, dict) and isinstance(tag.get("name"), str)] if (
        isinstance(tags, list)
    ) else []  # fmt: skip
    if named:
        found["tags"] = named
    return found
