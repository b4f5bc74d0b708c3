"""Metrics on masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from miras.eval import metrics
from miras.eval.metrics import overlap


def rows(*lines: str):
    return np.array([[c == "#" for c in line] for line in lines])


GOLD = rows("##..", "##..")
SAME = overlap(GOLD, GOLD)
HALF = overlap(rows("#...", "#..."), GOLD)  # IoU 2/4
TWICE = overlap(rows("####", "####"), GOLD)  # IoU 4/8
MISS = overlap(None, GOLD)


def test_iou_of_hand_drawn_masks():
    assert [s.iou for s in (SAME, HALF, TWICE, MISS)] == [1.0, 0.5, 0.5, 0.0]


def test_giou_is_a_mean_and_ciou_is_pooled():
    samples = [SAME, TWICE, MISS]
    assert metrics.giou(samples) == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert metrics.ciou(samples) == pytest.approx(100 * (4 + 4 + 0) / (4 + 8 + 4))


def test_precision_and_recall_are_of_the_foreground():
    samples = [HALF, TWICE]
    assert metrics.precision(samples) == pytest.approx(100 * 6 / 10)
    assert metrics.recall(samples) == pytest.approx(100 * 6 / 8)
    assert metrics.f1(samples) == pytest.approx(100 * 2 * 0.6 * 0.75 / 1.35)


def test_a_reply_without_mask_counts_as_zero_and_is_shown():
    values = metrics.summary([SAME, MISS])
    assert values["giou"] == pytest.approx(50.0)
    assert values["no_mask_rate"] == pytest.approx(50.0) or values["no_mask_rate"] == pytest.approx(0.5)


def test_p50_is_more_than_half():
    assert metrics.precision_at([SAME, HALF], 0.5) == pytest.approx(50.0)
