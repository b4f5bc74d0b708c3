"""A drawn box bounds what is meant: which candidate, cut at which level, spans the box best.

In: mask logits of one region, the box, points. Out: a mask inside the box. The decoder alone takes a box too
lightly: of 141 parts on calibration photos its masks had a mean IoU of 21, so fitted 54; with the phrase 57 and 71
(docs/decisions/0017-a-drawn-box-bounds-the-mask.md). Knows no words and no model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from miras.core.types import Box, Mask
from miras.model.numeric.views import Floats, logits_to_photo

LEVELS = (0.0, -0.5, 0.5, -1.0, 1.0, -1.5, 1.5, -2.0, 2.0, -3.0)
"""Logits that can be the border, the plainest first: of equal fits the first counts."""
EQUAL = 1e-3
"""Difference of two fits that does not count."""


def boxed(
    logits_Mhw: Floats, box: Box, size: tuple[int, int], points: NDArray[np.float32] | None, best: int = 0
) -> tuple[Mask, int]:
    """Mask (H, W) within the box, and its candidate.

    logits_Mhw: of M candidates in the view, > 0 = inside. box: XYXY in photo pixels. points: (P, 3) x, y, label; what
    breaks fewer of them comes first. best: candidate that is tried first, and used as it is where a point inside the
    region lies outside the box, which is then no bound.
    """
    if points is not None and any(label > 0.5 and not _holds(box, x, y) for x, y, label in points.tolist()):
        return logits_to_photo(logits_Mhw[best], size), best
    side = logits_Mhw.shape[-1]
    frame = (box[0] * side / size[1], box[1] * side / size[0], box[2] * side / size[1], box[3] * side / size[0])
    inside = np.zeros((side, side), np.bool_)
    inside[_span(frame[1], frame[3], side), _span(frame[0], frame[2], side)] = True
    found: tuple[tuple[float, float], int, float] | None = None
    for index, level in _tries(len(logits_Mhw), best):
        mask_hw = (logits_Mhw[index] > level) & inside
        rank = (-_broken(mask_hw, points, size), _fit(mask_hw, frame))
        if found is None or rank[0] > found[0][0] or (rank[0] == found[0][0] and rank[1] > found[0][1] + EQUAL):
            found = rank, index, level
    assert found is not None
    mask = np.zeros(size, np.bool_)
    rows, columns = _span(box[1], box[3], size[0]), _span(box[0], box[2], size[1])
    mask[rows, columns] = logits_to_photo(logits_Mhw[found[1]] - np.float32(found[2]), size)[rows, columns]
    return mask, found[1]


def _tries(candidates: int, best: int) -> Iterator[tuple[int, float]]:
    order = [best, *(index for index in range(candidates) if index != best)]
    return ((index, level) for level in LEVELS for index in order)


def _holds(box: Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _span(low: float, high: float, side: int) -> slice:
    """Cells between two edges, one at least."""
    first = min(max(round(low), 0), side - 1)
    return slice(first, max(first + 1, min(round(high), side)))


def _fit(mask_hw: Mask, frame: Box) -> float:
    """IoU of the mask's own box with the frame, in cells; 0 for no mask."""
    rows, columns = np.flatnonzero(mask_hw.any(1)), np.flatnonzero(mask_hw.any(0))
    if not len(rows):
        return 0.0
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    wide = max(0.0, min(right, frame[2]) - max(left, frame[0]))
    high = max(0.0, min(bottom, frame[3]) - max(top, frame[1]))
    both = wide * high
    area = (right - left) * (bottom - top) + (frame[2] - frame[0]) * (frame[3] - frame[1])
    return both / (area - both)


def _broken(mask_hw: Mask, points: NDArray[np.float32] | None, size: tuple[int, int]) -> int:
    """How many points lie on the wrong side."""
    if points is None:
        return 0
    side = mask_hw.shape[-1]
    return sum(
        bool(mask_hw[min(int(y * side / size[0]), side - 1), min(int(x * side / size[1]), side - 1)]) != (label > 0.5)
        for x, y, label in points.tolist()
    )
