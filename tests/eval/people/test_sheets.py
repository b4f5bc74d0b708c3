"""What raters get: an empty CSV, and what is shown, blinded. How it is filled in: tests/serve/rating."""

from __future__ import annotations

import csv
import json
import re

import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.eval.people.answers import read_answers, read_key
from miras.eval.people.design import design
from miras.eval.people.sheets import SIDE, write_sheets
from tests.eval.judged import make_run

EVIL = '</script><img src=x onerror="alert(1)">&'


@pytest.fixture(params=["pairwise", "rating"])
def study(request, tmp_path):
    runs = [make_run(tmp_path / name, 6, f"secret-{name}", says=(EVIL, name), target_share=0.2)
            for name in ("first-run", "second-run")]  # fmt: skip
    plan = design(runs, request.param, items=4, raters=2, each=1)
    return plan, write_sheets(plan, tmp_path / "study")


def test_files(study, tmp_path):
    plan, written = study
    names = [str(file.relative_to(tmp_path / "study")) for file in written]
    assert names == ["key.json", *(f"sheets/rater_{n}.{end}" for n in ("01", "02") for end in ("csv", "json"))]
    key = read_key(written[0])
    assert tuple(key.cards.values()) == plan.cards
    rows = list(csv.DictReader(written[1].open(encoding="utf-8", newline="")))
    assert len(rows) == len(plan.raters["01"]) * len(key.questions)
    assert read_answers([written[1], written[3]], key) == ([], [])
    with pytest.raises(InputError, match="never written over"):
        write_sheets(plan, tmp_path / "study")


def test_a_sheet_tells_no_system(study, tmp_path):
    plan, written = study
    for file in (written[2], written[4]):
        text = file.read_text(encoding="utf-8")
        shown = json.loads(text)
        assert [card["id"] for card in shown["cards"]] == [card.id for card in plan.raters[shown["rater"]]]
        for answer in (one for card in shown["cards"] for turn in card["turns"] for one in turn["answers"]):
            assert bool(answer["picture"]) != bool(answer["note"])
        cut = text.replace('"second-run"', "").replace('"first-run"', "")  # what a system says is its own name
        for secret in (
            "secret",
            "first-run",
            "second-run",
            str(tmp_path),
            "photo0",
            "gold",
            "whole",
            "repeat",
            "check",
        ):
            assert secret not in cut, secret
    pictures = sorted((tmp_path / "study" / "sheets" / "pictures").iterdir())
    named = {name for file in (written[2], written[4]) for name in re.findall(r"pictures/\w+\.jpg", file.read_text())}
    assert {f"pictures/{path.name}" for path in pictures} == named
    assert len({path.read_bytes() for path in pictures}) == len(pictures)
    assert all(max(Image.open(path).size) <= SIDE for path in pictures)
