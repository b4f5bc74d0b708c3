"""The three steps over processes and Ray: the same bytes as one process, and a dead worker pays nothing twice."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from miras.annotate.teacher.pipeline import CONVERSATIONS, REJECTED, annotate_file
from miras.annotate.teacher.spread import CHUNK, JOURNALS, annotate_over
from miras.core.llm.answers import EndpointDown
from miras.core.llm.journal import Journal
from tests.annotate.made import GOOD, Fake, photos_file


@dataclass(frozen=True)
class Make:
    """Makes the fake teacher; with `dies`, one that kills its process at its 4th answer, once."""

    log: Path
    dies: bool = False

    def __call__(self) -> Fake:
        return Dying(self.log) if self.dies else Fake(log=self.log)


class Dying(Fake):
    """See Make."""

    def __init__(self, log: Path) -> None:
        super().__init__(log=log)

    async def answer(self, request):  # type: ignore[no-untyped-def]
        mark = self.log.with_suffix(".died")  # type: ignore[union-attr]
        if len(self.requests) == 3 and not mark.exists():
            mark.touch()
            os._exit(1)
        return await super().answer(request)


def written(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in (CONVERSATIONS, REJECTED)]


def answered(log: Path) -> list[str]:
    return sorted(line for line in log.read_text().splitlines() if line.startswith("came"))


def test_processes_write_what_one_writes(tmp_path: Path) -> None:
    source = photos_file(tmp_path, 2 * CHUNK + 3)
    summary = annotate_file(source, tmp_path / "one", Fake())
    spread = annotate_over(source, tmp_path / "two", Make(tmp_path / "log"), jobs=2)
    assert written(tmp_path / "two") == written(tmp_path / "one")
    assert spread == summary
    assert len(list((tmp_path / "two" / JOURNALS).iterdir())) == 3
    again = annotate_over(source, tmp_path / "two", Make(tmp_path / "log"), jobs=1)
    assert (again.paid, again.replayed) == (0, summary.paid)


def test_over_ray_and_a_worker_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra scale")
    # A second cluster of one process does not get its sys.path.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, sys.path)))
    source = photos_file(tmp_path, CHUNK + 2)
    summary = annotate_file(source, tmp_path / "one", Fake())
    try:
        over = annotate_over(source, tmp_path / "ray", Make(tmp_path / "log", dies=True), jobs=2, ray=True, window=1)
    finally:
        ray.shutdown()
    assert (tmp_path / "log.died").exists() or (tmp_path / "log").with_suffix(".died").exists()
    assert written(tmp_path / "ray") == written(tmp_path / "one")
    kept = sum(len(Journal(path, read_only=True)) for path in (tmp_path / "ray" / JOURNALS).iterdir())
    assert kept == summary.paid == over.paid + over.replayed
    assert len(answered(tmp_path / "log")) == len(set(answered(tmp_path / "log"))) == summary.paid


def test_a_teacher_that_is_down_is_told_and_nothing_half_is_left(tmp_path: Path) -> None:
    source = photos_file(tmp_path, 3)

    def make() -> Fake:
        return Fake({**GOOD, "reasoning": EndpointDown("a key", "none")})

    with pytest.raises(EndpointDown):
        annotate_over(source, tmp_path / "out", make, jobs=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [JOURNALS]
