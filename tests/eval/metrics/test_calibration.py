from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.eval.metrics.calibration import calibration, ece, equal_mass

SHARES = st.lists(st.tuples(*(st.integers(0, 4).map(lambda n: n / 4),) * 2), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("scores", "outcomes", "bins", "expected"),
    [
        ([0.2, 0.9], [0.2, 0.9], 10, 0.0),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1], 2, 0.0),  # equal scores share a bin
        ([0.8] * 4, [0.3] * 4, 3, 0.5),
        ([0.1, 0.2, 0.8, 0.9], [0.0, 0.1, 1.0, 1.0], 2, 0.125),  # (2 * |0.15 - 0.05| + 2 * |0.85 - 1|) / 4
        ([0.1, 0.9], [0.9, 0.1], 1, 0.0),  # one bin sees the means alone
    ],
)
def test_ece_by_hand(scores, outcomes, bins, expected):
    assert ece(scores, outcomes, bins) == pytest.approx(expected)


def test_all_figures_by_hand():
    figures = calibration([0.4, 0.6], [0.2, 0.8], bins=2)
    assert figures["ece"] == pytest.approx(0.2)
    assert figures["ece_50"] == pytest.approx(0.4)
    assert figures["brier"] == pytest.approx(0.16)
    assert figures["squared_error"] == pytest.approx(0.04)
    assert figures["bins"] == [{"n": 1, "score": 0.4, "iou": 0.2, "found": 0.0},
                               {"n": 1, "score": 0.6, "iou": 0.8, "found": 1.0}]  # fmt: skip


@given(SHARES, st.integers(1, 12), st.randoms())
def test_the_order_of_the_samples_does_not_matter(pairs, bins, random):
    scores, outcomes = zip(*pairs, strict=True)
    mixed = list(pairs)
    random.shuffle(mixed)
    again = ece(*zip(*mixed, strict=True), bins)  # type: ignore[arg-type]
    assert again == pytest.approx(ece(scores, outcomes, bins), abs=1e-12)


@given(SHARES, st.integers(1, 12))
def test_every_sample_is_in_one_bin_and_none_is_empty(pairs, bins):
    scores = np.array([score for score, _ in pairs])
    groups = equal_mass(scores, bins)
    assert sorted(index for group in groups for index in group.tolist()) == list(range(len(pairs)))
    assert len(groups) <= bins and all(len(group) for group in groups)
    ends = [(scores[group].min(), scores[group].max()) for group in groups]
    assert all(before[1] < after[0] for before, after in pairwise(ends))


@pytest.mark.parametrize(
    ("scores", "ious", "bins", "says"),
    [
        ([], [], 10, "at least one"),
        ([0.5], [0.5, 0.5], 10, "1 and 2"),
        ([1.5], [0.5], 10, "1.5"),
        ([float("nan")], [0.5], 10, "nan"),
        ([0.5], [-0.1], 10, "outcomes"),
        ([0.5], [0.5], 0, "1 bin"),
    ],
)
def test_bad_input(scores, ious, bins, says):
    with pytest.raises(InputError, match=says):
        calibration(scores, ious, bins)
