from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from miras.eval.report import plots
from miras.eval.report.plots import Dot

SCRIPT = '<script>alert("x")</script>'
DOTS = [Dot("1", 40, 80.0, (70.0, 90.0)), Dot("2", 3, 25.5), Dot("4+", 1, math.nan, (math.nan, 1.0))]
BINS = [{"n": 5, "score": 0.2, "iou": 0.4}, {"n": 20, "score": 0.9, "iou": 0.85}]


def drawn(svg: str) -> ET.Element:
    """Well-formed, with an alternative text, and without a figure that is none."""
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("aria-label")
    for element in root.iter():
        numbers = " ".join(value for name, value in element.attrib.items() if name != "aria-label")
        assert not {"nan", "inf", "-inf"} & set(numbers.replace(",", " ").lower().split())
    return root


def titles(root: ET.Element) -> list[str]:
    return [title.text or "" for title in root.iter("title")]


def marks(root: ET.Element, tag: str) -> list[dict[str, str]]:
    return [mark.attrib for group in root.iter("g") for mark in group.iter(tag)]


@pytest.mark.parametrize(
    "svg",
    [
        plots.line(DOTS, what="gIoU by turn", axis="turn"),
        plots.rows(DOTS, what="gIoU by kind"),
    ],
)
def test_every_group_has_its_point_its_interval_and_its_n(svg: str):
    root = drawn(svg)
    texts = [text.text or "" for text in root.iter("text")]
    assert [text for text in texts if text.startswith("n = ")] == ["n = 40", "n = 3", "n = 1"]
    said = [title for title in titles(root) if ", n = " in title]
    assert said == ["1: 80.0, 95% interval 70.0 to 90.0, n = 40", "2: 25.5, n = 3"]
    assert len(marks(root, "circle")) == 2
    assert len(marks(root, "line")) == 3
    assert "4+: no figure, n = 1" in (root.get("aria-label") or "")


def test_higher_figures_stand_higher_and_further_right():
    up = [float(mark["cy"]) for mark in marks(drawn(plots.line(DOTS, what="w", axis="a")), "circle")]
    across = [float(mark["cx"]) for mark in marks(drawn(plots.rows(DOTS, what="w")), "circle")]
    assert up[0] < up[1]
    assert across[0] > across[1]


@pytest.mark.parametrize("value", [0.0, 100.0, -5.0, 130.0])
def test_points_stay_inside(value: float):
    dots = [Dot("a", 1, value, (value - 50, value + 50))]
    for svg in (plots.line(dots, what="w", axis="a"), plots.rows(dots, what="w")):
        root = drawn(svg)
        _, _, width, height = (float(side) for side in (root.get("viewBox") or "").split())
        for mark in marks(root, "line"):
            assert all(0 <= float(mark[side]) <= width for side in ("x1", "x2"))
            assert all(0 <= float(mark[side]) <= height for side in ("y1", "y2"))


def test_labels_are_escaped_and_cut():
    dots = [Dot(SCRIPT, 1, 50.0)]
    for svg in (plots.line(dots, what=SCRIPT, axis=SCRIPT), plots.rows(dots, what=SCRIPT)):
        assert "<script" not in svg
        assert f"{SCRIPT}: 50.0, n = 1" in titles(drawn(svg))


def test_the_reliability_curve():
    root = drawn(plots.reliability(BINS, 0.08))
    assert titles(root) == ["score 0.20, IoU 0.40, n = 5", "score 0.90, IoU 0.85, n = 20"]
    few, many = marks(root, "circle")
    assert float(few["r"]) < float(many["r"])
    assert "ECE 0.080, n = 25" in [text.text for text in root.iter("text")]
    empty = drawn(plots.reliability([{"n": 1, "score": math.nan, "iou": 0.5}], math.nan))
    assert not marks(empty, "circle")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], []),
        ([0.0, 0.04, 0.5, 1.0], ["0.00 to 0.05: 2", "0.50 to 0.55: 1", "0.95 to 1.00: 1", "mean 0.385"]),
        ([0.3, math.nan, math.inf], ["0.30 to 0.35: 1", "mean 0.300"]),
    ],
)
def test_the_histogram_counts_every_value_once(values: list[float], said: list[str]):
    root = drawn(plots.histogram(values, what="IoU"))
    assert titles(root) == said


def test_nothing_to_draw_is_still_a_picture():
    drawn(plots.line([], what="w", axis="a"))
    drawn(plots.rows([], what="w"))
