"""What a reply is unsure of, said in words: for the person alone, the language model never reads it.

In: a reply's text and regions, the score below which something is unsure. Out: the text as it is told: "I found the
cup, I think, but I am not sure." where all that the reply selects is unsure, a sentence after it that names what is
where only some of it is. Knows no model.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TypeVar

from miras.core.types import Operator, Region
from miras.data.language.words import definite

T = TypeVar("T")
_SELECTING = (Operator.REPLACE, Operator.ADD)
"""What is cut or left out is named after the sentence: "The lid is gone, I think" would doubt the deed."""


def unsure(regions: Iterable[Region], below: float) -> tuple[Region, ...]:
    """Those whose score is below; regions drawn by hand have none."""
    return tuple(region for region in regions if region.score is not None and region.score < below)


def hedged(text: str, named: Sequence[Region], first_region: int, below: float) -> str:
    """The text as it is told. named: the regions that the reply names, in order; ids below first_region were drawn
    before."""
    drawn = tuple(region for region in named if region.id >= first_region)
    doubtful = unsure(drawn, below)
    if not doubtful:
        return text
    if len(doubtful) == len(named) and all(region.operator in _SELECTING for region in doubtful):
        start, comma = (text[:-1], ",") if text.endswith(".") else (text, "")
        return f"{start}{comma} I think, but I am not sure."
    return f"{text} I am not sure about {' and '.join(definite(region.phrase) for region in doubtful)}."


def spoken(
    events: Generator[str | Region, None, T], first_region: int, below: float
) -> Generator[str | Region, None, T]:
    """The parts of a reply as they come, hedged: the last part waits until it is known to be the last. first_region:
    ids below it were drawn before."""
    if below <= 0:
        return (yield from events)
    named: list[Region] = []
    last = ""
    while True:
        try:
            event = next(events)
        except StopIteration as done:
            if end := hedged(last, named, first_region, below):
                yield end
            result: T = done.value
            return result
        if isinstance(event, Region):
            named.append(event)
            yield event
            continue
        if last:
            yield last
        last = event
