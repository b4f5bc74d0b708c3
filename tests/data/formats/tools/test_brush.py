"""A brush's run lengths: as the package describes them, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from miras.core.errors import InputError
from miras.data.formats.tools import brush
from tests.data.made import MASKS, SIZE


def stream(*fields: tuple[int, int]) -> list[int]:
    """Bytes of (value, bits) one after the other, zeros at the end."""
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


HEAD = ((2 * 3 * 4, 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4))
"""3 x 2 pixels, words of 8 bits, counts of 3, 4, 8 and 16 bits."""


def test_by_the_description() -> None:
    # One pixel of zeros, repeated; two pixels word by word, of which one has no alpha; three pixels of 255, repeated.
    blocks = (
        (1, 1), (0, 2), (3, 3), (0, 8),
        (0, 1), (0, 2), (7, 3), *((word, 8) for word in (255, 0, 0, 0, 9, 9, 9, 1)),
        (1, 1), (1, 2), (11, 4), (255, 8),
    )  # fmt: skip
    assert brush.unpack(stream(*HEAD, *blocks), (2, 3)).tolist() == [[False, False, True], [True, True, True]]


def test_other_sizes_of_counts() -> None:
    head = ((2 * 3 * 4, 32), (7, 5), (0, 4), (1, 4), (2, 4), (8, 4))
    blocks = ((1, 1), (3, 2), (11, 9), (0, 8), (1, 1), (0, 2), (1, 1), (7, 8), (1, 1), (3, 2), (9, 9), (7, 8))
    assert brush.unpack(stream(*head, *blocks), (2, 3)).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_there_and_back(mask: np.ndarray[Any, Any]) -> None:
    packed = brush.pack(mask)
    assert all(type(byte) is int and 0 <= byte <= 255 for byte in packed)
    assert np.array_equal(brush.unpack(packed, SIZE), mask)


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 40))))
def test_any_mask(mask: np.ndarray[Any, Any]) -> None:
    assert np.array_equal(brush.unpack(brush.pack(mask), mask.shape), mask)


def test_runs_longer_than_a_count(tmp_path: Any) -> None:
    mask = np.ones((300, 301), np.bool_)
    mask[0, 0] = mask[299, 300] = False
    packed = brush.pack(mask)
    assert len(packed) < 60
    assert np.array_equal(brush.unpack(packed, mask.shape), mask)


FAULTS: dict[str, tuple[Any, str]] = {
    "text": ("abc", "a list of bytes"),
    "words": ([1, "2"], "a list of bytes"),
    "a number of two bytes": ([256], "a list of bytes"),
    "nothing": ([], "breaks off"),
    "broken off": (brush.pack(MASKS["comb"])[:-3], "breaks off"),
    "of another photo": (brush.pack(np.ones((3, 3), np.bool_)), r"for 32 x 24 x 4 = 3072 values, got 36"),
    "words of 3 bits": (stream((24 * 32 * 4, 32), (2, 5), *HEAD[2:]), "values of 8 bits, got 3"),
    "a run too long": (
        stream((24 * 32 * 4, 32), *HEAD[1:], (1, 1), (3, 2), (65535, 16), (0, 8)), "3072 values, got more",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "said"), FAULTS.values(), ids=FAULTS)
def test_faults(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        brush.unpack(given, SIZE)
