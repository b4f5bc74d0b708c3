"""How sure a figure of a run is, and whether two runs differ: bootstrap, permutation, Holm, effect sizes.

In: numbers of samples, and the cluster (photograph) of each. Out: plain dataclasses and numbers. Samples of one photo
are not independent, so photos are drawn, left out and flipped whole (Cameron, Gelbach and Miller 2008). Every figure is
a function of sums over samples: a mean is the sum of values over the sum of ones, cIoU the sum of intersections over
the sum of unions. One product of weights and sums per photo then gives all draws. Knows no run, no mask and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miras.core.errors import InputError

DRAWS = 10_000
LEVEL = 0.95
EXACT = 14
"""Up to so many photos that differ, all 2^photos sign flips are counted."""
BLOCK = 1 << 16
"""Weights that are worked on at once: they fit into a processor's cache."""
Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
"""(..., K) sums -> (...) figures."""
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its two intervals (low, high), None for fewer than two clusters. n: samples; clusters: photos."""

    value: float
    percentile: Span | None
    bca: Span | None
    n: int
    clusters: int


# Intervals


def mean(
    values: ArrayLike, clusters: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """Mean of (N,) values, each sample weighing the same, resampled by photo. Raises InputError, see `of_sums`."""
    values_N = _column("values", values)
    return of_sums(np.stack([values_N, np.ones_like(values_N)], 1), clusters, quotient, draws=draws, seed=seed,
                   level=level)  # fmt: skip


def ratio(
    part: ArrayLike, whole: ArrayLike, clusters: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0,
    level: float = LEVEL,
) -> Estimate:  # fmt: skip
    """Sum of (N,) parts over sum of (N,) wholes; cIoU: intersections, unions. Raises InputError, see `of_sums`."""
    return of_sums(columns(part=part, whole=whole), clusters, quotient, draws=draws, seed=seed, level=level)


def difference(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """Mean of a - b, two runs on the same (N,) samples: both are drawn together (paired). Raises InputError."""
    both_NK = columns(a=a, b=b)
    return mean(both_NK[:, 0] - both_NK[:, 1], clusters, draws=draws, seed=seed, level=level)


def of_sums(
    columns_NK: Floats, clusters: Sequence[Hashable], function: Function = lambda sums: quotient(sums), *,
    draws: int = DRAWS, seed: int = 0, level: float = LEVEL,
) -> Estimate:  # fmt: skip
    """Any function of the sums of (N, K) columns, with both intervals.

    Clusters are drawn with replacement, as many as there are. Percentile: the quantiles of the draws. BCa: quantiles
    shifted for bias (z0: the share of draws below the estimate) and for a spread that changes with the value (the
    acceleration, from leaving out one cluster at a time): Efron 1987; Davison and Hinkley 1997, 5.3.2 (and 3.8 for
    clusters). Where BCa is not defined (all draws equal, or none on one side) it is the percentile interval. Draws for
    which the function is not finite are left out. Raises InputError for no samples, unequal numbers, values that are
    not finite, fewer than 100 draws, and a level that is not between 0 and 1.
    """
    _options(draws, level)
    sums_CK = _per_cluster(columns_NK, clusters)
    count = len(sums_CK)
    value = float(function(sums_CK.sum(0)))
    if count < 2:
        return Estimate(value, None, None, len(columns_NK), count)
    drawn_D = function(_resampled(sums_CK, draws, seed))
    drawn_D = drawn_D[np.isfinite(drawn_D)]
    if not len(drawn_D):
        return Estimate(value, None, None, len(columns_NK), count)
    left_out_C = function(sums_CK.sum(0) - sums_CK)
    ends = ((1 - level) / 2, (1 + level) / 2)
    corrected = _corrected(value, drawn_D, left_out_C[np.isfinite(left_out_C)], ends)
    return Estimate(value, _quantiles(drawn_D, ends), _quantiles(drawn_D, corrected), len(columns_NK), count)


def quotient(sums: Floats) -> Floats:
    """(..., 2) sums -> first over second; NaN where the second is 0."""
    return _divided(sums[..., 0], sums[..., 1])


def gap(function: Function) -> Function:
    """(..., 2K) sums, K of run A and then K of run B -> function of A's minus function of B's."""

    def of(sums: Floats) -> Floats:
        half = sums.shape[-1] // 2
        return np.asarray(function(sums[..., :half]) - function(sums[..., half:]), np.float64)

    return of


def columns(**named: ArrayLike) -> Floats:
    """(N, K) of K named columns. Raises InputError for unequal numbers and for what is not finite, by name."""
    arrays = [_column(name, values) for name, values in named.items()]
    if len({len(array) for array in arrays}) > 1:
        got = ", ".join(f"{len(array)} {name}" for name, array in zip(named, arrays, strict=True))
        raise InputError("as many numbers in each column", got)
    return np.stack(arrays, 1)


# Tests


def permutation(
    a_NK: ArrayLike, b_NK: ArrayLike, clusters: Sequence[Hashable], function: Function | None = None, *,
    draws: int = DRAWS, seed: int = 0,
) -> float:  # fmt: skip
    """Two-sided p of "the two runs could be exchanged on every photo": paired, whole photos swapped at random.

    a_NK, b_NK: (N,) values, or (N, K) columns of the same samples, compared by function(sums of A) - function(sums of
    B); the mean of (N,) values when there is no function. With at most 14 photos that differ all flips are counted, so
    p is exact (at least 2 / 2^photos); else p = (1 + hits) / (1 + draws), which is never 0 (Davison and Hinkley 1997,
    4.3; Phipson and Smyth 2010). p is 1 when no photo differs. Raises InputError as `of_sums`.
    """
    _options(draws, LEVEL)
    a, b = (np.asarray(values, np.float64) for values in (a_NK, b_NK))
    if a.shape != b.shape:
        raise InputError("the same samples of both runs", f"{a.shape} and {b.shape}")
    if a.ndim == 1:
        a, b = (np.stack([values, np.ones_like(values)], 1) for values in (a, b))
    compared = quotient if function is None else function
    a_CK, b_CK = _per_cluster(a, clusters), _per_cluster(b, clusters)
    total_K, apart_CK = (a_CK + b_CK).sum(0), a_CK - b_CK
    apart_CK = apart_CK[np.any(apart_CK != 0, axis=1)]
    if not len(apart_CK):
        return 1.0

    def distance(moved: Floats) -> Floats:
        return np.abs(compared((total_K + moved) / 2) - compared((total_K - moved) / 2))

    seen = float(distance(apart_CK.sum(0)))
    least = seen - 1e-9 * max(1e-6, abs(seen))  # sums in another order differ in their last bits
    exact = len(apart_CK) <= EXACT
    signs: Iterable[Floats] = _all_signs(len(apart_CK)) if exact else _random_signs(len(apart_CK), draws, seed)
    hits = sum(int(np.sum(distance(block @ apart_CK) >= least)) for block in signs)
    return hits / 2 ** len(apart_CK) if exact else (1 + hits) / (1 + draws)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being many, in their order: chance of any false finding held (Holm 1979).

    The smallest times m, the next times m - 1, ...; never falling, at most 1. Raises InputError for what is no p-value.
    """
    p_M = _column("p-values", p_values) if len(p_values) else np.zeros(0)
    wrong = p_M[(p_M < 0) | (p_M > 1)]
    if len(wrong):
        raise InputError("p-values from 0 to 1", str(float(wrong[0])))
    order = np.argsort(p_M, kind="stable")
    stepped = np.maximum.accumulate(p_M[order] * np.arange(len(p_M), 0, -1))
    corrected = np.empty_like(p_M)
    corrected[order] = np.minimum(stepped, 1)
    return [float(p) for p in corrected]


# Effect sizes


def effects(a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable], tie: float = 1e-9) -> dict[str, Any]:
    """How large a difference is beside its spread, and how often each run wins.

    `d_z`: mean over standard deviation of the photos' mean differences (Cohen 1988; Lakens 2013); None when all are
    equal. `rank_biserial`: matched pairs, over photos: ranks in favour of A minus those in favour of B, over all
    (Kerby 2014), -1 to 1; 0 when no photo differs. `wins`, `ties`, `losses`: samples in which A is above B by more than
    `tie`, equal, below. Raises InputError.
    """
    both_NK = columns(a=a, b=b)
    apart_N = both_NK[:, 0] - both_NK[:, 1]
    sums_CK = _per_cluster(np.stack([apart_N, np.ones_like(apart_N)], 1), clusters)
    photos_C = sums_CK[:, 0] / sums_CK[:, 1]
    spread = float(photos_C.std(ddof=1)) if len(photos_C) > 1 else 0.0
    wins, losses = int(np.sum(apart_N > tie)), int(np.sum(apart_N < -tie))
    return {
        "d_z": float(photos_C.mean()) / spread if spread > 1e-12 else None,
        "rank_biserial": _rank_biserial(photos_C[np.abs(photos_C) > tie]),
        "wins": wins, "ties": len(apart_N) - wins - losses, "losses": losses,
    }  # fmt: skip


def _rank_biserial(apart_C: Floats) -> float:
    if not len(apart_C):
        return 0.0
    _, place_C, often = np.unique(np.abs(apart_C).round(12), return_inverse=True, return_counts=True)
    rank_C = (np.cumsum(often) - (often - 1) / 2)[place_C]  # equal ones share their mean rank
    return float(np.sum(np.sign(apart_C) * rank_C) / np.sum(rank_C))


# Draws


@lru_cache(maxsize=4)
def _weights(count: int, draws: int, seed: int) -> NDArray[np.uint16]:
    """(draws, count): how often each cluster was drawn. Figures over equally many photos share their draws."""
    random = np.random.default_rng([seed, 96])
    found = np.empty((draws, count), np.uint16)  # at most `count` of one, and far fewer in practice
    step = max(1, BLOCK // count)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = random.integers(0, count, (rows, count), np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * count
        found[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
    return found


def _resampled(sums_CK: Floats, draws: int, seed: int) -> Floats:
    """(draws, K) sums over clusters drawn with replacement."""
    weights_DC = _weights(len(sums_CK), draws, seed)
    step = max(1, BLOCK // len(sums_CK))
    return np.concatenate([weights_DC[i : i + step].astype(np.float64) @ sums_CK for i in range(0, draws, step)])


def _all_signs(count: int) -> list[Floats]:
    """All (2^count, count) patterns of -1 and 1."""
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return [np.asarray(2.0 * bits - 1)]


def _random_signs(count: int, draws: int, seed: int) -> Iterator[Floats]:
    """Blocks of (rows, count) patterns, `draws` rows in all."""
    random = np.random.default_rng([seed, 97])
    step = max(1, BLOCK // count)
    for start in range(0, draws, step):
        yield 2.0 * random.integers(0, 2, (min(step, draws - start), count), np.int8) - 1


def _corrected(value: float, drawn_D: Floats, left_out_C: Floats, ends: Span) -> Span:
    """The levels of BCa in place of `ends`; `ends` themselves where it is not defined."""
    normal = NormalDist()
    below = (np.sum(drawn_D < value) + np.sum(drawn_D <= value)) / (2 * len(drawn_D))
    pull_C = left_out_C.mean() - left_out_C if len(left_out_C) else np.zeros(1)
    scale = max(abs(value), 1e-12)
    if not 0 < below < 1 or float(np.max(np.abs(pull_C))) <= 1e-12 * scale or np.ptp(drawn_D) <= 1e-12 * scale:
        return ends
    z0 = normal.inv_cdf(float(below))
    acceleration = float(np.sum(pull_C**3) / (6 * np.sum(pull_C**2) ** 1.5))
    levels = []
    for end in ends:
        shifted = z0 + normal.inv_cdf(end)
        turned = 1 - acceleration * shifted
        if turned <= 0:
            return ends
        levels.append(normal.cdf(z0 + shifted / turned))
    return levels[0], levels[1]


def _quantiles(drawn_D: Floats, ends: Span) -> Span:
    low, high = np.quantile(drawn_D, ends)
    return float(low), float(high)


# Checks


def _per_cluster(columns_NK: Floats, clusters: Sequence[Hashable]) -> Floats:
    """(C, K) sums, clusters in the order of their first sample."""
    if columns_NK.ndim != 2 or not len(columns_NK) or len(columns_NK) != len(clusters):
        raise InputError("a cluster for each sample, at least one", f"{len(clusters)} for {len(columns_NK)}")
    for number in range(columns_NK.shape[1]):
        _column(f"column {number}", columns_NK[:, number])
    numbers: dict[Hashable, int] = {}
    place_N = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    return np.stack([np.bincount(place_N, column, len(numbers)) for column in columns_NK.T], 1)


def _column(name: str, values: ArrayLike) -> Floats:
    """(N,) finite numbers."""
    found = np.asarray(values, np.float64)
    if found.ndim != 1:
        raise InputError(f"{name} in a row", f"the shape {found.shape}")
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise InputError(
            f"finite {name}", f"{found[wrong[0]]} at sample {wrong[0]} (from 0)", "leave it out, or mend it"
        )
    return found


def _options(draws: int, level: float) -> None:
    if draws < 100:
        raise InputError("at least 100 draws", str(draws))
    if not 0 < level < 1:
        raise InputError("a level between 0 and 1", str(level), "0.95 is usual")


def _divided(part: Floats, whole: Floats) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    divided: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return divided
