"""What a person hears of a job: its places in the queue, its events, its end.

In: a job, and whether somebody still listens. Out: events as they come. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from miras.serve.problems import Problem
from miras.serve.worker import Event, Job, Worker


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
