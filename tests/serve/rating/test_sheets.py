"""The CSV behind a sheet: an answer more, and nothing else changed."""

from __future__ import annotations

import csv
import threading
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.serve.problems import Problem
from miras.serve.rating.audit import open_audit
from miras.serve.rating.sheets import Table


def rows(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def test_an_answer_changes_its_cell_alone(audit: Path) -> None:
    file = audit / "rater-1.csv"
    before = rows(file)
    sheet = open_audit(Table(file))
    item = list(sheet.items)[2]
    kept = sheet.save(item, {"mask_fit": "4"}, "=cup  is\ncut")
    assert kept == {"answers": {"mask_fit": "4"}, "comment": "=cup is cut"}
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")  # Excel takes it for UTF-8
    changed = [{**row, "mask_fit": "4", "comment": "'=cup is cut"} if row["item"] == item else row for row in before]
    assert rows(file) == changed
    sheet.save(item, {"mask_fit": None}, None)
    assert rows(file) == [{**row, "mask_fit": ""} for row in changed]
    assert not [path for path in audit.iterdir() if path.name.endswith((".part", ".tmp"))]


def test_what_a_spreadsheet_wrote_meanwhile_stays(audit: Path) -> None:
    file = audit / "rater-1.csv"
    sheet = open_audit(Table(file))
    first, second = list(sheet.items)[:2]
    found = rows(file)
    found[0]["fluency"] = "3,0"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, found[0], delimiter=";")
        writer.writeheader()
        writer.writerows(found)
    sheet.save(second, {"fluency": "5"}, None)
    assert rows(file, ";")[0]["fluency"] == "3,0" and rows(file, ";")[1]["fluency"] == "5"
    assert not file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert sheet.answers()[first]["answers"] == {"fluency": "3"}


def test_answers_at_once_are_all_kept(audit: Path) -> None:
    sheet = open_audit(Table(audit / "rater-1.csv"))
    given = [(item, name) for item in sheet.items for name in sheet.questions]
    threads = [threading.Thread(target=sheet.save, args=(item, {name: "2"}, None)) for item, name in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sheet.done == len(sheet.items) == 4


@pytest.mark.parametrize(
    ("item", "answers", "line"),
    [
        ("i0", {}, "expected an item of this sheet of yours"),
        (None, {"beauty": "1"}, "expected a question of mask_fit"),
        (None, {"mask_fit": "6"}, "expected mask_fit answered by 5, 4, 3, 2, 1, got '6'"),
        (None, {"mask_fit": "4\n"}, "expected mask_fit answered by"),
    ],
)
def test_other_answers_are_refused(audit: Path, item: str | None, answers: dict[str, str | None], line: str) -> None:
    sheet = open_audit(Table(audit / "rater-1.csv"))
    before = (audit / "rater-1.csv").read_bytes()
    with pytest.raises(Problem) as refused:
        sheet.save(item or next(iter(sheet.items)), answers, None)
    assert line in str(refused.value.detail)
    assert (audit / "rater-1.csv").read_bytes() == before


def test_a_row_that_was_taken_out_is_told(audit: Path) -> None:
    file = audit / "rater-1.csv"
    sheet = open_audit(Table(file))
    lines = rows(file)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, lines[0])
        writer.writeheader()
        writer.writerows(lines[1:])
    with pytest.raises(Problem, match="expected a row for"):
        sheet.save(lines[0]["item"], {"mask_fit": "1"}, None)


def test_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a rating sheet"):
        Table(tmp_path / "gone.csv").read()
