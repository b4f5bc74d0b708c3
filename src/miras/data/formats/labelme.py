"""LabelMe: one JSON a photo, with polygons, rectangles, circles and masks.

In: a JSON, or a folder of them, with the folders inside it (train, val and test are splits). Out: one record a
region; shapes of one label and one `group_id` are one region. Shapes without an inside (lines, points) are left out and
counted, as is what LabelMe calls `__ignore__` and `_background_`. The other way: one JSON beside each photo.
A mask is written as polygons along its pixel edges, one for each 4-connected part, grouped; LabelMe has no
holes, so a mask with holes is one `mask` shape (PNG). Both read back exactly. A pixel belongs to an
outline when its centre lies inside. Sources: github.com/wkentaro/labelme, versions 4 and 5; X-AnyLabeling's
shapes with turned corners.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from miras.core import photo as core_photo
from miras.core.errors import InputError
from miras.core.masks import (
    box_of,
    decode_rle,
    encode_rle,
    mask_of_picture,
    mask_to_polygons,
    polygons_to_mask,
    ring_area,
    union,
)
from miras.core.types import Mask, Rle
from miras.data.io.checks import (
    Faults,
    OnFault,
    end_of,
    field,
    files_in,
    is_foreign,
    load_json,
    photo_size,
    same_size,
    whole_number,
)
from miras.data.io.gather import Album, Losses, Picture, by_split
from miras.data.io.left_out import Omitted
from miras.data.io.places import PHOTOS, beside, json_files, split_folders
from miras.data.io.single import id_of, single
from miras.data.record import Record

VERSION = "5.3.0"
"""Of LabelMe's format, as written."""
TURNED = ("rotation", "oriented_rectangle", "rotated_rectangle", "quadrilateral")
"""Shapes of four corners, in whatever direction: the first is X-AnyLabeling's."""
KINDS = ("polygon", "rectangle", "circle", "mask", *TURNED)
"""Shapes that have an inside."""
NO_LABELS = ("__ignore__", "_background_")
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each region of a JSON or of all JSONs in a folder, sorted by name.

    A photo is read from `imagePath`, else from the embedded `imageData`. A region with a faulty shape is left out
    and told to `on_fault`; without it all faults raise InputError after the last good record.
    """
    faults = Faults(path, on_fault)
    files = json_files(path, lambda found: "shapes" in found and "text" not in found, faults)
    if not files:
        raise InputError(f"LabelMe JSON files in {path}", "none")
    folders = [] if path.is_file() else [folder for folder, _ in split_folders(path)]
    folders += [] if path.is_file() else [file.parent for file, _, _ in files]
    used: dict[Path, bool] = {}
    for file, split, place in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        with faults.of(name, "files"):
            document = load_json(file, dict)
            if folders and "shapes" not in document:
                raise Omitted("JSON files of another kind")
            for photo, record in _records(file, document, faults, name, path.resolve().stem, split, place):
                used[photo] = used.get(photo, False) or record is not None
                if record is not None:
                    yield record
    _count_photos(folders, used, faults)
    faults.finish()


def _records(
    file: Path, document: dict[str, Any], faults: Faults, name: str, source: str, split: str, place: str
) -> Iterator[tuple[Path, Record | None]]:
    """The photo of one file, alone, and then with each record."""
    shapes = field(document, "shapes", list)
    try:
        photo = _photo_of(file, document)
        key = photo.resolve()
        yield key, None
        size, data = _size(photo, document)
    except InputError:
        faults.leave("shapes", "shapes of files with faults", name, len(shapes))
        raise
    for number, (label, numbers) in enumerate(_regions(shapes, name, faults), 1):
        with faults.of(f"{name}, {_said(numbers)} ({label})", "shapes", len(numbers)):
            rle = encode_rle(union(*(shape_mask(shapes[i], size) for i in numbers)))
            record = single(
                photo, size, label, rle, id=id_of(source, split, f"{place}-{number}"),
                image_id=Path(photo.name).stem, source=source, split=split, meta=_meta(shapes[numbers[0]]),
            )  # fmt: skip
            if data is not None:
                record["image_bytes"] = data
            yield key, record


def _count_photos(folders: Sequence[Path], used: Mapping[Path, bool], faults: Faults) -> None:
    """Tell the tally of the photos that files name (used: path -> whether it gave a record), and of those beside."""
    faults.tally.read["photos"] += sum(used.values())
    for photo in (path for path, gave in used.items() if not gave):
        faults.leave("photos", "photos without shapes that can be used", photo.name)
    inside = [folder.resolve() for folder in folders]
    places = [*inside, *sorted({p.parent for p in used if any(p.is_relative_to(folder) for folder in inside)})]
    for folder in dict.fromkeys(places):
        rest = [file for file in files_in(folder, "*") if file.suffix.lower() in PHOTOS and file.resolve() not in used]
        faults.leave("photos", "photos without a JSON", rest[0].name if rest else "", len(rest))


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
    elif kind in TURNED:
        if len(points) != 4:
            raise InputError(f"a {kind} of 4 corners", str(len(points)))
        mask = polygons_to_mask([points], size)
    else:
        raise InputError(f"a shape of {', '.join(KINDS)}", f"a {kind}")
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
        with faults.of(f"{name}, shape {index}", "shapes", apart=True):
            label = " ".join(field(shape, "label", str).split())
            group = shape.get("group_id")
            if not label or not isinstance(group, int | str | None):
                raise InputError("a label, and a group_id that is a number or null", f"{label!r}, {group!r:.40}")
            if (kind := shape.get("shape_type") or "polygon") not in KINDS:
                raise Omitted(f"shapes of the kind {kind!s:.30}")
            if label in NO_LABELS:
                raise Omitted(f"shapes labelled {label}")
            found.setdefault(index if group is None else (label, group), (label, []))[1].append(index)
    yield from found.values()


def _photo_of(file: Path, document: dict[str, Any]) -> Path:
    """Where the photo lies. Of a whole path of another machine its longest end, beside the JSON or under `images/`."""
    name = document.get("imagePath")
    if not (isinstance(name, str) and name):
        return beside(file)
    path = file.parent / name.replace("\\", "/")
    if path.is_file() or not is_foreign(name):
        return path
    return end_of(name, file.parent, file.parent / "images") or file.parent / PureWindowsPath(name).name


def _size(photo: Path, document: dict[str, Any]) -> tuple[Size, bytes | None]:
    """(H, W) of the photo, and its bytes where only these are there."""
    data: bytes | None = None
    if photo.is_file() or not isinstance(document.get("imageData"), str):
        size = photo_size(photo)
    else:
        data = _decoded(document["imageData"], "imageData")
        size = _size_of(data)
    given = (whole_number(document.get("imageHeight", size[0])), whole_number(document.get("imageWidth", size[1])))
    if all(isinstance(side, int) for side in given):
        same_size(photo.name, given, size)
    return size, data


def _size_of(data: bytes) -> Size:
    try:
        return core_photo.photo_size(data)
    except InputError as error:
        raise InputError("an image in imageData", error.got, error.cure) from error


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
            crop = mask_of_picture(image)
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
