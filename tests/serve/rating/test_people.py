"""Sheets of a study, rated and read back by the study's own reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.eval.people.answers import read_answers, read_key
from miras.eval.people.design import Design
from miras.eval.people.questions import questions_of
from miras.serve.rating.people import open_people
from miras.serve.rating.sheets import Table


def test_what_is_shown(study: tuple[Design, Path]) -> None:
    plan, folder = study
    view = open_people(Table(folder / "sheets" / "rater_01.csv")).view(lambda name: f"/p/{name}")
    assert [item["id"] for item in view["items"]] == [card.id for card in plan.raters["01"]]
    assert [question["name"] for question in view["questions"]] == [one.name for one in questions_of(plan.kind)]
    assert not view["comments"]
    sides = {tuple(answer["side"] for answer in turn["answers"]) for item in view["items"] for turn in item["turns"]}
    assert sides == ({("left", "right")} if plan.kind == "pairwise" else {("",)})
    kinds = {question["name"]: question["kind"] for question in view["questions"]}
    assert kinds["mask"] == ("choice" if plan.kind == "pairwise" else "scale")
    pictures = [answer["picture"] for item in view["items"] for turn in item["turns"] for answer in turn["answers"]]
    assert all(name.startswith("/p/pictures/") for name in pictures if name) and any(pictures)


def test_rated_sheets_are_read_by_the_study(study: tuple[Design, Path]) -> None:
    plan, folder = study
    sheet = open_people(Table(folder / "sheets" / "rater_01.csv"))
    for item in sheet.items:
        for question in sheet.questions.values():
            sheet.save(item, {question.name: question.answers[0][0]}, None)
    key = read_key(folder / "key.json")
    found, faults = read_answers([folder / "sheets" / "rater_01.csv"], key)
    assert faults == [] and len(found) == len(plan.raters["01"]) * len(sheet.questions)
    assert {one.given for one in found if one.question == "mask"} == {"left" if plan.kind == "pairwise" else "5"}
    assert sheet.done == len(sheet.items)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("gone", "beside rater_01.csv"),
        ("version", "of version 1"),
        ("picture", "the pictures of"),
        ("text", "is written by"),
    ],
)
def test_damaged_folders_are_told(study: tuple[Design, Path], damage: str, line: str) -> None:
    shown = study[1] / "sheets" / "rater_01.json"
    if damage == "gone":
        shown.unlink()
    elif damage == "version":
        shown.write_text(json.dumps({**json.loads(shown.read_text()), "version": 2}))
    elif damage == "picture":
        for picture in (study[1] / "sheets" / "pictures").iterdir():
            picture.unlink()
    else:
        shown.write_text("no JSON")
    with pytest.raises(InputError, match=line):
        open_people(Table(study[1] / "sheets" / "rater_01.csv"))
