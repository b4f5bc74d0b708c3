"""One mask that joins a pair, taken apart: "shoes" into the left and the right shoe.

In: a mask. Out: the two halves where it surely shows two like things beside each other. Knows no label. Left is the
picture's.
"""

from __future__ import annotations

import numpy as np

from miras.core.masks import box_of, encode_rle
from miras.core.types import Mask, Rle

LIKE = 0.5
"""Least ratio of the two areas: below it one is hidden in part, or it is another thing."""
SPECKS = 0.04
"""Share of the mask in further pieces, beyond which there are not just two."""
MIN_PIXELS = 40
"""Of each half."""


def halves(mask: Mask) -> tuple[Rle, Rle] | None:
    """(left, right) of a mask (H, W) that is two pieces of like size side by side; else None.

    Specks go to the nearer half, so that the two are the whole mask.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3), bool))
    if count < 2:
        return None
    areas = np.bincount(pieces.ravel())[1:]
    order = np.argsort(areas)[::-1]
    first, second = (int(areas[at]) for at in order[:2])
    if second < MIN_PIXELS or second < LIKE * first or areas.sum() - first - second > SPECKS * areas.sum():
        return None
    one, other = (pieces == at + 1 for at in order[:2])
    boxes = [box_of(one), box_of(other)]
    assert boxes[0] is not None and boxes[1] is not None
    if not _side_by_side(boxes[0], boxes[1]):
        return None
    if boxes[0][0] + boxes[0][2] > boxes[1][0] + boxes[1][2]:
        one, other = other, one
    specks = mask & ~one & ~other
    if specks.any():
        near = ndimage.distance_transform_edt(~one) <= ndimage.distance_transform_edt(~other)
        one, other = one | (specks & near), other | (specks & ~near)
    return encode_rle(one), encode_rle(other)


def _side_by_side(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether the two boxes (XYXY) stand next to each other: the centres apart by more than half a width, and the
    heights in touch."""
    width = 0.5 * (one[2] - one[0] + other[2] - other[0])
    height = 0.5 * (one[3] - one[1] + other[3] - other[1])
    across = 0.5 * abs(one[0] + one[2] - other[0] - other[2])
    down = 0.5 * abs(one[1] + one[3] - other[1] - other[3])
    return across > 0.5 * width and down < 1.5 * height and across > 0.5 * down
