"""One function over many items on all cores, results in the order of the items.

In: a function that gives the core away while it works (decoding does), items as they come. Out: (item, result) pairs,
only a few items ahead of who asks. In threads: nothing is copied or pickled, any script may call it. Work that keeps
the interpreter busy belongs into processes. Knows nothing of photos.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 32
"""Items for each thread that are taken before the first of them is done."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, key: Callable[[Item], Hashable] | None = None,
    known: dict[Hashable, Result] | None = None, jobs: int | None = None,
) -> Iterator[tuple[Item, Result]]:  # fmt: skip
    """(item, function(item)) for every item, in order.

    key: items of equal keys are worked once; None as a key stands for no other. known: results by key, of earlier calls
    and for later ones. jobs: threads, by default one a core. What the function raises is raised at its item's turn.
    """
    known = {} if known is None else known
    jobs = jobs or cores()
    running: dict[Hashable, Future[Result]] = {}
    waiting: deque[tuple[Item, Hashable]] = deque()
    alone: deque[Future[Result]] = deque()

    def next_pair() -> tuple[Item, Result]:
        item, name = waiting.popleft()
        if name is None:
            return item, alone.popleft().result()
        if name in running:
            known[name] = running.pop(name).result()
        return item, known[name]

    pool = ThreadPoolExecutor(jobs)
    try:
        for item in items:
            name = None if key is None else key(item)
            if name is None:
                alone.append(pool.submit(function, item))
            elif name not in known and name not in running:
                running[name] = pool.submit(function, item)
            waiting.append((item, name))
            if len(waiting) > AHEAD * jobs:
                yield next_pair()
        while waiting:
            yield next_pair()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
