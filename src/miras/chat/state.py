"""What was said and selected so far, as plain records: the session's memory without any tensor.

In: events (an exchange, a region changed by hand, an expression chosen by hand). Out: the state after them; undo is a
replay of one event less. Knows no model: token ids are only kept here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from miras.core.errors import InputError
from miras.core.expression import evaluate
from miras.core.selection import Steps, advance, label, parted
from miras.core.types import Region, Selection, Timings, Turn


@dataclass(frozen=True, eq=False)
class Exchange:
    """A user's turn and its reply.

    prompt_ids: user's turn and opening of the reply. reply_ids: what was generated, mask slots
    included, end of turn not; none of a talker that is asked in words. pointed: its region came from
    a click, its words prompt no mask.
    """

    user: Turn
    reply: Turn
    prompt_ids: tuple[int, ...] = ()
    reply_ids: tuple[int, ...] = ()
    pointed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Another selection of the regions that there are, chosen by hand. expression: see `core.expression`. after: how
    many exchanges came before it. size: (H, W) of the photo. The model is not told: operators are the session's."""

    expression: str
    after: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a turn took of a talker that is asked by calls: how many, tokens read and written, and its price (0 without
    prices). looks: those calls among them that looked at a new mask."""

    calls: int = 0
    read: int = 0
    written: int = 0
    cost: float = 0.0
    looks: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls, self.read + other.read, self.written + other.written, self.cost + other.cost,
            self.looks + other.looks,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Event:
    """One thing that `undo` takes back: a new exchange, a new version of a region, or another selection.

    window: index of the oldest exchange that was still in the context then. spent: None for a model that is not asked
    by calls.
    """

    change: Exchange | Region | Choice
    window: int
    timings: Timings = field(default_factory=Timings)
    new_tokens: int = 0
    certainty: float | None = None
    spent: Spent | None = None


@dataclass(frozen=True, eq=False)
class State:
    """exchanges: all, oldest first, with the regions as they are now. steps: see `core.selection`. choices: those that
    were made by hand, oldest first."""

    exchanges: tuple[Exchange, ...] = ()
    window: int = 0
    steps: Steps = ()
    choices: tuple[Choice, ...] = ()

    def after(self, event: Event) -> State:
        """The state after one more event."""
        change = event.change
        if isinstance(change, Exchange):
            steps = advance(self.steps, change.reply, self.regions)
            return State((*self.exchanges, change), event.window, steps, self.choices)
        if isinstance(change, Choice):
            steps = (*self.steps, evaluate(change.expression, self.regions, change.size))
            return State(self.exchanges, event.window, steps, (*self.choices, change))
        exchanges = tuple(_with_region(exchange, change) for exchange in self.exchanges)
        return State(exchanges, event.window, _steps(exchanges, self.choices), self.choices)

    @property
    def kept(self) -> tuple[Exchange, ...]:
        """The exchanges that are still in the context."""
        return self.exchanges[self.window :]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """User and assistant in alternation."""
        return tuple(turn for exchange in self.exchanges for turn in (exchange.user, exchange.reply))

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in the order they were named."""
        return tuple(region for exchange in self.exchanges for region in exchange.reply.regions)

    def selection(self, size: tuple[int, int]) -> Selection:
        """What is selected now; an empty mask of size (H, W) when nothing is."""
        return self.steps[-1] if self.steps else Selection(np.zeros(size, dtype=np.bool_))

    @property
    def is_selected_before(self) -> bool:
        """Whether something is selected after an undo of the last step."""
        return len(self.steps) > 1 and bool(self.steps[-2].expression)

    @property
    def added(self) -> tuple[Region, ...]:
        """The regions that the current selection adds, in its order: "(1 + 2) - 3" has 1 and 2, "~1" none."""
        return self._parted(0)

    @property
    def left_out(self) -> tuple[Region, ...]:
        """The regions that the current selection leaves out, in its order; none where it selects nothing ("1 - 1")."""
        return self._parted(1)

    def _parted(self, part: int) -> tuple[Region, ...]:
        known = {region.id: region for region in self.regions}
        return tuple(known[number] for number in parted(self.steps[-1].expression)[part]) if self.steps else ()

    @property
    def label(self) -> str:
        """What is selected, in words: its phrases, or all but those; "" when nothing is."""
        known = {region.id: region.phrase for region in self.regions}
        return label(self.steps[-1].expression, lambda number: known[number]) if self.steps else ""

    def find(self, region: int | None) -> Region | None:
        """A region by id; without one the last added to the selection, or left out by one that adds none; None when
        nothing is selected.

        Raises InputError for an unknown id.
        """
        if region is None:
            return next(reversed(self.added or self.left_out), None)
        for known in self.regions:
            if known.id == region:
                return known
        raise InputError(f"the id of a region, 1 to {len(self.regions)}", repr(region), "see session.regions")


def replay(events: Sequence[Event]) -> State:
    """The state after all events."""
    state = State()
    for event in events:
        state = state.after(event)
    return state


def _steps(exchanges: Sequence[Exchange], choices: Sequence[Choice]) -> Steps:
    """The steps of a whole conversation, with its regions as they are now."""
    steps: Steps = ()
    regions: list[Region] = []
    for count in range(len(exchanges) + 1):
        for choice in choices:
            if choice.after == count:
                steps = (*steps, evaluate(choice.expression, regions, choice.size))
        if count < len(exchanges):
            steps = advance(steps, exchanges[count].reply, regions)
            regions += exchanges[count].reply.regions
    return steps


def _with_region(exchange: Exchange, region: Region) -> Exchange:
    if all(old.id != region.id for old in exchange.reply.regions):
        return exchange
    regions = tuple(region if old.id == region.id else old for old in exchange.reply.regions)
    return replace(exchange, reply=replace(exchange.reply, regions=regions))
