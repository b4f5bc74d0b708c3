"""A conversation about one photo: ask, point, undo, fork, save.

In: a model, a photo, messages and gestures. Out: replies with words, regions and the selection. What was said and
selected is kept here, and the operators are executed exactly by `core.selection`, whatever stands behind it
(`chat.backend`). A turn that fails, or a stream that is dropped, leaves the session as it was.
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
from miras.chat.backend import Backend, Opener
from miras.chat.busy import Busy, alone
from miras.chat.hedge import spoken
from miras.chat.inputs import REFUSE_BELOW, Gesture, Options, Point, Recompute, clean_text, gesture, given_mask
from miras.chat.native.backend import Native
from miras.chat.reply import Reply, reply_of
from miras.chat.state import Choice, Event, State, replay
from miras.core.errors import InputError, NothingToUndo
from miras.core.expression import parse, write
from miras.core.former import former_names
from miras.core.photo import read_photo
from miras.core.text_regions import TextRegion
from miras.core.types import Name, Region, Selection, Turn

POINTING = "Select what I point at."
POINTED = "what you point at"


@former_names(tell="append_exchange", inscriptions="text_regions")
class ChatSession:
    """A conversation about one photo.

    model: ours, or any other that opens dialogues (`chat.composed`). photo: a path, bytes, file, PIL image or uint8
    (H, W, 3) RGB array. Raises InputError when it is no usable image. Further keywords: see `inputs.Options`.
    """

    def __init__(
        self,
        model: Any,
        photo: Any,
        *,
        seed: int = 0,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        recompute: Recompute = "never",
        refuse_below: float = REFUSE_BELOW,
    ) -> None:
        self.options = Options(seed, max_new_tokens, temperature, recompute, refuse_below)
        self.path = os.fspath(photo) if isinstance(photo, (str, os.PathLike)) else None
        self.photo: NDArray[np.uint8] = read_photo(photo)
        self._opener = _opener(model)
        self.backend: Backend = self._opener.open(self.photo, self.options)
        self._events: tuple[Event, ...] = ()
        self._state = State()
        self._busy = Busy()

    # What was said and selected

    @property
    def model(self) -> Any:
        """What it was opened by."""
        return self.backend.model

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo as the person sees it."""
        return self.photo.shape[0], self.photo.shape[1]

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
        return self.backend.tags

    @property
    def text_regions(self) -> tuple[TextRegion, ...]:
        """The lines of text that are written in the photo, in reading order; read when this is first asked for."""
        return self.backend.text_regions

    @property
    def history(self) -> tuple[Reply, ...]:
        """The replies so far, refinements among them, as they were given."""
        replies, state = [], State()
        for event in self._events:
            state = state.after(event)
            replies.append(self._reply(event, state))
        return tuple(replies)

    @property
    def evidence(self) -> Any:
        """What the last generated reply was decided by, selecting or refusing (`generation.engine.Evidence`); None
        before there is one, and for a backend that cannot say."""
        return self.backend.evidence

    @property
    def encode_seconds(self) -> float:
        """Seconds that the photo took to encode."""
        return self.backend.encode_seconds

    # Talking

    @alone
    def ask(self, text: str, *, forced: Sequence[int] | None = None) -> Reply:
        """One message, one reply. Raises InputError for an empty or too long message, and while another is answered.

        forced: ids of the reply (without mask slots and end of turn) to say instead of the model's own choice.
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
        state = self._state
        return self._stream(state, self.backend.prepare(state, clean_text(text), forced))

    def _stream(self, state: State, prepared: Any) -> Iterator[str | Region | Reply]:
        self._same(state)
        backend = self.backend.begin()
        parts = backend.reply(state, prepared)
        event = yield from spoken(parts, len(state.regions) + 1, backend.unsure_below)
        self._same(state)
        yield self._commit(backend, event)

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
        backend = self.backend.begin()
        return self._commit(backend, backend.refine(self._state, old, hand))

    @alone
    def select(self, expression: str) -> Reply:
        """Select something else of the regions that there are: "1 + 2", "(1 + 2) - 3", "1 & 2" where both are, "~1" all
        but it, "" nothing. A turn like another one: `undo` takes it back, "also the spoon" goes on from it. The model
        is not asked. Raises InputError for another text, for regions that are not there, and for what is selected now.
        """
        wanted = write(parse(expression))
        if wanted == self.selection.expression:
            raise InputError("another selection than the one there is", wanted or "nothing", "change the expression")
        choice = Choice(wanted, len(self._state.exchanges), self.size)
        return self._commit(self.backend, Event(choice, self._state.window))

    @alone
    def append_exchange(self, user: str, reply: Turn) -> Reply:
        """An exchange with a reply that is known already, as if it had been said (teacher forcing, gold history).

        The regions of the reply need the next free ids, in order; it may name earlier ones again where the model can
        point at them (config.points). Raises InputError.
        """
        message = clean_text(user)
        return self._tell(message, self._checked(reply))

    @alone
    def undo(self) -> Selection:
        """Take the last exchange, refinement or choice back. Returns what is selected now. Raises NothingToUndo.

        The cache of our model is cropped to what it was, bit by bit; after a refinement, or when exchanges had been
        dropped, what followed is run again (equal up to the order of float sums).
        """
        if not self._events:
            raise NothingToUndo
        events = self._events[:-1]
        state = replay(events)
        backend = self.backend.fork()
        backend.resume(state)
        self._events, self._state, self.backend = events, state, backend
        return self.selection

    def fork(self) -> ChatSession:
        """An independent session with the same past; tensors are shared, the photo is not encoded again."""
        twin = copy.copy(self)
        twin.backend, twin._busy = self.backend.fork(), Busy()
        return twin

    # Keeping

    def to_json(self, since: int = 0) -> str:
        """The whole session as JSON text; see `chat.store`. since: events to leave out, for who has those already."""
        facts, options = self._opener.facts(), asdict(self.options)
        return store.dump(self._events[since:], self.photo, self.path, facts, options, self.backend)

    @classmethod
    def from_json(cls, model: Any, text: str, photo: Any = None) -> ChatSession:
        """A session written by `to_json`, ready for its next turn; nothing is generated.

        photo: where the image is now, if not where it was. Raises InputError when the text is no
        session of this model and these weights, or the image or what is seen in it has changed.
        """
        saved = store.parse(text, _opener(model).facts())
        if photo is None and saved.path is None:
            raise InputError("the photo beside the session", "none", "its photo came as pixels: give it again")
        session = cls(model, saved.path if photo is None else photo, **saved.options)
        saved.check_photo(session.photo)
        saved.check_opening(session.backend.opening)
        events = saved.events(session.backend)
        state = replay(events)
        session.backend.resume(state)
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

    def _same(self, state: State) -> None:
        if state is not self._state:
            raise InputError("one turn at a time", "a change of the session during a stream", "ask again")

    def _commit(self, backend: Backend, event: Event) -> Reply:
        state = self._state.after(event)
        reply = self._reply(event, state)
        self._events, self._state, self.backend = (*self._events, event), state, backend
        return reply

    def _reply(self, event: Event, after: State) -> Reply:
        return reply_of(event, after, self.size, self.backend.spoken, self.backend.unsure_below)

    def _point(self, hand: Gesture) -> Reply:
        backend, region_id = self.backend.fork(), len(self.regions) + 1
        mask, score = hand.mask, None
        if mask is None:
            mask, score = backend.draw(self._state, hand)
        region = Region(region_id, POINTED, mask, 2 * len(self._state.exchanges) + 1, score=score)
        reply = Turn("assistant", (Name(POINTED, region_id),), (region,))
        return self._tell(POINTING, self._checked(reply), pointed=True, backend=backend)

    def _checked(self, reply: Turn) -> Turn:
        """A reply that is told, its masks as they are kept."""
        expected = list(range(len(self.regions) + 1, len(self.regions) + 1 + len(reply.regions)))
        named, again = list(reply.names), reply.recalled
        drawn = [number for number in named if number not in again]
        if not [region.id for region in reply.regions] == drawn == expected:
            raise InputError(f"regions {expected}, each named once", f"regions {named}", "number them on")
        if again and not self.backend.recalls:
            got = f"region {again[0]} again, of a model that draws each anew"
            raise InputError("regions of its own in a reply", got, "use a model that points, or draw it again")
        if strange := [number for number in again if not 0 < number <= len(self.regions)]:
            raise InputError("earlier regions that are named again", f"region {strange[0]}", "see session.regions")
        turn = 2 * len(self._state.exchanges) + 1
        regions = tuple(replace(one, mask=given_mask(self.size, one.mask), turn=turn) for one in reply.regions)
        return replace(reply, regions=regions)

    def _tell(self, user: str, reply: Turn, *, pointed: bool = False, backend: Backend | None = None) -> Reply:
        backend = self.backend.begin() if backend is None else backend
        return self._commit(backend, backend.append(self._state, user, reply, pointed))


def _opener(model: Any) -> Opener:
    """Whatever opens dialogues; else our own model, or what computes it."""
    opener: Opener = model if hasattr(model, "open") else Native(model)
    return opener
