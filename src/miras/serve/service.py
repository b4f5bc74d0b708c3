"""What the server does for people: conversations about photos, each turn on the disk before it is told.

In: who, which conversation, what. Out: jobs whose events are answers, and views. Models and sessions are at desks, one
thread each; the database is the truth, and a session that is not like it is made like it. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from miras.chat.inputs import clean_text
from miras.chat.load import Loaded
from miras.serve import turns as views
from miras.serve.database import Database, Row
from miras.serve.desk.aside import Aside
from miras.serve.desk.local import Call, Desk, Local, Past
from miras.serve.desk.sessions import Sessions
from miras.serve.gestures import Refine
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


def local(loaded: Loaded, settings: Settings) -> Local:
    """The desk of a server that has its model itself."""
    aside = Aside(settings.data / "aside", settings.aside_bytes)
    return Local(loaded, Sessions(settings.session_bytes, aside))


class Service:
    """Desks, database, photos and queue of one server. desks: where models answer; by default one, here. Raises
    InputError when the folder cannot be used."""

    def __init__(self, loaded: Loaded, settings: Settings, desks: Sequence[Desk] = ()) -> None:
        self.loaded, self.settings, self.metrics = loaded, settings, Metrics()
        self.database = Database(settings.data)
        self.records = Records(self.database)
        self.photos = PhotoFiles(settings.data / "photos")
        self.desks: Sequence[Desk] = desks or (local(loaded, settings),)
        places = len(self.desks)
        self.worker = Worker(settings.limits.queue, self._observe, places, lambda place: self.desks[place].back())
        gauge = self.metrics.gauge
        gauge("miras_queue_length", "Turns that wait.", lambda: self.worker.length)
        gauge("miras_workers", "Models that answer.", lambda: self.worker.up)
        gauge("miras_sessions", "Sessions that are ready.", lambda: sum(one.facts.sessions for one in self.desks))
        gauge(
            "miras_sessions_bytes", "Bytes of the sessions that are ready.",
            lambda: sum(one.facts.bytes for one in self.desks),
        )  # fmt: skip
        gauge(
            "miras_sessions_aside_bytes", "Bytes of the files of those that are put aside.",
            lambda: sum(one.facts.aside for one in self.desks),
        )  # fmt: skip

    def start(self) -> None:
        """Take leftovers of a crash away and begin to work."""
        self.tidy()
        self.photos.sweep(self.records.photos())
        self.worker.start()

    def close(self) -> None:
        """Stop: what runs comes to its end, what waits stays open."""
        self.worker.close(PATIENCE)
        for desk in self.desks:
            desk.close()
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
        self._drop(conversation)
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
            owner, conversation, lambda job: self._turn(job, "ask", {"text": message}, asked=True), loop,
            lambda: begin(conversation, message),
        )  # fmt: skip

    def refine(self, owner: str, conversation: str, body: Refine, loop: asyncio.AbstractEventLoop) -> Job:
        """Change a region by hand."""
        self.records.conversation(owner, conversation)
        self._room(conversation)
        return self.job(owner, conversation, lambda job: self._refine(job, body), loop)

    def select(self, owner: str, conversation: str, expression: str, loop: asyncio.AbstractEventLoop) -> Job:
        """Another selection of the regions that there are."""
        self.records.conversation(owner, conversation)
        self._room(conversation)
        said = {"expression": expression}
        return self.job(owner, conversation, lambda job: self._turn(job, "select", said), loop)

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
                for _ in self._said(owner, conversation, "warm", {}, lambda: None):
                    pass
                if not self.records.exists(conversation):
                    self._drop(conversation)

        self.worker.when_idle(conversation, work)

    def words(self, conversation: str, region: int | None) -> tuple[Any, Sequence[int]] | None:
        """See `Desk.words`."""
        desk = self.desks[self.worker.place(conversation) or 0]
        return desk.words(conversation, tuple(self.records.keys(conversation)), region)

    # In a model's thread

    def _said(
        self, owner: str, conversation: str, do: str, arguments: Json, check: Callable[[], None]
    ) -> Iterator[Event]:
        """What the desk of this thread says, what it read counted."""
        row = self.records.conversation(owner, conversation)
        call = Call(conversation, tuple(self.records.keys(conversation)), row["parent"], do, arguments)

        def past() -> Past:
            photo = self.records.photo(owner, row["photo"])
            return Past(self.full(photo), self.records.session(conversation))

        for name, data in self.desks[self.worker.here].run(call, past, check):
            if name != "read":
                yield name, data
                continue
            self.metrics.stage.labels("encode").observe(data[0])
            self.metrics.restored.inc(data[1])
            yield "read", data[0]

    def _turn(self, job: Job, do: str, arguments: Json, *, replaces: bool = False, **keep: Any) -> Iterator[Event]:
        """A turn. replaces, keep: see `_keep`."""
        number, encode = self.records.count(job.conversation) + (not replaces), 0.0
        for name, data in self._said(job.owner, job.conversation, do, arguments, job.check):
            if name == "read":
                encode = data
            elif name == "said":
                yield "reply", self._keep(job, data, encode, replaces=replaces, **keep)
            else:
                placed = views.placed_region(data, job.conversation, number) if name == "region" else data
                yield name, placed

    def _refine(self, job: Job, body: Refine) -> Iterator[Event]:
        changed = None
        if body.region is None and (last := self.records.last(job.conversation)) is not None:
            selection = json.loads(last["reply"])["selection"]
            changed = next(reversed(selection["added"] or selection["left_out"]), None)
        yield from self._turn(job, "refine", {"body": body, "changed": changed})

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
        record = json.loads(row["record"])
        names = [piece["region"] for piece in record["content"] if piece["type"] == "name"]
        said = {
            "ids": json.loads(row["event"])["reply_ids"], "place": names.index(region), "phrase": phrase,
            "user": turn["user"],
        }  # fmt: skip
        known, taken = {region: views.other_names(old, phrase)}, {*record.get("taken", ()), region}
        yield from self._turn(job, "rename", said, replaces=True, others=known, taken=taken)

    def _undo(self, job: Job) -> Iterator[Event]:
        """The session follows with its next turn."""
        self.records.undo(job.conversation)
        yield "done", None

    def _keep(
        self, job: Job, done: Answered, encode: float, *, replaces: bool = False, asked: bool = False,
        others: Mapping[int, list[Json]] | None = None, taken: Collection[int] = (),
    ) -> Json:  # fmt: skip
        """Put a turn on the disk. A session that is ahead of the disk is dropped.

        replaces, asked: see `Records.answer`. others: alternatives of regions that are known. taken: regions whose
        names a person chose.
        """
        view = done.reply
        view["seconds"] |= {"encode": round(encode, 4), "wait": round(job.waited, 4)}
        for stage in ("prefill", "generate", "segment"):
            self.metrics.stage.labels(stage).observe(view["seconds"][stage])
        self.metrics.tokens.inc(view["tokens"])
        if self.settings.log_content:
            log.info("reply %r", view["text"])
        for region in view["regions"]:
            region["alternatives"] = (others or {}).get(region["id"], region["alternatives"])
        if taken and done.record is not None:
            done.record["taken"] = sorted(taken)
        try:
            return views.placed(self.records.answer(job.conversation, done, replaces=replaces, asked=asked))
        except BaseException:
            self._drop(job.conversation)
            raise

    def _drop(self, conversation: str) -> None:
        """Forget a session, wherever it is."""
        for desk in self.desks:
            desk.drop(conversation)

    def _room(self, conversation: str) -> None:
        most = self.settings.limits.turns
        if self.records.count(conversation) >= most:
            cure = "fork it from an earlier turn, or start a new one"
            raise Problem("limit", f"at most {most} turns in a conversation", str(most), cure)

    def _observe(self, outcome: str, job: Job) -> None:
        self.metrics.turns.labels(outcome).inc()
        self.metrics.wait.observe(job.waited)
