"""The same run over Ray actors."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.core.parallel.cluster import ray_ready
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.runs.scale import _Holder, _ordered, over_ray
from miras.eval.systems.registry import open_system
from tests.data.made import talk
from tests.eval.runs.test_run import progressive


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor goes to the folder where the run was started: come back from there."""
    monkeypatch.chdir(".")


def test_without_ray_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'miras\[scale\]'"):
        over_ray(partial(open_system, "baseline:photo"))


@pytest.mark.parametrize(("actors", "threads", "says"), [(0, 1, "--jobs"), (1, 0, "--threads"), (-1, 1, "--jobs")])
def test_bad_numbers(actors, threads, says):
    pytest.importorskip("ray", reason="needs the extra scale")
    with pytest.raises(InputError, match=says):
        over_ray(partial(open_system, "baseline:photo"), actors=actors, threads=threads)


def test_an_actors_error_comes_back_as_an_answer(tmp_path):
    """Not as Ray's own, which would be a traceback; the system is opened once."""
    record = talk(tmp_path / "one.png")
    opened: list[int] = []
    broken = _Holder(partial(open_system, "baseline:moon"), "own", 0, str(tmp_path))
    error = broken.hold(record)
    assert isinstance(error, InputError) and "baseline:moon" in str(error)
    sound = _Holder(lambda: opened.append(1) or open_system("baseline:photo"), "gold", 0, "no/such/folder")
    rows = [*sound.hold(record), *sound.hold(record)]
    assert len(rows) == 6 and {row.history for row in rows} == {"gold"} and opened == [1]


class FakeRay:
    """Calls end in any order: the last one given is done first."""

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return references[-1:], references[:-1]

    def get(self, reference: Any) -> Any:
        return reference[1]


class FakeWorker:
    def __init__(self) -> None:
        self.given: list[int] = []
        self.hold = self

    def remote(self, record: Any) -> Any:
        self.given.append(record)
        return (id(self), InputError("a", "b") if record == 99 else (record,))


def test_rows_come_in_the_order_of_the_records():
    workers = [FakeWorker(), FakeWorker(), FakeWorker()]
    assert list(_ordered(FakeRay(), workers, range(20))) == [(n,) for n in range(20)]
    assert sorted(n for worker in workers for n in worker.given) == list(range(20))
    assert workers[0].given[:2] == [0, 3]  # all of them at once, two each


def test_an_error_stops_the_run_at_its_place():
    rows = _ordered(FakeRay(), [FakeWorker()], [1, 2, 99, 3])
    assert next(rows) == (1,) and next(rows) == (2,)
    with pytest.raises(InputError):
        next(rows)


def test_over_ray_the_run_is_the_same_file(tmp_path, monkeypatch):
    """A system with weights that is told the data beforehand; rows in order."""
    ray = pytest.importorskip("ray", reason="needs the extra scale")
    monkeypatch.chdir(tmp_path)
    records = [talk(tmp_path / f"{n}.png") | {"id": f"talk{n}"} for n in range(3)]
    records = [*records[:2], progressive(tmp_path / "step.png"), *records[2:]]
    records[1]["image"] = "1.png"  # a relative path counts from where the run was started
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    ray_ready(2)
    try:
        opening = partial(open_system, "baseline:gold-box", decoder="miras-tiny", threads=1)
        here, there = tmp_path / "here", tmp_path / "there"
        plain = evaluate(records, opening(), out=here)
        spread = evaluate(records, opening(), out=there, holding=over_ray(opening, actors=2))
        rows = [[replace(row, seconds=0.0) for row in samples.read(run / samples.FILE)] for run in (here, there)]
        assert rows[0] == rows[1] and len(rows[0]) == 12 and not any(row.fault for row in rows[0])
        assert plain["giou"] == spread["giou"] and plain["by"] == spread["by"]
    finally:
        ray.shutdown()
