"""The vocabulary: one word for one thing, shared by data, model, chat and evaluation.

In: nothing. Out: plain frozen records. Knows nothing of torch, files or tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""(H, W) bool, True = selected, in the frame the person sees (EXIF applied)."""
Box = tuple[float, float, float, float]
"""XYXY in pixels, half-open: x1, y1 are one past the last selected pixel."""
Rle = dict[str, Any]
"""COCO run-length encoding: {"size": [H, W], "counts": str}."""
Role = Literal["user", "assistant"]


class Operator(StrEnum):
    """What a region, or a reply, does to the selection. See `core.selection.advance`."""

    REPLACE = "replace"
    ADD = "add"
    CUT = "cut"
    UNDO = "undo"
    REJECT = "reject"
    EXCEPT = "except"


@dataclass(frozen=True, slots=True)
class Words:
    """Plain words of an utterance."""

    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An operator token standing in a reply; it governs the regions named after it."""

    operator: Operator


@dataclass(frozen=True, slots=True)
class Name:
    """The words that name the region with this id: `[OBJ] phrase [SEG]` where the turn draws it (it is among the turn's
    regions), `[OBJ] phrase [REF]` where an earlier turn drew it and it is meant again."""

    phrase: str
    region: int


Piece = Words | Mark | Name


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another name that was weighed for a region. chance: 0..1, of all that were weighed."""

    phrase: str
    chance: float


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A mask with its phrase, score, box, turn and id.

    id: 1, 2, ... over the whole conversation. turn: index of the assistant turn in `turns`.
    score: the IoU that is to be expected, 0..1, None for gold masks. alternatives: likeliest first.
    """

    id: int
    phrase: str
    mask: Mask
    turn: int
    operator: Operator = Operator.REPLACE
    score: float | None = None
    alternatives: tuple[Alternative, ...] = ()

    @property
    def area(self) -> int:
        """Selected pixels."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One utterance. A user's content is exactly one `Words`; it is never parsed. regions: those that it draws; what it
    names beside them was drawn before."""

    role: Role
    content: tuple[Piece, ...]
    regions: tuple[Region, ...] = ()

    @property
    def text(self) -> str:
        """The utterance as a person reads it: phrases inline, no tokens, single spaces."""
        parts = [p.text if isinstance(p, Words) else p.phrase for p in self.content if not isinstance(p, Mark)]
        if self.role == "user":
            return "".join(parts)
        joined = " ".join(" ".join(parts).split())
        for mark in ".,;:!?":
            joined = joined.replace(f" {mark}", mark)
        return joined

    @staticmethod
    def user(text: str) -> Turn:
        """A user's turn, taken literally."""
        return Turn("user", (Words(text),))

    @property
    def names(self) -> tuple[int, ...]:
        """Ids of the regions that it names, in its order."""
        return tuple(piece.region for piece in self.content if isinstance(piece, Name))

    @property
    def recalled(self) -> tuple[int, ...]:
        """Ids of the earlier regions that it names, in its order."""
        drawn = {region.id for region in self.regions}
        return tuple(number for number in self.names if number not in drawn)


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """Turns about one image, user and assistant in alternation, user first."""

    turns: tuple[Turn, ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in the order they were named."""
        return tuple(r for t in self.turns for r in t.regions)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What is selected after a turn: a set expression over regions, as one mask.

    expression: over region ids, e.g. "(1 + 2) - 3", "~1" for all but region 1; "" when nothing is selected.
    """

    mask: Mask
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of one turn. prefill: reading the new tokens; generate: writing; segment: masks; look: looking at them
    once more, where a model does."""

    prefill: float = 0.0
    generate: float = 0.0
    segment: float = 0.0
    look: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.prefill + self.generate + self.segment + self.look


@dataclass(frozen=True, slots=True)
class Annotation:
    """One labelled mask of a photograph, as a dataset gives it.

    label: the class, words with spaces ("back left door"). phrase: how a person names it
    ("back left door of the car"). instructions: questions that came with the dataset, in its
    order (InstructPart: 0 human, 1 rewritten, 2, 3 part-of-object, 4, 5 bare phrases).
    """

    label: str
    phrase: str
    rle: Rle
    instructions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnotatedPhoto:
    """A photograph with its annotations. `id` is the photograph: splits are made by it.

    vocabulary: labels that were looked for everywhere in this photo, so that one of them that
    is not among the annotations is really absent; empty when the dataset labels only some things.
    uncounted: labels of which more is in sight than the annotations show (a crowd, what a crop cut off), so that
    nothing is counted or compared among them.
    set_name: of a training set that does not label all it shows (`data.language.coverage`); "" for every other photo.
    content: the photo's file where it is embedded in its dataset; the path is only its name then.
    split: train, val or test where the dataset says so, else "".
    """

    id: str
    path: Path
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]
    source: str
    vocabulary: frozenset[str] = frozenset()
    uncounted: frozenset[str] = frozenset()
    set_name: str = ""
    content: bytes | None = field(default=None, repr=False)
    split: str = ""

    @property
    def file(self) -> Path | bytes:
        """What `core.photo.read_photo` reads."""
        return self.path if self.content is None else self.content


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One dataset record. focus: the phrase of the final target. hops: reasoning steps."""

    image: Path
    conversation: Conversation
    focus: str
    kind: str
    hops: int
    source: str
    meta: dict[str, Any] = field(default_factory=dict)
