"""One function over many items, in order: here, in processes, or over Ray Data.

In: a function that can be pickled, items. Out: results in the order of the items, the same whichever way.
A worker that dies costs no item: Ray runs its items again. Knows nothing of data sets.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from miras.core.errors import InputError
from miras.core.parallel.cluster import ray_ready

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 8


def mapped(
    function: Callable[[Item], Result], items: Sequence[Item], *, jobs: int = 1, ray: bool = False, chunk: int = CHUNK
) -> Iterator[Result]:
    """function(item) for every item, in order. jobs: processes (with Ray: workers at a time). chunk: items that go
    together; 1 where each of them takes long."""
    if jobs < 1:
        raise InputError("--jobs of at least 1", str(jobs))
    if ray:
        yield from _over_ray(function, items, jobs, chunk)
    elif jobs == 1:
        yield from map(function, items)
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield from pool.map(function, items, chunksize=chunk)


def _over_ray(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, chunk: int = CHUNK
) -> Iterator[Result]:
    """Results travel pickled, so that Arrow need not understand them."""
    ray_ready(max(jobs, 1))
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    called, paths = pickle.dumps(function), list(sys.path)

    def run(row: dict[str, Any]) -> dict[str, Any]:
        # A worker does not always start with the paths from which `function` was imported here.
        sys.path.extend(path for path in paths if path not in sys.path)
        done = pickle.loads(called)(pickle.loads(row["item"]))
        return {"number": row["number"], "result": pickle.dumps(done)}

    rows = [{"number": n, "item": pickle.dumps(item)} for n, item in enumerate(items)]
    blocks = max(1, min(len(rows), -(-len(rows) // chunk)))
    data = ray.data.from_items(rows, override_num_blocks=blocks).map(run)
    yield from (pickle.loads(row) for row in _ordered(data.iter_rows()))


def _ordered(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Blocks may finish out of order: a result waits until those before it are there."""
    waiting: dict[int, bytes] = {}
    following = 0
    for row in rows:
        waiting[int(row["number"])] = row["result"]
        while following in waiting:
            yield waiting.pop(following)
            following += 1
    if waiting:
        raise RuntimeError(f"expected the result of item {following}, got none")
