"""A dry run counts what a run would ask, asks nothing, and leaves out what the journal holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miras.annotate.teacher.pipeline import JOURNAL, annotate_file, rehearse
from miras.annotate.teacher.rehearsal import _STAND_INS
from miras.annotate.teacher.schemas import parse
from tests.annotate.made import Fake, photos_file


@pytest.mark.parametrize("step", sorted(_STAND_INS))
def test_the_stand_ins_are_answers_that_fit(step: str) -> None:
    value = _STAND_INS[step]
    assert parse(value.model_dump_json(), type(value)) == (value, [])


def test_it_counts_without_asking(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 3), tmp_path / "out"
    teacher = Fake()
    estimate = rehearse(source, out, teacher)
    assert (estimate.requests, estimate.prompt_tokens, estimate.cost) == (15, 1500, pytest.approx(0.015))
    assert teacher.requests == []
    assert not out.exists()
    assert rehearse(source, out, teacher, limit=1).requests == 5


def test_what_is_paid_is_left_out(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 3), tmp_path / "out"
    annotate_file(source, out, Fake(), limit=1)
    assert rehearse(source, out, Fake()).requests == 10
    annotate_file(source, out, Fake())
    assert rehearse(source, out, Fake()).requests == 0
    journal = out / JOURNAL
    kept = [line for line in journal.read_text().splitlines() if json.loads(line)["step"] != "dialogues"]
    journal.write_text("\n".join(kept) + "\n")
    assert rehearse(source, out, Fake()).requests == 9
