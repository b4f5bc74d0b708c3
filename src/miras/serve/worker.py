"""One model or several, many people: a fair queue, and a thread for each model that works it.

In: jobs. Out: their events, in the event loop that made them. People take turns, whoever asks more waits more; a job
whose person has left is taken out. A conversation stays where it was first worked. Knows no model and no database: a
job is a generator.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from miras.serve.problems import Problem, of_error, trace

log = logging.getLogger("miras.serve")
Event = tuple[str, Any]
"""(name, data). The names `reply`, `done` and `error` end a job."""
Work = Callable[["Job"], Iterator[Event]]


MOST_PINS = 4096
"""Conversations whose place is known; of the others the next one may be another."""


class Left(Exception):
    """The person has left: the work stops where it is."""


class Lost(Exception):
    """Who worked is gone: the work can be done elsewhere."""


@dataclass(eq=False)
class Job:
    """Work for a model's thread. owner: whose turn it is; conversation: at most one job each. told: something of it was
    told already. again: it was lost before."""

    owner: str
    conversation: str
    work: Work
    loop: asyncio.AbstractEventLoop
    inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    left: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    told: bool = False
    again: bool = False

    def emit(self, name: str, data: Any) -> None:
        """Give an event to the loop. A loop that is closed has nobody who waits."""
        self.told = True
        try:
            self.loop.call_soon_threadsafe(self.inbox.put_nowait, (name, data))
        except RuntimeError:
            self.left.set()

    def check(self) -> None:
        """Raises Left when the person has left."""
        if self.left.is_set():
            raise Left


class Worker:
    """The queue and its threads. most: jobs that may wait. observe: called with (outcome, job) for each job. places:
    one thread each. back: asked, after a job was lost at a place, until it says that it can be worked there again."""

    def __init__(
        self, most: int, observe: Callable[[str, Job], None] = lambda outcome, job: None, places: int = 1,
        back: Callable[[int], bool] = lambda place: True,
    ) -> None:  # fmt: skip
        self.most, self.observe, self.back = most, observe, back
        self._condition = threading.Condition()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._running: dict[int, Job] = {}
        self._active: dict[str, Job] = {}
        self._idle_work: OrderedDict[str, Callable[[], None]] = OrderedDict()
        self._pins: OrderedDict[str, int] = OrderedDict()
        self._down: set[int] = set()
        self._closed = False
        self._pace = 2.0
        self._here = threading.local()
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"miras-model-{place}", daemon=True)
            for place in range(places)
        ]

    # Asking for work

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are taken and worked."""
        return self.up > 0 and not self._closed

    @property
    def up(self) -> int:
        """Places where jobs are worked."""
        return sum(one.is_alive() and place not in self._down for place, one in enumerate(self._threads))

    @property
    def here(self) -> int:
        """The place of the thread that asks."""
        return int(self._here.place)

    def place(self, conversation: str) -> int | None:
        """Where a conversation is worked; None before it was."""
        return self._pins.get(conversation)

    def beside(self, conversation: str, other: str) -> None:
        """A conversation is worked where another one is."""
        with self._condition:
            if other in self._pins:
                self._pin(conversation, self._pins[other])

    def claim(self, job: Job) -> None:
        """A place for a job, before what it needs is on the disk. Raises `conflict`, `busy`, `stopping`."""
        with self._condition:
            if self._closed:
                raise stopping()
            if job.conversation in self._active:
                cure = "wait for its reply, or close it"
                raise Problem("conflict", "a conversation that waits for nothing", "a turn that is not done", cure)
            if self.length >= self.most:
                wait = self._pace * (self.length + 1) / len(self._threads)
                cure = f"try again in {max(1, round(wait))} seconds"
                raise Problem("busy", f"at most {self.most} turns in the queue", "a full queue", cure, retry_after=wait)
            self._active[job.conversation] = job

    def enqueue(self, job: Job) -> None:
        """Put a job that has its place into the queue. Raises the problem `stopping`."""
        with self._condition:
            if self._closed:
                self._active.pop(job.conversation, None)
                raise stopping()
            if not job.left.is_set():
                self._waiting.setdefault(job.owner, deque()).append(job)
                self._condition.notify_all()

    def when_idle(self, key: str, work: Callable[[], None]) -> None:
        """Work for when nobody waits; forgotten when somebody never stops waiting. key: one of each."""
        with self._condition:
            if not self._closed and len(self._idle_work) < self.most:
                self._idle_work[key] = work
                self._condition.notify_all()

    def leave(self, job: Job) -> None:
        """The person of a job has left: it is taken out of the queue, or stops at its next event."""
        with self._condition:
            job.left.set()
            if job in self._running.values() or self._active.get(job.conversation) is not job:
                return
            waiting = self._waiting.get(job.owner, deque())
            if job in waiting:
                waiting.remove(job)
            if job.owner in self._waiting and not waiting:
                del self._waiting[job.owner]
            del self._active[job.conversation]
        self.observe("left", job)

    def stop(self, conversation: str) -> None:
        """Whatever a conversation waits for is not wanted any more."""
        job = self._active.get(conversation)
        if job is not None:
            self.leave(job)
            job.emit("error", Problem("conflict", "a conversation", "one that was deleted"))

    def is_active(self, conversation: str) -> bool:
        """Whether a turn of a conversation waits or runs."""
        return conversation in self._active

    @property
    def length(self) -> int:
        """Jobs that wait."""
        return len(self._active) - len(self._running)

    def position(self, job: Job) -> int:
        """How many jobs are done before this one: 0 when it runs."""
        with self._condition:
            if job.conversation not in self._active or job in self._running.values():
                return 0
            queues = [list(jobs) for jobs in self._waiting.values()]
            busy = len(self._running) == len(self._threads)
        order = [jobs[n] for n in range(max(map(len, queues), default=0)) for jobs in queues if n < len(jobs)]
        return (order.index(job) if job in order else 0) + busy

    def drain(self) -> None:
        """Take no more jobs; those that wait are told, the one that runs goes on."""
        with self._condition:
            self._closed = True
            waiting = [job for jobs in self._waiting.values() for job in jobs]
            self._waiting.clear()
            self._idle_work.clear()
            for job in waiting:
                self._active.pop(job.conversation, None)
            self._condition.notify_all()
        for job in waiting:
            job.emit("error", stopping())
            self.observe("stopped", job)

    def close(self, patience: float) -> None:
        """Stop: the jobs that run have `patience` seconds to come to their end."""
        self.drain()
        if self._joined(patience):
            return
        for running in list(self._running.values()):
            running.left.set()
        self._joined(patience)

    def _joined(self, patience: float) -> bool:
        """Whether the threads came to their end."""
        until = time.monotonic() + patience
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # The threads

    def _pin(self, conversation: str, place: int) -> None:
        self._pins[conversation] = place
        self._pins.move_to_end(conversation)
        if len(self._pins) > MOST_PINS:
            self._pins.popitem(last=False)

    def _next(self, place: int) -> Job | Callable[[], None] | None:
        """The next job for a place, people in turn; idle work when there is none; None at the end."""
        with self._condition:
            while True:
                if (found := self._waiting_for(place)) is not None:
                    return found
                if self._closed:
                    return None
                key = next((key for key in self._idle_work if self._pins.get(key, place) == place), None)
                if key is not None:
                    self._pin(key, place)
                    return self._idle_work.pop(key)
                self._condition.wait()

    def _waiting_for(self, place: int) -> Job | None:
        """The next job that may be worked at a place, out of the queue."""
        for owner, jobs in self._waiting.items():
            for job in jobs:
                if self._pins.get(job.conversation, place) != place:
                    continue
                jobs.remove(job)
                if jobs:
                    self._waiting.move_to_end(owner)
                else:
                    del self._waiting[owner]
                self._pin(job.conversation, place)
                self._running[place] = job
                return job
        return None

    def _work(self, place: int) -> None:
        self._here.place = place
        while (task := self._next(place)) is not None:
            try:
                if isinstance(task, Job):
                    self._run(task, place)
                else:
                    task()
            except Lost:
                self._recovered(place)
            except Exception as error:  # it will be told to whoever asks
                log.warning("work ahead failed: %s", trace(error))

    def _run(self, job: Job, place: int) -> None:
        """Raises Lost after the job was told, or was put back into the queue."""
        started = time.monotonic()
        job.waited = started - job.asked
        last: Event = ("done", None)
        outcome, lost = "done", None
        try:
            for name, data in job.work(job):
                last = (name, data)
                if name not in ("reply", "done"):
                    job.emit(name, data)
        except Left:
            outcome = "left"
        except Lost as error:
            lost, outcome, last = error, "lost", ("error", gone())
        except BaseException as error:
            problem = of_error(error)
            outcome, last = problem.kind, ("error", problem)
            if problem.kind in ("internal", "storage"):
                log.error("a turn failed: %s", trace(error))
        self._pace += 0.2 * (time.monotonic() - started - self._pace)
        with self._condition:
            del self._running[place]
            if lost is not None:
                self._down.add(place)
                self._pins = OrderedDict((key, at) for key, at in self._pins.items() if at != place)
                self._condition.notify_all()
                if not (job.told or job.again or job.left.is_set() or self._closed):
                    job.again = True
                    self._waiting.setdefault(job.owner, deque()).appendleft(job)
                    self._waiting.move_to_end(job.owner, last=False)
                    raise lost
            self._active.pop(job.conversation, None)
        self.observe(outcome, job)
        job.emit(*last)
        if lost is not None:
            raise lost

    def _recovered(self, place: int) -> None:
        """Wait until a place can be worked again; the others go on meanwhile."""
        log.warning("worker %d is gone; its conversations go to the others", place)
        with self._condition:
            self._down.add(place)
        while not self._closed and not self.back(place):
            with self._condition:
                self._condition.wait(0.2)
        with self._condition:
            self._down.discard(place)
        log.warning("worker %d is back", place)


def gone() -> Problem:
    """Who answered is gone, and something of the answer was told already."""
    cure = "ask the open question again"
    return Problem("lost", "an answer to its end", "a worker that went away", cure, retry_after=1)


def stopping() -> Problem:
    """The server takes nothing more."""
    return Problem("stopping", "a server that runs", "one that is going down", "try again soon", retry_after=10)
