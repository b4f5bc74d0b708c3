"""Sheets of an audit, rated and read back by the audit's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.annotate.audit.read import read_sheets
from miras.annotate.audit.sheets import NOTHING, SCALES
from miras.core.errors import InputError
from miras.serve.rating.audit import open_audit
from miras.serve.rating.sheets import Table


def test_what_is_shown(audit: Path) -> None:
    sheet = open_audit(Table(audit / "rater-1.csv"))
    view = sheet.view(lambda name: f"/p/{name}")
    assert (view["rater"], view["comments"], len(view["items"])) == ("rater-1", True, 4)
    assert [question["name"] for question in view["questions"]] == list(SCALES)
    for question in view["questions"]:
        assert [answer["value"] for answer in question["answers"]] == ["5", "4", "3", "2", "1"]
        assert question["kind"] == "scale" and all(answer["words"] for answer in question["answers"])
    item = next(item for item in view["items"] if item["target"]["text"] == "cup + spoon")
    assert [turn["user"] for turn in item["turns"]] == ["Where is it?"] * 2
    assert [len(turn["answers"]) for turn in item["turns"]] == [1, 1]
    assert item["photo"] == f"/p/pictures/{item['id']}.jpg"
    assert item["target"]["picture"] == f"/p/pictures/{item['id']}-target.png"
    assert NOTHING in {item["target"]["text"] for item in view["items"]}
    assert "secret" not in str(view)


def test_rated_sheets_are_read_by_the_audit(audit: Path) -> None:
    for name, score in (("rater-1", "5"), ("rater-2", "4")):
        sheet = open_audit(Table(audit / f"{name}.csv"))
        for item in sheet.items:
            sheet.save(item, dict.fromkeys(SCALES, score), f"{item} is seen")
    found = read_sheets(sorted(audit.glob("*.csv")))
    assert len(found) == 8
    for rating in found:
        assert dict(rating.scores) == dict.fromkeys(SCALES, 5 if rating.rater == "rater-1" else 4)
        assert rating.comment == f"{rating.item} is seen"


@pytest.mark.parametrize(("damage", "line"), [("picture", "beside it"), ("column", "without fluency")])
def test_damaged_folders_are_told(audit: Path, damage: str, line: str) -> None:
    file = audit / "rater-1.csv"
    if damage == "picture":
        next((audit / "pictures").iterdir()).unlink()
    else:
        file.write_text(file.read_text(encoding="utf-8-sig").replace("fluency", "flow"), encoding="utf-8")
    with pytest.raises(InputError, match=line):
        open_audit(Table(file))


def test_no_path_leads_out(audit: Path) -> None:
    file = audit / "rater-1.csv"
    text = file.read_text(encoding="utf-8-sig")
    file.write_text(text.replace("pictures/", "../", 1), encoding="utf-8")
    with pytest.raises(InputError, match="a file name inside"):
        open_audit(Table(file))
