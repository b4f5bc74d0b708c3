"""Boundary bands of many pairs of masks, counted on packed bits.

In: the runs of two batches (`packed`). Out: exact pixel counts of the bands of each pair, for Boundary IoU
(Cheng et al. 2021). Knows no sample, metric or file; `reference` counts the same on full masks.

The band of a mask is the mask less its erosion by a square. Along the columns a run loses pixels at both ends;
along the rows columns are combined, 64 pixels a word, in a number of steps that is the logarithm of the square's
side. Only the columns that either mask of a pair touches are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.eval.metrics.packed import Ints, Runs, same_sizes, take

Words = NDArray[np.uint64]
ROOM = 1 << 14
"""64-bit words of one picture of packed columns (128 KiB); a pair that needs more gets it."""
WORD = 64
BAND = 0.02
"""Width of the boundary band, as a share of the photo's diagonal (Cheng et al. 2021)."""


def band_widths(runs: Runs, share: float = BAND) -> Ints:
    """(N,) width of the boundary band in pixels: `share` of the diagonal, rounded, at least 1."""
    width_N: Ints = np.maximum(np.rint(share * np.hypot(*runs.size_N2.T)), 1).astype(np.int64)
    return width_N


def bands(first: Runs, second: Runs, width_N: Ints | None = None) -> Ints:
    """(N, 3) pixels of the boundary bands of each pair: in both, of the first mask, of the second.

    The band is what `core.masks.boundary` gives: selected pixels within `width` (Chebyshev) of one that is not,
    outside the photo being not. width_N: pixels, `band_widths` by default. Raises InputError as `intersections`,
    and for a width below 1.
    """
    same_sizes(first, second)
    widths = band_widths(first) if width_N is None else np.asarray(width_N, np.int64)
    if len(widths) and widths.min() < 1:
        raise InputError("a boundary of at least 1 pixel", str(widths.min()))
    counts_N3 = np.zeros((len(first), 3), np.int64)
    for width in np.unique(widths).tolist():
        alike = np.flatnonzero(widths == width)
        left, right = (runs if len(alike) == len(runs) else take(runs, alike) for runs in (first, second))
        counts_N3[alike] = _bands(left, right, int(width))
    return counts_N3


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """Runs cut at the ends of columns: pair, column in the photo, first row, one past the last row."""

    pair_P: Ints
    column_P: Ints
    top_P: Ints
    bottom_P: Ints

    def within(self, start: int, stop: int) -> _Pieces:
        """Those of pairs start to stop."""
        a, b = np.searchsorted(self.pair_P, (start, stop))
        return _Pieces(self.pair_P[a:b], self.column_P[a:b], self.top_P[a:b], self.bottom_P[a:b])


def _bands(first: Runs, second: Runs, width: int) -> Ints:
    sides = [_pieces(runs) for runs in (first, second)]
    left_N, right_N = _columns(sides, len(first))
    span_N = np.maximum(right_N - left_N, 0) + 1  # an empty column stands after each pair
    rows = int(first.size_N2[:, 0].max(initial=1)) // WORD + 1  # words of a column
    counts = [
        _count([side.within(start, stop) for side in sides], left_N, span_N, start, stop, rows, width)
        for start, stop in _portions(span_N * rows)
    ]
    return np.concatenate([np.zeros((0, 3), np.int64), *counts])


def _pieces(runs: Runs) -> _Pieces:
    """The runs of each mask, cut where a column ends."""
    pair_R = np.repeat(np.arange(len(runs)), np.diff(runs.first_N1))
    begin_R, end_R = (runs.edges_E[side::2] - runs.line_N1[pair_R] for side in (0, 1))
    kept = np.flatnonzero(end_R > begin_R)
    pair_R, begin_R, end_R = pair_R[kept], begin_R[kept], end_R[kept]
    height_R = runs.size_N2[pair_R, 0]
    column_R, top_R = np.divmod(begin_R, height_R)
    bottom_R = end_R - column_R * height_R
    if (bottom_R <= height_R).all():
        return _Pieces(pair_R, column_R, top_R, bottom_R)
    more_R = -(-bottom_R // height_R)  # columns that the run touches
    source_P = np.repeat(np.arange(len(pair_R)), more_R)
    step_P = np.arange(len(source_P)) - np.repeat(np.cumsum(more_R) - more_R, more_R)
    height_P = height_R[source_P]
    top_P = np.where(step_P == 0, top_R[source_P], 0)
    bottom_P = np.minimum(bottom_R[source_P] - step_P * height_P, height_P)
    return _Pieces(pair_R[source_P], column_R[source_P] + step_P, top_P, bottom_P)


def _columns(sides: Sequence[_Pieces], count: int) -> tuple[Ints, Ints]:
    """First column, and one past the last, that either mask of each pair touches."""
    left_N, right_N = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    for side in sides:
        begins = np.flatnonzero(np.diff(side.pair_P, prepend=-1))
        pairs = side.pair_P[begins]
        left_N[pairs] = np.minimum(left_N[pairs], side.column_P[begins])
        ends = np.flatnonzero(np.diff(side.pair_P, append=-1))
        right_N[pairs] = np.maximum(right_N[pairs], side.column_P[ends] + 1)
    return np.minimum(left_N, right_N), right_N


def _portions(words_N: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of pairs that fill no more than the room, or are one pair."""
    until = np.cumsum(words_N)
    start, before = 0, 0
    while start < len(words_N):
        stop = max(int(np.searchsorted(until, before + ROOM, "right")), start + 1)
        yield start, stop
        start, before = stop, int(until[stop - 1])


def _count(sides: Sequence[_Pieces], left_N: Ints, span_N: Ints, start: int, stop: int, rows: int, width: int) -> Ints:
    """(stop - start, 3) counts of the bands of these pairs, drawn side by side as packed columns."""
    until = np.cumsum(span_N[start:stop])
    begin = until - span_N[start:stop]
    moved = begin - left_N[start:stop]
    pictures = []
    for side in sides:
        column_P = side.column_P + moved[side.pair_P - start]
        whole = _draw(column_P, side.top_P, side.bottom_P, int(until[-1]), rows)
        kept = np.flatnonzero(side.bottom_P - side.top_P > 2 * width)
        shorter = _draw(column_P[kept], side.top_P[kept] + width, side.bottom_P[kept] - width, int(until[-1]), rows)
        pictures.append(whole & ~_erode(shorter, width))
    totals = [_totals(words, begin) for words in (pictures[0] & pictures[1], *pictures)]
    return np.stack(totals, axis=1)


def _draw(column_P: Ints, top_P: Ints, bottom_P: Ints, columns: int, rows: int) -> Words:
    """(columns, rows) words with the pieces' bits set, row 0 the lowest bit of word 0.

    A run of bits [a, b) is the number 2^b - 2^a; where it goes on to the next word, that one borrows 1.
    """
    words = np.zeros(columns * rows, np.uint64)
    inside = np.zeros(columns * rows + 1, np.int64)
    base = column_P * rows
    for row_P, sign in ((top_P, 1), (bottom_P, -1)):
        at = base + (row_P >> 6)
        bit = np.uint64(1) << (row_P & (WORD - 1)).astype(np.uint64)
        (np.subtract if sign > 0 else np.add).at(words, at, bit)
        np.add.at(inside, at + 1, sign)
    words -= np.cumsum(inside[:-1]).astype(np.uint64)
    return words.reshape(columns, rows)


def _erode(words: Words, width: int) -> Words:
    """Bits set in all 2 width + 1 columns around."""
    eroded = np.zeros_like(words)
    span, wanted = 1, 2 * width + 1
    if len(words) < wanted:
        return eroded
    seen = words
    while 2 * span <= wanted:
        seen = seen[:-span] & seen[span:]
        span *= 2
    rest = wanted - span
    seen = seen[: len(seen) - rest] & seen[rest:]
    eroded[width : width + len(seen)] = seen
    return eroded


def _totals(words: Words, begin: Ints) -> Ints:
    """Set bits of each pair's columns, which start at `begin`."""
    counts: Ints = np.add.reduceat(np.bitwise_count(words).ravel(), begin * words.shape[1], dtype=np.int64)
    return counts
