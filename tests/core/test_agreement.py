"""Agreement: published worked examples to three decimals, cases without a figure, and masks drawn by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from miras.core.agreement import (
    boundary_f,
    clustered_bootstrap,
    cohen_kappa,
    fleiss_kappa,
    icc,
    krippendorff_alpha,
    pairwise,
)  # fmt: skip
from miras.core.errors import InputError
from miras.core.masks import iou

N = float("nan")
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
"""Krippendorff 2011, example C: 4 observers, 12 units."""
WIKIPEDIA = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip
"""Wikipedia, Fleiss' kappa: 14 raters, 10 subjects; how many chose each of 5 categories."""
DIAGNOSES = [
    (0, 0, 0, 6, 0), (0, 3, 0, 0, 3), (0, 1, 4, 0, 1), (0, 0, 0, 0, 6), (0, 3, 0, 3, 0), (2, 0, 4, 0, 0),
    (0, 0, 4, 0, 2), (2, 0, 3, 1, 0), (2, 0, 0, 4, 0), (0, 0, 0, 0, 6), (1, 0, 0, 5, 0), (1, 1, 0, 4, 0),
    (0, 3, 3, 0, 0), (1, 0, 0, 5, 0), (0, 2, 0, 3, 1), (0, 0, 5, 0, 1), (3, 0, 0, 1, 2), (5, 1, 0, 0, 0),
    (0, 2, 0, 4, 0), (1, 0, 2, 0, 3), (0, 0, 0, 0, 6), (0, 1, 0, 5, 0), (0, 2, 0, 1, 3), (2, 0, 0, 4, 0),
    (1, 0, 0, 4, 1), (0, 5, 0, 1, 0), (4, 0, 0, 0, 2), (0, 2, 0, 4, 0), (1, 0, 5, 0, 0), (0, 0, 0, 0, 6),
]  # fmt: skip
"""Fleiss 1971, table 1: 6 psychiatrists, 30 patients, 5 diagnoses."""
SHROUT = [[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]]
"""Shrout and Fleiss 1979, table 2: 4 judges, 6 targets."""


def chosen(counts: list[tuple[int, ...]]) -> np.ndarray:
    """(raters, units) from how many chose each category."""
    return np.array([[value for value, count in enumerate(unit) for _ in range(count)] for unit in counts]).T


def crossed(table: list[list[int]]) -> tuple[list[int], list[int]]:
    """Two raters from their table of (first, second)."""
    cells = [(a, b) for a, row in enumerate(table) for b, count in enumerate(row) for _ in range(count)]
    return [a for a, _ in cells], [b for _, b in cells]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(level: Any, alpha: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_knows_no_order_of_raters_and_units_and_no_scale_of_names() -> None:
    shuffled = np.array(KRIPPENDORFF)[[2, 0, 3, 1]][:, np.random.default_rng(0).permutation(12)]
    for level in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(shuffled, level) == pytest.approx(krippendorff_alpha(KRIPPENDORFF, level))  # type: ignore[arg-type]
    renamed = {1: 40, 2: 7, 3: -1, 4: 0.5, 5: 9}
    names = [[renamed.get(value, N) for value in row] for row in KRIPPENDORFF]  # type: ignore[call-overload]
    assert krippendorff_alpha(names) == pytest.approx(krippendorff_alpha(KRIPPENDORFF))


@pytest.mark.parametrize(("counts", "kappa"), [(WIKIPEDIA, 0.210), (DIAGNOSES, 0.430)])
def test_fleiss_of_published_examples(counts: list[tuple[int, ...]], kappa: float) -> None:
    assert fleiss_kappa(chosen(counts)) == pytest.approx(kappa, abs=5e-4)


def test_fleiss_leaves_out_units_with_one_value() -> None:
    more = np.concatenate([chosen(WIKIPEDIA).astype(float), np.array([[4.0]] + 13 * [[N]])], axis=1)
    assert fleiss_kappa(more) == pytest.approx(fleiss_kappa(chosen(WIKIPEDIA)))


@pytest.mark.parametrize(
    ("table", "kappa"), [([[20, 5], [10, 15]], 0.400), ([[45, 15], [25, 15]], 0.130), ([[25, 35], [5, 35]], 0.259)]
)
def test_cohen_of_published_examples(table: list[list[int]], kappa: float) -> None:
    first, second = crossed(table)
    assert cohen_kappa(first, second) == pytest.approx(kappa, abs=5e-4)
    assert cohen_kappa(first, second, "linear") == pytest.approx(kappa, abs=5e-4), "of two values all distances agree"


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_cohen_equals_statsmodels(weights: Any) -> None:
    """To 1e-12: the same sums in another order."""
    reference = pytest.importorskip("statsmodels.stats.inter_rater").cohens_kappa
    rng = np.random.default_rng(1)
    for _ in range(20):
        table = rng.integers(1, 9, (5, 5))
        first, second = crossed(table.tolist())
        expected = reference(table, wt=weights, return_results=False)
        assert cohen_kappa(first, second, weights) == pytest.approx(float(expected), abs=1e-12)


def test_fleiss_equals_statsmodels() -> None:
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
    for seed in range(5):
        ratings = np.random.default_rng(seed).integers(1, 6, (4, 30))
        expected = inter_rater.fleiss_kappa(inter_rater.aggregate_raters(ratings.T)[0])
        assert fleiss_kappa(ratings) == pytest.approx(float(expected), abs=1e-12)


def test_cohen_skips_what_one_rater_left_out() -> None:
    assert cohen_kappa([1, 2, 3, N, 2], [1, 2, 2, 5, N]) == cohen_kappa([1, 2, 3], [1, 2, 2])


@pytest.mark.parametrize(("mean", "value"), [(False, 0.290), (True, 0.620)])
def test_icc_of_the_published_example(mean: bool, value: float) -> None:
    assert icc(SHROUT, mean_of_raters=mean) == pytest.approx(value, abs=5e-4)
    with_gap = np.concatenate([np.array(SHROUT, float), [[5], [N], [1], [2]]], axis=1)
    assert icc(with_gap, mean_of_raters=mean) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize(
    "ratings",
    [
        [[3, 3, 3], [3, 3, 3]],
        [[1, 2, 3]],
        [[N, N], [N, N]],
        [[1, N], [N, 2]],
        np.zeros((3, 0)),
        np.zeros((0, 3)),
    ],
    ids=["no variation", "one rater", "all missing", "none in common", "no unit", "no rater"],
)
def test_without_a_figure_it_is_nan(ratings: Any) -> None:
    for level in ("nominal", "ordinal", "interval"):
        assert math.isnan(krippendorff_alpha(ratings, level))  # type: ignore[arg-type]
    assert math.isnan(fleiss_kappa(ratings))
    assert math.isnan(icc(ratings))
    if len(ratings) == 2:
        assert math.isnan(cohen_kappa(ratings[0], ratings[1], "quadratic"))


def test_one_unit_is_compared_but_gives_no_icc() -> None:
    assert krippendorff_alpha([[1], [2]]) == 0
    assert fleiss_kappa([[1], [2]]) == -1
    assert math.isnan(icc([[1], [2]]))


def test_perfect_agreement_is_one() -> None:
    ratings = [[1, 2, 5, 4], [1, 2, 5, 4], [1, 2, 5, 4]]
    assert [krippendorff_alpha(ratings, "ordinal"), fleiss_kappa(ratings), icc(ratings), icc(ratings, False)] == [1] * 4
    assert cohen_kappa(ratings[0], ratings[1], "linear") == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: krippendorff_alpha([[1, 2]], "ratio"), "nominal, ordinal, interval"),  # type: ignore[arg-type]
        (lambda: krippendorff_alpha([1, 2, 3]), "(raters, units)"),
        (lambda: fleiss_kappa([["good", "bad"]]), "numbers"),
        (lambda: icc([[1, 2], [3]]), "numbers"),
        (lambda: icc([[1, float("inf")]]), "finite"),
        (lambda: cohen_kappa([1, 2], [1, 2, 3]), "(raters, units)"),
        (lambda: boundary_f(np.ones((4, 4), bool), np.ones((4, 5), bool)), "one size"),
        (lambda: clustered_bootstrap([[1.0]], np.mean, n=0), "n of at least 1"),
    ],
)
def test_bad_input(call: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert says in str(caught.value)


def box(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize(
    ("first", "second", "width", "expected"),
    [
        (box(5, 5, 15, 15), box(5, 5, 15, 15), 1, 1.0),
        (box(5, 5, 15, 15), box(6, 6, 16, 16), 1, 1.0),
        (box(5, 5, 15, 15), box(8, 8, 18, 18), 1, 6 / 36),  # at each of two crossings three of 36 pixels
        (box(5, 5, 15, 15), box(30, 20, 40, 30), 2, 0.0),
        (box(0, 0, 0, 0), box(0, 0, 0, 0), 1, 1.0),
        (box(5, 5, 15, 15), box(0, 0, 0, 0), 1, 0.0),
        (box(2, 2, 3, 3), box(2, 2, 22, 3), 1, 2 * 1 * (2 / 20) / (1 + 2 / 20)),
    ],
)
def test_boundary_f(first: np.ndarray, second: np.ndarray, width: int, expected: float) -> None:
    assert boundary_f(first, second, width) == pytest.approx(expected)
    assert boundary_f(second, first, width) == pytest.approx(expected)


@pytest.mark.parametrize(("shift", "same"), [(10, True), (11, False)])
def test_boundary_width_is_two_per_cent_of_the_diagonal(shift: int, same: bool) -> None:
    first, second = np.zeros((300, 400), bool), np.zeros((300, 400), bool)  # diagonal 500
    first[50:150, 50:150] = second[50:150, 50 + shift : 150 + shift] = True
    assert (boundary_f(first, second) == 1.0) is same


def test_pairs_of_masks() -> None:
    masks = [box(0, 0, 10, 10), box(0, 0, 10, 10), box(0, 0, 10, 5)]
    assert pairwise(masks, iou) == [1.0, 0.5, 0.5]
    assert pairwise(masks[:1], boundary_f) == []


def test_photos_are_drawn_not_units() -> None:
    """Ten equal units of one photo are one observation: the interval is that of four photos, not of forty."""
    means = [1.0, 2.0, 3.0, 4.0]
    spread = clustered_bootstrap([[value] * 10 for value in means], np.mean, n=500)
    assert spread == clustered_bootstrap([[value] for value in means], np.mean, n=500)
    low, high = clustered_bootstrap([[value] for value in means * 10], np.mean, n=500)
    assert spread[0] < low < 2.5 < high < spread[1]


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(3, 1, 200)
    low, high = clustered_bootstrap([[value] for value in values], np.mean, n=1000, seed=3)
    half = 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert (low, high) == clustered_bootstrap([[value] for value in values], np.mean, n=1000, seed=3)
    assert (low, high) != clustered_bootstrap([[value] for value in values], np.mean, n=1000, seed=4)


def test_intervals_that_cannot_be() -> None:
    assert all(map(math.isnan, clustered_bootstrap([[1, 2, 3]], np.mean)))
    assert all(map(math.isnan, clustered_bootstrap([], np.mean)))
    constant = [[[3.0, 3.0]], [[3.0, 3.0]]]
    assert all(map(math.isnan, clustered_bootstrap(constant, lambda units: krippendorff_alpha(units.T), n=50)))
