"""Parity with SciPy, and masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from miras.core.pieces import pieces

SPIRAL = np.array([[c == "#" for c in row] for row in ("#######", "......#", "#####.#", "#...#.#", "#.###.#",
                                                       "#.....#", "#######")])  # fmt: skip


@pytest.mark.parametrize(
    ("mask", "count"),
    [
        (np.zeros((3, 4), bool), 0),
        (np.ones((3, 4), bool), 1),
        (np.eye(3, dtype=bool), 3),  # corners do not touch
        (np.array([[1, 0, 1], [1, 1, 1]], bool), 1),
        (np.array([[1, 0], [0, 1], [1, 0]], bool), 3),
        (np.array([[0, 0, 1], [1, 0, 0]], bool), 2),  # the end of a row and the beginning of the next
        (SPIRAL, 1),
        (~SPIRAL, 1),
        (np.zeros((0, 4), bool), 0),
        (np.ones((1, 1), bool), 1),
    ],
)
def test_by_hand(mask: np.ndarray, count: int) -> None:
    found, number = pieces(mask)
    assert number == count and found.shape == mask.shape and ((found > 0) == mask).all()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.6, 0.8, 0.98])
@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (40, 61), (192, 192)])
def test_as_scipy(share: float, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(int(100 * share)).random(shape) < share
    wanted, count = ndimage.label(mask)
    found, number = pieces(mask)
    assert number == count and (found == wanted).all()
