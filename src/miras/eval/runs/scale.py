"""Conversations of a run spread over Ray actors, the rows as if they had been held one after the other.

In: records, and how a system is opened. Out: a `Holding` for `run.evaluate`. Each actor opens the system once and holds
whole conversations; rows come back in the order of the records, so that a run's folder is the same file (but for the
seconds of the clock). Works on this machine, or on the cluster of RAY_ADDRESS where photos lie at the same paths.
Knows no figure and no file.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from miras.core.errors import InputError, MirasError
from miras.core.parallel.cluster import ray_module, ray_ready
from miras.data.record import Record
from miras.eval.protocol import History, System
from miras.eval.runs.hold import Prepared, hold
from miras.eval.runs.run import Holding
from miras.eval.runs.samples import Row

AHEAD = 2
"""Conversations that wait at each actor, so that none stands idle."""
Opening = Callable[[], System]


def over_ray(
    opening: Opening, *, history: History = "own", seed: int = 0, actors: int | None = None, threads: int = 1
) -> Holding:
    """Who holds conversations: Ray actors, each with a system of its own.

    opening: makes the system inside the actor, and is pickled to get there. actors: how many (default: cores over
    threads, on this machine or in the cluster). threads: of the computation in each actor, and the CPUs it books.
    Raises InputError without Ray, and for fewer than 1 of either.
    """
    ray_module()
    for name, value in (("--jobs", actors), ("--threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{name} of at least 1", str(value))

    def holding(records: Sequence[Record]) -> Iterator[list[Row]]:
        if not records:
            return
        ray = ray_ready(None if actors is None else actors * threads)
        count = actors or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        made = ray.remote(num_cpus=threads)(_Holder)
        workers = [made.remote(opening, history, seed, os.getcwd()) for _ in range(min(count, len(records)))]
        try:
            yield from _ordered(ray, workers, records)
        finally:
            for worker in workers:
                ray.kill(worker)

    return holding


class _Holder:
    """One actor: a system, opened when it is first needed, so that its errors come back as answers do."""

    def __init__(self, opening: Opening, history: History, seed: int, place: str) -> None:
        if os.path.isdir(place):
            os.chdir(place)  # where relative paths of photos and weights count from
        self._opening, self._history, self._seed = opening, history, seed
        self._system: System | None = None

    def hold(self, record: Record) -> list[Row] | MirasError:
        """The rows of a conversation, or what a person can mend."""
        try:
            if self._system is None:
                self._system = self._opening()
            if isinstance(self._system, Prepared):
                self._system.prepare([record], self._history)
            return list(hold(record, self._system, history=self._history, seed=self._seed))
        except MirasError as error:
            return error


def _ordered(ray: Any, workers: Sequence[Any], records: Sequence[Record]) -> Iterator[list[Row]]:
    """Rows in the order of the records. A conversation goes to the actor that waits for the fewest."""
    waiting: deque[tuple[Any, int]] = deque()
    busy = [0] * len(workers)
    places: dict[Any, int] = {}
    following = 0
    while following < len(records) or waiting:
        while following < len(records) and min(busy) < AHEAD:
            place = busy.index(min(busy))
            reference = workers[place].hold.remote(records[following])
            busy[place], following = busy[place] + 1, following + 1
            places[reference] = place
            waiting.append((reference, place))
        done, _ = ray.wait(list(places), num_returns=1)
        for reference in done:
            busy[places.pop(reference)] -= 1
        while waiting and waiting[0][0] not in places:
            rows = ray.get(waiting.popleft()[0])
            if isinstance(rows, MirasError):
                raise rows
            yield rows
