"""Metrics on masks drawn by hand, and in batches on run lengths."""

from __future__ import annotations

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.masks import boundary, encode_rle
from miras.eval.metrics import pixels
from miras.eval.metrics.pixels import Overlap, overlap


def rows(*lines: str):
    return np.array([[c == "#" for c in line] for line in lines])


GOLD = rows("##..", "##..")
SAME = overlap(GOLD, GOLD)
HALF = overlap(rows("#...", "#..."), GOLD)  # IoU 2/4
TWICE = overlap(rows("####", "####"), GOLD)  # IoU 4/8
MISS = overlap(None, GOLD)
LEFT_ALONE = Overlap(0, 0, 0)
INVENTED = Overlap(0, 6, 0)


def test_iou_of_hand_drawn_masks():
    assert [s.iou for s in (SAME, HALF, TWICE, MISS)] == [1.0, 0.5, 0.5, 0.0]


def test_giou_is_a_mean_and_ciou_is_pooled():
    samples = [SAME, TWICE, MISS]
    assert pixels.giou(samples) == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert pixels.ciou(samples) == pytest.approx(100 * (4 + 4 + 0) / (4 + 8 + 4))


def test_precision_and_recall_are_of_the_foreground():
    samples = [HALF, TWICE]
    assert pixels.precision(samples) == pytest.approx(100 * 6 / 10)
    assert pixels.recall(samples) == pytest.approx(100 * 6 / 8)
    assert pixels.f1(samples) == pytest.approx(100 * 2 * 0.6 * 0.75 / 1.35)


def test_means_are_not_pooled():
    samples = [HALF, TWICE, MISS]
    assert pixels.mean_precision(samples) == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert pixels.mean_recall(samples) == pytest.approx(100 * (0.5 + 1 + 0) / 3)
    assert pixels.mean_f1(samples) == pytest.approx(100 * (4 / 6 + 8 / 12 + 0) / 3)


def test_pooled_f1_and_pooled_ciou_fit_each_other():
    """What the paper's table fails: cIoU = F1 / (2 - F1), when both are pooled over the same pixels."""
    samples = [HALF, TWICE, MISS, INVENTED, SAME]
    f1 = pixels.f1(samples) / 100
    assert pixels.ciou(samples) == pytest.approx(100 * f1 / (2 - f1))


@pytest.mark.parametrize(
    ("sample", "iou", "precision", "recall", "f1"),
    [(LEFT_ALONE, 1, 1, 1, 1), (INVENTED, 0, 0, 0, 0), (MISS, 0, 0, 0, 0), (Overlap(0, 3, 4), 0, 0, 0, 0)],
    ids=["left alone", "invented", "miss", "beside it"],
)
def test_empty_sides(sample, iou, precision, recall, f1):
    assert (sample.iou, sample.precision, sample.recall, sample.f1) == (iou, precision, recall, f1)


def test_absent_targets_as_in_gres():
    samples = [SAME, TWICE, MISS, LEFT_ALONE, INVENTED]
    assert pixels.giou(samples) == pytest.approx(100 * (1 + 0.5 + 0 + 1 + 0) / 5)
    assert pixels.ciou(samples) == pytest.approx(100 * 8 / (4 + 8 + 4 + 0 + 6))
    assert pixels.precision_at(samples, 0.7) == pytest.approx(100 / 3)
    assert pixels.n_acc(samples) == pytest.approx(50)
    assert pixels.t_acc(samples) == pytest.approx(100 * 2 / 3)
    assert pixels.n_acc([SAME]) is None
    assert pixels.t_acc([INVENTED]) is None


def test_refusals_may_be_given():
    samples = [SAME, MISS, LEFT_ALONE, INVENTED]
    assert pixels.n_acc(samples, [True, False, False, True]) == pytest.approx(50)
    assert pixels.t_acc(samples, [True, False, False, True]) == pytest.approx(50)
    with pytest.raises(InputError, match="1 for 4"):
        pixels.n_acc(samples, [True])


def test_a_reply_without_mask_counts_as_zero_and_is_shown():
    values = pixels.summary([SAME, MISS])
    assert values["giou"] == pytest.approx(50.0)
    assert values["no_mask_rate"] == pytest.approx(0.5)


def test_p50_is_more_than_half():
    assert pixels.precision_at([SAME, HALF], 0.5) == pytest.approx(50.0)


def test_p50_95_is_the_mean_of_ten():
    almost = Overlap(82, 100, 82)  # above 0.5 ... 0.8: seven of ten
    assert pixels.p50_95([SAME, almost]) == pytest.approx(100 * (10 + 7) / 20)


def test_summary_names_pixelrists_ciou():
    values = pixels.summary([SAME, HALF, INVENTED])
    assert values["pixelrist_ciou"] == values["giou"] != values["ciou"]
    assert "boundary_iou" not in values
    assert pixels.summary([SAME, MISS], [SAME, MISS])["boundary_iou"] == pytest.approx(50)
    with pytest.raises(InputError, match="1 for 2"):
        pixels.summary([SAME, MISS], [SAME])


def test_summary_of_nothing():
    values = pixels.summary([])
    assert values["giou"] == 0
    assert values["n_acc"] is values["t_acc"] is None


# In batches


def discs(count: int):
    """(prediction or None, gold), some of either empty, of two sizes."""
    rng = np.random.default_rng(0)
    pairs = []
    for place in range(count):
        size = (60, 80) if place % 3 else (33, 21)
        y, x = np.mgrid[: size[0], : size[1]]
        masks = [
            (y - rng.integers(size[0])) ** 2 + (x - rng.integers(size[1])) ** 2 < rng.integers(0, 900) for _ in "ab"
        ]
        pairs.append((None if place % 7 == 0 else masks[0], masks[1] & (place % 11 != 0)))
    return pairs


def test_batches_count_as_one_by_one():
    pairs = discs(300)
    rles = [(None if a is None else encode_rle(a), encode_rle(b)) for a, b in pairs]
    assert pixels.overlaps(*zip(*rles, strict=True)) == [overlap(a, b) for a, b in pairs]
    widths = {(60, 80): 2, (33, 21): 1}
    bands = [
        overlap(None if a is None else boundary(a, widths[b.shape]), boundary(b, widths[b.shape])) for a, b in pairs
    ]
    assert pixels.boundaries(*zip(*rles, strict=True)) == bands
    assert pixels.overlaps([], []) == pixels.boundaries([], []) == []


def test_boundary_iou_by_hand():
    """A 6 x 6 square against itself a pixel to the right: bands of 20 pixels with 10 in common."""
    gold, moved = np.zeros((10, 10), np.bool_), np.zeros((10, 10), np.bool_)
    gold[2:8, 1:7] = moved[2:8, 2:8] = True
    (band,) = pixels.boundaries([encode_rle(moved)], [encode_rle(gold)])
    assert band == Overlap(10, 20, 20)
    (wide,) = pixels.boundaries([encode_rle(moved)], [encode_rle(gold)], share=0.5)
    assert wide == Overlap(30, 36, 36)


GOOD, OTHER = encode_rle(np.ones((4, 5))), encode_rle(np.ones((5, 4)))


@pytest.mark.parametrize(
    ("predicted", "gold", "names", "fault"),
    [
        ([GOOD, OTHER], [GOOD, GOOD], None, r"\(5, 4\) and \(4, 5\) for sample 1 and its gold mask"),
        ([GOOD, OTHER], [GOOD, GOOD], ["a", "b"], "for b and its gold mask"),
        ([GOOD, {"size": [4, 5], "counts": "1"}], [GOOD, GOOD], ["a", "b"], "for b$"),
        ([GOOD, None], [GOOD, {"size": [4, 5]}], ["a", "b"], "for the gold mask of b$"),
        ([GOOD], [GOOD, GOOD], None, "1 for 2"),
        ([GOOD], [GOOD], ["a", "b"], "2 for 1"),
    ],
    ids=["size", "named size", "prediction", "gold", "number", "names"],
)
def test_faults_are_named(predicted, gold, names, fault):
    for count in (pixels.overlaps, pixels.boundaries):
        with pytest.raises(InputError, match=fault):
            count(predicted, gold, names)


def test_a_fault_past_the_first_batch_has_its_own_place():
    with pytest.raises(InputError, match="for sample 200 and"):
        pixels.overlaps([*[GOOD] * 200, OTHER], [GOOD] * 201)


def test_masks_of_another_size_one_by_one():
    with pytest.raises(InputError, match="resize"):
        overlap(GOLD.T, GOLD)
