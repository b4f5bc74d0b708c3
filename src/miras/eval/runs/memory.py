"""Whether a system remembers to the pixel what was named: what is named again, cut again, and all but something.

In: the replies of the data, and the answers to the same messages, in order. Out: three flags a turn, None where the
turn does not ask for them. Knows no metric and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miras.core.recall import pointing
from miras.core.types import Conversation, Mark, Mask, Operator, Region, Turn


@dataclass(frozen=True, slots=True)
class Remembered:
    """same: what the data's reply names again has the mask that the system gave it before. gone: of what was named and
    is cut again not one pixel is selected. exact: all but something is the photo without exactly what the reply names
    or, where it names nothing, without what was selected."""

    same: bool | None = None
    gone: bool | None = None
    exact: bool | None = None


class Memory:
    """Follows one conversation. golds: the replies of the data; size: (H, W) of the photo."""

    def __init__(self, golds: Sequence[Turn], size: tuple[int, ...]) -> None:
        self._golds = pointing(Conversation(tuple(golds))).turns
        self._nothing: Mask = np.zeros(size, np.bool_)
        self._before = self._nothing
        self._masks: dict[int, Mask] = {}

    def heard(
        self, index: int, mask: Mask | None, regions: Sequence[Region], operators: Sequence[Operator]
    ) -> Remembered:
        """The flags of reply `index`. mask: what is selected after it; regions: what it names."""
        gold, selected = self._golds[index], self._nothing if mask is None else mask
        named = {number: region.mask for number, region in zip(gold.names, regions, strict=False)}
        marks = {piece.operator for piece in gold.content if isinstance(piece, Mark)}
        again = [number for number in gold.recalled if number in self._masks]
        same = gone = exact = None
        if again:
            same = all(number in named and np.array_equal(named[number], self._masks[number]) for number in again)
            if Operator.CUT in marks:
                left = any(bool((selected & self._masks[number]).any()) for number in again)
                gone = Operator.CUT in operators and not left
        if Operator.EXCEPT in marks:
            out = [region.mask for region in regions] or [self._before]
            done = Operator.EXCEPT in operators and bool(gold.names) == bool(regions)
            fits = all(one.shape == selected.shape for one in out)
            exact = done and fits and bool(np.array_equal(selected, ~np.logical_or.reduce(out)))
        self._masks |= {
            number: one for number, one in named.items()
            if number not in gold.recalled and one.shape == self._nothing.shape
        }  # fmt: skip
        self._before = selected
        return Remembered(same, gone, exact)

    def told(self, index: int, selected: Mask) -> None:
        """The reply of the data stands in the conversation instead; selected: what is selected after it."""
        self._masks |= {region.id: region.mask for region in self._golds[index].regions}
        self._before = selected
