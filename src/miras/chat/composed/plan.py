"""What a talker wants done: words, operators, and things that are wanted, in the order of the reply.

In: a checked answer. Out: pieces of a reply in which regions are still only wanted. Knows no model and no mask but
hints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed.answers import OPERATORS
from miras.chat.composed.families import Grid
from miras.chat.state import Spent
from miras.core.types import Box, Mark, Mask, Operator, Region, Words


@dataclass(frozen=True, eq=False)
class Want:
    """A region that a reply is to name. id: of an earlier one; 0 = a new one. shown: its name as it stands in the text,
    "" where it stands nowhere. points: (P, 3) float32 x, y, label, and box: XYXY, in photo pixels; mask: (H, W), where
    it may be."""

    phrase: str
    shown: str = ""
    id: int = 0
    points: NDArray[np.float32] | None = None
    box: Box | None = None
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A reply whose masks are not made yet. spent: what it took."""

    pieces: tuple[Words | Mark | Want, ...]
    spent: Spent = field(default_factory=Spent)


def plan_of(value: Mapping[str, Any], known: Mapping[int, Region], grid: Grid, size: tuple[int, int]) -> Plan:
    """The plan of an answer. known: the regions that are there, by id. size: (H, W) of the photo.

    A region's name is looked for in the text from where the last one was found, so that the text of the reply is that
    of the answer, with its names marked.
    """
    text, at = " ".join(str(value["text"]).split()), 0
    pieces: list[Words | Mark | Want] = []
    for step in value["steps"]:
        operator = OPERATORS[step["do"]]
        if operator is not Operator.REPLACE:
            pieces.append(Mark(operator))
        for region in step["regions"]:
            number = int(region["id"])
            phrase = known[number].phrase if number else " ".join(region["phrase"].split())
            start, shown = _found(phrase, text, at)
            if shown:
                if start > at:
                    pieces.append(Words(text[at:start]))
                at = start + len(shown)
            if number:
                pieces.append(Want(phrase, shown, number))
                continue
            points = grid.points(region["points"], size)
            box = grid.box(region["box"], size) if region["box"] else None
            pieces.append(Want(phrase, shown, 0, points, box))
    if text[at:]:
        pieces.append(Words(text[at:]))
    return Plan(tuple(pieces))


def _found(phrase: str, text: str, start: int) -> tuple[int, str]:
    """Where a name stands in a text as words of their own, and how it is written there; "" where it does not."""
    match = re.compile(rf"(?<!\S){re.escape(phrase)}(?=\s|[.,;:!?](?:\s|$)|$)", re.IGNORECASE).search(text, start)
    return (match.start(), match.group()) if match and phrase else (start, "")
