"""Which of the separate pieces of a mask are meant: what each is known by, and the mask of those that are.

In: mask logits of one phrase; for each piece whether it is meant (`model.instances` says so). Out: the same logits, the
pieces that are not meant turned to outside. Knows no words. N pieces, F facts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from miras.core.pieces import pieces
from miras.model.numeric.prediction import without_specks
from miras.model.numeric.views import Floats

MOST = 16
"""Pieces that are told apart, the largest; what is smaller goes with the nearest of them."""
_AT_ONCE = 256
"""Pixels whose distances are held in memory."""
RANKS = 4
ORDERS = 6
"""From the left, right, top and bottom, and by size, largest and smallest first."""
FACTS = 11 + (ORDERS + 1) * RANKS
Meant = Callable[[Floats], Floats]
"""Facts (N, F) -> logits (N,) that a piece is meant."""


def pieces_of(mask_hw: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """(h, w) numbers from 1 of the 4-connected pieces, the largest first, and how many there are, at most `MOST`."""
    found, count = pieces(mask_hw)
    if count < 2:
        return found, count
    order = np.argsort(-np.bincount(found.ravel())[1:], kind="stable")
    number = np.zeros(count + 1, np.int32)
    number[order[:MOST] + 1] = np.arange(1, min(count, MOST) + 1)
    large = number[found]
    if count > MOST:
        large = nearest(large, mask_hw)
    return large, min(count, MOST)


def nearest(numbers_hw: NDArray[np.int32], mask_hw: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Numbers of the pixels of a mask: those that have none (0) get that of the nearest pixel with one, of several the
    first from left to right, then downwards; as SciPy's distance transform chooses."""
    x_N, y_N = np.nonzero(numbers_hw.T)
    bare_y, bare_x = np.nonzero(mask_hw & (numbers_hw == 0))
    found = np.where(mask_hw, numbers_hw, 0).astype(np.int32)
    for first in range(0, len(bare_y), _AT_ONCE):
        y, x = bare_y[first : first + _AT_ONCE], bare_x[first : first + _AT_ONCE]
        closest = ((y[:, None] - y_N) ** 2 + (x[:, None] - x_N) ** 2).argmin(1)
        found[y, x] = numbers_hw[y_N[closest], x_N[closest]]
    return found


def facts_of(pieces_hw: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """(N, FACTS) what each piece is known by: centre, box, size, its distance from the middle of all, its rank in each
    order and the number of pieces, up to `RANKS`."""
    height, width = pieces_hw.shape
    areas = np.bincount(pieces_hw.ravel(), minlength=count + 1)[1:].astype(np.float32)
    places = [np.nonzero(pieces_hw == number) for number in range(1, count + 1)]
    boxes = np.array([(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places], np.float32)
    boxes /= (width, height, width, height)
    centre = np.array([((x.mean() + 0.5) / width, (y.mean() + 0.5) / height) for y, x in places], np.float32)
    size = np.stack([np.sqrt(areas / (height * width)), areas / areas.sum(), areas / areas.max()], 1)
    x, y = centre.T
    ranks = [np.argsort(np.argsort(key, kind="stable"), kind="stable") for key in (x, -x, y, -y, -areas, areas)]
    known = [np.eye(RANKS, dtype=np.float32)[np.minimum(rank, RANKS - 1)] for rank in ranks]
    number = np.tile(np.eye(RANKS, dtype=np.float32)[min(count, RANKS) - 1], (count, 1))
    return np.concatenate([centre, boxes, size, centre - centre.mean(0), *known, number], 1).astype(np.float32)


def chosen(logits_hw: Floats, meant: Meant) -> Floats:
    """The mask logits with the sign of the pieces turned that are not meant; at least one stays."""
    numbers, count = pieces_of(logits_hw > 0)
    if count < 2:
        return logits_hw
    logits_N = meant(facts_of(numbers, count))
    out = np.flatnonzero((logits_N < 0) & (logits_N < logits_N.max())) + 1
    return np.where(np.isin(numbers, out), -logits_hw, logits_hw)


def cleaned(logits_Mhw: Floats, meant: Meant | None) -> Floats:
    """Candidates without specks, of each the pieces that are meant; None: all of them."""
    clean = [without_specks(one) for one in logits_Mhw]
    return np.stack(clean if meant is None else [chosen(one, meant) for one in clean])
