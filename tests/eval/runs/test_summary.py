from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.eval.runs import samples, summary
from tests.eval.runs.test_samples import row

NOTHING: dict[str, Any] = {
    "graded": False, "phrase": "", "intersection": None, "predicted": None, "gold": None, "union": None, "iou": None,
    "band_intersection": None, "band_predicted": None, "band_gold": None, "boundary_iou": None, "region_iou": None,
    "score": None, "has_mask": False, "operator_wanted": None, "operator_got": None,
}  # fmt: skip
MISSED = {"intersection": 0, "predicted": 0, "union": 40, "iou": 0.0, "band_intersection": 0, "band_predicted": 0,
          "boundary_iou": 0.0, "region_iou": None, "score": None, "has_mask": False}  # fmt: skip


def test_the_main_figures_by_hand():
    rows = [row(), row("s", photo="q", **MISSED)]
    figures = summary.figures(rows)
    expected = {"n": 2, "giou": 30.0, "ciou": 100 * 30 / 90, "precision": 75.0, "recall": 37.5, "f1": 50.0,
                "p50": 50.0, "no_mask_rate": 0.5, "boundary_iou": 100 / 6}  # fmt: skip
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert (figures["model"], figures["history"], figures["seed"], figures["photos"]) == ("m", "own", 0, 2)
    assert figures["calibration"]["n"] == 1
    assert figures["calibration"]["ece"] == pytest.approx(0)
    low, high = figures["intervals"]["giou"]
    assert low == 0
    assert high == pytest.approx(60)


def test_turns_that_are_not_compared_are_counted_apart():
    """Words, refusals, an undo to nothing and faults do not move gIoU."""
    rows = [
        row(),
        row("w", **{**NOTHING, "operator_got": "replace"}),
        row("a", **{**NOTHING, "operator_wanted": "reject", "operator_got": "reject", "refused_wanted": True,
                    "refused": True}),
        row("u", **{**NOTHING, "operator_wanted": "undo", "operator_got": "undo", "graded": True, "intersection": 0,
                    "predicted": 0, "gold": 0, "union": 0, "iou": 1.0}),
        row("f", **{**NOTHING, "fault": "no photo", "blame": "data"}),
    ]  # fmt: skip
    figures = summary.figures(rows)
    assert (figures["n"], figures["turns"]) == (1, 5)
    assert figures["giou"] == pytest.approx(60)
    assert figures["emptied"] == {"n": 1, "right": 1.0}
    assert figures["refusals"] == {"n": 1, "right": 1.0}
    assert figures["false_refusals"] == {"n": 1, "rate": 0.0}
    assert figures["operators"]["words"] == {"n": 1, "obeyed": 0.0, "instead": {"replace": 1}}
    assert figures["operators_obeyed"] == {"n": 1, "obeyed": 1.0}
    assert figures["faults"]["data"] == figures["faults"]["records"] == 1
    assert figures["faults"]["named"] == ["f, turn 1 (own): no photo"]


def test_groups_without_samples_are_left_out():
    figures = summary.figures([row(**NOTHING)])
    assert figures["n"] == 0 and figures["giou"] is None
    assert not {"final", "by", "alone", "refusals", "calibration", "intervals", "emptied"} & set(figures)
    json.dumps(figures, allow_nan=False)


def test_final_turns_by_kind_hops_turn_and_size():
    rows = [row(), row(turn=2, **MISSED), row("s", 2, kind="text", hops=5, photo="q")]
    final = summary.figures(rows)["final"]
    assert final["n"] == 2
    assert {line["label"]: line["giou"] for line in final["by"]["kind"]} == pytest.approx(
        {"progressive": 0, "text": 60}
    )
    assert [line["label"] for line in final["by"]["hops"]] == ["2", "4+"]
    assert [(line["label"], line["n"]) for line in final["by"]["size"]] == [("large", 2)]


def test_the_same_target_alone():
    rows = [
        row(turn=2, **MISSED), row(turn=2, history="alone"),
        row("s", 2, photo="q"), row("s", 2, history="alone", photo="q"),
        row("t", 2),  # never asked alone
        row("u", 2, history="alone"),  # its conversation is not there
    ]  # fmt: skip
    alone = summary.figures(rows)["alone"]
    assert alone["n"] == 2
    assert alone["giou_alone"] == pytest.approx(60)
    assert alone["giou_in_conversation"] == pytest.approx(30)
    assert alone["gap"] == pytest.approx(30)
    assert alone["gap_interval"] == pytest.approx([0, 60])


def test_photos_are_drawn_whole():
    """Two hundred turns of the same two photos tell no more than two photos do."""
    few = [row(), row("s", photo="q", **MISSED)]
    many = [row(f"r{i}") for i in range(100)] + [row(f"s{i}", photo="q", **MISSED) for i in range(100)]
    assert summary.intervals(many)["giou"] == pytest.approx(summary.intervals(few)["giou"])
    apart = [row(f"r{i}", photo=f"p{i}", **(MISSED if i % 2 else {})) for i in range(200)]
    low, high = summary.intervals(apart, seed=3)["giou"]
    spread = 1.96 * 30 / np.sqrt(200)
    assert (low, high) == pytest.approx((30 - spread, 30 + spread), abs=1.0)


@pytest.mark.parametrize("rows", [[], [row(), row("s", model="other")], [row(), row("s", history="gold")]])
def test_one_run_at_a_time(rows):
    with pytest.raises(InputError, match="one run"):
        summary.figures(rows)


def test_the_samples_are_enough(tmp_path):
    samples.append(tmp_path / samples.FILE, [row(), row(turn=2)])
    written = summary.write(tmp_path)
    assert json.loads((tmp_path / summary.FILE).read_text()) == written
    assert written == summary.figures([row(), row(turn=2)])


def test_where_a_figure_comes_from():
    about = summary.provenance()
    assert {"miras", "python", "numpy"} <= set(about["versions"])
    assert about["commit"] is None or about["commit"].rstrip("+").isalnum()


def test_the_words_of_the_replies_that_have_gold_words():
    """Own and gold rows alone; a record at fault is not among them."""
    pytest.importorskip("nltk")
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    said = "There is a cup on the table."
    rows = [
        row(text=said, gold_text=said),
        row("s", photo="q", text="", gold_text="", **MISSED),
        row("t", text="x", gold_text="y", fault="no photo", blame="data"),
        row(text="wrong", gold_text=said, history="alone"),
    ]
    found = summary.figures(rows)["text"]
    assert (found["n"], found["rouge_l"]) == (1, 100.0) and found["bleu4"] == pytest.approx(100)
    assert "text" not in summary.figures(rows[1:2])


def test_without_the_packages_of_words(monkeypatch):
    monkeypatch.setattr("miras.eval.metrics.text.summary", broken_text)
    figures = summary.figures([row(text="a", gold_text="b")])
    assert figures["text_left_out"] == "pip install 'miras[eval]'" and "text" not in figures and figures["n"] == 1


def broken_text(replies: list[str], gold: list[str]) -> dict[str, Any]:
    raise InputError("the package sacrebleu", "none installed", "pip install 'miras[eval]'")
