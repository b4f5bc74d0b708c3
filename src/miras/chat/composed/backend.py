"""A talker with a segmenter as a dialogue backend: the talker plans, the segmenter draws, the session does the sums.

In: the state, messages, gestures. Out: replies with their masks, and events. Each new mask is looked at once more by a
talker that can, in a crop: it is accepted, changed by points, or given up; what is given up is told as not found. Knows
neither the talker's model nor the segmenter's.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed import record
from miras.chat.composed.masks import Drawing, Drawn
from miras.chat.composed.plan import Plan, Want
from miras.chat.composed.talk import Look
from miras.chat.inputs import Gesture
from miras.chat.state import Event, Exchange, Spent, State
from miras.core.errors import InputError
from miras.core.text_regions import TextRegion, is_about_writing
from miras.core.types import Mark, Mask, Name, Operator, Region, Timings, Turn, Words
from miras.data.language.words import definite
from miras.model.reading import Page

NOT_FOUND = "I cannot find {the} in this photo."
"""What is said when nothing that was to be named was found."""
NOT_ALL = "I do not see {the}."


class Talker(Protocol):
    """The talk about one photo, see `composed.talk.Talk`."""

    def say(self, state: State, message: str) -> Plan:
        """What is to be done."""
        ...

    def look(self, phrase: str, mask: Mask) -> Look | None:
        """What it says of a new mask; None when it cannot look."""
        ...

    def window(self, state: State) -> int:
        """Index of the first exchange that stays in the context."""
        ...

    def heard(self, before: State, event: Event) -> None:
        """An exchange, as it became."""
        ...

    def resume(self, state: State) -> None:
        """Be where a state is."""
        ...

    def fork(self) -> Talker:
        """An independent one."""
        ...


@dataclass
class _Turn:
    """A reply in the making."""

    state: State
    number: int
    content: list[Words | Mark | Name]
    regions: list[Region]
    missing: list[str]
    spent: Spent
    segment: float = 0.0
    look: float = 0.0


class ComposedBackend:
    """One photo's dialogue with a pair; see `chat.backend.Backend`. opening: digest of what stands before all."""

    tags: tuple[str, ...] = ()
    evidence = None
    recalls = True
    unsure_below = 0.0
    """Scores of segmenters stand for different things: no one number says when to hedge."""

    def __init__(
        self, model: Any, photo: NDArray[np.uint8], drawing: Drawing, talker: Talker, opening: str, *,
        looks: bool, encode_seconds: float,
    ) -> None:  # fmt: skip
        self.model, self.drawing, self.talker, self.opening = model, drawing, talker, opening
        self.encode_seconds, self._looks = encode_seconds, looks
        self._page = Page(photo)

    @cached_property
    def text_regions(self) -> tuple[TextRegion, ...]:
        """The lines of text, read when this is first asked for."""
        return self._page.text_regions

    def fork(self) -> ComposedBackend:
        """The encoding is shared."""
        twin = copy.copy(self)
        twin.talker = self.talker.fork()
        return twin

    begin = fork

    def prepare(self, state: State, message: str, forced: Sequence[int] | None) -> str:
        """The message. Raises InputError for a reply by ids: a talker has none."""
        if forced is not None:
            raise InputError("a message alone", "the ids of a reply, of a talker that has none", "leave them out")
        return message

    def reply(self, state: State, prepared: str) -> Generator[str | Region, None, Event]:
        """Regions as they are drawn, then the words: what is not found is told."""
        start = time.perf_counter()
        plan = self.talker.say(state, prepared)
        said = time.perf_counter() - start
        turn = _Turn(state, 2 * len(state.exchanges) + 1, [], [], [], plan.spent)
        yield from self._carried_out(turn, plan)
        reply = Turn("assistant", tuple(turn.content), tuple(turn.regions))
        if reply.text:
            yield reply.text
        timings = Timings(generate=said, segment=turn.segment, look=turn.look)
        exchange = Exchange(Turn.user(prepared), reply)
        event = Event(exchange, self.talker.window(state), timings, turn.spent.written, None, turn.spent)
        self.talker.heard(state, event)
        return event

    def append(self, state: State, user: str, reply: Turn, pointed: bool = False) -> Event:
        """It is told with the next message."""
        event = Event(Exchange(Turn.user(user), reply, pointed=pointed), self.talker.window(state), spent=Spent())
        self.talker.heard(state, event)
        return event

    def draw(self, state: State, gesture: Gesture) -> tuple[Mask, float | None]:
        """By the segmenter, without words."""
        drawn = self.drawing.pointed(gesture)
        return drawn.mask, drawn.score

    def refine(self, state: State, region: Region, gesture: Gesture) -> Event:
        """By the segmenter, with the region's name and mask where it takes them."""
        start = time.perf_counter()
        pointed = any(one.pointed and region in one.reply.regions for one in state.exchanges)
        drawn = self.drawing.pointed(gesture, "" if pointed else region.phrase, region.mask)
        new = replace(region, mask=drawn.mask, score=drawn.score)
        return Event(new, state.window, Timings(segment=time.perf_counter() - start), spent=Spent())

    def resume(self, state: State) -> None:
        """As the talker needs it."""
        self.talker.resume(state)

    def spoken(self, exchange: Exchange) -> tuple[int, ...]:
        """None: it is asked in words."""
        return ()

    def write(self, exchange: Exchange) -> dict[str, Any]:
        """See `composed.record`."""
        return record.write(exchange)

    def read(self, raw: Mapping[str, Any], user: str, regions: tuple[Region, ...], first_region: int) -> Exchange:
        """See `composed.record`."""
        return record.read(raw, user, regions, first_region)

    # Within

    def _carried_out(self, turn: _Turn, plan: Plan) -> Generator[Region, None, None]:
        """The reply's content, its regions as they come. An operator whose regions are all not found is left out."""
        operator, waiting = Operator.REPLACE, None
        for index, piece in enumerate(plan.pieces):
            if isinstance(piece, Words):
                turn.content.append(piece)
            elif isinstance(piece, Mark):
                operator, waiting = piece.operator, piece
                if not _wants(plan, index):
                    turn.content.append(piece)
                    waiting = None
            else:
                drawn = [] if piece.id else self._drawn(turn, piece)
                if not piece.id and not drawn:
                    turn.missing.append(piece.phrase)
                    turn.content.append(Words(piece.shown))
                    continue
                if waiting is not None:
                    turn.content.append(waiting)
                    waiting = None
                yield from self._named(turn, piece, operator, drawn)
        self._told(turn)

    def _named(self, turn: _Turn, want: Want, operator: Operator, drawn: list[Drawn]) -> Generator[Region, None, None]:
        if want.id:
            turn.content.append(Name(want.shown, want.id))
            yield next(region for region in turn.state.regions if region.id == want.id)
        for number, one in enumerate(drawn):
            region_id = len(turn.state.regions) + len(turn.regions) + 1
            region = Region(region_id, want.phrase, one.mask, turn.number, operator, one.score)
            turn.content.append(Name("" if number else want.shown, region_id))
            turn.regions.append(region)
            yield region

    def _told(self, turn: _Turn) -> None:
        """What was not found, in words; a reply that is left with nothing is a refusal."""
        if not turn.missing:
            return
        the = " and ".join(definite(phrase) for phrase in dict.fromkeys(turn.missing))
        if any(isinstance(piece, Name | Mark) for piece in turn.content):
            turn.content.append(Words(NOT_ALL.format(the=the)))
        else:
            turn.content[:] = [Mark(Operator.REJECT), Words(NOT_FOUND.format(the=the))]

    def _drawn(self, turn: _Turn, want: Want) -> list[Drawn]:
        lines = self.text_regions if is_about_writing(want.phrase) else ()
        start = time.perf_counter()
        drawn = self.drawing.wanted(want, lines)
        turn.segment += time.perf_counter() - start
        if not self._looks:
            return drawn
        return [seen for one in drawn if (seen := self._looked(turn, want, one, alone=len(drawn) == 1)) is not None]

    def _looked(self, turn: _Turn, want: Want, drawn: Drawn, *, alone: bool) -> Drawn | None:
        """The mask after the talker has seen it; None when it gives it up. alone: it is the only one of its name, so
        that points of the answer that led to it still hold."""
        start = time.perf_counter()
        look = self.talker.look(want.phrase, drawn.mask)
        turn.look += time.perf_counter() - start
        if look is None:
            return drawn
        turn.spent = turn.spent + look.spent
        if look.verdict == "give_up":
            return None
        if look.points is None or look.verdict == "accept":
            return drawn
        start = time.perf_counter()
        known = want if alone else replace(want, points=None)
        better = self.drawing.again(known, drawn, look.points)
        turn.segment += time.perf_counter() - start
        return better


def _wants(plan: Plan, index: int) -> bool:
    """Whether an operator is followed by regions before the next one."""
    for piece in plan.pieces[index + 1 :]:
        if isinstance(piece, Mark):
            return False
        if isinstance(piece, Want):
            return True
    return False
