"""Several short conversations in one row of the language model.

In: the lengths of the conversations of a micro-batch. Out: `Packing`, which says where their tokens stand in fewer and
fuller rows, and back. Positions begin anew at each conversation: by that a language model knows that none sees another
one (the mask is then block-diagonal). Knows no token and no model.
C conversations, L tokens of the longest, R rows, P tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Packing:
    """taken_RP: which of the C x L places of the padded batch stands there; place_CL: the way back, of real tokens.
    positions_RP: of each token in its conversation; padding at the end of a row begins at 0 as well."""

    taken_RP: Tensor
    place_CL: Tensor
    positions_RP: Tensor

    def packed(self, padded_CLD: Tensor) -> Tensor:
        """(R, P, D) of (C, L, D)."""
        return padded_CLD.flatten(0, 1)[self.taken_RP]

    def unpacked(self, packed_RPD: Tensor) -> Tensor:
        """(C, L, D) of (R, P, D); where the padding was, anything."""
        return packed_RPD.flatten(0, 1)[self.place_CL]


def rows_of(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Numbers of the conversations of each row, rows of at most `most` tokens; a longer conversation has a row of its
    own. Of the ways tried that with the fewest tokens, padding counted: the longest first, each into the first row with
    room (first fit), or each into the emptiest of a number of rows."""
    order = sorted(range(len(lengths)), key=lambda n: (-lengths[n], n))
    fitted: list[list[int]] = []
    for number in order:
        place = next((row for row in fitted if sum(lengths[n] for n in row) + lengths[number] <= most), None)
        if place is None:
            fitted.append([number])
        else:
            place.append(number)
    ways = [fitted]
    for count in range(len(fitted), len(lengths) + 1):
        even: list[list[int]] = [[] for _ in range(count)]
        for number in order:
            min(even, key=lambda row: sum(lengths[n] for n in row)).append(number)
        if _width(even, lengths) <= max(most, *lengths):
            ways.append(even)
    return min(ways, key=lambda rows: (len(rows) * _width(rows, lengths), -len(rows)))


def _width(rows: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    return max(sum(lengths[number] for number in row) for row in rows)


def packing_of(lengths: Sequence[int], most: int) -> Packing | None:
    """None where nothing is gained: a row each, or no `most`."""
    rows = rows_of(lengths, most) if most else []
    if not rows or len(rows) == len(lengths):
        return None
    longest, width = max(lengths), _width(rows, lengths)
    taken = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    place = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, members in enumerate(rows):
        start = 0
        for number in members:
            steps = torch.arange(lengths[number])
            taken[row, start : start + lengths[number]] = number * longest + steps
            positions[row, start : start + lengths[number]] = steps
            place[number, : lengths[number]] = row * width + start + steps
            start += lengths[number]
        positions[row, start:] = torch.arange(width - start)
    return Packing(taken, place, positions)


def padding(lengths: Sequence[int], most: int) -> tuple[int, int]:
    """Tokens that the language model reads of a micro-batch, and how many of them are padding."""
    rows = rows_of(lengths, most) if most else [[number] for number in range(len(lengths))]
    read = len(rows) * _width(rows, lengths)
    return read, read - sum(lengths)
