"""Caches that share rows and never see each other's."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miras.model.runtime.rows import FIRST, RowCache


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def held(cache: RowCache) -> list[int]:
    return cache.rows[:, 0].astype(int).tolist()


KINDS = ["append", "fork", "crop", "keep", "written"]
Step = st.tuples(st.integers(0, 3), st.sampled_from(KINDS), st.integers(0, 6))


@given(st.lists(Step, max_size=30))
def test_as_if_each_had_rows_of_its_own(steps: list[tuple[int, str, int]]) -> None:
    caches: list[tuple[RowCache, list[int]]] = [(RowCache((1,)), [])]
    for number, (which, what, size) in enumerate(steps):
        cache, expected = caches[which % len(caches)]
        if what == "append":
            new = [100 * number + n for n in range(size)]
            cache.append(rows(*new) if new else np.zeros((0, 1), np.float32))
            expected += new
        elif what == "fork":
            caches.append((cache.fork(), list(expected)))
        elif what == "written":
            caches.append((pickle.loads(pickle.dumps(cache)), list(expected)))
        elif what == "crop":
            cache.crop(size)
            del expected[size:]
        elif len(expected) > size:
            cache.keep(size, [len(expected) - size - 1])
            expected[size:] = expected[-1:]
        for each, wanted in caches:
            assert held(each) == wanted and len(each) == len(wanted)


def test_it_grows() -> None:
    cache = RowCache((1,))
    for number in range(3 * FIRST):
        cache.append(rows(number))
    assert held(cache) == list(range(3 * FIRST))
