"""Replicas without Ray: each in a thread with a loop, behind a handle as Ray Serve gives one, everything pickled on
its way; and one that is killed."""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from miras.chat.load import Loaded
from miras.serve.desk.far import Far, Replica, Work


class Died(Exception):
    """As RayActorError."""


@dataclass
class Answer:
    """What `.remote()` gives back, of a call that ends."""

    find: Callable[[float], Any]

    def result(self, timeout_s: float = 30.0) -> Any:
        return self.find(timeout_s)


class Handle:
    """A replica that lives. make: makes it, also the one that comes after it was killed."""

    def __init__(self, make: Callable[[], Replica]) -> None:
        self.make = make
        self.asked: list[str] = []
        self.killed: list[queue.SimpleQueue[Any]] = []
        self.heard = threading.Event()
        """Whoever listens has taken a word or a region, and wants the next."""
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.replica: Replica | None = make()

    def kill(self) -> None:
        """As kill -9: what runs is not heard of any more."""
        self.replica = None
        for listening in self.killed:
            listening.put(Died("killed"))

    def revive(self) -> None:
        self.replica = self.make()

    def options(self, **_: Any) -> Handle:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self.asked.append(name)
        return SimpleNamespace(remote=self._run if name == "run" else lambda *said: self._call(name, said))

    def _call(self, name: str, said: tuple[Any, ...]) -> Answer:
        if self.replica is None:
            raise Died(name)
        found = asyncio.run_coroutine_threadsafe(
            getattr(self.replica, name)(*pickle.loads(pickle.dumps(said))), self.loop
        )
        return Answer(lambda seconds: pickle.loads(pickle.dumps(found.result(seconds))))

    def _run(self, *said: Any) -> Iterator[Any]:
        if self.replica is None:
            raise Died("run")
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.killed.append(inbox)

        async def listen(replica: Replica) -> None:
            async for event in replica.run(*pickle.loads(pickle.dumps(said))):
                inbox.put(pickle.dumps(event))
            inbox.put(None)

        asyncio.run_coroutine_threadsafe(listen(self.replica), self.loop)
        while (event := inbox.get()) is not None:
            if isinstance(event, Died):
                raise event
            name, data = pickle.loads(event)
            yield name, data
            if name in ("text", "region"):
                self.heard.set()


def far(load: Callable[[], Loaded], aside: Path) -> tuple[Far, Handle]:
    """A desk that is elsewhere."""
    handle = Handle(lambda: Replica(Work(load, 2**30, aside, 2**30)))
    return Far("worker", handle, lambda error: not isinstance(error, Died)), handle
