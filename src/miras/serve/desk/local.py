"""A desk in this process: a model, and the sessions of the conversations that it answers.

In: calls, each with the keys of the turns that are on the disk. Out: events; the last one of a turn is `said`. A
session that is ahead of the disk takes back what is not there; one that is not like it is made again from its past.
Knows no database, no queue and no HTTP; one thread works at it at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from miras.chat.load import Loaded
from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.grammar import MASK, OBJ, REF, SEG
from miras.core.types import Region
from miras.serve import turns as views
from miras.serve.desk.sessions import Sessions
from miras.serve.gestures import Refine, keywords
from miras.serve.problems import Problem, not_found
from miras.serve.records import Answered
from miras.serve.worker import Event


@dataclass(frozen=True)
class Call:
    """What a desk is asked for. keys: of the turns on the disk, oldest first. parent: the conversation that this one
    was forked from. do: `ask`, `refine`, `select`, `rename`, or `warm` for a session without a turn."""

    conversation: str
    keys: tuple[str, ...]
    parent: str | None
    do: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Past:
    """What a session is made of. photo: the file. text: the session as the records have it, None before a turn."""

    photo: bytes
    text: str | None


@dataclass(frozen=True)
class Facts:
    """Sessions that are ready, their bytes, and those of the files of the ones that are put aside."""

    sessions: int = 0
    bytes: int = 0
    aside: int = 0


class Desk(Protocol):
    """Where a model answers, here or elsewhere."""

    @property
    def facts(self) -> Facts:
        """As far as they are known."""
        ...

    def run(self, call: Call, past: Callable[[], Past], check: Callable[[], None]) -> Iterator[Event]:
        """The events of a turn: `read` (seconds that the photo took, whether there were turns to read) where a session
        was made, `text`, `region` without its place, `said` with an `Answered`.

        past: asked for when there is no session. check: raises when nobody waits any more. Raises Lost when the desk
        is gone, Problem and InputError.
        """
        ...

    def words(self, conversation: str, keys: tuple[str, ...], region: int | None) -> tuple[Any, Sequence[int]] | None:
        """What the decoder is told of a region, (span, memory), of a session that is ready and as the disk is; None
        for one that is not. Raises Problem. May be asked beside a turn."""
        ...

    def drop(self, conversation: str) -> None:
        """Forget a session."""
        ...

    def back(self) -> bool:
        """Whether a desk that was lost is there again; takes some seconds at most."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Local:
    """A desk in this process."""

    def __init__(self, loaded: Loaded, sessions: Sessions) -> None:
        self.loaded, self.sessions = loaded, sessions

    @property
    def facts(self) -> Facts:
        """As they are now."""
        return Facts(len(self.sessions), self.sessions.bytes, self.sessions.bytes_aside)

    def run(self, call: Call, past: Callable[[], Past], check: Callable[[], None]) -> Iterator[Event]:
        """See `Desk`."""
        session = self._ready(call)
        if session is None:
            given = past()
            new = given.text is None
            session = self.loaded.chat(given.photo) if new else self.loaded.restore(str(given.text), given.photo)
            self.sessions.put(call.conversation, session, call.keys)
            yield "read", (session.encode_seconds, not new)
        check()
        work = {"ask": _ask, "refine": _refine, "select": _select, "rename": _rename, "warm": _nothing}[call.do]
        for event in work(session, call):
            if not isinstance(event, _Turn):
                check()
                yield event
                continue
            answered = _answered(event, len(call.keys) - (call.do == "rename"))
            keys = call.keys[:-1] if call.do == "rename" else call.keys
            self.sessions.put(call.conversation, event.session, (*keys, answered.key))
            yield "said", answered

    def words(self, conversation: str, keys: tuple[str, ...], region: int | None) -> tuple[Any, Sequence[int]] | None:
        """See `Desk`."""
        session = self.sessions.get(conversation) if self.sessions.keys(conversation) == keys else None
        if session is None:
            return None
        if not hasattr(session.backend, "words"):
            raise Problem("conflict", "a conversation with a model of ours", "one with a pair", "let the server draw")
        if region is not None and all(one.id != region for one in session.regions):
            raise not_found("a region")
        span, memory = session.backend.words(region)
        return span, memory

    def drop(self, conversation: str) -> None:
        """Forget a session."""
        self.sessions.drop(conversation)

    def back(self) -> bool:
        """It is never lost."""
        return True

    def close(self) -> None:
        """Let go of all sessions."""
        self.sessions.close()

    def _ready(self, call: Call) -> ChatSession | None:
        """The session as it is on the disk, when it, or that of its parent, is kept; no photo is read for it."""
        for name in (call.conversation, call.parent):
            keys = None if name is None else self.sessions.keys(name)
            if name is None or keys is None or keys[: len(call.keys)] != call.keys:
                continue
            session = self.sessions.get(name)
            if session is None:
                continue
            if name != call.conversation:
                session = session.fork()
            for _ in keys[len(call.keys) :]:
                session.undo()
            if name != call.conversation or keys != call.keys:
                self.sessions.put(call.conversation, session, call.keys)
            return session
        return None


@dataclass(frozen=True)
class _Turn:
    """A finished turn, not yet written."""

    session: ChatSession
    reply: Reply
    kind: str


def _nothing(session: ChatSession, call: Call) -> Iterator[Event | _Turn]:
    """The session is there."""
    yield from ()


def _ask(session: ChatSession, call: Call) -> Iterator[Event | _Turn]:
    known = len(session.regions)
    for event in session.stream(call.arguments["text"]):
        if isinstance(event, Reply):
            yield _Turn(session, event, "exchange")
        elif isinstance(event, Region):
            yield "region", views.region_view(event, event.operator, event.id <= known)
        else:
            yield "text", {"text": event}


def _refine(session: ChatSession, call: Call) -> Iterator[Event | _Turn]:
    """changed: the region that is painted on, where none was given."""
    body: Refine = call.arguments["body"]
    changed = call.arguments["changed"] if body.region is None else body.region
    old = next((one.mask for one in session.regions if one.id == changed), None)
    before = len(session.turns)
    reply = session.refine(**keywords(body, session.size, old), region=body.region)
    yield _Turn(session, reply, "pointing" if len(session.turns) > before else "refinement")


def _select(session: ChatSession, call: Call) -> Iterator[Event | _Turn]:
    yield _Turn(session, session.select(call.arguments["expression"]), "selection")


def _rename(session: ChatSession, call: Call) -> Iterator[Event | _Turn]:
    """The last turn anew. ids: of its reply. place: of the region among the names. phrase: the other name."""
    said = call.arguments
    ids = renamed(session.backend.engine.grammar, said["ids"], said["place"], said["phrase"])  # type: ignore[attr-defined]
    twin = session.fork()
    twin.undo()
    yield _Turn(twin, twin.ask(said["user"], forced=ids), "exchange")


def renamed(grammar: Any, ids: list[int], place: int, phrase: str) -> list[int]:
    """The ids of a reply with other words for the region that it names at a place."""
    kept = [i for i in ids if i != grammar.id(MASK)]
    start = [n for n, i in enumerate(kept) if i == grammar.id(OBJ)][place] + 1
    ends = (grammar.id(SEG), grammar.id(REF))
    end = next(n for n in range(start, len(kept)) if kept[n] in ends)
    return [*kept[:start], *grammar.tokenizer.encode(f" {phrase}"), *kept[end:]]


def _answered(said: _Turn, kept: int) -> Answered:
    """A finished turn, as it is kept. kept: turns before it."""
    document = json.loads(said.session.to_json(since=kept))
    (event,) = document.pop("events")
    turn = None if said.kind in ("refinement", "selection") else said.session.turns[-1]
    view = views.reply_view(said.reply, turn, said.session.regions, said.kind)
    head, event = json.dumps(document, ensure_ascii=False), json.dumps(event, ensure_ascii=False)
    return Answered(head, event, view, None if turn is None else views.record_view(turn))
