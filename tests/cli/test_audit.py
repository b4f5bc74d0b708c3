"""`miras audit`: from a dataset to sheets, from filled sheets to a report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cyclopts
import numpy as np
import pytest

from miras.cli import main
from miras.cli.audit import audit_app
from miras.core.masks import encode_rle
from miras.data.formats.jsonl import write_jsonl
from miras.data.record import Record

COUNT = 8


@pytest.fixture
def call(monkeypatch):
    """`miras`, with nothing but this command."""
    app = cyclopts.App(name="miras", result_action="return_value")
    app.command(audit_app)
    monkeypatch.setattr(main, "app", app)
    return main.call


def record(index: int, photo: Path) -> Record:
    mask = np.zeros((400, 600), bool)
    mask[100:250, 200 : 300 + 10 * index] = True
    content = [{"type": "words", "text": "The", "region": 0}, {"type": "name", "text": "cup", "region": 1}]
    region = {"id": 1, "phrase": "cup", "operator": "replace", "rle": encode_rle(mask)}
    return {
        "id": f"r{index}", "image_id": f"p{index // 2}", "image": photo.as_posix(), "height": 400, "width": 600,
        "split": "", "source": "coco", "kind": "absent" if index % 4 == 0 else "shift", "hops": 1, "focus": "cup",
        "turns": [
            {"role": "user", "text": "Where?", "content": [{"type": "words", "text": "Where?", "region": 0}],
             "regions": []},
            {"role": "assistant", "text": "The cup", "content": content, "regions": [region]},
        ],
        "meta": {},
    }  # type: ignore[typeddict-item]  # fmt: skip


@pytest.fixture
def dataset(tmp_path, photo_path) -> Path:
    path = tmp_path / "data.jsonl"
    write_jsonl([record(index, photo_path) for index in range(COUNT)], path)
    return path


def fill(sheet: Path, shift: int) -> None:
    """Scores 1 to 5 by the item's code; the second rater's are one off on some."""
    rows = list(csv.DictReader(sheet.read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    for row in rows:
        score = 1 + int(row["item"][1:], 16) % 5
        for name in ("mask_fit", "answer_correct", "needs_reasoning", "fluency"):
            row[name] = str(min(5, score + (shift if name == "fluency" else 0)))
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def last(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_draw_fill_report(call, capsys, dataset, tmp_path):
    out = tmp_path / "audit"
    assert call(["audit", "draw", str(dataset), str(out), "--n", "6", "--raters", "2", "--json"]) == 0
    drawn = last(capsys)
    assert (drawn["items"], drawn["raters"], drawn["faults"]) == (6, 2, 0)
    assert sum(drawn["kinds"].values()) == 6 and set(drawn["kinds"]) == {"absent", "shift"}
    sheets = [out / "rater-1.csv", out / "rater-2.csv"]
    assert (out / "README.md").is_file() and (out / "label-studio" / "config.xml").is_file()
    for shift, sheet in enumerate(sheets):
        fill(sheet, shift)
    report = ["audit", "report", *map(str, sheets), "--data", str(dataset), "--n", "50", "--out", str(tmp_path / "rep")]
    assert call([*report, "--json"]) == 0
    summary = last(capsys)
    assert (summary["items"], summary["ratings"], summary["raters"]) == (6, 12, ["rater-1", "rater-2"])
    assert summary["photos"] in (3, 4)
    assert summary["scales"]["mask_fit"]["alpha_ordinal"]["value"] == 1
    assert summary["scales"]["fluency"]["alpha_ordinal"]["value"] < 1
    assert json.loads((tmp_path / "rep" / "report.json").read_text()) == summary
    assert "# Audit of data.jsonl" in (tmp_path / "rep" / "report.md").read_text()
    assert call(report) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == [
        "scale", "mean", "alpha_ordinal", "alpha_interval", "fleiss_kappa", "icc_2_k",
    ]  # fmt: skip


def test_faulty_rows_are_named_and_the_exit_code_tells(call, capsys, dataset, tmp_path):
    sheet = tmp_path / "ann.csv"
    from miras.annotate.audit.sheets import code_of

    head = "item,mask_fit,answer_correct,needs_reasoning,fluency"
    sheet.write_text(f"{head}\n{code_of('r1')},1,2,3,4\n{code_of('r2')},1,2,3,40\ni0000000000,1,1,1,1\n")
    assert call(["audit", "report", str(sheet), "--data", str(dataset), "--n", "5", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["items"] == 1
    faults = captured.err.strip().splitlines()
    assert len(faults) == 2
    assert "ann.csv: line 3" in faults[0] and "ann.csv: line 4" in faults[1]


def test_faulty_records_are_left_out_of_the_sheets(call, capsys, dataset, tmp_path):
    with dataset.open("a") as lines:
        lines.write("{}\n")
    gone = record(9, tmp_path / "gone.jpg")
    write_jsonl([gone], tmp_path / "more.jsonl")
    with dataset.open("a") as lines:
        lines.write((tmp_path / "more.jsonl").read_text())
    assert call(["audit", "draw", str(dataset), str(tmp_path / "audit"), "--json"]) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert (result["items"], result["faults"]) == (COUNT, 2)
    assert "line 9" in captured.err and "record r9" in captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["draw", "DATA", "HERE"], "new or empty folder"),
        (["draw", "nowhere.jsonl", "NEW"], "nowhere"),
        (["draw", "DATA", "NEW", "--n", "0"], "at least 1"),
        (["draw", "DATA", "NEW", "--raters", "0"], "at least 1 rater"),
        (["draw", "DATA", "NEW", "--format", "jsonk"], "jsonl"),
        (["report", "gone.csv", "--data", "DATA"], "gone.csv"),
        (["report", "DATA", "--data", "DATA"], ".csv or .json"),
        (["report", "x.csv"], "--data"),
        (["report", "x.csv", "--data", "DATA", "--n", "0"], "--n of at least 1"),
    ],
)
def test_bad_input_is_one_line_and_two(call, capsys, dataset, tmp_path, arguments, says):
    places = {"DATA": str(dataset), "HERE": str(tmp_path), "NEW": str(tmp_path / "new")}
    assert call(["audit", *(places.get(word, word) for word in arguments)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]
