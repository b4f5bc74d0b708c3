"""Our own model as a dialogue backend: the photo is encoded once, the cache is extended turn by turn.

In: the state, messages, gestures. Out: replies with their masks, and events. Knows the engine and the context; knows no
session, and keeps nothing of what was selected.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.context import Context, Run
from miras.chat.generation.decoding import Choice, ReplyRules, check_reply
from miras.chat.generation.engine import Engine, Evidence, Job
from miras.chat.inputs import Gesture, Options
from miras.chat.native import record
from miras.chat.state import Event, Exchange, State
from miras.core.errors import InputError
from miras.core.grammar import MASK, TEMPLATES, parse_reply
from miras.core.text_regions import TextRegion
from miras.core.types import Mask, Region, Turn
from miras.model.reading import tell_unread
from miras.model.runtime.base import Runtime


@dataclass(frozen=True)
class Native:
    """Our model, which opens dialogues. model: a `Miras`, or what computes one."""

    model: Any

    def facts(self) -> dict[str, Any]:
        """What the ids and masks of a session depend on."""
        return runtime_of(self.model).facts()

    def open(self, photo: NDArray[np.uint8], options: Options) -> NativeBackend:
        """A dialogue. Raises InputError for replies longer than the model can hold."""
        return NativeBackend(runtime_of(self.model), photo, options)


@dataclass(frozen=True)
class Prepared:
    """A message as the model reads it. prompt: its ids. window: index of the first exchange that stays in the
    context. forced: ids of the reply, where they are known."""

    message: str
    prompt: tuple[int, ...]
    window: int
    forced: tuple[int, ...] | None


def runtime_of(model: Any) -> Runtime:
    """What computes a model: itself, or torch."""
    if isinstance(model, Runtime):
        return model
    from miras.model.runtime.networks import TorchRuntime

    return TorchRuntime(model)


class NativeBackend:
    """One photo's dialogue with our model; see `chat.backend.Backend`. trace: gets what replies are sampled from, see
    `generation.engine.Job`; None for replies as they are given."""

    trace: list[Choice] | None = None

    def __init__(self, runtime: Runtime, photo: NDArray[np.uint8], options: Options) -> None:
        config, grammar = runtime.config, runtime.grammar
        most = config.max_tokens // 2
        if options.max_new_tokens > most:
            raise InputError(f"max_new_tokens of at most {most}", str(options.max_new_tokens), "shorten the replies")
        self.runtime, self.photo, self.options = runtime, photo, options
        self.engine = Engine(runtime, photo)
        context = Context(grammar, TEMPLATES[config.template], config.max_tokens)
        self.context = context.opened(self._lines() if config.reads else (), self.tags)

    @property
    def model(self) -> Any:
        """What it was opened by."""
        return self.runtime.model

    @property
    def encode_seconds(self) -> float:
        """Seconds that the photo took to encode."""
        return self.engine.encode_seconds

    @property
    def tags(self) -> tuple[str, ...]:
        """Names that the tagger guesses; empty without one."""
        return self.engine.tags

    @property
    def text_regions(self) -> tuple[TextRegion, ...]:
        """The lines of text, read when this is first asked for."""
        return self.engine.page.text_regions

    @property
    def evidence(self) -> Evidence | None:
        """What the last generated reply was decided by."""
        return self.engine.evidence

    @property
    def recalls(self) -> bool:
        """Whether the model points at earlier regions."""
        return bool(self.runtime.config.points)

    @property
    def unsure_below(self) -> float:
        """As its configuration says."""
        return float(self.runtime.config.unsure_below)

    @property
    def opening(self) -> str:
        """Digest of the ids before every turn."""
        return record.opening(self.context.prefix)

    def fork(self) -> NativeBackend:
        """What was computed is shared."""
        twin = copy.copy(self)
        twin.engine = self.engine.fork()
        return twin

    def read_opening(self) -> None:
        """The photo and what stands beside it: forks go on from there."""
        self.engine.past.sync(Run(self.context.prefix, self.context.written))

    def begin(self) -> NativeBackend:
        """A fork; where everything is to be computed anew, one that has read nothing."""
        if self.options.recompute == "never":
            return self.fork()
        twin = copy.copy(self)
        twin.engine = Engine(self.runtime, self.photo, self.engine.page)
        twin.engine.past.lookahead = False
        twin.engine.past.forgetful = self.options.recompute == "token"
        twin.engine.clock.seconds["prefill"] += twin.engine.encode_seconds
        return twin

    def prepare(self, state: State, message: str, forced: Sequence[int] | None) -> Prepared:
        """Raises InputError for a message that is too long, and for ids that are no reply."""
        ids = None if forced is None else check_reply(forced, self.engine.grammar)
        if self.runtime.config.reads and forced is None:
            tell_unread(message)
        prompt = self.context.prompt(message)
        window = self.context.fit(state, len(prompt) + self.context.reserve(self.options.max_new_tokens, ids))
        return Prepared(message, prompt, window, ids)

    def reply(self, state: State, prepared: Prepared) -> Generator[str | Region, None, Event]:
        """The token loop."""
        run = self.context.run(replace(state, window=prepared.window), prepared.prompt)
        job = self._job(state, prepared, run)
        with self.engine.clock.part("prefill"):
            logits_V = self.engine.past.sync(run, job.rules)
        assert logits_V is not None, "a prompt is always new"
        written = yield from self.engine.write(logits_V, job)
        recalled = [region.id for region in written.named if region.id < job.first_region]
        content, _ = parse_reply(written.ids, self.engine.grammar, job.first_region, recalled)
        drawn = tuple(region for region in written.named if region.id >= job.first_region)
        user, reply = Turn.user(prepared.message), Turn("assistant", content, drawn)
        exchange = Exchange(user, reply, prepared.prompt, written.ids)
        return self._event(exchange, prepared.window, written.certainty)

    def append(self, state: State, user: str, reply: Turn, pointed: bool = False) -> Event:
        """The reply is read, not generated."""
        prompt, ids = self.context.prompt(user), self.context.reply(reply)
        content, _ = parse_reply(ids, self.engine.grammar, len(state.regions) + 1, reply.recalled)
        reply = replace(reply, content=content)
        window = self.context.fit(state, len(prompt) + len(ids))
        exchange = Exchange(Turn.user(user), reply, prompt, ids, pointed)
        after = state.after(Event(exchange, window))
        with self.engine.clock.part("prefill"):
            self.engine.past.sync(self.context.run(after))
        return self._event(exchange, window)

    def draw(self, state: State, gesture: Gesture) -> tuple[Mask, float | None]:
        """By the decoder, without words."""
        return self.engine.mask(None, self.engine.past.memory(), None, gesture)

    def refine(self, state: State, region: Region, gesture: Gesture) -> Event:
        """By the decoder, with the region's words and its mask so far; a given mask is taken as it is."""
        if self.options.recompute != "never":
            self.engine.past.sync(self.context.run(state))
        new = self._refined(region, gesture)
        after = state.after(Event(new, state.window))
        with self.engine.clock.part("prefill"):
            self.engine.past.sync(self.context.run(after))
        return self._event(new, state.window)

    def words(self, region: int | None) -> tuple[NDArray[np.float32] | None, tuple[int, ...]]:
        """What `refine` gives the decoder beside photo and gesture, for a decoder elsewhere: states (S, E) of the
        region's words, and the regions whose mask tokens are its memory. region: None for one that is not there yet."""
        past = self.engine.past
        return (None, past.remembered()) if region is None else (past.span(region), past.remembered(region))

    def resume(self, state: State) -> None:
        """The cache is cropped to what it has in common with the state, bit by bit; the rest is run again."""
        self.engine.past.sync(self.context.run(state))

    def spoken(self, exchange: Exchange) -> tuple[int, ...]:
        """Ids of the reply, mask slots left out."""
        slot = self.engine.grammar.id(MASK)
        return tuple(i for i in exchange.reply_ids if i != slot)

    def write(self, exchange: Exchange) -> dict[str, Any]:
        """See `native.record`."""
        return record.write(exchange)

    def read(self, raw: Mapping[str, Any], user: str, regions: tuple[Region, ...], first_region: int) -> Exchange:
        """See `native.record`. Raises InputError for the ids of another tokenizer, too."""
        exchange = record.read(raw, user, regions, first_region, self.engine.grammar)
        if self.context.prompt(user) != exchange.prompt_ids:
            raise InputError("a session of this model's tokenizer", "other ids", "load its own model")
        return exchange

    # Within

    def _lines(self) -> tuple[Region, ...]:
        """The lines of text as regions; their ids, 0 and below, are no one's to ask for."""
        return tuple(
            Region(-number, line.title, line.mask(self.engine.size), -1, score=line.confidence)
            for number, line in enumerate(self.text_regions)
        )

    def _event(self, change: Exchange | Region, window: int, certainty: float | None = None) -> Event:
        return Event(change, window, self.engine.clock.read(), self.engine.past.processed_tokens, certainty)

    def _job(self, state: State, prepared: Prepared, run: Run) -> Job:
        room = self.runtime.config.max_tokens - len(run.ids) - len(self.context.closing)
        selection = state.selection(self.engine.size)
        rules = ReplyRules(
            self.engine.grammar, self.context.template, max_new_tokens=self.options.max_new_tokens, room=room,
            known=[region.phrase for region in run.regions if region.id > 0], selected=bool(selection.expression),
            undone=state.is_selected_before,
        )  # fmt: skip
        turn = 2 * len(state.exchanges) + 1
        return Job(
            rules, turn, len(state.regions) + 1, prepared.message, selection.mask if selection.expression else None,
            self.options.temperature, (self.options.seed * 100_003 + turn) % 2**63, prepared.forced,
            self.runtime.config.least_score, self.options.refuse_below, self.trace,
        )  # fmt: skip

    def _refined(self, old: Region, hand: Gesture) -> Region:
        if hand.mask is not None:
            return replace(old, mask=hand.mask, score=None)
        past = self.engine.past
        mask, score = self.engine.mask(past.span(old.id), past.memory(old.id), old.mask, hand)
        return replace(old, mask=mask, score=score)
