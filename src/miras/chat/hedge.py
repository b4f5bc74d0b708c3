"""What a reply is unsure of, said in words: for the person alone, the language model never reads it.

In: a reply's text and regions, the score below which something is unsure. Out: the text as it is told. A hedge stands
before the sentence where the first thing that the reply draws is unsure, and after it where a later one is. Knows no
model.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TypeVar

from miras.core.types import Region
from miras.data.words import definite, is_plural

T = TypeVar("T")


def unsure(regions: Iterable[Region], below: float) -> tuple[Region, ...]:
    """Those whose score is below; regions drawn by hand have none."""
    return tuple(region for region in regions if region.score is not None and region.score < below)


def before(region: Region) -> str:
    """Said before a reply whose first region is unsure."""
    verb = "these are" if is_plural(region.phrase) else "this is"
    return f"I think {verb} {definite(region.phrase)}, but I am not sure. "


def after(regions: Sequence[Region]) -> str:
    """Said after a reply some of whose later regions are unsure; "" when none is."""
    return f" I am not sure about {' and '.join(definite(r.phrase) for r in regions)}." if regions else ""


def hedged(text: str, named: Sequence[Region], first_region: int, below: float) -> str:
    """The text as it is told. named: the regions that the reply names, in order; ids below first_region were drawn
    before."""
    start = before(named[0]) if unsure(_drawn(named[:1], first_region), below) else ""
    return start + text + after(unsure(_drawn(named[1:], first_region), below))


def _drawn(named: Iterable[Region], first_region: int) -> tuple[Region, ...]:
    return tuple(region for region in named if region.id >= first_region)


def spoken(
    events: Generator[str | Region, None, T], first_region: int, below: float
) -> Generator[str | Region, None, T]:
    """The parts of a reply as they come, hedged. first_region: ids below it were drawn before."""
    if below <= 0:
        return (yield from events)
    named: list[Region] = []
    held: list[str] = []
    while True:
        try:
            event = next(events)
        except StopIteration as done:
            yield from held
            if end := after(unsure(_drawn(named[1:], first_region), below)):
                yield end
            result: T = done.value
            return result
        if isinstance(event, Region):
            named.append(event)
            if len(named) == 1:
                if unsure(_drawn(named, first_region), below):
                    yield before(event)
                yield from held
                held = []
        if isinstance(event, str) and not named:
            held.append(event)
        else:
            yield event
