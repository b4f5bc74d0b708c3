"""Masks as files other tools read: PNG, run lengths, COCO instances, LabelMe, SVG.

In: labelled masks of one photo. Out: files, each written whole or not at all. Every format gives the
mask back exactly. Knows no session and no model.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.masks import area, as_mask, box_of, encode_rle, mask_to_polygons, ring_area
from miras.core.types import Mask

FORMATS = ("png", "rle", "coco", "labelme", "svg")
Size = tuple[int, int]
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, eq=False)
class Item:
    """A mask (H, W) with its words; score 0..1 where there is one. Raises InputError for what is no mask."""

    label: str
    mask: Mask
    score: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", as_mask(self.mask))


def write(folder: Path, items: Sequence[Item], size: Size, image: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the items in each format; returns the files. size: (H, W). image: the photo's file name.

    With the photo `cup.jpg`: `cup.mask.png` (0 and 255; `cup.mask-2.png` and so on for further
    items), `cup.rle.json`, `cup.coco.json` (instances, run lengths), `cup.json` (LabelMe: polygons,
    or a mask shape where there are holes), `cup.svg` (paths, even-odd). Raises InputError.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(f"formats out of {', '.join(FORMATS)}", ", ".join(unknown) or "none")
    if not items:
        raise InputError("something selected", "nothing", "ask for something first")
    stem = Path(image).stem
    contents: dict[str, bytes] = {}
    if "png" in formats:
        for number, item in enumerate(items, 1):
            contents[f"{stem}.mask.png" if number == 1 else f"{stem}.mask-{number}.png"] = png(item.mask)
    if "rle" in formats:
        contents[f"{stem}.rle.json"] = _json(rle_document(items, size, image))
    if "coco" in formats:
        contents[f"{stem}.coco.json"] = _json(coco_document(items, size, image))
    if "labelme" in formats:
        contents[f"{stem}.json"] = _json(labelme_document(items, size, image))
    if "svg" in formats:
        contents[f"{stem}.svg"] = svg(items, size).encode("utf-8")
    return [write_whole(folder / name, content) for name, content in contents.items()]


def png(mask: NDArray[np.bool_]) -> bytes:
    """One channel, 255 = selected, 0 = not."""
    return _encoded(as_mask(mask).astype(np.uint8) * np.uint8(255))


def rle_document(items: Sequence[Item], size: Size, image: str) -> dict[str, Any]:
    """{"image", "size": [H, W], "masks": [{"label", "score", "area", "rle"}]}."""
    masks = [
        {"label": item.label, "score": item.score, "area": area(item.mask), "rle": encode_rle(item.mask)}
        for item in items
    ]
    return {"image": image, "size": list(size), "masks": masks}


def coco_document(items: Sequence[Item], size: Size, image: str) -> dict[str, Any]:
    """COCO instances: one image, one category for each label, boxes XYWH; empty masks left out."""
    labels = sorted({item.label for item in items})
    annotations: list[dict[str, Any]] = []
    for item in items:
        box = box_of(item.mask)
        if box is None:
            continue
        x1, y1, x2, y2 = box
        annotation = {
            "id": len(annotations) + 1, "image_id": 1, "category_id": labels.index(item.label) + 1, "iscrowd": 0,
            "segmentation": encode_rle(item.mask), "area": area(item.mask), "bbox": [x1, y1, x2 - x1, y2 - y1],
        }  # fmt: skip
        annotations.append(annotation if item.score is None else {**annotation, "score": item.score})
    return {
        "images": [{"id": 1, "file_name": image, "height": size[0], "width": size[1]}],
        "categories": [{"id": i, "name": label, "supercategory": ""} for i, label in enumerate(labels, 1)],
        "annotations": annotations,
    }


def labelme_document(items: Sequence[Item], size: Size, image: str) -> dict[str, Any]:
    """LabelMe 5: one polygon for each part, the parts of one mask in one group; a mask shape where
    there are holes, which polygons cannot say."""
    shapes: list[dict[str, Any]] = []
    for group, item in enumerate(items, 1):
        rings = mask_to_polygons(item.mask)
        if any(ring_area(ring) < 0 for ring in rings):
            shapes.append(_mask_shape(item, group))
        else:
            shapes += [_shape(item.label, "polygon", [list(corner) for corner in ring], group) for ring in rings]
    return {
        "version": "5.3.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
        "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip


def svg(items: Sequence[Item], size: Size) -> str:
    """One even-odd path for each mask, in photo pixels."""
    height, width = size
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ]
    for item in items:
        rings = (" ".join(f"{x:g} {y:g}" for x, y in ring) for ring in mask_to_polygons(item.mask))
        path = " ".join(f"M {ring} Z" for ring in rings)
        title = escape(NOT_XML.sub("", item.label))
        lines.append(f'  <path fill-rule="evenodd" d="{path}"><title>{title}</title></path>')
    return "\n".join([*lines, "</svg>", ""])


def _shape(label: str, kind: str, points: list[list[float]], group: int) -> dict[str, Any]:
    return {
        "label": label, "points": points, "group_id": group, "description": "", "shape_type": kind,
        "flags": {}, "mask": None,
    }  # fmt: skip


def _mask_shape(item: Item, group: int) -> dict[str, Any]:
    """LabelMe's mask shape: the crop of the box as PNG, the box's corners with both ends included."""
    x1, y1, x2, y2 = (int(side) for side in box_of(item.mask) or (0, 0, 1, 1))
    crop = _encoded(item.mask[y1:y2, x1:x2].astype(np.uint8))
    shape = _shape(item.label, "mask", [[x1, y1], [x2 - 1, y2 - 1]], group)
    return {**shape, "mask": base64.b64encode(crop).decode("ascii")}


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
