"""Many masks at once, counted without ever drawing one: areas and overlaps from run lengths.

In: COCO run lengths as samples hold them. Out: exact pixel counts for each mask, or each pair of masks.
Knows no sample, metric or file. `bands` counts boundary bands; `reference` counts the same on full
masks, pixel by pixel.

The masks of a batch lie one after another on a line, each column by column (COCO's order); a mask is the
runs it selects there. Pixels in both masks of a pair are counted from the sorted ends of all runs. Nothing is
done one mask at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle, rle_area
from miras.core.types import Rle

Ints = NDArray[np.int64]
Name = Callable[[int], str]
"""What an error calls the mask at a place of its batch."""
BATCH = 96
"""Masks read at once: few enough that all the work stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """N masks, R selected runs in all, on one line.

    size_N2: (H, W) of each. first_N1: index of each mask's first run, and R. line_N1: where each mask begins on
    the line, and its end. edges_E: begin and end of each run on the line, E = 2 R, not decreasing.
    """

    size_N2: Ints
    first_N1: Ints
    line_N1: Ints
    edges_E: Ints

    def __len__(self) -> int:
        return len(self.size_N2)


def read(rles: Sequence[Rle], name: Name = lambda place: f"mask {place}") -> Runs:
    """The runs of masks in COCO run lengths, compressed or as a list of counts.

    name: what errors call the mask at a place. Raises InputError as `core.masks.decode_rle`.
    """
    runs = _read(rles)
    if runs is None:
        plain = [rle if _read([rle]) is not None else _plain(rle, name(place)) for place, rle in enumerate(rles)]
        runs = _read(plain)
    if runs is None:
        raise AssertionError("run lengths that were just written cannot be read")
    return runs


def areas(runs: Runs) -> Ints:
    """(N,) selected pixels of each mask."""
    selected = np.zeros(len(runs.edges_E) // 2 + 1, np.int64)
    np.cumsum(runs.edges_E[1::2] - runs.edges_E[::2], out=selected[1:])
    areas_N: Ints = np.diff(selected[runs.first_N1])
    return areas_N


def intersections(first: Runs, second: Runs) -> Ints:
    """(N,) pixels in both masks of each pair. Raises InputError when the masks of a pair differ in size."""
    same_sizes(first, second)
    # No more than two runs lie over a pixel: where two do, the run that began last did so before the other's end.
    begins, ends = (np.concatenate([first.edges_E[side::2], second.edges_E[side::2]]) for side in (0, 1))
    begins.sort(kind="stable")  # two sorted lists: one merge
    ends.sort(kind="stable")
    overlap = np.zeros(len(begins), np.int64)
    np.maximum(ends[:-1] - begins[1:], 0, out=overlap[:-1])
    shared = np.zeros(len(begins) + 1, np.int64)
    np.cumsum(overlap, out=shared[1:])
    shared_N: Ints = np.diff(shared[first.first_N1 + second.first_N1])
    return shared_N


# Reading


def _read(rles: Sequence[Rle]) -> Runs | None:
    """All strings decoded together; None where one is faulty, not compressed, or has empty runs inside."""
    try:
        size_N2 = np.array([rle["size"] for rle in rles], np.int64).reshape(len(rles), 2)
        texts = [rle["counts"] for rle in rles]
        data = b"".join([text.encode("ascii") if isinstance(text, str) else text for text in texts])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if size_N2.astype(np.float64).prod(axis=1).sum() > 2.0**60:  # past what the line can hold
        return None
    codes = np.frombuffer(data, np.uint8) - np.uint8(48)
    until_N = np.cumsum([len(text) for text in texts], dtype=np.int64)
    last_K = np.flatnonzero(codes < 32)  # the last letter of each count
    lengths_K = np.diff(last_K, prepend=-1)
    count_N1 = np.concatenate([[0], np.searchsorted(last_K, until_N)])
    ends_N = until_N[np.diff(until_N, prepend=0) > 0] - 1
    if (codes > 63).any() or (lengths_K > 7).any() or (codes[ends_N] >= 32).any() or (size_N2 < 0).any():
        return None
    return _placed(_numbers(codes, last_K, lengths_K), count_N1, size_N2)


def _numbers(codes: NDArray[np.uint8], last_K: Ints, lengths_K: Ints) -> Ints:
    """The number of each group of letters: five bits a letter, low first, the last one with the sign."""
    numbers_K = codes[last_K].astype(np.int64)
    numbers_K -= (numbers_K & 16) << 1
    for back in range(1, int(lengths_K.max(initial=1))):
        longer = np.flatnonzero(lengths_K > back)
        numbers_K[longer] = (numbers_K[longer] << 5) | (codes[last_K[longer] - back] & 31)
    return numbers_K


def _placed(numbers_K: Ints, count_N1: Ints, size_N2: Ints) -> Runs | None:
    """Numbers to ends of runs. From a mask's fourth on they are differences to the number two before."""
    counts_N = np.diff(count_N1)
    runs_N = (counts_N + 1) // 2
    first_N1 = np.concatenate([[0], np.cumsum(runs_N)])
    grid = np.zeros(2 * first_N1[-1], np.int64)  # outside, inside, outside, inside, ...
    missing = 2 * first_N1[1:][counts_N % 2 == 1] - 1  # the last inside may be: it is empty
    written = np.ones(len(grid), np.bool_)
    written[missing] = False
    grid[written] = numbers_K
    some = first_N1[:-1][counts_N > 0]
    opening = grid[2 * some]
    grid[2 * some] = 0
    for side in (grid[::2], grid[1::2]):
        if len(some):
            side[some[1:]] -= np.add.reduceat(side, some)[:-1]
        np.cumsum(side, out=side)
    grid[2 * some] = opening
    grid[missing] = 0
    line_N1 = np.concatenate([[0], np.cumsum(size_N2.prod(axis=1))])
    edges_E = np.cumsum(grid)
    filled = np.array_equal(np.concatenate([[0], edges_E])[2 * first_N1], line_N1)
    full = np.count_nonzero(grid) == len(grid) - len(missing) - np.count_nonzero(opening == 0)
    return Runs(size_N2, first_N1, line_N1, edges_E) if filled and full and grid.min(initial=0) >= 0 else None


def _plain(rle: Rle, name: str) -> Rle:
    """The mask written as COCO's tools write it. Raises InputError for one that cannot be read."""
    try:
        rle_area(rle)
        return encode_rle(decode_rle(rle))
    except InputError as error:
        raise InputError(error.expected, f"{error.got} for {name}", error.cure) from error


def same_sizes(first: Runs, second: Runs, name: Name = lambda place: f"pair {place}") -> None:
    """Raises InputError, with the name, for the first pair of masks that differ in size."""
    if len(first) != len(second):
        raise InputError("as many masks on both sides", f"{len(first)} and {len(second)}")
    unequal = np.flatnonzero((first.size_N2 != second.size_N2).any(axis=1))
    if len(unequal):
        a, b = (tuple(runs.size_N2[unequal[0]].tolist()) for runs in (first, second))
        raise InputError("masks of one size (H, W)", f"{a} and {b} for {name(int(unequal[0]))}", "resize one")


def take(runs: Runs, chosen: Ints) -> Runs:
    """Some of the masks, in the order given."""
    counts = np.diff(runs.first_N1)[chosen]
    first_N1 = np.concatenate([[0], np.cumsum(counts)])
    size_N2 = runs.size_N2[chosen]
    line_N1 = np.concatenate([[0], np.cumsum(size_N2.prod(axis=1))])
    index = np.arange(first_N1[-1]) + np.repeat(runs.first_N1[chosen] - first_N1[:-1], counts)
    moved = np.repeat(line_N1[:-1] - runs.line_N1[chosen], counts)
    edges_R2 = runs.edges_E.reshape(-1, 2)[index] + moved[:, None]
    return Runs(size_N2, first_N1, line_N1, edges_R2.ravel())
