"""One model, many people: a fair queue, and the one thread that works it.

In: jobs. Out: their events, in the event loop that made them. People take turns, whoever asks more waits more; a job
whose person has left is taken out. Knows no model and no database: a job is a generator.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from miras.serve.problems import Problem, of_error, trace

log = logging.getLogger("miras.serve")
Event = tuple[str, Any]
"""(name, data). The names `reply`, `done` and `error` end a job."""
Work = Callable[["Job"], Iterator[Event]]


class Left(Exception):
    """The person has left: the work stops where it is."""


@dataclass(eq=False)
class Job:
    """Work for the model's thread. owner: whose turn it is; conversation: at most one job each."""

    owner: str
    conversation: str
    work: Work
    loop: asyncio.AbstractEventLoop
    inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    left: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.monotonic)
    waited: float = 0.0

    def emit(self, name: str, data: Any) -> None:
        """Give an event to the loop. A loop that is closed has nobody who waits."""
        try:
            self.loop.call_soon_threadsafe(self.inbox.put_nowait, (name, data))
        except RuntimeError:
            self.left.set()

    def check(self) -> None:
        """Raises Left when the person has left."""
        if self.left.is_set():
            raise Left


class Worker:
    """The queue and its thread. most: jobs that may wait. observe: called with (outcome, job) for each job."""

    def __init__(self, most: int, observe: Callable[[str, Job], None] = lambda outcome, job: None) -> None:
        self.most, self.observe = most, observe
        self._condition = threading.Condition()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._running: Job | None = None
        self._active: dict[str, Job] = {}
        self._idle_work: OrderedDict[str, Callable[[], None]] = OrderedDict()
        self._closed = False
        self._pace = 2.0
        self._thread = threading.Thread(target=self._work, name="miras-model", daemon=True)

    # Asking for work

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are taken and worked."""
        return self._thread.is_alive() and not self._closed

    def claim(self, job: Job) -> None:
        """A place for a job, before what it needs is on the disk. Raises `conflict`, `busy`, `stopping`."""
        with self._condition:
            if self._closed:
                raise stopping()
            if job.conversation in self._active:
                cure = "wait for its reply, or close it"
                raise Problem("conflict", "a conversation that waits for nothing", "a turn that is not done", cure)
            if self.length >= self.most:
                wait = self._pace * (self.length + 1)
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
                self._condition.notify()

    def when_idle(self, key: str, work: Callable[[], None]) -> None:
        """Work for when nobody waits; forgotten when somebody never stops waiting. key: one of each."""
        with self._condition:
            if not self._closed and len(self._idle_work) < self.most:
                self._idle_work[key] = work
                self._condition.notify()

    def leave(self, job: Job) -> None:
        """The person of a job has left: it is taken out of the queue, or stops at its next event."""
        with self._condition:
            job.left.set()
            if self._running is job or self._active.get(job.conversation) is not job:
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
        return len(self._active) - (self._running is not None)

    def position(self, job: Job) -> int:
        """How many jobs are done before this one: 0 when it runs."""
        with self._condition:
            if job.conversation not in self._active or self._running is job:
                return 0
            queues = [list(jobs) for jobs in self._waiting.values()]
        order = [jobs[n] for n in range(max(map(len, queues), default=0)) for jobs in queues if n < len(jobs)]
        return (order.index(job) if job in order else 0) + (self._running is not None)

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
        """Stop: the job that runs has `patience` seconds to come to its end."""
        self.drain()
        if not self._thread.is_alive():
            return
        self._thread.join(patience)
        if (running := self._running) is not None:
            running.left.set()
        self._thread.join(patience)

    # The thread

    def _next(self) -> Job | Callable[[], None] | None:
        """The next job, people in turn; idle work when there is none; None at the end."""
        with self._condition:
            while not self._waiting and not self._idle_work and not self._closed:
                self._condition.wait()
            if self._waiting:
                owner, jobs = next(iter(self._waiting.items()))
                job = jobs.popleft()
                if jobs:
                    self._waiting.move_to_end(owner)
                else:
                    del self._waiting[owner]
                self._running = job
                return job
            return None if self._closed else self._idle_work.popitem(last=False)[1]

    def _work(self) -> None:
        while (task := self._next()) is not None:
            if isinstance(task, Job):
                self._run(task)
                continue
            try:
                task()
            except Exception as error:  # it will be told to whoever asks
                log.warning("work ahead failed: %s", trace(error))

    def _run(self, job: Job) -> None:
        started = time.monotonic()
        job.waited = started - job.asked
        last: Event = ("done", None)
        outcome = "done"
        try:
            for name, data in job.work(job):
                last = (name, data)
                if name not in ("reply", "done"):
                    job.emit(name, data)
        except Left:
            outcome = "left"
        except BaseException as error:
            problem = of_error(error)
            outcome, last = problem.kind, ("error", problem)
            if problem.kind in ("internal", "storage"):
                log.error("a turn failed: %s", trace(error))
        self._pace += 0.2 * (time.monotonic() - started - self._pace)
        with self._condition:
            self._running = None
            self._active.pop(job.conversation, None)
        self.observe(outcome, job)
        job.emit(*last)


def stopping() -> Problem:
    """The server takes nothing more."""
    return Problem("stopping", "a server that runs", "one that is going down", "try again soon", retry_after=10)


async def events(
    worker: Worker, job: Job, gone: Callable[[], Any], *, tick: float = 0.2, quiet: float = 10.0
) -> AsyncIterator[Event]:
    """The events of a job as they come, its places in the queue among them; ends after the last one.

    gone: awaited now and then, true when the person has left. The job is left when this is closed early.
    """
    position, silent, ended = -1, time.monotonic(), False
    try:
        while not ended:
            now = worker.position(job) if position else 0
            if now != position:
                position, silent = now, time.monotonic()
                yield "queue", {"position": position}
            try:
                name, data = await asyncio.wait_for(job.inbox.get(), tick)
            except TimeoutError:
                if await gone():
                    return
                if time.monotonic() - silent >= quiet:
                    silent = time.monotonic()
                    yield "", None
                continue
            ended, silent = name in ("reply", "done", "error"), time.monotonic()
            yield name, data
    finally:
        if not ended:
            worker.leave(job)


async def outcome(worker: Worker, job: Job, gone: Callable[[], Any]) -> Any:
    """What a job ends with. Raises its problem."""
    async for name, data in events(worker, job, gone):
        if name == "error":
            raise data
        if name in ("reply", "done"):
            return data
    raise Problem("conflict", "somebody who waits", "nobody")
