"""A box bounds the mask, and the candidate and level that span it best are taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.model.boxed import LEVELS, boxed

SIDE = 32


def hill(x: float, y: float, wide: float, high: float = 3.0) -> np.ndarray:
    """Logits that fall from `high` at (x, y), in cells."""
    rows, columns = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32), indexing="ij")
    return high - ((columns - x) ** 2 + (rows - y) ** 2) / wide**2


@given(st.integers(0, 60), st.integers(0, 40), st.integers(2, 30), st.integers(2, 20), st.integers(0, 99))
def test_nothing_is_selected_outside(x, y, wide, high, seed):
    logits = np.random.default_rng(seed).normal(size=(3, SIDE, SIDE)).astype(np.float32)
    box = (float(x), float(y), float(min(x + wide, 90)), float(min(y + high, 60)))
    mask, index = boxed(logits, box, (60, 90), None)
    outside = mask.copy()
    outside[round(box[1]) : round(box[3]), round(box[0]) : round(box[2])] = False
    assert mask.shape == (60, 90) and not outside.any() and 0 <= index < 3


def test_the_level_that_spans_the_box_is_taken():
    """The plain border is too narrow for the box, a lower one fits."""
    narrow = hill(16, 16, 3.0)
    plain = float((narrow > 0).sum())
    box = (10.0, 10.0, 23.0, 23.0)
    mask, _ = boxed(narrow[None], box, (SIDE, SIDE), None)
    assert mask.sum() > 1.2 * plain
    assert mask[16, 10] or mask[16, 11]


def test_the_candidate_that_spans_the_box_is_taken():
    logits = np.stack([hill(5, 5, 3.0), hill(20, 20, 3.0)])
    mask, index = boxed(logits, (14.0, 14.0, 26.0, 26.0), (SIDE, SIDE), None)
    assert index == 1 and mask[20, 20] and not mask[5, 5]


def test_of_equal_fits_the_plain_one():
    logits = np.full((2, SIDE, SIDE), -4.0, np.float32)
    logits[:, 8:16, 8:16] = 4.0
    mask, index = boxed(logits, (8.0, 8.0, 16.0, 16.0), (SIDE, SIDE), None)
    assert index == 0 and mask.sum() == 64 and LEVELS[0] == 0


@pytest.mark.parametrize(("label", "inside"), [(1.0, True), (0.0, False)])
def test_points_come_first(label, inside):
    logits = np.stack([hill(12, 12, 2.0), hill(20, 20, 2.0)])
    points = np.array([[20, 20, label]], np.float32)
    mask, _ = boxed(logits, (6.0, 6.0, 26.0, 26.0), (SIDE, SIDE), points)
    assert bool(mask[20, 20]) is inside


def test_a_point_of_the_region_outside_the_box_lifts_the_bound():
    logits = np.stack([hill(20, 20, 4.0)])
    mask, _ = boxed(logits, (0.0, 0.0, 10.0, 10.0), (SIDE, SIDE), np.array([[20, 20, 1]], np.float32))
    assert mask[20, 20]


def test_a_box_of_a_pixel():
    mask, _ = boxed(np.ones((1, SIDE, SIDE), np.float32), (3.2, 4.1, 3.4, 4.3), (500, 700), None)
    assert mask.sum() == 1
