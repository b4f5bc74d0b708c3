"""The queue: people in turn, one turn a conversation, whoever leaves is taken out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.serve.listening import events, outcome
from miras.serve.problems import Problem
from miras.serve.worker import Event, Job, Lost, Worker


def nothing(job: Job) -> Iterator[Event]:
    yield "reply", job.conversation


def put(worker: Worker, job: Job) -> Job:
    worker.claim(job)
    worker.enqueue(job)
    return job


async def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("a1 a2 a3 b1 c1", "a1 b1 c1 a2 a3"),
        ("a1 b1 b2 a2", "a1 b1 a2 b2"),
        ("a1 a2 a3", "a1 a2 a3"),
    ],
)
def test_people_take_turns(asked: str, served: str) -> None:
    async def run() -> list[str]:
        worker, order = Worker(64), []
        loop = asyncio.get_running_loop()

        def work(job: Job) -> Iterator[Event]:
            order.append(job.conversation)
            yield "done", None

        jobs = {name: put(worker, Job(name[0], name, work, loop)) for name in asked.split()}
        assert sorted(jobs, key=lambda name: worker.position(jobs[name])) == served.split()
        worker.start()
        for job in jobs.values():
            await outcome(worker, job, never)
        worker.close(5)
        return order

    assert asyncio.run(run()) == served.split()


def test_what_is_refused() -> None:
    async def run() -> None:
        worker, loop = Worker(2), asyncio.get_running_loop()
        put(worker, Job("a", "1", nothing, loop))
        with pytest.raises(Problem, match="not done") as again:
            worker.claim(Job("a", "1", nothing, loop))
        assert again.value.status_code == 409
        put(worker, Job("a", "2", nothing, loop))
        with pytest.raises(Problem, match="a full queue") as full:
            worker.claim(Job("b", "3", nothing, loop))
        assert full.value.status_code == 429 and int((full.value.headers or {})["Retry-After"]) >= 1
        worker.drain()
        with pytest.raises(Problem, match="going down"):
            worker.claim(Job("b", "3", nothing, loop))

    asyncio.run(run())


def test_who_leaves_is_taken_out_and_what_runs_stops() -> None:
    async def run() -> list[tuple[str, str]]:
        told: list[tuple[str, str]] = []
        worker = Worker(8, lambda outcome, job: told.append((outcome, job.conversation)))
        loop = asyncio.get_running_loop()
        begun, go = threading.Event(), threading.Event()

        def slow(job: Job) -> Iterator[Event]:
            begun.set()
            go.wait(10)
            job.check()
            yield "reply", "too late"

        runs = put(worker, Job("a", "runs", slow, loop))
        waits = put(worker, Job("a", "waits", nothing, loop))
        stays = put(worker, Job("a", "stays", nothing, loop))
        worker.start()
        await asyncio.to_thread(begun.wait, 10)
        assert [worker.position(job) for job in (runs, waits, stays)] == [0, 1, 2]
        stream = events(worker, waits, never)
        assert await anext(stream) == ("queue", {"position": 1})
        await stream.aclose()  # the person closes the page
        assert not worker.is_active("waits") and worker.position(stays) == 1
        worker.leave(runs)
        assert worker.is_active("runs")
        go.set()
        assert await outcome(worker, stays, never) == "stays"
        worker.close(5)
        return told

    assert asyncio.run(run()) == [("left", "waits"), ("left", "runs"), ("done", "stays")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("a", "b", "c"), "invalid"),
        (RuntimeError("somebody's words"), "internal"),
        (OSError(28, "No space left on device"), "storage"),
        (Problem("limit", "a", "b"), "limit"),
    ],
)
def test_a_fault_ends_one_job_and_no_other(error: Exception, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> Any:
        worker, loop = Worker(8), asyncio.get_running_loop()

        def faulty(job: Job) -> Iterator[Event]:
            yield "text", {"text": "a"}
            raise error

        first, second = put(worker, Job("a", "1", faulty, loop)), put(worker, Job("a", "2", nothing, loop))
        worker.start()
        with pytest.raises(Problem) as caught:
            await outcome(worker, first, never)
        assert not worker.is_active("1")
        assert await outcome(worker, second, never) == "2"
        worker.close(5)
        return caught.value

    assert asyncio.run(run()).kind == kind
    assert "somebody's words" not in caplog.text


def test_idle_work_waits_for_people() -> None:
    async def run() -> list[str]:
        worker, order, loop = Worker(8), [], asyncio.get_running_loop()

        def work(job: Job) -> Iterator[Event]:
            order.append(job.conversation)
            yield "done", None

        worker.when_idle("photo", lambda: order.append("idle"))
        jobs = [put(worker, Job("a", name, work, loop)) for name in ("1", "2")]
        worker.start()
        for job in jobs:
            await outcome(worker, job, never)
        while "idle" not in order:
            await asyncio.sleep(0.01)
        worker.close(5)
        return order

    assert asyncio.run(run()) == ["1", "2", "idle"]


def test_signs_of_life_and_a_page_that_closes() -> None:
    async def run() -> list[str]:
        worker, loop = Worker(8), asyncio.get_running_loop()
        asked = 0

        async def gone() -> bool:
            nonlocal asked
            asked += 1
            return asked > 3

        job = put(worker, Job("a", "1", nothing, loop))
        names = [name async for name, _ in events(worker, job, gone, tick=0.02, quiet=0.03)]
        assert not worker.is_active("1") and job.left.is_set()
        return names

    names = asyncio.run(run())
    assert names[0] == "queue" and "" in names


def test_several_places_each_keeps_its_conversations() -> None:
    async def run() -> dict[str, set[int]]:
        worker, loop = Worker(64, places=2), asyncio.get_running_loop()
        found: dict[str, set[int]] = {}
        both = threading.Barrier(2)

        def first(job: Job) -> Iterator[Event]:
            both.wait(10)  # one at each place at the same time
            yield from work(job)

        def work(job: Job) -> Iterator[Event]:
            found.setdefault(job.conversation, set()).add(worker.here)
            yield "done", None

        jobs = [put(worker, Job(name, name, first, loop)) for name in ("a", "b")]
        assert worker.length == 2
        worker.start()
        for job in jobs:
            await outcome(worker, job, never)
        worker.beside("twin", "a")
        for turn in range(12):
            names = ("a", "b", "twin")[: 2 + turn % 2]
            again = [put(worker, Job("somebody", name, work, loop)) for name in names]
            for job in again:
                await outcome(worker, job, never)
        assert worker.up == 2
        worker.close(5)
        assert not worker.alive and worker.up == 0
        return found

    found = asyncio.run(run())
    assert found["a"] != found["b"] and found["twin"] == found["a"] and all(len(at) == 1 for at in found.values())


@pytest.mark.parametrize(
    ("losses", "told", "answered", "outcomes"),
    [
        (1, False, True, ["done"]),  # somebody else answers
        (1, True, False, ["lost"]),  # half of it was told
        (2, False, False, ["lost"]),  # once more is enough
    ],
)
def test_who_is_lost_is_waited_for_and_the_others_go_on(
    losses: int, told: bool, answered: bool, outcomes: list[str]
) -> None:
    async def run() -> list[str]:
        seen: list[str] = []
        there = {0: threading.Event(), 1: threading.Event()}
        worker = Worker(
            8, lambda outcome, job: seen.append(outcome), places=2, back=lambda place: there[place].is_set()
        )
        loop, left = asyncio.get_running_loop(), [losses]
        at: list[int] = []

        def work(job: Job) -> Iterator[Event]:
            at.append(worker.here)
            if told:
                yield "text", {"text": "a"}
            if left[0]:
                left[0] -= 1
                raise Lost
            yield "reply", "whole"

        worker.start()
        job = put(worker, Job("a", "1", work, loop))
        if answered:
            assert await outcome(worker, job, never) == "whole"
            assert at[0] != at[1] and worker.place("1") == at[1]
        else:
            with pytest.raises(Problem) as caught:
                await outcome(worker, job, never)
            assert caught.value.kind == "lost" and caught.value.status_code == 503
        assert not worker.is_active("1") and worker.up == 2 - losses and worker.alive == (losses == 1)
        for one in there.values():
            one.set()
        while worker.up < 2:
            await asyncio.sleep(0.01)
        assert await outcome(worker, put(worker, Job("a", "1", nothing, loop)), never) == "1"
        worker.close(5)
        return seen[:-1]

    assert asyncio.run(run()) == outcomes
