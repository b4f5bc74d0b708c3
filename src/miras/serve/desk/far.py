"""A desk in another process, on this machine or another one: calls go there, events come back.

In: calls; the handle that Ray Serve gives of a deployment with one replica. Out: what a desk says. The past of a
conversation is sent when it is asked for. A replica that dies is Lost; Ray Serve begins another one in its place. Knows
Ray by its handles and errors alone, and does not import it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miras.chat.load import Loaded
from miras.core.errors import MirasError
from miras.serve.desk.aside import Aside
from miras.serve.desk.local import Call, Facts, Local, Past
from miras.serve.desk.sessions import Sessions
from miras.serve.problems import Problem, of_error, trace
from miras.serve.worker import Event, Left, Lost

log = logging.getLogger("miras.serve")
TICK = 0.2
"""Seconds after which a desk that has nothing to say says so: whoever listens sees then whether anybody still waits."""
PATIENCE = 20.0
"""Seconds for a sign of life. Of one that died it is known at once; one on a busy machine is only late."""


class Missing(Exception):
    """There is no session, and its past was not sent."""


@dataclass(frozen=True)
class Work:
    """What a replica is made by. load: gives its model, where it runs. See `Settings` for the rest."""

    load: Callable[[], Loaded]
    session_bytes: int
    aside: Path
    aside_bytes: int


class Replica:
    """A desk where it runs: one thread has the model, the loop listens meanwhile. Everything it is asked and says can
    be pickled."""

    def __init__(self, work: Work) -> None:
        self.fault: MirasError | None = None
        try:
            loaded = work.load()
        except MirasError as error:  # told by `ready`: what fails here is begun again and again
            self.fault = error
            return
        self.desk = Local(loaded, Sessions(work.session_bytes, Aside(work.aside, work.aside_bytes)))
        self.thread = ThreadPoolExecutor(1, "miras-model")
        self.calls: dict[int, threading.Event] = {}

    async def ready(self) -> tuple[MirasError | None, int, int]:
        """What went wrong when the model was loaded, the number of the process, and its resident bytes."""
        return self.fault, os.getpid(), resident()

    async def run(self, number: int, call: Call, past: Past | None) -> AsyncIterator[Event]:
        """A turn; see `Far.run`. number: of the call, for `leave`."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Event | None] = asyncio.Queue()
        left = self.calls[number] = threading.Event()

        def tell(event: Event | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(inbox.put_nowait, event)

        def given() -> Past:
            if past is None:
                raise Missing
            return past

        def check() -> None:
            if left.is_set():
                raise Left

        def work() -> None:
            try:
                check()
                for event in self.desk.run(call, given, check):
                    tell(event)
            except Missing:
                tell(("missing", None))
            except Left:
                tell(("left", None))
            except BaseException as error:
                problem = of_error(error)
                tell(("error", (problem.body, trace(error))))
            tell(("facts", self.desk.facts))
            tell(None)

        self.thread.submit(work)
        try:
            while True:
                try:
                    event = await asyncio.wait_for(inbox.get(), TICK)
                except TimeoutError:
                    event = ("", None)
                if event is None:
                    return
                yield event
        finally:
            left.set()
            self.calls.pop(number, None)

    async def leave(self, number: int) -> None:
        """Nobody waits for a call any more."""
        if number in self.calls:
            self.calls[number].set()

    async def drop(self, conversation: str) -> None:
        """Forget a session."""
        self.desk.drop(conversation)


class Far:
    """A desk by the handle of its replica. is_fault: whether an error is one of the work, and not of the replica."""

    def __init__(self, name: str, handle: Any, is_fault: Callable[[BaseException], bool]) -> None:
        self.name, self.handle, self.is_fault = name, handle, is_fault
        self._facts = Facts()
        self._numbers = itertools.count()

    @property
    def facts(self) -> Facts:
        """As they were after the last call."""
        return self._facts

    def run(self, call: Call, past: Callable[[], Past], check: Callable[[], None]) -> Iterator[Event]:
        """See `Desk`."""
        if not self.back(PATIENCE):
            raise Lost
        sent: Past | None = None
        while True:
            missing = False
            for name, data in self._events(call, sent, check):
                if name == "missing":
                    missing = True
                else:
                    yield name, data
            if not missing:
                return
            if sent is not None:
                raise Lost
            sent = past()

    def _events(self, call: Call, past: Past | None, check: Callable[[], None]) -> Iterator[Event]:
        """What a replica says to a call, with errors as errors. Signs of life are for `check`."""
        number, ended = next(self._numbers), False
        try:
            for name, data in self.handle.options(stream=True).run.remote(number, call, past):
                ended = name in ("left", "error")
                if name == "left":
                    raise Left
                if name == "error":
                    raise _problem(*data)
                if name == "facts":
                    self._facts = data
                    continue
                check()
                if name:
                    yield name, data
            ended = True
        except (Left, Problem):
            raise
        except Exception as error:
            if self.is_fault(error):
                raise
            log.warning("%s does not answer: %s", self.name, type(error).__name__)
            self._facts = Facts()
            raise Lost from error
        finally:
            if not ended:
                self._leave(number)

    def _leave(self, number: int) -> None:
        with contextlib.suppress(Exception):  # a replica that is gone has left
            self.handle.leave.remote(number)

    def words(self, conversation: str, keys: tuple[str, ...], region: int | None) -> tuple[Any, Sequence[int]] | None:
        """Not told: a browser draws with a model that answers in the server's own process."""
        raise Problem("conflict", "a model in the server's own process", "a worker", "let the server draw")

    def drop(self, conversation: str) -> None:
        """Forget a session; nobody waits for it."""
        with contextlib.suppress(Exception):
            self.handle.drop.remote(conversation)

    def back(self, seconds: float = 1.0) -> bool:
        """Whether there is a sign of life within some seconds, of a replica whose model is loaded."""
        try:
            return self.handle.ready.remote().result(timeout_s=seconds)[0] is None
        except Exception:
            return False

    def close(self) -> None:
        """Whoever began the replicas ends them."""


def _problem(body: dict[str, Any], where: str) -> Problem:
    """A problem of a replica, as if it had been found here."""
    kind = str(body["type"]).rpartition(":")[2]
    if kind in ("internal", "storage"):
        log.error("a turn failed at a worker: %s", where)
    return Problem(kind, body["expected"], body["got"], body["cure"], field=body["field"])


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0
