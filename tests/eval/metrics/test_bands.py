"""Boundary bands on packed bits, equal to the plain reference to the last pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core import masks
from miras.core.errors import InputError
from miras.core.types import Mask
from miras.eval.metrics import bands, reference
from tests.eval.metrics.test_packed import KINDS, batches, made, read, unhurried


@unhurried
@given(batches(), st.integers(1, 40))
def test_bands_equal_the_reference(pairs: tuple[list[Mask], list[Mask]], width: int) -> None:
    first, second = read(pairs[0]), read(pairs[1])
    widths = np.array([1 + (width + place) % 3 * place for place in range(len(first))])
    expected = [
        reference.count(reference.band(a, int(w)), reference.band(b, int(w)))
        for a, b, w in zip(*pairs, widths, strict=True)
    ]
    assert [tuple(row) for row in bands.bands(first, second, widths).tolist()] == expected
    expected = [reference.count_bands(a, b) for a, b in zip(*pairs, strict=True)]
    assert [tuple(row) for row in bands.bands(first, second).tolist()] == expected


def test_pairs_that_fill_the_room_are_counted_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    first, second = ([made(kind, (70, 90), rng) for kind in order] for order in (KINDS, KINDS[::-1]))
    whole = bands.bands(read(first), read(second))
    for room in (1, 100, 400):
        monkeypatch.setattr(bands, "ROOM", room)
        assert bands.bands(read(first), read(second)).tolist() == whole.tolist()


@pytest.mark.parametrize("width", [1, 2, 5, 16])
def test_the_reference_agrees_with_the_core(width: int) -> None:
    rng = np.random.default_rng(width)
    for kind in KINDS:
        mask = made(kind, (50, 61), rng)
        np.testing.assert_array_equal(reference.band(mask, width), masks.boundary(mask, width))


@pytest.mark.parametrize(
    ("size", "width"), [((480, 640), 16), ((640, 480), 16), ((1, 1), 1), ((20, 20), 1), ((1080, 1920), 44)]
)
def test_the_band_is_two_per_cent_of_the_diagonal(size: tuple[int, int], width: int) -> None:
    mask = np.zeros(size, np.bool_)
    assert bands.band_widths(read([mask])).tolist() == [width] == [reference.band_width(mask)]


def test_a_band_has_a_width() -> None:
    runs = read([np.ones((3, 3), np.bool_)])
    with pytest.raises(InputError, match="at least 1 pixel"):
        bands.bands(runs, runs, np.array([0]))
