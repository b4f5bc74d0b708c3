"""The report: a careless rater is named and left out, nothing else changes."""

from __future__ import annotations

import json

import pytest

from miras.core.errors import InputError
from miras.eval.people.answers import Answer, Key
from miras.eval.people.design import WHOLE, Card
from miras.eval.people.report import judge_rows, markdown, report

pytest.importorskip("scipy")


def study(careless: str = "") -> tuple[Key, list[Answer]]:
    """Two raters, ten conversations of A and B; the second one always answers `careless`, where given."""
    cards, answers = [], []
    for rater in ("01", "02"):
        for number in range(10):
            for system in "AB":
                cards.append(Card(f"{rater}{number}{system}", rater, f"r{number}", f"p{number}", "edit", (system,)))
        cards += [Card(f"{rater}c{n}", rater, f"c{n}", f"c{n}", "edit", (WHOLE,), "check", right={"mask": ("1", "2")})
                  for n in range(3)]  # fmt: skip
    for card in cards:
        for question in ("mask", "coherence", "asked"):
            given = {"A": "5", "B": "3", WHOLE: "1"}[card.shown[0]]
            if card.role == "item" and int(card.record[1:]) % 2:
                given = str(int(given) - 1)
            if careless and card.rater == "02":
                given = careless
            if question == "asked":
                given = "yes" if given > "2" else "no"
            value = {"yes": 1.0, "no": 0.0}.get(given)
            answers.append(Answer(card, question, given, float(given) if value is None else value))
    systems = {code: {"model": f"m|{code}", "folder": f"runs/{code}"} for code in "AB"}
    return Key("s", "rating", systems, {card.id: card for card in cards}, {"items": 10}), answers


def test_all_well():
    key, answers = study()
    result = report(key, answers, ["f.csv, line 3: <odd>"], draws=100)
    assert result["left_out_raters"] == [] and "with_all" not in result
    assert result["figures"]["mask"]["systems"]["A"]["value"] == 4.5
    assert result["figures"]["mask"]["differences"]["A - B"]["value"] == 2
    assert result["raters"]["01"]["checks_passed"] == 3 and result["raters"]["01"]["open"] == 23 * 3
    json.dumps(result, allow_nan=False)
    text = markdown(result)
    assert "m\\|A" in text and "&lt;odd>" in text and "| mask | 4.50 [" in text


def test_a_careless_rater_is_named_and_left_out():
    key, answers = study("5")
    result = report(key, answers, [], draws=100)
    assert result["left_out_raters"] == ["02"]
    assert result["raters"]["02"]["doubts"] == ["3 of 3 attention checks missed", "all answers alike"]
    assert result["raters"]["02"]["checks_missed"][0] == "02c0: mask 5, not 1 or 2"
    assert result["figures"]["mask"]["systems"]["B"]["value"] == 2.5
    assert result["with_all"]["mask"]["systems"]["B"]["value"] == pytest.approx(3.75)
    assert "Left out of the figures: rater 02" in markdown(result)


def test_rows_for_the_judge():
    _, answers = study()
    rows = judge_rows(answers)
    assert len(rows) == 40 and rows[0] == ("r0", "coherence", "5", "01", "A")


def test_nothing_answered():
    with pytest.raises(InputError, match="no usable answer and 1 faults; why"):
        report(study()[0], [], ["why"])
