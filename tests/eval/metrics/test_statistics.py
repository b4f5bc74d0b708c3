from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.eval.metrics import statistics

UNITS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 4)), min_size=2, max_size=25)
FAST = {"draws": 200}


def made(count: int = 60, seed: int = 0) -> np.ndarray:
    """Skewed values, as IoUs are."""
    return np.random.default_rng(seed).beta(0.6, 2, count)


def test_bca_is_scipys_when_each_sample_is_a_photo():
    """Both draw 20,000 times with seeds of their own: ends agree to a twentieth of the width."""
    reference = pytest.importorskip("scipy.stats").bootstrap
    values = made()
    mine = statistics.mean(values, range(60), draws=20_000)
    for method, span in (("BCa", mine.bca), ("percentile", mine.percentile)):
        theirs = reference((values,), np.mean, n_resamples=20_000, method=method, rng=1).confidence_interval
        assert span == pytest.approx(tuple(theirs), abs=(theirs.high - theirs.low) / 20), method
    assert mine.bca[0] > mine.percentile[0]  # shifted towards the long tail
    assert mine.bca[1] > mine.percentile[1]


def test_the_bootstrap_spreads_as_the_clustered_formula_says():
    """The linearised variance of a ratio over clusters (Cochran 1977, 6.4) with 400 photos; interval / 3.92."""
    random = np.random.default_rng(0)
    photo = np.repeat(np.arange(400), random.integers(1, 6, 400))
    values = np.clip(random.normal(0.5, 0.2, 400)[photo] + random.normal(0, 0.1, len(photo)), 0, 1)
    found = statistics.mean(values, photo.tolist())
    residual = np.bincount(photo, values - values.mean())
    error = np.sqrt(np.sum(residual**2)) / len(values)
    width = 2 * NormalDist().inv_cdf(0.975) * error
    assert found.percentile[1] - found.percentile[0] == pytest.approx(width, rel=0.05)
    assert (found.n, found.clusters) == (len(values), 400)


def test_a_ratio_pools_its_parts():
    part, whole = [1, 8, 3], [2, 10, 4]
    found = statistics.ratio(part, whole, ["p", "q", "q"], **FAST)
    assert found.value == pytest.approx(12 / 16)
    assert found.percentile == pytest.approx((1 / 2, 11 / 14))  # only p, only q


def test_without_spread_or_with_one_photo():
    one = statistics.mean([0.1, 0.9], ["p", "p"], **FAST)
    assert (one.value, one.percentile, one.bca, one.clusters) == (0.5, None, None, 1)
    equal = statistics.mean([0.3] * 6, range(6), **FAST)
    assert equal.bca == equal.percentile == pytest.approx((0.3, 0.3))
    differ = statistics.difference([0.3, 0.5], [0.3, 0.5], range(2), **FAST)
    assert differ.bca == differ.percentile == (0, 0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: statistics.mean([0.1, float("nan")], range(2)), "nan at sample 1"),
        (lambda: statistics.ratio([1, 1], [1, float("inf")], range(2)), "finite whole, got inf at sample 1"),
        (lambda: statistics.difference([1.0], [1.0, 2.0], range(1)), "1 a, 2 b"),
        (lambda: statistics.mean([], []), "at least one"),
        (lambda: statistics.mean([0.1, 0.2], ["p"]), "1 for 2"),
        (lambda: statistics.mean([[0.1]], ["p"]), "shape (1, 1)"),
        (lambda: statistics.mean([0.1], ["p"], draws=5), "at least 100 draws"),
        (lambda: statistics.mean([0.1], ["p"], level=95), "got 95"),
        (lambda: statistics.permutation([1.0], [1.0, 2.0], range(2)), "the same samples"),
        (lambda: statistics.permutation([1.0], [float("nan")], range(1)), "nan at sample 0"),
        (lambda: statistics.holm([0.1, 1.5]), "got 1.5"),
        (lambda: statistics.effects([float("nan")], [1], range(1)), "finite a, got nan"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value)


# Permutation


def by_hand(a: np.ndarray, b: np.ndarray, photos: list[int]) -> float:
    """All swaps, one by one."""
    names = sorted(set(photos))
    seen = abs(sum(a - b))
    hits = 0
    for signs in itertools.product((-1, 1), repeat=len(names)):
        sign = dict(zip(names, signs, strict=True))
        hits += abs(sum(sign[p] * (x - y) for x, y, p in zip(a, b, photos, strict=True))) >= seen - 1e-9
    return hits / 2 ** len(names)


def test_the_exact_test_is_brute_force_and_scipys():
    a, b = made(10), made(10, 1)
    photos = [0, 0, 1, 2, 3, 3, 3, 4, 5, 6]
    assert statistics.permutation(a, b, photos) == by_hand(a, b, photos)
    theirs = pytest.importorskip("scipy.stats").permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=np.inf,
    )  # fmt: skip
    assert statistics.permutation(a, b, range(10)) == pytest.approx(theirs.pvalue)


def test_a_ratio_is_tested_by_swapping_whole_photos():
    """Two photos, four swaps; that of both only turns the sign."""
    a, b = np.array([[9.0, 10], [70, 100]]), np.array([[1.0, 10], [40, 80]])
    assert abs((1 + 70) / 110 - (9 + 40) / 90) < abs((9 + 70) / 110 - (1 + 40) / 90)
    assert statistics.permutation(a, b, ["p", "q"], statistics.quotient) == 2 / 4
    assert statistics.permutation(a, b, ["p", "p"], statistics.quotient) == 1


def test_many_photos_are_flipped_at_random():
    a = made(200)
    far = statistics.permutation(a, a - 0.1, range(200), draws=999)
    assert far == pytest.approx(1 / 1000)  # never 0
    b = made(200, 5)
    p = statistics.permutation(a, b, range(200), draws=4000)
    theirs = pytest.importorskip("scipy.stats").ttest_rel(a, b).pvalue
    assert p == pytest.approx(theirs, abs=0.03)
    assert statistics.permutation(a, a, range(200)) == 1


@settings(max_examples=25)
@given(UNITS)
def test_exact_p_is_brute_force_for_any_photos(units):
    a, b, photos = (np.array(column) for column in zip(*units, strict=True))
    a, b = a.round(3), b.round(3)
    p = statistics.permutation(a, b, photos.tolist())
    assert p == statistics.permutation(b, a, photos.tolist()) == by_hand(a, b, photos.tolist())
    assert p >= 2.0 ** (1 - max(1, len(set(photos.tolist()))))


# Holm, differences, effects


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_above_the_raw_below_bonferroni_and_keeps_the_order(p_values):
    corrected = statistics.holm(p_values)
    assert all(raw <= p <= min(1, raw * len(p_values)) + 1e-12 for raw, p in zip(p_values, corrected, strict=True))
    ordered = [p for _, p in sorted(zip(p_values, corrected, strict=True))]
    assert ordered == sorted(ordered)


def test_holm_by_hand_and_as_statsmodels():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert statistics.holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    reference = pytest.importorskip("statsmodels.stats.multitest").multipletests
    many = made(30).tolist()
    assert statistics.holm(many) == pytest.approx(reference(many, method="holm")[1])


@settings(max_examples=30)
@given(UNITS)
def test_a_difference_turns_with_its_runs(units):
    a, b, photos = (list(column) for column in zip(*units, strict=True))
    one, two = statistics.difference(a, b, photos, **FAST), statistics.difference(b, a, photos, **FAST)
    assert one.value == pytest.approx(-two.value)
    first, second = statistics.effects(a, b, photos), statistics.effects(b, a, photos)
    assert (first["wins"], first["ties"]) == (second["losses"], second["ties"])
    assert first["rank_biserial"] == pytest.approx(-second["rank_biserial"])
    if one.percentile is not None and one.bca is not None:
        assert one.percentile == pytest.approx([-end for end in reversed(two.percentile)], abs=1e-9)
        assert one.bca[0] <= one.bca[1]
        sums = np.bincount(photos, np.subtract(a, b)) / np.maximum(np.bincount(photos), 1)
        assert sums.min() - 1e-9 <= one.bca[0]
        assert one.bca[1] <= sums.max() + 1e-9


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=40))
def test_the_percentile_interval_holds_the_estimate(values):
    found = statistics.mean(values, range(len(values)))
    low, high = found.percentile
    assert low - 1e-9 <= found.value <= high + 1e-9


def test_effects_by_hand():
    found = statistics.effects([0.9, 0.5, 0.5, 0.2], [0.5, 0.5, 0.4, 0.4], ["p", "p", "q", "r"])
    apart = np.array([0.2, 0.1, -0.2])  # photo means
    assert found["d_z"] == pytest.approx(apart.mean() / apart.std(ddof=1))
    assert found["rank_biserial"] == pytest.approx((2.5 + 1 - 2.5) / 6)
    assert (found["wins"], found["ties"], found["losses"]) == (2, 1, 1)
    same = statistics.effects([0.5, 0.5], [0.5, 0.5], ["p", "q"])
    assert same == {"d_z": None, "rank_biserial": 0.0, "wins": 0, "ties": 2, "losses": 0}


# Coverage


def test_intervals_cover_and_need_their_clusters():
    """200 datasets of 40 photos; photos share their mean, values are skewed. The long run: benchmarks/coverage.py."""
    held = dict.fromkeys(("percentile", "bca", "single"), 0)
    for run in range(200):
        random = np.random.default_rng(run)
        ease = random.beta(2, 1, 40)
        photo = np.repeat(np.arange(40), random.integers(1, 8, 40))
        values = np.where(random.random(len(photo)) < 0.8, ease[photo], 0.0)  # mean 0.8 x 2 / 3
        found = statistics.mean(values, photo.tolist(), draws=300, seed=run)
        single = statistics.mean(values, range(len(values)), draws=300, seed=run)
        for name, (low, high) in (("percentile", found.percentile), ("bca", found.bca), ("single", single.percentile)):
            held[name] += low <= 1.6 / 3 <= high
    assert 0.9 <= held["percentile"] / 200 <= 0.99
    assert 0.9 <= held["bca"] / 200 <= 0.99
    assert held["single"] / 200 < 0.88
