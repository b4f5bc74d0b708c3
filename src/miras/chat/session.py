"""A conversation about one photo: ask, point, undo, fork, save.

In: a model, a photo, messages and gestures. Out: replies with words, regions and the selection. The
photo is encoded once and the cache is extended turn by turn; the operators are executed exactly by
`core.selection`. A turn that fails, or a stream that is dropped, leaves the session as it was.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat import export, store
from miras.chat.busy import Busy, alone
from miras.chat.context import Context, Run
from miras.chat.generation.decoding import ReplyRules, check_reply
from miras.chat.generation.engine import Engine, Evidence, Job
from miras.chat.hedge import spoken
from miras.chat.inputs import REFUSE_BELOW, Gesture, Options, Point, Recompute, clean_text, gesture, given_mask
from miras.chat.reply import Reply, reply_of
from miras.chat.state import Event, Exchange, State, replay
from miras.core.errors import InputError, NothingToUndo
from miras.core.grammar import MASK, TEMPLATES, parse_reply
from miras.core.inscriptions import Inscription
from miras.core.photo import read_photo
from miras.core.types import Name, Region, Selection, Turn
from miras.model.miras import Miras

POINTING = "Select what I point at."
POINTED = "what you point at"


class ChatSession:
    """A conversation about one photo.

    photo: a path, bytes, file, PIL image or uint8 (H, W, 3) RGB array. Raises InputError when it is no
    usable image. Further keywords: see `inputs.Options`.
    """

    def __init__(
        self,
        model: Miras,
        photo: Any,
        *,
        seed: int = 0,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        recompute: Recompute = "never",
        refuse_below: float = REFUSE_BELOW,
    ) -> None:
        self.options = Options(seed, max_new_tokens, temperature, recompute, refuse_below)
        if max_new_tokens > (most := model.config.max_tokens // 2):
            raise InputError(f"max_new_tokens of at most {most}", str(max_new_tokens), "shorten the replies")
        self.model = model
        self.path = os.fspath(photo) if isinstance(photo, (str, os.PathLike)) else None
        self.photo: NDArray[np.uint8] = read_photo(photo)
        self._engine = Engine(model, self.photo)
        context = Context(model.grammar, TEMPLATES[model.config.template], model.config.max_tokens)
        self._context = context.opened(self._opening() if model.config.reads else (), self.tags)
        self._events: tuple[Event, ...] = ()
        self._state = State()
        self._busy = Busy()

    # What was said and selected

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo as the person sees it."""
        return self._engine.size

    @property
    def turns(self) -> tuple[Turn, ...]:
        """User and assistant in alternation; regions as they are now."""
        return self._state.turns

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in the order they were named."""
        return self._state.regions

    @property
    def selection(self) -> Selection:
        """What is selected now; an empty mask when nothing is."""
        return self._state.selection(self.size)

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of what the photo seems to show, the likeliest first: guesses that the language model reads before
        anything is asked. Empty for a model without a tagger."""
        return self._engine.tags

    @property
    def inscriptions(self) -> tuple[Inscription, ...]:
        """The lines of text that are written in the photo, in reading order; read when this is first asked for."""
        return self._engine.page.inscriptions

    @property
    def history(self) -> tuple[Reply, ...]:
        """The replies so far, refinements among them, as they were given."""
        replies, state = [], State()
        for event in self._events:
            state = state.after(event)
            replies.append(self._reply(event, state))
        return tuple(replies)

    @property
    def evidence(self) -> Evidence | None:
        """What the last generated reply was decided by, selecting or refusing; None before there is one."""
        return self._engine.evidence

    @property
    def encode_seconds(self) -> float:
        """Seconds that the photo took to encode."""
        return self._engine.encode_seconds

    # Talking

    @alone
    def ask(self, text: str, *, forced: Sequence[int] | None = None) -> Reply:
        """One message, one reply. Raises InputError for an empty or too long message, and while another is answered.

        forced: ids of the reply (mask slots and end of turn left out) to say instead of the model's
        own choice; the masks are the model's.
        """
        *_, reply = self._begun(text, forced)
        assert isinstance(reply, Reply), "a stream ends with its reply"
        return reply

    def stream(self, text: str, *, forced: Sequence[int] | None = None) -> Iterator[str | Region | Reply]:
        """Like `ask`, as it comes: text deltas (joined they are the reply's text), regions, the reply.

        Bad input raises here, before the first event. The session changes with the last event.
        """
        return self._busy.each(self._begun(text, forced))

    def _begun(self, text: str, forced: Sequence[int] | None) -> Iterator[str | Region | Reply]:
        message = clean_text(text)
        ids = None if forced is None else check_reply(forced, self.model.grammar)
        prompt = self._context.prompt(message)
        window = self._context.fit(self._state, len(prompt) + self._context.reserve(self.options.max_new_tokens, ids))
        return self._stream(self._state, message, prompt, window, ids)

    def _stream(
        self, state: State, message: str, prompt: tuple[int, ...], window: int, forced: tuple[int, ...] | None
    ) -> Iterator[str | Region | Reply]:
        self._same(state)
        engine = self._begin()
        run = self._context.run(replace(state, window=window), prompt)
        job = self._job(message, run, forced)
        with engine.clock.part("prefill"):
            logits_V = engine.past.sync(run, job.rules)
        assert logits_V is not None, "a prompt is always new"
        written = yield from spoken(engine.write(logits_V, job), job.first_region, self.model.config.unsure_below)
        recalled = [region.id for region in written.named if region.id < job.first_region]
        content, _ = parse_reply(written.ids, engine.grammar, job.first_region, recalled)
        drawn = tuple(region for region in written.named if region.id >= job.first_region)
        exchange = Exchange(Turn.user(message), Turn("assistant", content, drawn), prompt, written.ids)
        self._same(state)
        yield self._commit(engine, exchange, window, written.certainty)

    @alone
    def refine(
        self,
        points: Sequence[Point] | NDArray[np.float32] | None = None,
        box: Sequence[float] | None = None,
        mask: NDArray[np.bool_] | None = None,
        region: int | None = None,
    ) -> Reply:
        """Change a region by hand, in photo pixels.

        points: rows (x, y, label), label 1 = inside, 0 = outside. box: (x1, y1, x2, y2). They prompt
        the decoder together with the region's words and its mask so far; the mask stays inside a box
        and spans it. mask: (H, W), taken exactly. region: its id; by default the one last added to what
        is selected. When nothing is, what is pointed at becomes a region of a new exchange. Raises InputError.
        """
        hand = gesture(self.size, points, box, mask)
        old = self._state.find(region)
        if old is None:
            return self._point(hand)
        engine = self._begin()
        if self.options.recompute != "never":
            engine.past.sync(self._context.run(self._state))
        new = self._refined(engine, old, hand)
        after = self._state.after(Event(new, self._state.window))
        with engine.clock.part("prefill"):
            engine.past.sync(self._context.run(after))
        return self._commit(engine, new, self._state.window)

    @alone
    def tell(self, user: str, reply: Turn) -> Reply:
        """An exchange with a reply that is known already, as if it had been said (gold history).

        The regions of the reply need the next free ids, in order; it may name earlier ones again where the model can
        point at them (config.points). Raises InputError.
        """
        return self._tell(clean_text(user), reply)

    @alone
    def undo(self) -> Selection:
        """Take the last exchange or refinement back. Returns what is selected now. Raises NothingToUndo.

        The cache is cropped to what it was, bit by bit; after a refinement, or when exchanges had been
        dropped, what followed is run again (equal up to the order of float sums).
        """
        if not self._events:
            raise NothingToUndo
        events = self._events[:-1]
        state = replay(events)
        engine = self._engine.fork()
        engine.past.sync(self._context.run(state))
        self._events, self._state, self._engine = events, state, engine
        return self.selection

    def fork(self) -> ChatSession:
        """An independent session with the same past; tensors are shared, the photo is not encoded again."""
        twin = copy.copy(self)
        twin._engine, twin._busy = self._engine.fork(), Busy()
        return twin

    # Keeping

    def to_json(self, since: int = 0) -> str:
        """The whole session as JSON text; see `chat.store`. since: events to leave out, for who has those already."""
        facts, prefix, options = store.facts(self.model), self._context.prefix, asdict(self.options)
        return store.dump(self._events[since:], self.photo, self.path, facts, options, prefix)

    @classmethod
    def from_json(cls, model: Miras, text: str, photo: Any = None) -> ChatSession:
        """A session written by `to_json`, ready for its next turn; nothing is generated.

        photo: where the image is now, if not where it was. Raises InputError when the text is no
        session of this model and these weights, or the image or what is seen in it has changed.
        """
        saved = store.parse(text, store.facts(model))
        if photo is None and saved.path is None:
            raise InputError("the photo beside the session", "none", "its photo came as pixels: give it again")
        session = cls(model, saved.path if photo is None else photo, **saved.options)
        saved.check_photo(session.photo)
        saved.check_opening(session._context.prefix)
        events = saved.events(model.grammar)
        state = replay(events)
        engine = session._engine
        for exchange in state.exchanges:
            if session._context.prompt(exchange.user.text) != exchange.prompt_ids:
                raise InputError("a session of this model's tokenizer", "other ids", "load its own model")
        engine.past.sync(session._context.run(state))
        session._events, session._state = events, state
        return session

    def export(
        self, folder: str | os.PathLike[str], formats: Sequence[str] = export.FORMATS, *, each: bool = False
    ) -> list[Path]:
        """Write what is selected (each: every region instead) to files; see `chat.export`."""
        if each:
            items = [export.Item(r.phrase, r.mask, r.score) for r in self.regions]
        else:
            items = [export.Item(self._state.label, self.selection.mask)] if self.selection.expression else []
        name = Path(self.path).name if self.path else "photo.png"
        return export.write(Path(folder), items, self.size, name, formats)

    # Within

    def _opening(self) -> tuple[Region, ...]:
        """The lines of text as regions; their ids, 0 and below, are no one's to ask for."""
        return tuple(
            Region(-number, line.title, line.mask(self.size), -1, score=line.confidence)
            for number, line in enumerate(self.inscriptions)
        )

    def _same(self, state: State) -> None:
        if state is not self._state:
            raise InputError("one turn at a time", "a change of the session during a stream", "ask again")

    def _begin(self) -> Engine:
        if self.options.recompute == "never":
            return self._engine.fork()
        engine = Engine(self.model, self.photo, self._engine.page)
        engine.past.lookahead = False
        engine.past.forgetful = self.options.recompute == "token"
        engine.clock.seconds["prefill"] += engine.encode_seconds
        return engine

    def _commit(self, engine: Engine, change: Exchange | Region, window: int, certainty: float | None = None) -> Reply:
        event = Event(change, window, engine.clock.read(), engine.past.processed_tokens, certainty)
        state = self._state.after(event)
        reply = self._reply(event, state)
        self._events, self._state, self._engine = (*self._events, event), state, engine
        return reply

    def _reply(self, event: Event, after: State) -> Reply:
        return reply_of(event, after, self.size, self.model.grammar.id(MASK), self.model.config.unsure_below)

    def _job(self, message: str, run: Run, forced: tuple[int, ...] | None) -> Job:
        room = self.model.config.max_tokens - len(run.ids) - len(self._context.closing)
        selection = self.selection
        rules = ReplyRules(
            self.model.grammar, self._context.template, max_new_tokens=self.options.max_new_tokens, room=room,
            known=[region.phrase for region in run.regions if region.id > 0], selected=bool(selection.expression),
        )  # fmt: skip
        turn = 2 * len(self._state.exchanges) + 1
        return Job(
            rules, turn, len(self.regions) + 1, message, selection.mask if selection.expression else None,
            self.options.temperature, (self.options.seed * 100_003 + turn) % 2**63, forced,
            self.model.config.least_score, self.options.refuse_below,
        )  # fmt: skip

    def _refined(self, engine: Engine, old: Region, hand: Gesture) -> Region:
        if hand.mask is not None:
            return replace(old, mask=hand.mask, score=None)
        mask, score = engine.mask(engine.past.span(old.id), engine.past.memory(old.id), old.mask, hand)
        return replace(old, mask=mask, score=score)

    def _point(self, hand: Gesture) -> Reply:
        engine, region_id = self._engine.fork(), len(self.regions) + 1
        mask, score = hand.mask, None
        if mask is None:
            mask, score = engine.mask(None, engine.past.memory(), None, hand)
        region = Region(region_id, POINTED, mask, 2 * len(self._state.exchanges) + 1, score=score)
        reply = Turn("assistant", (Name(POINTED, region_id),), (region,))
        return self._tell(POINTING, reply, pointed=True, engine=engine)

    def _tell(self, user: str, reply: Turn, *, pointed: bool = False, engine: Engine | None = None) -> Reply:
        expected = list(range(len(self.regions) + 1, len(self.regions) + 1 + len(reply.regions)))
        named, again = list(reply.names), reply.recalled
        drawn = [number for number in named if number not in again]
        if not [region.id for region in reply.regions] == drawn == expected:
            raise InputError(f"regions {expected}, each named once", f"regions {named}", "number them on")
        if again and not self.model.config.points:
            got = f"region {again[0]} again, of a model that draws each anew"
            raise InputError("regions of its own in a reply", got, "use a model that points, or draw it again")
        if strange := [number for number in again if not 0 < number <= len(self.regions)]:
            raise InputError("earlier regions that are named again", f"region {strange[0]}", "see session.regions")
        regions = tuple(replace(region, mask=given_mask(self.size, region.mask)) for region in reply.regions)
        reply = replace(reply, regions=regions)
        engine = self._begin() if engine is None else engine
        prompt, ids = self._context.prompt(user), self._context.reply(reply)
        reply = replace(reply, content=parse_reply(ids, engine.grammar, len(self.regions) + 1, again)[0])
        window = self._context.fit(self._state, len(prompt) + len(ids))
        exchange = Exchange(Turn.user(user), reply, prompt, ids, pointed)
        after = self._state.after(Event(exchange, window))
        with engine.clock.part("prefill"):
            engine.past.sync(self._context.run(after))
        return self._commit(engine, exchange, window)
