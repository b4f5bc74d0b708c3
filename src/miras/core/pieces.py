"""The pieces of a mask: what is connected by its sides.

In: a mask. Out: the number of its piece for each pixel. Run lengths and a union of those that touch; equal to SciPy's
`ndimage.label`, whose import takes longer than a mask (docs/decisions/0033-start-up.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from miras.core.types import Mask


def pieces(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """For each pixel of a mask (H, W) the number of its 4-connected piece from 1, in the order of their first pixels,
    0 outside; and how many there are."""
    height, width = mask.shape
    step = width + 1  # a gap after each row: no run goes on in the next
    edges = np.zeros(height * step + 2, np.int8)
    edges[1:-1].reshape(height, step)[:, :width] = mask
    change = np.diff(edges)
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    first = np.searchsorted(ends, starts - step, side="right")  # runs of the row above that touch this one
    behind = np.searchsorted(starts, ends - step, side="left")
    roots = list(range(len(starts)))

    def root(run: int) -> int:
        while roots[run] != run:
            roots[run] = run = roots[roots[run]]
        return run

    for run, (low, high) in enumerate(zip(first.tolist(), behind.tolist(), strict=True)):
        for above in range(low, high):
            one, other = sorted((root(run), root(above)))
            roots[other] = one
    _, number = np.unique([root(run) for run in range(len(starts))], return_inverse=True)
    found = np.zeros((height, width), np.int32)
    found[np.asarray(mask, bool)] = np.repeat(number + 1, ends - starts)
    return found, int(number.max()) + 1 if len(number) else 0
