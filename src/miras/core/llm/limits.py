"""How fast a server may be asked: so many at once, so many requests and tokens a minute, and how long to wait after
a fault.

In: requests as they come. Out: their turn. Knows no HTTP and no model.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from miras.core.errors import InputError
from miras.core.llm.answers import NoAnswer

MINUTE = 60.0


@dataclass(slots=True)
class Ticket:
    """One call in the last minute. tokens: a guess, until `Limiter.spent` puts in what it was."""

    at: float
    tokens: int


class Limiter:
    """Lets calls through one by one, first come first served. For one event loop."""

    def __init__(
        self, concurrency: int = 4, rpm: int | None = None, tpm: int | None = None, *, minute: float = MINUTE
    ) -> None:
        """rpm, tpm: requests and tokens a minute, None = no limit. minute: its length in seconds, for tests."""
        for name, value in (("concurrency", concurrency), ("rpm", rpm), ("tpm", tpm)):
            if value is not None and value < 1:
                raise InputError(f"{name} of at least 1", str(value))
        self._rpm, self._tpm, self._minute = rpm, tpm, minute
        self._room, self._door = asyncio.Semaphore(concurrency), asyncio.Lock()
        self._recent: deque[Ticket] = deque()
        self._closed_until = 0.0
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[Ticket]:
        """Wait for a turn to make one call of about so many tokens. Raises NoAnswer after `stop`."""
        async with self._room:
            async with self._door:
                while (wait := self._wait(tokens)) > 0:
                    await self.rest(wait)
                self._check()
                ticket = Ticket(time.monotonic(), tokens)
                self._recent.append(ticket)
            yield ticket

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long: the server asked all of us to wait."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    async def rest(self, seconds: float) -> None:
        """Sleep, but wake up for `stop`. Raises NoAnswer then."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        self._check()

    def stop(self) -> None:
        """Whoever waits, now or later, gets a NoAnswer."""
        self._stop.set()

    def _check(self) -> None:
        if self._stop.is_set():
            raise NoAnswer("time to ask", "the run is stopping")

    def _wait(self, tokens: int) -> float:
        """Seconds until a call of so many tokens fits. A call larger than the whole minute waits for an empty one."""
        now = time.monotonic()
        while self._recent and self._recent[0].at <= now - self._minute:
            self._recent.popleft()
        wait = self._closed_until - now
        if not self._recent:
            return wait
        if self._rpm is not None and len(self._recent) >= self._rpm:
            wait = max(wait, self._recent[-self._rpm].at + self._minute - now)
        if self._tpm is not None:
            total = sum(ticket.tokens for ticket in self._recent) + tokens
            for ticket in self._recent:
                if total <= self._tpm:
                    break
                total -= ticket.tokens
                wait = max(wait, ticket.at + self._minute - now)
        return wait


def back_off(attempt: int, base: float = 0.5, most: float = 60.0) -> float:
    """Seconds before attempt + 1 (attempt from 0): doubled each time, up to `most`, and half of it random."""
    whole = min(most, base * 2.0 ** min(attempt, 30))
    return whole * (0.5 + 0.5 * random.random())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date; None when it says
    nothing.
    """
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    value = headers.get("retry-after", headers.get("Retry-After", ""))
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
