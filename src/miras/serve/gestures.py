"""What a hand did on the page: points, a box, scribbles, a mask; as the API takes it, and as the session does.

In: a body, checked, and the photo's size. Out: keywords of `ChatSession.refine`. Knows no session.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field, model_validator

from miras.core.errors import InputError
from miras.core.masks import decode_rle, mask_of_picture
from miras.core.types import Mask
from miras.serve.schemas import Body, Label, Number, RegionId, Whole

HINTS = 24
"""Points that all scribbles together become at most."""
Size = tuple[int, int]


class Point(Body):
    """A click in photo pixels: label 1 = belongs to the region."""

    x: Number
    y: Number
    label: Label = 1


class Stroke(Body):
    """A scribble: its path in photo pixels, the pen's diameter."""

    path: Annotated[
        list[Annotated[list[Number], Field(min_length=2, max_length=2)]], Field(min_length=1, max_length=2000)
    ]
    label: Label = 1
    width: Annotated[Number, Field(ge=1, le=1000)] = 12


class Rle(Body):
    """COCO run lengths: size [H, W]."""

    size: Annotated[list[Annotated[Whole, Field(ge=0, le=2**31)]], Field(min_length=2, max_length=2)]
    counts: str | list[Annotated[Whole, Field(ge=0, le=2**40)]]


class MaskBody(Body):
    """A mask as run lengths, or as PNG in base64."""

    rle: Rle | None = None
    png: str | None = None

    @model_validator(mode="after")
    def _one(self) -> MaskBody:
        if (self.rle is None) == (self.png is None):
            raise ValueError("rle or png, one of them")
        return self


class Refine(Body):
    """What the hand did: a mask, strokes, or points and a box."""

    region: RegionId | None = None
    points: Annotated[list[Point], Field(min_length=1, max_length=64)] | None = None
    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = None
    strokes: Annotated[list[Stroke], Field(min_length=1, max_length=64)] | None = None
    paint: bool = False
    mask: MaskBody | None = None

    @model_validator(mode="after")
    def _one(self) -> Refine:
        prompted = self.points is not None or self.box is not None
        if prompted + (self.strokes is not None) + (self.mask is not None) != 1:
            raise ValueError("exactly one of mask, strokes, or points and box")
        return self


def keywords(body: Refine, size: Size, old: Mask | None) -> dict[str, Any]:
    """`points`, `box` or `mask` for `refine`. size: (H, W). old: the region that is changed, None where there is none.

    Raises InputError for what lies outside of the photo, and for a mask without pixels.
    """
    if body.mask is not None:
        return {"mask": _some(given_mask(body.mask, size))}
    if body.strokes is not None:
        _inside(body.strokes, size)
        if body.paint:
            return {"mask": _some(painted(body.strokes, size, old))}
        return {"points": hints(body.strokes)}
    found: dict[str, Any] = {}
    if body.points is not None:
        found["points"] = [(point.x, point.y, point.label) for point in body.points]
    if body.box is not None:
        found["box"] = tuple(body.box)
    return found


def given_mask(body: MaskBody, size: Size) -> Mask:
    """The mask of a body, which must have the photo's size; that is known before anything is decoded."""
    height, width = size
    expected = f"a mask of the photo's size, {width} x {height} pixels"
    if body.rle is not None:
        if list(body.rle.size) != [height, width]:
            raise InputError(expected, f"{body.rle.size[1]} x {body.rle.size[0]}", "give size as [height, width]")
        return decode_rle({"size": [height, width], "counts": body.rle.counts})
    try:
        content = base64.b64decode((body.png or "").encode("ascii", "replace"), validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != (width, height):
                raise InputError(expected, f"{image.width} x {image.height}", "resize it")
            image.load()
            return mask_of_picture(image)
    except InputError:
        raise
    except (binascii.Error, ValueError) as error:
        raise InputError("a PNG in base64", "other text", "leave a data: prefix out") from error
    except Exception as error:  # decoders raise whatever the bytes make them
        raise InputError("a whole PNG of black and white", "bytes that are none", "save it again") from error


def painted(strokes: list[Stroke], size: Size, old: Mask | None) -> Mask:
    """The mask with scribbles painted (label 1) and erased (label 0), in their order; round pens."""
    mask = np.zeros(size, np.uint8) if old is None else old.astype(np.uint8)
    picture = Image.fromarray(mask)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        path, half = [(x, y) for x, y in stroke.path], stroke.width / 2
        if len(path) > 1 and stroke.width >= 1.5:
            draw.line(path, fill=stroke.label, width=round(stroke.width), joint="curve")
        elif len(path) > 1:
            draw.line(path, fill=stroke.label)
        for x, y in path:
            draw.ellipse((x - half, y - half, x + half, y + half), fill=stroke.label)
    return np.asarray(picture).astype(np.bool_)


def hints(strokes: list[Stroke]) -> list[tuple[float, float, int]]:
    """Points along the scribbles, evenly spaced, each scribble by its length; at least one of each."""
    lengths = [max(float(_steps(stroke).sum()), 1.0) for stroke in strokes]
    found: list[tuple[float, float, int]] = []
    for stroke, length in zip(strokes, lengths, strict=True):
        count = max(1, min(round(HINTS * length / sum(lengths)), round(length / 4) + 1, HINTS))
        found += [(x, y, stroke.label) for x, y in _along(stroke, count)]
    return found


def _along(stroke: Stroke, count: int) -> list[tuple[float, float]]:
    """Points in the middle of `count` equal stretches of a path."""
    path = np.asarray(stroke.path, np.float64)
    ends = np.concatenate([[0.0], np.cumsum(_steps(stroke))])
    if ends[-1] == 0:
        return [(float(path[0, 0]), float(path[0, 1]))]
    places = (np.arange(count) + 0.5) / count * ends[-1]
    x, y = (np.interp(places, ends, path[:, axis]) for axis in (0, 1))
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _steps(stroke: Stroke) -> Any:
    """Lengths between the points of a path."""
    return np.hypot(*np.diff(np.asarray(stroke.path, np.float64), axis=0).T) if len(stroke.path) > 1 else np.zeros(1)


def _inside(strokes: list[Stroke], size: Size) -> None:
    height, width = size
    for stroke in strokes:
        for x, y in stroke.path:
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(f"scribbles inside the photo, {width} x {height} pixels", f"({x:g}, {y:g})", "move it")


def _some(mask: Mask) -> Mask:
    if not mask.any():
        raise InputError("a mask with pixels", "an empty one", "undo, or take the region away in words")
    return mask
