"""What a vision model may answer: the JSON schema, how an answer is checked, and how it becomes points and boxes.

In: the text of an answer; a reply of the data. Out: plain values; pixels of a photo; the reply as the model would have
given it. What it means stands in prompts/vision.md. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.llm.structured import read_json
from miras.core.masks import box_of
from miras.core.types import Box, Operator, Turn
from miras.eval.protocol import operator_wanted

GRID = 1000
"""Coordinates of the model: whole numbers from 0 to this, XYXY."""
MOST_REGIONS, MOST_POINTS = 30, 8
_NUMBER = {"type": "integer", "minimum": 0, "maximum": GRID}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most}


SCHEMA = _object(
    text={"type": "string"},
    found={"type": "boolean"},
    operation={"type": "string", "enum": ["replace", "add", "cut", "undo", "none"]},
    regions=_list(
        _object(
            phrase={"type": "string"},
            box=_list(_NUMBER, 4),
            points=_list(_object(x=_NUMBER, y=_NUMBER, inside={"type": "boolean"}), MOST_POINTS),
        ),
        MOST_REGIONS,
    ),
)
"""JSON schema of an answer; what it means stands in prompts/vision.md."""


def read_answer(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The answer of a text, or None and what is wrong with it, in words that can be sent back."""
    value, faults = read_json(text, SCHEMA)
    if value is None:
        return None, faults
    names, operation = value["regions"], value["operation"]
    if not value["found"] and (names or operation != "none"):
        faults.append('found is false: operation must be "none" and regions empty')
    elif value["found"] and operation in ("replace", "add", "cut") and not names:
        faults.append(f'operation "{operation}" needs at least one region')
    elif operation in ("undo", "none") and names:
        faults.append(f'operation "{operation}" names no regions')
    for index, region in enumerate(names):
        box, where = region["box"], f"regions[{index}]"
        if len(box) not in (0, 4):
            faults.append(f"{where}.box: must be [x1, y1, x2, y2], or empty (got {len(box)} numbers)")
        elif box and not (box[0] < box[2] and box[1] < box[3]):
            faults.append(f"{where}.box: x1 must be less than x2 and y1 less than y2 (got {box})")
        if not box and not any(point["inside"] for point in region["points"]):
            faults.append(f"{where}: needs a box or a point inside")
    return (None if faults else value), faults


def pixels_of(region: Mapping[str, Any], size: tuple[int, int]) -> tuple[NDArray[np.float32] | None, Box | None]:
    """Points (P, 3) and box of a region of an answer, in pixels of a photo of size (H, W); None for none."""
    scale = np.array([size[1], size[0]], np.float64) / GRID
    rows = [(point["x"] * scale[0], point["y"] * scale[1], float(point["inside"])) for point in region["points"]]
    if not region["box"]:
        return np.array(rows, np.float32), None
    x1, y1, x2, y2 = (float(side) for side in np.array(region["box"]) * np.tile(scale, 2))
    return (np.array(rows, np.float32) if rows else None), (x1, y1, x2, y2)


def value_of(gold: Turn) -> dict[str, Any]:
    """A reply of the data as the model would have given it; empty masks have no box and are left out. It has no
    operation for all but: such a reply is words."""
    operator = operator_wanted(gold)
    refused = operator is Operator.REJECT
    regions = []
    for region in () if refused or operator in (Operator.UNDO, Operator.EXCEPT) else gold.regions:
        box = box_of(region.mask)
        if box is not None:
            height, width = region.mask.shape
            sides = [round(side * GRID / whole) for side, whole in zip(box, (width, height) * 2, strict=True)]
            regions.append({"phrase": region.phrase, "box": sides, "points": []})
    operation = "none" if operator in (None, Operator.EXCEPT) or refused else str(operator)
    return {"text": gold.text, "found": not refused, "operation": operation, "regions": regions}
