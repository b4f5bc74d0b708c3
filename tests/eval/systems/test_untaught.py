"""Masks that follow from the photo alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from miras.core.masks import box_of
from miras.eval.systems import untaught


def grey(height: int, width: int, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("size", [(400, 600), (601, 333), (37, 500)])
def test_the_ellipse_is_centred_and_takes_pi_over_16(size):
    mask = untaught.ellipse(grey(*size))
    assert mask.shape == size and mask.dtype == np.bool_
    assert mask.mean() == pytest.approx(math.pi / 16, rel=0.02)
    assert np.array_equal(mask, mask[::-1]) and np.array_equal(mask, mask[:, ::-1])
    x1, y1, x2, y2 = box_of(mask)
    assert (y2 - y1, x2 - x1) == (pytest.approx(size[0] / 2, abs=1.01), pytest.approx(size[1] / 2, abs=1.01))


def test_the_ellipse_to_the_pixel():
    wanted = ["........", "........", "...##...", "..####..", "..####..", "...##...", "........", "........"]
    assert ["".join(".#"[int(pixel)] for pixel in row) for row in untaught.ellipse(grey(8, 8))] == wanted


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(70, 120, (height, width, 3)).astype(np.uint8)


def test_what_stands_out_is_found():
    """A red square on rough ground."""
    pixels = noise(240, 320)
    pixels[60:90, 160:200] = (220, 20, 20)
    mask = untaught.salient(pixels)
    assert mask[75, 180] and mask.mean() < 0.1


@pytest.mark.parametrize("size", [(320, 200), (3, 200), (200, 3), (1, 2), (1, 1)])
def test_photos_of_any_shape(size):
    mask = untaught.salient(noise(*size))
    assert mask.shape == size and mask.any()


@pytest.mark.parametrize("value", [0, 90, 255])
def test_where_nothing_stands_out_all_is_selected(value):
    assert untaught.salient(grey(30, 40, value)).all()


def test_the_largest_piece_alone(monkeypatch):
    """Two pieces above the threshold: three cells joined by a corner, and one."""
    cells = np.zeros((4, 64))
    cells[0, 0] = cells[0, 1] = cells[1, 2] = 1.0
    cells[3, 60] = 1.0
    monkeypatch.setattr(untaught, "saliency", lambda photo: cells)
    mask = untaught.salient(grey(8, 128))
    assert mask.sum() == 3 * 4 and mask[:4, :6].sum() == 12


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 1, width=16)))
@settings(max_examples=25)
def test_otsu_parts_best_of_all_thresholds(values):
    """By brute force over the edges of its bins."""
    edges = np.linspace(0, 1, untaught.LEVELS + 1)
    place = np.clip(np.searchsorted(edges, values.ravel(), side="right") - 1, 0, untaught.LEVELS - 1)
    middle = (edges[:-1] + edges[1:])[place] / 2

    def between(edge: int) -> float:
        low, high = middle[place < edge], middle[place >= edge]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2 if len(low) and len(high) else 0.0

    best = max(between(edge) for edge in {*place.tolist(), untaught.LEVELS})
    got = untaught.otsu(values)
    assert between(round(got * untaught.LEVELS)) == pytest.approx(best, rel=1e-6, abs=1e-12)


def test_saliency_is_a_map_from_0_to_1():
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    found = untaught.saliency(pixels)
    assert found.shape == (48, 64) and (found.min(), found.max()) == (0.0, 1.0)
    other = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))
    assert np.allclose(untaught.saliency(other), found)  # colour does not count
