"""How far people agree: alpha, kappa, intraclass correlation, drawn masks; intervals clustered by photo.

In: ratings (raters, units) as numbers, NaN where one is missing; masks of one photo. Out: one number each, NaN where
the figure is not defined (too little data, or ratings without any variation: agreement beyond chance cannot be told
from a constant habit then). Knows no sheet, scale or dataset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miras.core.errors import InputError
from miras.core.masks import area, boundary, iou
from miras.core.types import Mask

Numbers = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
NAN = float("nan")
BOUNDARY_SHARE = 0.02
"""Width of a boundary, as a share of the photo's diagonal (Cheng et al. 2021)."""


def krippendorff_alpha(ratings: ArrayLike, level: Level = "nominal") -> float:
    """Krippendorff's alpha of (raters, units): 1 = perfect, 0 = as by chance, below 0 = against each other.

    Any number of raters, values may be missing; units with a single value tell nothing and are left out. NaN when no
    unit has two values, or all values are equal. level: how far two values are apart: "nominal" (same or not),
    "ordinal" (by ranks), "interval" (squared difference). Raises InputError for another level or shape.
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, by the coincidence matrix.
    """
    if level not in LEVELS:
        raise InputError(f"a level of {', '.join(LEVELS)}", repr(level))
    counts, values = _counts(_ratings(ratings))
    sizes = counts.sum(axis=1)
    counts, sizes = counts[sizes >= 2], sizes[sizes >= 2]
    weighted = counts / (sizes - 1)[:, None]
    coincidences = counts.T @ weighted - np.diag(weighted.sum(axis=0))
    totals = coincidences.sum(axis=0)
    if level == "nominal":
        distances = 1.0 - np.eye(len(values))
    else:  # "ordinal": the middle rank of each value stands for it
        at = values if level == "interval" else np.cumsum(totals) - totals / 2
        distances = (at[:, None] - at[None, :]) ** 2
    expected = float(totals @ distances @ totals)
    if expected <= 0:
        return NAN
    return float(1 - (totals.sum() - 1) * (coincidences * distances).sum() / expected)


def fleiss_kappa(ratings: ArrayLike) -> float:
    """Fleiss' kappa of (raters, units), values as names; raters need not be the same people from unit to unit.

    Units with fewer than two values are left out. Where the number of values differs, each unit's own agreement is
    used; with a constant number it is Fleiss' figure exactly. NaN as `krippendorff_alpha`. Source: Fleiss 1971.
    """
    counts, _ = _counts(_ratings(ratings))
    sizes = counts.sum(axis=1)
    counts, sizes = counts[sizes >= 2], sizes[sizes >= 2]
    if not len(sizes):
        return NAN
    agreed = float((((counts**2).sum(axis=1) - sizes) / (sizes * (sizes - 1))).mean())
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return _beyond(agreed, by_chance)


def cohen_kappa(first: ArrayLike, second: ArrayLike, weights: Literal["linear", "quadratic"] | None = None) -> float:
    """Cohen's kappa of two raters, (units,) each; units that one of them left out are skipped.

    weights: how a disagreement counts: None (all alike), "linear" or "quadratic" in the difference of the values.
    NaN without a unit in common, or when both gave one and the same value throughout. Raises InputError for
    unequal lengths. Source: Cohen 1960, 1968.
    """
    pair = _ratings([_line(first), _line(second)])
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    if not pair.shape[1]:
        return NAN
    values, places = np.unique(pair, return_inverse=True)
    places = places.reshape(pair.shape)
    apart = np.abs(values[:, None] - values[None, :])
    distances = {None: (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
    table = np.zeros(apart.shape)
    np.add.at(table, (places[0], places[1]), 1 / pair.shape[1])
    expected = float(table.sum(axis=1) @ distances @ table.sum(axis=0))
    return float(1 - (table * distances).sum() / expected) if expected > 0 else NAN


def icc(ratings: ArrayLike, mean_of_raters: bool = True) -> float:
    """Intraclass correlation of (raters, units), two-way random effects, absolute agreement.

    mean_of_raters: ICC(2,k), of the mean of these raters; else ICC(2,1), of a single one. Units with a missing
    value are left out. NaN with fewer than two raters or complete units, or without any variation.
    Source: Shrout and Fleiss 1979.
    """
    table = _ratings(ratings)
    table = table[:, ~np.isnan(table).any(axis=0)]
    raters, units = table.shape
    if raters < 2 or units < 2:
        return NAN
    mean, by_unit, by_rater = table.mean(), table.mean(axis=0), table.mean(axis=1)
    between = raters * float(((by_unit - mean) ** 2).sum()) / (units - 1)
    judges = units * float(((by_rater - mean) ** 2).sum()) / (raters - 1)
    rest = table - by_unit[None, :] - by_rater[:, None] + mean
    error = float((rest**2).sum()) / ((units - 1) * (raters - 1))
    if between + judges + error < 1e-12:
        return NAN
    share = 1 if mean_of_raters else raters
    whole = between + (share - 1) * error + share * (judges - error) / units
    return (between - error) / whole if abs(whole) > 1e-12 else NAN


def boundary_f(first: Mask, second: Mask, width: int | None = None) -> float:
    """F-measure of the outlines of two (H, W) masks, 0..1, the same either way round.

    A pixel of one outline is right when the other's lies within `width` pixels (Chebyshev), by default 2% of the
    diagonal. Two empty masks agree: 1.0; one empty one: 0.0. Raises InputError for unequal sizes or a width below 1.
    Source: Perazzi et al. 2016 (DAVIS), with a square instead of a disk.
    """
    if first.shape != second.shape:
        raise InputError(f"masks of one size {first.shape}", str(second.shape))
    if width is None:
        width = max(1, round(BOUNDARY_SHARE * math.hypot(*first.shape)))
    lines = boundary(first), boundary(second)
    if not (lines[0].any() and lines[1].any()):
        return float(lines[0].any() == lines[1].any())
    near = _dilate(lines[0], width), _dilate(lines[1], width)
    precision, recall = area(lines[0] & near[1]) / area(lines[0]), area(lines[1] & near[0]) / area(lines[1])
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def pairwise(masks: Sequence[Mask], figure: Callable[[Mask, Mask], float] = iou) -> list[float]:
    """The figure (`core.masks.iou`, `boundary_f`) of each pair of masks of one photo, in order; [] for a single one."""
    return [figure(first, second) for first, second in combinations(masks, 2)]


def clustered_bootstrap(
    values: Iterable[ArrayLike], statistic: Callable[[NDArray[Any]], float], n: int = 2000, seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:  # fmt: skip
    """Percentile interval (low, high) of a statistic, photos drawn with replacement, `n` times.

    values: for each photo its units along the first axis, (units,) or (units, raters). statistic: of the units of
    all photos stacked in the same way. Draws where it is not defined are left out; (NaN, NaN) when that is half of
    them, or with fewer than two photos. Raises InputError for n below 1 or a level outside of 0..1.
    """
    if n < 1 or not 0 < level < 1:
        raise InputError("n of at least 1 and a level between 0 and 1", f"{n} and {level}")
    groups = [array for value in values if len(array := np.asarray(value))]
    if len(groups) < 2:
        return NAN, NAN
    stack = np.concatenate(groups)
    ends = np.cumsum([len(group) for group in groups])
    spans = [np.arange(end - len(group), end) for end, group in zip(ends, groups, strict=True)]
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [
            statistic(stack[np.concatenate([spans[i] for i in rng.integers(len(spans), size=len(spans))])])
            for _ in range(n)
        ]
    )
    defined = drawn[np.isfinite(drawn)]
    if 2 * len(defined) <= n:
        return NAN, NAN
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ratings(ratings: ArrayLike) -> Numbers:
    """(raters, units) float, NaN = missing."""
    try:
        table = np.asarray(ratings, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("ratings as numbers, (raters, units), NaN where missing", str(error)) from error
    if table.ndim != 2 or np.isinf(table).any():
        raise InputError("finite ratings of shape (raters, units), NaN where missing", f"shape {table.shape}")
    return table


def _line(ratings: ArrayLike) -> list[float]:
    try:
        return [float(value) for value in np.asarray(ratings, np.float64).reshape(-1)]
    except (TypeError, ValueError) as error:
        raise InputError("ratings as numbers, NaN where missing", str(error)) from error


def _counts(table: Numbers) -> tuple[Numbers, Numbers]:
    """(units, values) how often each value was given to each unit, and the (values,) in order."""
    values = np.unique(table[~np.isnan(table)])
    return (table[:, :, None] == values).sum(axis=0).astype(np.float64), values


def _beyond(agreed: float, by_chance: float) -> float:
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 - 1e-12 else NAN


def _dilate(mask: Mask, width: int) -> Mask:
    """True within `width` pixels (Chebyshev) of a selected one."""
    return _spread(_spread(mask, width).T, width).T


def _spread(mask: Mask, width: int) -> Mask:
    """True where any of the 2 width + 1 pixels around, along the row, is selected."""
    sums = np.cumsum(np.pad(mask, ((0, 0), (width + 1, width))), axis=1, dtype=np.int32)
    span = 2 * width + 1
    near: Mask = sums[:, span:] > sums[:, :-span]
    return near
