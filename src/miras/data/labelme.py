"""LabelMe: one JSON a photo, with polygons, rectangles, circles and masks.

In: a JSON, or a folder of them, with the folders inside it (train, val and test are splits). Out: one record a
region; shapes of one label and one `group_id` are one region. The other way: one JSON beside each photo.
A mask is written as polygons along its pixel edges, one for each 4-connected part, grouped; LabelMe has no
holes, so a mask with holes is one `mask` shape (PNG). Both read back exactly. A pixel belongs to an
outline when its centre lies inside. Source: github.com/wkentaro/labelme, versions 4 and 5.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import box_of, decode_rle, encode_rle, mask_to_polygons, polygons_to_mask, ring_area, union
from miras.core.types import Mask, Rle
from miras.data.checks import Faults, OnFault, field, load_json, photo_size, same_size
from miras.data.gather import Album, Losses, Picture, by_split
from miras.data.places import beside, json_files
from miras.data.record import Record
from miras.data.single import id_of, single

VERSION = "5.3.0"
"""Of LabelMe's format, as written."""
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each region of a JSON or of all JSONs in a folder, sorted by name.

    A photo is read from `imagePath`, else from the embedded `imageData`. A region with a faulty shape is left out
    and told to `on_fault`; without it all faults raise InputError after the last good record.
    """
    faults = Faults(path, on_fault)
    files = json_files(path, lambda found: "shapes" in found and "text" not in found)
    if not files:
        raise InputError(f"LabelMe JSON files in {path}", "none")
    for file, split, place in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        with faults.of(name):
            document = load_json(file, dict)
            shapes = field(document, "shapes", list)
            photo, size, data = _photo(file, document)
            for number, (label, shape_numbers) in enumerate(_regions(shapes, name, faults), 1):
                with faults.of(f"{name}, {_said(shape_numbers)} ({label})"):
                    rle = encode_rle(union(*(shape_mask(shapes[i], size) for i in shape_numbers)))
                    image_id, source = Path(photo.name).stem, path.resolve().stem
                    record = single(
                        photo, size, label, rle, id=id_of(source, split, f"{place}-{number}"),
                        image_id=image_id, source=source, split=split, meta=_meta(shapes[shape_numbers[0]]),
                    )  # fmt: skip
                    if data is not None:
                        record["image_bytes"] = data
                    yield record
    faults.finish()


def shape_mask(shape: Any, size: Size) -> Mask:
    """The pixels of one shape; size (H, W). Raises InputError for other kinds, too few points, an empty mask."""
    kind = shape.get("shape_type") or "polygon"
    points = [_point(point) for point in field(shape, "points", list)]
    if kind == "polygon":
        if len(points) < 3:
            raise InputError("a polygon of at least 3 points", str(len(points)))
        mask = polygons_to_mask([points], size)
    elif kind == "rectangle":
        mask = polygons_to_mask([_corners(points)], size)
    elif kind == "circle":
        mask = _circle(points, size)
    elif kind == "mask":
        mask = _pasted(shape, points, size)
    else:
        raise InputError("a polygon, rectangle, circle or mask", f"a {kind}")
    if not mask.any():
        raise InputError("a shape with pixels of the photo", "none")
    return mask


def shapes_of(label: str, rle: Rle, group: int, always_mask: bool = False) -> list[dict[str, Any]]:
    """The shapes that give a mask back exactly: polygons, or one `mask` where it has holes (or always)."""
    mask = decode_rle(rle)
    rings = mask_to_polygons(mask)
    if not always_mask and not any(ring_area(ring) < 0 for ring in rings):
        return [_shape(label, "polygon", [list(corner) for corner in ring], group) for ring in rings]
    x1, y1, x2, y2 = (int(side) for side in box_of(mask) or (0, 0, 1, 1))
    buffer = io.BytesIO()
    Image.fromarray(mask[y1:y2, x1:x2].astype(np.uint8)).save(buffer, format="PNG")
    shape = _shape(label, "mask", [[x1, y1], [x2 - 1, y2 - 1]], group)
    return [{**shape, "mask": base64.b64encode(buffer.getvalue()).decode("ascii")}]


def document(shapes: list[dict[str, Any]], image: str, size: Size) -> dict[str, Any]:
    """A LabelMe file. image: the photo's path beside it; size (H, W)."""
    return {
        "version": VERSION, "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
        "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip


def write(
    pictures: Sequence[Picture], out: Path, album: Album, lost: Losses, always_mask: bool = False
) -> int:  # fmt: skip
    """One JSON beside each photo (or, with photos by reference, with the way to it); a folder for each split.

    always_mask: no polygons at all. Returns the number of regions.
    """
    regions = 0
    for split, picture in ((split, picture) for split, some in by_split(pictures).items() for picture in some):
        folder = out / split
        folder.mkdir(parents=True, exist_ok=True)
        stem = album.stem(folder, picture.called(split))
        if album.mode == "reference" and picture.data is None:
            image = Path(os.path.relpath(picture.path, folder)).as_posix()
        else:
            image = album.place(picture, folder, stem)
        shapes = [
            shape for group, shown in enumerate(picture.shown, 1)
            for shape in shapes_of(shown.phrase, shown.rle, group, always_mask)
        ]  # fmt: skip
        content = json.dumps(document(shapes, image, picture.size), ensure_ascii=False, indent=1)
        (folder / f"{stem}.json").write_text(content + "\n", encoding="utf-8")
        regions += len(picture.shown)
    return regions


def _regions(shapes: list[Any], name: str, faults: Faults) -> Iterator[tuple[str, list[int]]]:
    """(label, numbers of its shapes): a region each; shapes without a label are faults."""
    found: dict[Any, tuple[str, list[int]]] = {}
    for index, shape in enumerate(shapes):
        with faults.of(f"{name}, shape {index}"):
            label = " ".join(field(shape, "label", str).split())
            group = shape.get("group_id")
            if not label or not isinstance(group, int | str | None):
                raise InputError("a label, and a group_id that is a number or null", f"{label!r}, {group!r:.40}")
            found.setdefault(index if group is None else (label, group), (label, []))[1].append(index)
    yield from found.values()


def _photo(file: Path, document: dict[str, Any]) -> tuple[Path, Size, bytes | None]:
    """The photo's path, its (H, W), and its bytes where only these are there."""
    name = document.get("imagePath")
    path = file.parent / name.replace("\\", "/") if isinstance(name, str) and name else beside(file)
    data: bytes | None = None
    if path.is_file() or not isinstance(document.get("imageData"), str):
        size = photo_size(path)
    else:
        data = _decoded(document["imageData"], "imageData")
        size = _size_of(data)
    given = (document.get("imageHeight", size[0]), document.get("imageWidth", size[1]))
    if all(isinstance(side, int) for side in given):
        same_size(path.name, given, size)
    return path, size, data


def _size_of(data: bytes) -> Size:
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("an image in imageData", str(error)) from error


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"base64 in {what}", str(error)) from error


def _point(point: Any) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2 or not all(_number(n) for n in point):
        raise InputError("points (x, y)", f"{point!r:.40}")
    return float(point[0]), float(point[1])


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _corners(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Two opposite corners, or (newer files) all four."""
    if len(points) == 4:
        return points
    if len(points) != 2:
        raise InputError("a rectangle of 2 corners", str(len(points)))
    (x1, y1), (x2, y2) = points
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _circle(points: list[tuple[float, float]], size: Size) -> Mask:
    """A centre and a point of the edge."""
    if len(points) != 2:
        raise InputError("a circle of 2 points, centre and edge", str(len(points)))
    (x, y), (edge_x, edge_y) = points
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside: Mask = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= math.hypot(edge_x - x, edge_y - y)
    return inside


def _pasted(shape: dict[str, Any], points: list[tuple[float, float]], size: Size) -> Mask:
    """The PNG of a `mask` shape in its box, whose corners are both included."""
    if len(points) != 2:
        raise InputError("a mask with 2 corners of its box", str(len(points)))
    try:
        with Image.open(io.BytesIO(_decoded(field(shape, "mask", str), "mask"))) as image:
            crop = np.asarray(image.convert("L")) > 0
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("a PNG in mask", str(error)) from error
    x, y = (int(n) for n in points[0])
    height, width = int(points[1][1]) - y + 1, int(points[1][0]) - x + 1
    same_size("a mask (by its points)", (height, width), (crop.shape[0], crop.shape[1]))
    if x < 0 or y < 0 or x + width > size[1] or y + height > size[0]:
        raise InputError(f"a mask inside {size[1]} x {size[0]} pixels", f"one from {x}, {y} of {width} x {height}")
    mask = np.zeros(size, np.bool_)
    mask[y : y + height, x : x + width] = crop
    return mask


def _shape(label: str, kind: str, points: list[list[float]], group: int) -> dict[str, Any]:
    return {
        "label": label, "points": points, "group_id": group, "description": "", "shape_type": kind,
        "flags": {}, "mask": None,
    }  # fmt: skip


def _meta(shape: dict[str, Any]) -> dict[str, Any]:
    """What else a person wrote at the shape."""
    return {key: shape[key] for key in ("description", "flags") if shape.get(key)}


def _said(numbers: list[int]) -> str:
    return f"shape{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
