from __future__ import annotations

import numpy as np
import pytest

from miras.core.masks import decode_rle
from miras.data.dialogues.pairs import halves


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """XYXY boxes in 60 x 80."""
    drawn = np.zeros((60, 80), bool)
    for x0, y0, x1, y1 in boxes:
        drawn[y0:y1, x0:x1] = True
    return drawn


def test_two_like_pieces_side_by_side_are_the_left_and_the_right_one() -> None:
    left, right = (10, 40, 22, 50), (40, 42, 50, 52)
    for order in ((left, right), (right, left)):
        two = halves(mask(*order))
        assert two is not None
        assert np.array_equal(decode_rle(two[0]), mask(left)) and np.array_equal(decode_rle(two[1]), mask(right))


def test_specks_go_with_the_nearer_half() -> None:
    whole = mask((10, 40, 22, 50), (40, 42, 50, 52), (52, 44, 54, 46))
    two = halves(whole)
    assert two is not None
    first, second = map(decode_rle, two)
    assert np.array_equal(first | second, whole) and not (first & second).any() and second[45, 53]


@pytest.mark.parametrize(
    "boxes",
    [
        [(10, 40, 22, 50)],
        [(10, 40, 22, 50), (40, 42, 45, 47)],  # one is half hidden
        [(10, 40, 22, 50), (30, 40, 42, 50), (50, 40, 60, 50)],
        [(10, 5, 30, 15), (12, 30, 32, 40)],  # above each other: the shaft and the foot of one boot
        [(10, 40, 14, 44), (40, 40, 44, 44)],  # specks
        [],
    ],
    ids=["one", "unlike", "three", "stacked", "small", "none"],
)
def test_no_pair(boxes: list[tuple[int, int, int, int]]) -> None:
    assert halves(mask(*boxes)) is None
