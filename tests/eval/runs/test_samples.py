from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.eval.runs import samples
from miras.eval.runs.samples import Row


def row(record: str = "r", turn: int = 1, **changes: Any) -> Row:
    """A graded turn: 30 of 40 pixels right, 10 too many; IoU 0.6."""
    plain = Row(
        record=record, photo="p", image="p.jpg", source="made", split="val", kind="progressive", hops=2, size=(20, 20),
        focus="cup", turn=turn, turns=2, final=turn == 2, history="own", model="m", seed=0, user="the cup",
        gold_text="The cup.", phrase="cup", operator_wanted="replace", graded=True, target_share=0.1, text="Here.",
        phrase_got="cup", operator_got="replace", has_mask=True, score=0.6, seconds=0.5, intersection=30, predicted=40,
        gold=40, union=50, iou=0.6, band_intersection=5, band_predicted=10, band_gold=10, boundary_iou=1 / 3,
        region_iou=0.6, rle={"size": [20, 20], "counts": "0d0"}, gold_rle={"size": [20, 20], "counts": "0d0"},
    )  # fmt: skip
    return replace(plain, **changes)


def test_rows_come_back_as_they_were_written(tmp_path):
    file = tmp_path / "samples.jsonl"
    rows = [row(), row("s", 2, user="a\u2028b \u0085 c\n", iou=None, fault="gone", blame="data")]
    samples.append(file, rows[:1])
    samples.append(file, rows[1:])
    assert samples.read(file) == rows
    assert rows[0].overlap.iou == rows[0].iou
    assert rows[0].band.iou == rows[0].boundary_iou


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    file = tmp_path / "samples.jsonl"
    samples.append(file, [row(), row("s")])
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    assert samples.resume(file) == [row()] == samples.read(file)
    samples.append(file, [row("s")])
    assert file.read_bytes() == whole
    assert samples.resume(tmp_path / "none") == []


def test_keys_of_later_versions_are_passed_over(tmp_path):
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps({**json.loads(samples.line(row())), "mood": "fine"}) + "\n")
    assert samples.read(file) == [row()]


@pytest.mark.parametrize(("content", "says"), [("{\n", "line 1"), ('{"record": "r"}\n', "photo"), ("[]\n", "record")])
def test_lines_that_are_no_rows(tmp_path: Path, content: str, says: str):
    file = tmp_path / "samples.jsonl"
    file.write_text(content)
    with pytest.raises(InputError, match=says):
        samples.read(file)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        samples.read(tmp_path / "samples.jsonl")
