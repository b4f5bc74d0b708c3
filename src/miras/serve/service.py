"""What the server does for people: conversations about photos, each turn on the disk before it is told.

In: who, which conversation, what. Out: jobs whose events are answers, and views. One thread has the model and all
sessions; the database is the truth, and a session that is not like it is dropped. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from miras.chat.inputs import clean_text
from miras.chat.load import Loaded
from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.grammar import MASK, OBJ, REF, SEG
from miras.core.types import Region
from miras.serve import turns as views
from miras.serve.database import Database, Row
from miras.serve.desk.aside import Aside
from miras.serve.desk.sessions import Sessions
from miras.serve.gestures import Refine, keywords
from miras.serve.metrics import Metrics
from miras.serve.photos import PhotoFiles
from miras.serve.problems import Problem
from miras.serve.records import Answered, Records
from miras.serve.settings import Settings
from miras.serve.worker import Event, Job, Worker

log = logging.getLogger("miras.serve")
DAY = 24 * 3600.0
PATIENCE = 20.0
"""Seconds that a turn has to come to its end when the server stops."""
Json = views.Json


class Service:
    """Model, database, photos, sessions and queue of one server. Raises InputError when the folder cannot be used."""

    def __init__(self, loaded: Loaded, settings: Settings) -> None:
        self.loaded, self.settings, self.metrics = loaded, settings, Metrics()
        self.database = Database(settings.data)
        self.records = Records(self.database)
        self.photos = PhotoFiles(settings.data / "photos")
        self.sessions = Sessions(settings.session_bytes, Aside(settings.data / "aside", settings.aside_bytes))
        self.worker = Worker(settings.limits.queue, self._observe)
        self.metrics.gauge("miras_queue_length", "Turns that wait.", lambda: self.worker.length)
        self.metrics.gauge("miras_sessions", "Sessions that are ready.", lambda: len(self.sessions))
        self.metrics.gauge("miras_sessions_bytes", "Bytes of the sessions that are ready.", lambda: self.sessions.bytes)
        self.metrics.gauge(
            "miras_sessions_aside_bytes", "Bytes of the files of those that are put aside.",
            lambda: self.sessions.bytes_aside,
        )  # fmt: skip

    def start(self) -> None:
        """Take leftovers of a crash away and begin to work."""
        self.tidy()
        self.photos.sweep(self.records.photos())
        self.worker.start()

    def close(self) -> None:
        """Stop: what runs comes to its end, what waits stays open."""
        self.worker.close(PATIENCE)
        self.sessions.close()
        self.database.close()

    def tidy(self) -> None:
        """Delete what is older than it may be, and photos that nobody talks about."""
        now = time.time()
        if (days := self.settings.retention_days) is not None:
            for owner, conversation in self.records.expired(now - days * DAY):
                self.delete(owner, conversation)
        for photo in self.records.drop_unused_photos(now - DAY):
            self.photos.delete(photo)

    def delete(self, owner: str, conversation: str) -> None:
        """Delete a conversation, what runs in it, and its photo when no other one uses it."""
        photo = self.records.delete(owner, conversation)
        self.worker.stop(conversation)
        self.sessions.drop(conversation)
        if photo is not None:
            self.photos.delete(photo)

    def full(self, photo: Row) -> bytes:
        """A photo's file as it is kept."""
        return self.photos.read(photo["id"], "full", photo["suffix"])

    # Views

    def summary(self, row: Row) -> Json:
        """A conversation in a list."""
        photo = views.photo_view(self.records.photo(row["owner"], row["photo"]))
        state = "running" if self.worker.is_active(row["id"]) else "idle" if row["question"] is None else "open"
        parent = None if row["parent"] is None else {"conversation": row["parent"], "turns": row["parent_turns"]}
        return {
            "id": row["id"], "title": row["title"] or photo["name"], "turns": self.records.count(row["id"]),
            "state": state, "created": views.time_of(row["created"]), "updated": views.time_of(row["updated"]),
            "parent": parent, "photo": photo,
        }  # fmt: skip

    def view(self, owner: str, conversation: str) -> Json:
        """A whole conversation."""
        row = self.records.conversation(owner, conversation)
        summary = self.summary(row)
        history = [views.placed(turn) for turn in self.records.turns(conversation)]
        photo = summary["photo"]
        nothing = views.nothing_selected(photo["height"], photo["width"])
        question = row["question"]
        return {
            **summary, "turns": len(history), "history": history, "regions": views.regions_now(history),
            "selection": history[-1]["selection"] if history else nothing,
            "open": None if question is None else {"text": question, "since": views.time_of(row["asked"])},
        }  # fmt: skip

    # Jobs

    def job(
        self, owner: str, conversation: str, work: Callable[[Job], Iterator[Event]],
        loop: asyncio.AbstractEventLoop, before: Callable[[], None] = lambda: None,
    ) -> Job:  # fmt: skip
        """A job in the queue. before: what has to be on the disk before it may run. Raises Problem."""
        self.records.conversation(owner, conversation)
        job = Job(owner, conversation, work, loop)
        self.worker.claim(job)
        try:
            before()
            self.worker.enqueue(job)
        except BaseException:
            self.worker.leave(job)
            raise
        return job

    def ask(self, owner: str, conversation: str, text: str | None, loop: asyncio.AbstractEventLoop) -> Job:
        """Ask; text None: the open question again. Raises Problem and InputError."""
        row = self.records.conversation(owner, conversation)
        if text is None and row["question"] is None:
            raise Problem("conflict", "an open question", "none", "ask something")
        message = clean_text(row["question"] if text is None else text)
        most = self.settings.limits.text_characters
        if len(message) > most:
            raise Problem("invalid", f"at most {most} characters", str(len(message)), "shorten it", field="text")
        self._room(conversation)
        if self.settings.log_content:
            log.info("%s asks %r", conversation, message)
        begin = self.records.begin
        return self.job(
            owner, conversation, lambda job: self._ask(job, message), loop, lambda: begin(conversation, message)
        )

    def refine(self, owner: str, conversation: str, body: Refine, loop: asyncio.AbstractEventLoop) -> Job:
        """Change a region by hand."""
        self.records.conversation(owner, conversation)
        self._room(conversation)
        return self.job(owner, conversation, lambda job: self._refine(job, body), loop)

    def select(self, owner: str, conversation: str, expression: str, loop: asyncio.AbstractEventLoop) -> Job:
        """Another selection of the regions that there are."""
        self.records.conversation(owner, conversation)
        self._room(conversation)
        return self.job(owner, conversation, lambda job: self._select(job, expression), loop)

    def alternative(
        self, owner: str, conversation: str, region: int, phrase: str, loop: asyncio.AbstractEventLoop
    ) -> Job:
        """Say the last turn anew with another name of a region."""
        return self.job(owner, conversation, lambda job: self._alternative(job, region, phrase), loop)

    def undo(self, owner: str, conversation: str, loop: asyncio.AbstractEventLoop) -> Job:
        """Take the last turn back."""
        return self.job(owner, conversation, self._undo, loop)

    def warm(self, owner: str, conversation: str) -> None:
        """Read the photo ahead, when nobody waits: the first reply comes sooner."""

        def work() -> None:
            if not self.worker.is_active(conversation):
                self._session(owner, conversation)

        self.worker.when_idle(conversation, work)

    # In the model's thread

    def _session(self, owner: str, conversation: str) -> tuple[ChatSession, float]:
        """The session of a conversation, and the seconds that its photo took when it had to be read."""
        ready = self.sessions.get(conversation)
        if ready is not None:
            return ready, 0.0
        row = self.records.conversation(owner, conversation)
        if (twin := self._forked(row)) is not None:
            self._ready(conversation, twin)
            return twin, 0.0
        photo = self.records.photo(owner, row["photo"])
        content = self.full(photo)
        text = self.records.session(conversation)
        session = self.loaded.chat(content) if text is None else self.loaded.restore(text, content)
        if text is not None:
            self.metrics.restored.inc()
        self.metrics.stage.labels("encode").observe(session.encode_seconds)
        self._ready(conversation, session)
        return session, session.encode_seconds

    def _forked(self, row: Row) -> ChatSession | None:
        """The session of a fork, when that of its parent is ready and still begins alike: no photo is read for it."""
        parent = None if row["parent"] is None else self.sessions.get(row["parent"])
        if parent is None:
            return None
        ours, theirs = (self.records.keys(one) for one in (row["id"], row["parent"]))
        if theirs[: len(ours)] != ours:
            return None
        twin = parent.fork()
        for _ in theirs[len(ours) :]:
            twin.undo()
        return twin

    def _ready(self, conversation: str, session: ChatSession) -> None:
        """Keep a session ready, unless its conversation was deleted meanwhile."""
        self.sessions.put(conversation, session)
        if not self.records.exists(conversation):
            self.sessions.drop(conversation)

    def _ask(self, job: Job, message: str) -> Iterator[Event]:
        session, encode = self._session(job.owner, job.conversation)
        job.check()
        kept, known = self.records.count(job.conversation), len(session.regions)
        stream = session.stream(message)
        for event in stream:
            if isinstance(event, Reply):
                yield "reply", self._keep(job, session, event, "exchange", kept, encode, asked=True)
                return
            job.check()
            if isinstance(event, Region):
                view = views.region_view(event, event.operator, event.id <= known)
                yield "region", views.placed_region(view, job.conversation, kept + 1)
            else:
                yield "text", {"text": event}

    def _refine(self, job: Job, body: Refine) -> Iterator[Event]:
        session, encode = self._session(job.owner, job.conversation)
        region = body.region
        if region is None and (last := self.records.last(job.conversation)) is not None:
            selection = json.loads(last["reply"])["selection"]
            region = next(reversed(selection["added"] or selection["left_out"]), None)
        old = next((one.mask for one in session.regions if one.id == region), None)
        kept, before = self.records.count(job.conversation), len(session.turns)
        reply = session.refine(**keywords(body, session.size, old), region=body.region)
        kind = "pointing" if len(session.turns) > before else "refinement"
        yield "reply", self._keep(job, session, reply, kind, kept, encode)

    def _select(self, job: Job, expression: str) -> Iterator[Event]:
        session, encode = self._session(job.owner, job.conversation)
        kept = self.records.count(job.conversation)
        yield "reply", self._keep(job, session, session.select(expression), "selection", kept, encode)

    def _alternative(self, job: Job, region: int, phrase: str) -> Iterator[Event]:
        row = self.records.last(job.conversation)
        turn = None if row is None else json.loads(row["reply"])
        if row is None or turn is None or turn["kind"] != "exchange":
            raise Problem("conflict", "a last turn that was asked", "none", "ask for something first")
        old = next((one for one in turn["regions"] if one["id"] == region and not one["again"]), None)
        if old is None:
            raise Problem("invalid", "a region that the last turn drew", str(region), field="region")
        others = [one["phrase"] for one in old["alternatives"]]
        if phrase not in others:
            got = repr(phrase)[:80]
            raise Problem(
                "invalid", f"one of its alternatives: {', '.join(others) or 'it has none'}", got, field="phrase"
            )
        names = [piece["region"] for piece in json.loads(row["record"])["content"] if piece["type"] == "name"]
        ids = self._renamed(json.loads(row["event"])["reply_ids"], names.index(region), phrase)
        session, encode = self._session(job.owner, job.conversation)
        twin = session.fork()
        twin.undo()
        reply = twin.ask(turn["user"], forced=ids)
        known = {region: views.other_names(old, phrase)}
        taken = {*json.loads(row["record"]).get("taken", ()), region}
        yield (
            "reply",
            self._keep(
                job, twin, reply, "exchange", row["number"] - 1, encode, replaces=True, others=known, taken=taken
            ),
        )

    def _renamed(self, ids: list[int], place: int, phrase: str) -> list[int]:
        """The ids of a reply with other words for the region that it names at a place."""
        grammar = self.loaded.model.grammar
        kept = [i for i in ids if i != grammar.id(MASK)]
        start = [n for n, i in enumerate(kept) if i == grammar.id(OBJ)][place] + 1
        ends = (grammar.id(SEG), grammar.id(REF))
        end = next(n for n in range(start, len(kept)) if kept[n] in ends)
        return [*kept[:start], *grammar.tokenizer.encode(f" {phrase}"), *kept[end:]]

    def _undo(self, job: Job) -> Iterator[Event]:
        self.records.undo(job.conversation)
        session = self.sessions.get(job.conversation)
        if session is not None:
            try:
                session.undo()
                self._ready(job.conversation, session)
            except BaseException:
                self.sessions.drop(job.conversation)
                raise
        yield "done", None

    def _keep(
        self, job: Job, session: ChatSession, reply: Reply, kind: str, kept: int, encode: float, *,
        replaces: bool = False, asked: bool = False, others: Mapping[int, list[Json]] | None = None,
        taken: Collection[int] = (),
    ) -> Json:  # fmt: skip
        """Put a turn on the disk, then keep its session ready. A session that is ahead of the disk is dropped.

        kept: turns before it. replaces, asked: see `Records.answer`. others: alternatives of regions that are known.
        taken: regions whose names a person chose.
        """
        try:
            done = self._done(session, reply, kind, kept, encode, job.waited)
            for region in done.reply["regions"]:
                region["alternatives"] = (others or {}).get(region["id"], region["alternatives"])
            if taken and done.record is not None:
                done.record["taken"] = sorted(taken)
            row = self.records.answer(job.conversation, done, replaces=replaces, asked=asked)
        except BaseException:
            self.sessions.drop(job.conversation)
            raise
        self._ready(job.conversation, session)
        return views.placed(row)

    def _done(self, session: ChatSession, reply: Reply, kind: str, kept: int, encode: float, wait: float) -> Answered:
        """A finished turn, as it is kept."""
        document = json.loads(session.to_json(since=kept))
        (event,) = document.pop("events")
        turn = None if kind in ("refinement", "selection") else session.turns[-1]
        view = views.reply_view(reply, turn, session.regions, kind, encode=encode, wait=wait)
        for stage in ("prefill", "generate", "segment"):
            self.metrics.stage.labels(stage).observe(view["seconds"][stage])
        self.metrics.tokens.inc(reply.new_tokens)
        if self.settings.log_content:
            log.info("reply %r", reply.text)
        head, event = json.dumps(document, ensure_ascii=False), json.dumps(event, ensure_ascii=False)
        return Answered(head, event, view, None if turn is None else views.record_view(turn))

    def _room(self, conversation: str) -> None:
        most = self.settings.limits.turns
        if self.records.count(conversation) >= most:
            cure = "fork it from an earlier turn, or start a new one"
            raise Problem("limit", f"at most {most} turns in a conversation", str(most), cure)

    def _observe(self, outcome: str, job: Job) -> None:
        self.metrics.turns.labels(outcome).inc()
        self.metrics.wait.observe(job.waited)
