"""Raters' files as they come back: encodings, and every fault by file and line."""

from __future__ import annotations

import json

import pytest

from miras.core.errors import InputError
from miras.eval.people.answers import Key, read_answers, read_key
from miras.eval.people.design import Card

HEAD = "record,criterion,score,rater"


def key(kind: str = "rating") -> Key:
    shown = [("B", "A"), ("A", "B")] if kind == "pairwise" else [("A",), ("B",)]
    cards = [Card(f"s-01-00{n}", "01", "r", "p", "edit", own) for n, own in enumerate(shown, 1)]
    return Key("s", kind, {"A": {}, "B": {}}, {card.id: card for card in cards}, {})


def sheet(tmp_path, *lines: str, head: str = HEAD, between: str = ",", end: str = "\n", mark: str = ""):
    file = tmp_path / "rater.csv"
    file.write_bytes((mark + end.join([head, *lines, ""])).replace(",", between).encode())
    return [file]


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize(("end", "mark"), [("\n", ""), ("\r\n", "\ufeff")])
def test_any_csv_with_blanks(tmp_path, between, end, mark):
    lines = ["s-01-001,Mask,4,01", "s-01-001,asked,YES,1", "s-01-002,mask,,01", ""]
    answers, faults = read_answers(sheet(tmp_path, *lines, between=between, end=end, mark=mark), key())
    assert faults == []
    assert [(one.card.id, one.question, one.value) for one in answers] == [
        ("s-01-001", "mask", 4.0), ("s-01-001", "asked", 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("card", "given", "value"),
    [("001", "left", -1), ("001", "right", 1), ("002", "left", 1), ("002", "right", -1), ("002", "equal", 0)],
)
def test_a_pair_is_unblinded(tmp_path, card, given, value):
    answers, _ = read_answers(sheet(tmp_path, f"s-01-{card},overall,{given},01"), key("pairwise"))
    assert [(one.value, one.unit) for one in answers] == [(value, ("r", ("A", "B")))]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("t-01-001,mask,4,01", "'t-01-001' is no card of study s"),
        ("s-01-001,beauty,4,01", "'beauty' is no question"),
        ("s-01-001,mask,6,01", "answered by 1, 2, 3, 4, 5, not '6'"),
        ("s-01-001,mask,3.5,01", "not '3.5'"),
        ("s-01-001,asked,4,01", "answered by yes, no"),
        ("s-01-001,mask,4,02", "belongs to rater 01, not '02'"),
    ],
)
def test_a_fault_is_named_and_left_out(tmp_path, line, says):
    answers, (fault,) = read_answers(sheet(tmp_path, "s-01-002,mask,3,01", line), key())
    assert says in fault and "rater.csv, line 3" in fault
    assert [one.card.id for one in answers] == ["s-01-002"]


@pytest.mark.parametrize(("again", "left", "says"), [("4", 1, "answered twice"), ("2", 0, "different ways: left out")])
def test_twice(tmp_path, again, left, says):
    answers, faults = read_answers(sheet(tmp_path, "s-01-001,mask,4,01", f"s-01-001,mask,{again},01"), key())
    assert len(answers) == left and len(faults) == 1 and says in faults[0]


def test_what_is_no_sheet(tmp_path):
    with pytest.raises(InputError, match="without rater"):
        read_answers(sheet(tmp_path, head="record,criterion,score"), key())
    with pytest.raises(InputError, match="a rating sheet at"):
        read_answers([tmp_path / "none.csv"], key())


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"version": 1, "cards": [{"shown": []}]})])
def test_what_is_no_key(tmp_path, text):
    with pytest.raises(InputError, match="the key of a study"):
        read_key(tmp_path / "none.json")
    (tmp_path / "key.json").write_text(text)
    with pytest.raises(InputError, match="the key of a study"):
        read_key(tmp_path / "key.json")


def test_a_key_of_another_version(tmp_path):
    (tmp_path / "key.json").write_text(json.dumps({"version": 9, "cards": []}))
    with pytest.raises(InputError, match="a key of version 1, got 9"):
        read_key(tmp_path / "key.json")
