"""What the decoder drew, as masks and scores.

In: mask logits and IoU logits of one region, what a hand points at. Out: candidates without specks, their scores, masks
of the photo. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miras.core.pieces import pieces
from miras.core.types import Box, Mask
from miras.model.numeric.views import Floats, box_to_view, logits_to_photo, points_to_view

OUTSIDE, INSIDE, TOP_LEFT, BOTTOM_RIGHT, PADDING = range(5)
"""Labels of points; a box is two of them; padding is ignored."""
SPECK = 0.15
"""Share of the strongest piece's evidence below which a piece of a mask is a speck
(docs/decisions/0021-specks-are-removed.md)."""


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """logits_Mhw: at stride 4 of the detail view, > 0 = inside. iou_M: predicted IoU, 0..1. Both float32."""

    logits_Mhw: Floats
    iou_M: Floats
    best: int

    def mask(self, size: tuple[int, int], index: int | None = None) -> Mask:
        """Candidate `index` (default: the best) as (H, W) bool of the photo."""
        return logits_to_photo(self.logits_Mhw[self.best if index is None else index], size)


def without_specks(logits_hw: Floats) -> Floats:
    """Mask logits (h, w), > 0 = inside, with the sign of weak pieces turned: those whose logits sum up to less than
    SPECK of those of the strongest piece. Pieces are 4-connected."""
    found, count = pieces(logits_hw > 0)
    if count < 2:
        return logits_hw
    evidence = np.bincount(found.ravel(), logits_hw.ravel())[1:]
    weak = np.isin(found, np.flatnonzero(evidence < SPECK * evidence.max()) + 1)
    return np.where(weak, -logits_hw, logits_hw)


def prompt_points(points: Floats | None, box: Box | None, size: tuple[int, int]) -> Floats:
    """Points (P, 3) and the corners of a box, in photo pixels of a photo (H, W), as the decoder takes them: (Q, 3)
    with x, y in 0..1 and what each is; Q = 0 for neither."""
    rows = [np.zeros((0, 3), np.float32)]
    if points is not None and len(points):
        inside = points_to_view(points, size)
        inside[:, 2] = np.where(inside[:, 2] > 0.5, INSIDE, OUTSIDE)
        rows.append(inside)
    if box is not None:
        corners = box_to_view(box, size)
        rows.append(np.array([[*corners[:2], TOP_LEFT], [*corners[2:], BOTTOM_RIGHT]], np.float32))
    return np.concatenate(rows)


def scores(iou_M: Floats, calibration: Sequence[float], naming: float) -> Floats:
    """Predicted IoU (M,) in 0..1, of its logits. calibration: slope, shift, weight of `naming`, the log chance that the
    name is the right one."""
    slope, shift, weight = (np.float32(value) for value in calibration)
    logits: NDArray[np.float32] = slope * iou_M + shift + weight * np.float32(naming)
    return np.float32(1) / (np.float32(1) + np.exp(-logits))
