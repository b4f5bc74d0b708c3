"""One function over many items: here, in processes, over Ray."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.parallel.processes import mapped


def square(number: int) -> int:
    return number * number


class DiesOnce:
    """Kills its worker the first time it meets an item."""

    def __init__(self, folder: Path, item: int) -> None:
        self.mark, self.item = folder / "died", item

    def __call__(self, number: int) -> int:
        if number == self.item and not self.mark.exists():
            self.mark.touch()
            os._exit(1)
        return number + 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_in_order_whatever_the_number_of_processes(jobs: int) -> None:
    assert list(mapped(square, range(40), jobs=jobs)) == [n * n for n in range(40)]


def test_no_items() -> None:
    assert list(mapped(square, [])) == []


def test_no_processes() -> None:
    with pytest.raises(InputError, match="--jobs of at least 1, got 0"):
        list(mapped(square, [1], jobs=0))


def test_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'miras\[scale\]'"):
        list(mapped(square, [1], ray=True))


def test_over_ray_the_same_and_a_killed_worker_costs_no_item(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra scale")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        assert list(mapped(square, range(40), jobs=2, ray=True)) == [n * n for n in range(40)]
        dies = DiesOnce(tmp_path, 17)
        assert list(mapped(dies, range(40), jobs=2, ray=True)) == [n + 1 for n in range(40)]
        assert (tmp_path / "died").exists()
    finally:
        ray.shutdown()
