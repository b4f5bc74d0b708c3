"""Figures that annotation tools draw, as masks: polygons, boxes, ellipses, turned or not.

In: numbers in pixels (x to the right, y down). Out: (H, W) masks. A pixel belongs to a figure when its centre lies
inside. Angles are degrees, clockwise as seen on the screen. Knows no file format.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import Polygon, polygons_to_mask
from miras.core.types import Mask

FARTHEST = 1e6
"""Pixels: a coordinate beyond it is a fault."""
Size = tuple[int, int]


def number(value: Any, what: str) -> float:
    """A finite number, also as text. Raises InputError for anything else, and one beyond FARTHEST."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not abs(found) <= FARTHEST:
        raise InputError(f"a number for {what}", f"{value!r:.40}")
    return found


def whole(value: Any, what: str) -> int:
    """A whole number from 0, also as text ("3", "3.0"). Raises InputError for anything else."""
    found = number(value, what)
    if found < 0 or found != int(found):
        raise InputError(f"a whole number from 0 for {what}", f"{value!r:.40}")
    return int(found)


def ring(points: Iterable[Sequence[Any]]) -> Polygon:
    """Corners (x, y), at least three. Raises InputError."""
    found: Polygon = []
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2:
            raise InputError("points (x, y)", f"{point!r:.40}")
        found.append((number(point[0], "x"), number(point[1], "y")))
    if len(found) < 3:
        raise InputError("a polygon of at least 3 points", str(len(found)))
    return found


def polygon(corners: Polygon, size: Size) -> Mask:
    """The pixels inside; where an outline crosses itself, by the even-odd rule. Raises InputError for none."""
    return shown(filled(corners, size))


def filled(corners: Polygon, size: Size) -> Mask:
    """The same, which may be empty."""
    return polygons_to_mask([corners], size)


def corners_of(x1: float, y1: float, x2: float, y2: float) -> Polygon:
    """Those of a box, clockwise from (x1, y1)."""
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def turned(corners: Polygon, degrees: float, about: tuple[float, float]) -> Polygon:
    """The corners turned about a point."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = about
    return [
        (x0 + cos * (x - x0) - sin * (y - y0), y0 + sin * (x - x0) + cos * (y - y0)) for x, y in corners
    ]  # fmt: skip


def ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float, size: Size) -> Mask:
    """The pixels within; radii along x and y before it is turned about its centre."""
    if min(radii) <= 0:
        raise InputError("radii over 0", f"{radii[0]:g} and {radii[1]:g}")
    rows, columns = np.ogrid[: size[0], : size[1]]
    x, y = columns + 0.5 - centre[0], rows + 0.5 - centre[1]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    inside: Mask = ((cos * x + sin * y) / radii[0]) ** 2 + ((cos * y - sin * x) / radii[1]) ** 2 <= 1
    return shown(inside)


def pasted(crop: Mask, left: int, top: int, size: Size) -> Mask:
    """A mask of a part of the photo, its upper left pixel at (left, top). Raises InputError when it sticks out."""
    height, width = crop.shape
    if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise InputError(f"a mask inside {size[1]} x {size[0]} pixels", f"{width} x {height} from {left}, {top}")
    mask = np.zeros(size, np.bool_)
    mask[top : top + height, left : left + width] = crop
    return shown(mask)


def shown(mask: Mask) -> Mask:
    """The mask itself. Raises InputError when it has no pixel of the photo."""
    if not mask.any():
        raise InputError("a figure with pixels of the photo", "none")
    return mask
