"""The limit is what bytes or operations take, whichever is more."""

from __future__ import annotations

import pytest

from miras.cli.benches.machine import Rates, fastest

RATES = Rates(bandwidth=10e9, float32=50e9, bfloat16=200e9)


@pytest.mark.parametrize(
    ("size", "operations", "dtype", "limit", "times"),
    [
        (1e9, 0, "bfloat16", 0.1, 2.0),
        (0, 20e9, "bfloat16", 0.1, 2.0),
        (0, 20e9, "float32", 0.4, 0.5),
        (1e9, 80e9, "bfloat16", 0.4, 0.5),
    ],
)
def test_the_limit_is_the_slower_of_memory_and_arithmetic(size, operations, dtype, limit, times):
    row = RATES.beside(0.2, size=size, operations=operations, dtype=dtype)
    assert row["limit_seconds"] == pytest.approx(limit)
    assert row["times_the_limit"] == pytest.approx(times)


def test_the_first_time_is_not_counted(monkeypatch: pytest.MonkeyPatch):
    now = iter([0.0, 9.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr("miras.cli.benches.machine.clock_now", lambda: lambda: next(now))
    called: list[int] = []
    assert fastest(lambda: called.append(1), 3) == 2.0
    assert len(called) == 4
