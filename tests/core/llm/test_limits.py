"""Pacing: so many at once, so many a minute (a short minute here), waits that a server asks for, and stopping."""

from __future__ import annotations

import asyncio
import email.utils
import time

import pytest

from miras.core.errors import InputError
from miras.core.llm.answers import NoAnswer
from miras.core.llm.limits import Limiter, back_off, retry_after


async def run(limiter: Limiter, count: int, tokens: int = 1, hold: float = 0.0) -> tuple[list[float], int]:
    """When each of so many calls began, in seconds, and how many were under way at once."""
    began, now, most = [], 0, 0
    start = time.monotonic()

    async def call() -> None:
        nonlocal now, most
        async with limiter.turn(tokens):
            began.append(time.monotonic() - start)
            now += 1
            most = max(most, now)
            await asyncio.sleep(hold)
            now -= 1

    await asyncio.gather(*(call() for _ in range(count)))
    return began, most


def test_so_many_at_once() -> None:
    _, most = asyncio.run(run(Limiter(3), 9, hold=0.01))
    assert most == 3


@pytest.mark.parametrize(
    ("limiter", "tokens", "at_once"),
    [
        (lambda: Limiter(9, rpm=2, minute=0.2), 1, 2),
        (lambda: Limiter(9, tpm=25, minute=0.2), 10, 2),
        (lambda: Limiter(9, tpm=5, minute=0.2), 10, 1),
        (lambda: Limiter(9), 10, 4),
    ],
    ids=["requests", "tokens", "one larger than a minute", "no limit"],
)
def test_so_many_a_minute(limiter, tokens: int, at_once: int) -> None:
    began, _ = asyncio.run(run(limiter(), 4, tokens))
    for index in range(4):
        window = [at for at in began if began[index] <= at < began[index] + 0.19]
        assert len(window) <= at_once
    assert (began[-1] >= 0.19) is (at_once < 4)


def test_a_pause_holds_everybody() -> None:
    async def paused() -> float:
        limiter = Limiter(4)
        limiter.pause(0.15)
        return min((await run(limiter, 3))[0])

    assert asyncio.run(paused()) >= 0.14


def test_stop_wakes_whoever_waits() -> None:
    async def stopped() -> list[BaseException | None]:
        limiter = Limiter(1)
        async with limiter.turn(1):
            waiting = [asyncio.ensure_future(run(limiter, 1)), asyncio.ensure_future(limiter.rest(60))]
            await asyncio.sleep(0.01)
            limiter.stop()
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    assert all(isinstance(result, NoAnswer) for result in asyncio.run(stopped()))


def test_back_off_doubles_to_its_most() -> None:
    for attempt, whole in ((0, 0.5), (1, 1.0), (4, 8.0), (7, 60.0), (5000, 60.0)):
        waits = [back_off(attempt) for _ in range(50)]
        assert whole / 2 <= min(waits) <= max(waits) <= whole
        assert len(set(waits)) > 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date() -> None:
    seconds = retry_after({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)})
    assert seconds is not None
    assert 25 < seconds <= 31


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"rpm": 0}, {"tpm": -1}])
def test_bad_limits(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        Limiter(**options)
