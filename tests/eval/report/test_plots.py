from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from miras.eval.report import plots
from miras.eval.report.plots import Dot

SCRIPT = '<script>alert("x")</script>'
DOTS = [Dot("1", 40, 80.0, (70.0, 90.0)), Dot("2", 3, 25.5), Dot("4+", 1, math.nan, (math.nan, 1.0))]
BINS = [{"n": 5, "score": 0.2, "iou": 0.4}, {"n": 20, "score": 0.9, "iou": 0.85}]


SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"


def drawn(svg: str) -> ET.Element:
    """Well-formed, with an alternative text, without a figure that is none, and without a name that is not used."""
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") and root.get("viewBox")
    for element in root.iter():
        numbers = " ".join(value for name, value in element.attrib.items() if name != "aria-label")
        assert not {"nan", "inf", "-inf"} & set(numbers.replace(",", " ").lower().split())
    assert {element.get("id") for element in root.iter()} <= {None} | {
        (element.get(f"{LINK}href") or "")[1:] for element in root.iter()
    }
    return root


def titles(root: ET.Element) -> list[str]:
    return [title.text or "" for title in root.iter(f"{SVG}title")]


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def points(root: ET.Element) -> dict[str, tuple[float, float]]:
    """Where each point lies that says something of itself: the last thing drawn of its mark."""
    found = {}
    for group in root.iter(f"{SVG}g"):
        title, uses = group.find(f"{SVG}title"), list(group.iter(f"{SVG}use"))
        if title is not None and uses:
            found[title.text or ""] = (float(uses[-1].get("x", "nan")), float(uses[-1].get("y", "nan")))
    return found


@pytest.mark.parametrize(
    "svg",
    [
        plots.line(DOTS, what="gIoU by turn", axis="turn"),
        plots.rows(DOTS, what="gIoU by kind"),
    ],
)
def test_every_group_has_its_point_its_interval_and_its_n(svg: str):
    root = drawn(svg)
    assert [text for text in texts(root) if text.startswith("n = ")] == ["n = 40", "n = 3", "n = 1"]
    first, second = "1: 80.0, 95% interval 70.0 to 90.0, n = 40", "2: 25.5, n = 3"
    assert titles(root) == [first, first, second]  # an interval and its point say the same
    assert {"80.0", "25.5"} <= set(texts(root))
    assert "4+: no figure, n = 1" in (root.get("aria-label") or "")


def test_higher_figures_stand_higher_and_further_right():
    up = [y for _, y in points(drawn(plots.line(DOTS, what="w", axis="a"))).values()]
    across = [x for x, _ in points(drawn(plots.rows(DOTS, what="w"))).values()]
    assert up[0] < up[1]
    assert across[0] > across[1]


@pytest.mark.parametrize("value", [0.0, 100.0, -5.0, 130.0])
def test_points_stay_inside(value: float):
    dots = [Dot("a", 1, value, (value - 50, value + 50))]
    for svg in (plots.line(dots, what="w", axis="a"), plots.rows(dots, what="w")):
        root = drawn(svg)
        _, _, width, height = (float(side) for side in (root.get("viewBox") or "").split())
        assert all(0 <= float(use.get("x", "nan")) <= width for use in root.iter(f"{SVG}use"))
        assert all(0 <= float(use.get("y", "nan")) <= height for use in root.iter(f"{SVG}use"))


def test_colours_are_those_of_the_page_and_bytes_are_equal():
    svg = plots.line(DOTS, what="w", axis="a")
    assert "var(--accent, #2f6fb3)" in svg and "currentColor" in svg and "#010101" not in svg
    assert svg == plots.line(DOTS, what="w", axis="a")
    forest = plots.differences([("a - b  gIoU", 3.0, (1.0, 5.0))], what="w")
    assert "var(" not in forest and "currentColor" in forest


def test_differences_stand_on_their_side_of_none():
    lines = [("better", 3.0, (1.0, 5.0)), ("worse", -3.0, (-5.0, -1.0)), ("$x$ <b>", 0.0, (0.0, 0.0))]
    root = drawn(plots.differences(lines, what="w"))
    (better, _), (worse, _), (equal, _) = points(root).values()
    assert worse < equal < better
    assert titles(root)[0] == "better: 3.00 [1.00, 5.00]" and "$x$ <b>" in texts(root)
    drawn(plots.differences([], what="w"))


def test_labels_are_escaped_and_cut():
    dots = [Dot(SCRIPT, 1, 50.0)]
    for svg in (plots.line(dots, what=SCRIPT, axis=SCRIPT), plots.rows(dots, what=SCRIPT)):
        assert "<script" not in svg
        assert f"{SCRIPT}: 50.0, n = 1" in titles(drawn(svg))


def test_the_reliability_curve():
    root = drawn(plots.reliability(BINS, 0.08))
    assert titles(root) == ["score 0.20, IoU 0.40, n = 5", "score 0.90, IoU 0.85, n = 20"]
    few, many = points(root).values()
    assert few[0] < many[0] and few[1] > many[1]
    assert "ECE 0.080, n = 25" in texts(root)
    empty = drawn(plots.reliability([{"n": 1, "score": math.nan, "iou": 0.5}], math.nan))
    assert not points(empty)


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
