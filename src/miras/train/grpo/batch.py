"""What is asked in a step of stage 3: photos, with conversations that say what is right.

In: numbered items. Out: an `AskedBatch`, determined by the numbers alone; and the items of a run, which come again for
further updates on the same replies. Knows no model and no reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from miras.core.grammar import Encoder
from miras.core.recall import told
from miras.core.types import Conversation
from miras.train.data.photos import Item


@dataclass(frozen=True, eq=False)
class Asked:
    """A photo (H, W, 3) uint8 RGB with conversations as this model has them. number: of the item; tags: what stands in
    the opening, None for what the model's own tagger says."""

    number: int
    pixels: NDArray[np.uint8]
    conversations: tuple[Conversation, ...]
    tags: tuple[str, ...] | None


@dataclass(frozen=True, eq=False)
class AskedBatch:
    """asked: the photos of a micro-batch. names: theirs, for messages. first: number of the first item."""

    asked: tuple[Asked, ...]
    names: list[str]
    first: int


def asked_batch(
    numbered: Sequence[tuple[int, Item]], grammar: Encoder,
    tag: Callable[[NDArray[np.uint8], str], Sequence[str]] | None,
) -> AskedBatch:  # fmt: skip
    """Conversations that this model cannot have are left out; there may be none."""
    photos = []
    for number, item in numbered:
        talks = [told(talk, points=grammar.points, complements=grammar.complements) for talk in item.conversations]
        tags = None if tag is None else tuple(tag(item.pixels, item.name))
        photos.append(Asked(number, item.pixels, tuple(talk for talk in talks if talk is not None), tags))
    names = [item.name for _, item in numbered]
    return AskedBatch(tuple(photos), names, numbered[0][0])


class Again(Dataset[tuple[int, Any]]):
    """The items of a run in which every step comes `updates` times in a row. a_step: items of a step, of all
    processes."""

    def __init__(self, items: Any, a_step: int, updates: int) -> None:
        self.items, self.a_step, self.updates = items, a_step, updates

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        """The numbered item at a place of the run."""
        step, place = divmod(index, self.a_step)
        found: tuple[int, Any] = self.items[step // self.updates * self.a_step + place]
        return found
