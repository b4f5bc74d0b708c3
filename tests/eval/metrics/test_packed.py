"""Counts on runs, equal to the plain reference to the last pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miras.core import masks
from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import Mask, Rle
from miras.eval.metrics import bands, packed, reference

unhurried = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
SIDES = st.sampled_from([1, 2, 3, 7, 8, 9, 31, 63, 64, 65, 100, 127, 128, 130])
KINDS = ("empty", "full", "dot", "box", "disc", "noise", "stripes", "holes", "frame")


def made(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Mask:
    """A mask of one kind, at a random place."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    top, left = int(rng.integers(height)), int(rng.integers(width))
    if kind == "full":
        return np.ones(size, np.bool_)
    if kind == "dot":
        return (y == top) & (x == left)
    if kind == "box":
        return (y >= top) & (x >= left) & (y < top + height // 2 + 1) & (x < left + width // 2 + 1)
    if kind in ("disc", "holes"):
        disc = (y - top) ** 2 + (x - left) ** 2 <= (max(size) / 3) ** 2
        return disc & (rng.random(size) > 0.02) if kind == "holes" else disc
    if kind == "noise":
        return rng.random(size) < rng.random()
    if kind == "stripes":
        return x % 3 > 0 if rng.random() < 0.5 else y % 4 > 0
    if kind == "frame":
        return (y < 2) | (x < 2) | (y >= height - 2) | (x >= width - 2)
    return np.zeros(size, np.bool_)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Mask], list[Mask]]:
    """1 to 6 pairs, each of its own size."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    first, second = [], []
    for _ in range(draw(st.integers(1, 6))):
        size = draw(SIDES), draw(SIDES)
        first.append(made(draw(st.sampled_from(KINDS)), size, rng))
        second.append(made(draw(st.sampled_from(KINDS)), size, rng))
    return first, second


def read(some: list[Mask]) -> packed.Runs:
    return packed.read([encode_rle(mask) for mask in some])


def counts(first: packed.Runs, second: packed.Runs) -> list[tuple[int, ...]]:
    columns = (packed.intersections(first, second), packed.areas(first), packed.areas(second))
    return list(zip(*(column.tolist() for column in columns), strict=True))


# Areas and overlaps


@unhurried
@given(batches())
def test_counts_equal_the_reference(pairs: tuple[list[Mask], list[Mask]]) -> None:
    first, second = read(pairs[0]), read(pairs[1])
    assert counts(first, second) == reference.count_all(zip(*pairs, strict=True))


def test_a_mask_lies_wholly_on_itself_and_not_on_its_complement() -> None:
    rng = np.random.default_rng(0)
    some = [made(kind, (65, 130), rng) for kind in KINDS]
    runs, others = read(some), read([~mask for mask in some])
    areas = packed.areas(runs)
    assert packed.intersections(runs, runs).tolist() == areas.tolist() == [int(mask.sum()) for mask in some]
    assert packed.intersections(runs, others).tolist() == [0] * len(some)


def test_full_and_empty_neighbours_stay_apart() -> None:
    """Runs that end where the next mask begins."""
    full, empty = np.ones((4, 4), np.bool_), np.zeros((4, 4), np.bool_)
    first, second = [full, full, empty, full, empty], [full, empty, full, full, empty]
    assert packed.intersections(read(first), read(second)).tolist() == [16, 0, 0, 16, 0]


def test_nothing_to_count() -> None:
    none = packed.read([])
    flat = packed.read([{"size": [0, 5], "counts": ""}, {"size": [3, 0], "counts": [0]}])
    for runs in (none, flat):
        assert packed.intersections(runs, runs).tolist() == packed.areas(runs).tolist() == [0] * len(runs)
        assert bands.bands(runs, runs).tolist() == [[0, 0, 0]] * len(runs)


# Reading


@pytest.mark.parametrize(
    ("rle", "area"),
    [
        ({"size": [2, 3], "counts": [1, 3, 2]}, 3),
        ({"size": [2, 3], "counts": [1, 2, 0, 1, 2]}, 3),
        ({"size": [2, 3], "counts": [0, 6, 0]}, 6),
        ({"size": [2, 3], "counts": encode_rle(np.ones((2, 3)))["counts"].encode()}, 6),
        ({"size": [2, 3], "counts": [6]}, 0),
        ({"size": (2, 3), "counts": "6"}, 0),
        (encode_rle(np.eye(40, dtype=np.bool_)), 40),
    ],
    ids=["counts", "empty run", "empty end", "bytes", "nothing", "tuple", "differences"],
)
def test_every_way_to_write_run_lengths(rle: Rle, area: int) -> None:
    plain = encode_rle(masks.decode_rle(rle))
    runs = packed.read([plain, rle, plain])
    assert packed.areas(runs).tolist() == [area] * 3
    both = packed.read([plain] * 3)
    assert bands.bands(runs, both, np.array([1, 1, 1])).tolist() == bands.bands(both, both, np.array([1] * 3)).tolist()


@pytest.mark.parametrize(
    "rle",
    [
        {}, None, {"size": [5, 5]}, {"size": [5], "counts": "0"}, {"size": [5, 5], "counts": ""},
        {"size": [5, 5], "counts": "05"}, {"size": [5, 5], "counts": "o"}, {"size": [5, 5], "counts": "P1000"},
        {"size": [5, 5], "counts": "zzzzzzzzzzzzzzzzz"}, {"size": [5, 5], "counts": "é"},
        {"size": [5, 5], "counts": [30, -5]}, {"size": [5, 5], "counts": [26]}, {"size": [5, 5], "counts": 25},
        {"size": [-5, -5], "counts": [25]}, {"size": ["a", 5], "counts": [25]}, {"size": [2**32, 2**32], "counts": ""},
    ],
)  # fmt: skip
def test_broken_run_lengths_are_named(rle: Any) -> None:
    good = encode_rle(np.ones((5, 5)))
    with pytest.raises(InputError, match="mask 1"):
        packed.read([good, rle, good])


def test_a_broken_mask_does_not_lean_on_its_neighbour() -> None:
    """Two faults that cancel out: one mask a pixel short, the next a pixel long."""
    with pytest.raises(InputError, match="mask 0"):
        packed.read([{"size": [2, 2], "counts": "3"}, {"size": [2, 2], "counts": "5"}])
    with pytest.raises(InputError, match="mask 0"):
        packed.read([{"size": [2, 2], "counts": "P"}, {"size": [2, 2], "counts": "4"}])


@unhurried
@given(st.lists(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=6), min_size=1, max_size=4))
def test_any_letters_are_read_as_one_by_one_or_refused(texts: list[str]) -> None:
    rles = [{"size": [4, 5], "counts": text} for text in texts]
    try:
        expected = [masks.rle_area(rle) for rle in rles]
    except InputError:
        with pytest.raises(InputError):
            packed.read(rles)
        return
    assert packed.areas(packed.read(rles)).tolist() == expected


def test_sizes_must_agree() -> None:
    first, second = read([np.ones((3, 4), np.bool_)] * 2), read([np.ones((3, 4)), np.ones((4, 3))])
    for count in (packed.intersections, bands.bands):
        with pytest.raises(InputError, match=r"\(3, 4\) and \(4, 3\) for pair 1"):
            count(first, second)
    with pytest.raises(InputError, match="2 and 1"):
        packed.intersections(first, read([np.ones((3, 4), np.bool_)]))
