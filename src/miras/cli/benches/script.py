"""The scripted conversation that turns are measured with, and how it is timed.

In: a model's tokenizer. Out: messages with replies of equal length, as ids; seconds of a turn. Knows no command.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miras.core.grammar import ADD, CUT, OBJ, SEG, SPECIAL_TOKENS
from miras.core.types import Region

PHOTO = Path(__file__).parents[2] / "assets" / "coffee.jpg"
Exchange = tuple[str, tuple[str, ...]]
Times = list[tuple[str, float]]
OPENING: Exchange = ("Where is the cup in this photo?", ("I have selected the", OBJ, " cup", SEG, "."))
SCRIPT: tuple[Exchange, ...] = (
    ("And what would I stir the coffee with?", ("I would say the", OBJ, " spoon", SEG, ".")),
    ("Also select the cup again, please.", (ADD, " I added the", OBJ, " cup", SEG, ".")),
    ("Now take the spoon away from that.", (CUT, " Without the", OBJ, " spoon", SEG, " now", ".")),
    ("What does the cup stand on here?", ("I would say the", OBJ, " table", SEG, ".")),
    ("And the coffee in the cup, where is it?", ("I have selected the", OBJ, " coffee", SEG, ".")),
)
"""What follows the opening. Each round starts one further on, so that each turn meets each exchange."""


def typical(times: Times) -> float:
    """Seconds of each exchange where it was fastest (the rest is what else the machine did), averaged."""
    fastest: dict[str, float] = {}
    for text, seconds in times:
        fastest[text] = min(seconds, fastest.get(text, seconds))
    return statistics.mean(fastest.values())


@dataclass(frozen=True)
class Timed:
    """A turn. Seconds on the clock: of all of it, until its first piece of text and its first mask were there (None:
    it has none). written: tokens of its reply in a second of writing them, the masks' slots read among them."""

    reply: Any
    seconds: float
    first_token: float | None
    first_mask: float | None

    @property
    def written(self) -> float:
        """Tokens in a second."""
        return len(self.reply.ids) / max(float(self.reply.timings.generate), 1e-9)


def timed(session: Any, text: str, ids: tuple[int, ...]) -> Timed:
    """A turn with a reply of these ids, as it comes."""
    start, first = time.perf_counter(), dict[type, float]()
    part = None
    for part in session.stream(text, forced=ids):
        first.setdefault(type(part), time.perf_counter() - start)
    return Timed(part, time.perf_counter() - start, first.get(str), first.get(Region))


def equal_length(model: Any, script: tuple[Exchange, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """The replies as ids, all as long as the longest: full stops fill the rest."""
    written = []
    for text, pieces in script:
        ids: list[int] = []
        for piece in pieces:
            ids += [model.grammar.id(piece)] if piece in SPECIAL_TOKENS else model.tokenizer.encode(piece)
        written.append((text, ids))
    longest = max(len(ids) for _, ids in written)
    return [(text, (*ids, *(ids[-1:] * (longest - len(ids))))) for text, ids in written]
