"""Many items on all cores: order, what is worked once, what is taken ahead, errors at their turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from miras.core.parallel.threads import AHEAD, cores, in_order


@pytest.mark.parametrize("jobs", [1, 2, 5, None])
def test_results_come_in_the_order_of_the_items(jobs: int | None) -> None:
    def slow_first(n: int) -> int:
        time.sleep(0.002 if n % 7 == 0 else 0)
        return n * n

    assert list(in_order(slow_first, iter(range(300)), jobs=jobs)) == [(n, n * n) for n in range(300)]
    assert list(in_order(slow_first, [], jobs=jobs)) == []


def test_several_threads_work_at_once() -> None:
    meet = threading.Barrier(2, timeout=20)
    assert [result for _, result in in_order(lambda _: meet.wait() >= 0, range(6), jobs=2)] == [True] * 6


def test_items_of_one_key_are_worked_once_and_known_ones_never() -> None:
    worked: list[str] = []

    def work(name: str) -> str:
        worked.append(name)
        return name.upper()

    names = ["a", "b", "a", "c", "b", "a"]
    known: dict[object, str] = {"c": "given"}
    found = list(in_order(work, names, key=str, known=known, jobs=3))  # type: ignore[arg-type]
    assert found == [("a", "A"), ("b", "B"), ("a", "A"), ("c", "given"), ("b", "B"), ("a", "A")]
    assert sorted(worked) == ["a", "b"] and known["a"] == "A"
    assert len(list(in_order(work, ["x", "x"], key=lambda _: None))) == 2 and worked.count("x") == 2


def test_only_a_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    stream = in_order(abs, items(), jobs=2)
    next(stream)
    assert taken <= 2 * AHEAD + 1
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() < 20


def test_an_error_is_raised_at_its_turn() -> None:
    def work(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    seen: list[int] = []
    stream = in_order(work, range(9), jobs=2)
    for _ in range(3):
        seen.append(next(stream)[1])
    with pytest.raises(ValueError, match="three"):
        next(stream)
    assert seen == [0, 1, 2]


def test_there_is_a_core() -> None:
    assert cores() >= 1
