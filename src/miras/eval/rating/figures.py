"""The figures of judges: means, agreement among them and with people, wins, position bias; each with its interval.

In: ratings and verdicts. Out: plain objects; a figure is {"value", "low", "high"}, null where it is not defined.
Intervals: 95%, percentile bootstrap clustered by photo. Knows no model, no prompt and no file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from miras.core.agreement import NAN, Numbers, clustered_bootstrap, krippendorff_alpha
from miras.eval.metrics import statistics
from miras.eval.rating.criteria import CRITERIA, HIGHEST, LOWEST
from miras.eval.rating.sheets import Score

LEVEL = 0.95
Unit = tuple[str, str]
"""(run, record)."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What a judge gave a conversation of run "A" or "B". photo: the cluster. scores: criterion -> 1..5."""

    run: str
    record: str
    photo: str
    kind: str
    judge: str
    scores: Mapping[str, int]

    @property
    def unit(self) -> Unit:
        """The conversation."""
        return self.run, self.record


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of a pair, asked twice. forward: with A first; backward: with B first; both "first",
    "second" or "tie".
    """

    record: str
    photo: str
    judge: str
    forward: str
    backward: str

    @property
    def value(self) -> int:
        """1: A won, -1: B won, in both orders; else 0, a tie."""
        first = {"first": 1, "second": -1, "tie": 0}
        one, two = first[self.forward], -first[self.backward]
        return one if one == two else 0


# Scores


def rating_figures(ratings: Sequence[Rating], draws: int, seed: int) -> dict[str, Any]:
    """Run -> "judges" (label -> criterion -> figure, n and counts of the scores 1..5), "all" (the judges' mean for each
    conversation), "kinds" (the same means by kind of conversation).
    """
    result: dict[str, Any] = {}
    for run in sorted({rating.run for rating in ratings}):
        own = [rating for rating in ratings if rating.run == run]
        judges = {
            judge: {
                name: {**_scored([r for r in own if r.judge == judge], name, draws, seed),
                       "counts": [sum(r.scores[name] == s for r in own if r.judge == judge)
                                  for s in range(LOWEST, HIGHEST + 1)]}
                for name in CRITERIA
            }
            for judge in sorted({rating.judge for rating in own})
        }  # fmt: skip
        kinds = {
            kind: {name: _scored([r for r in own if r.kind == kind], name, draws, seed) for name in CRITERIA}
            for kind in sorted({rating.kind for rating in own})
        }
        result[run] = {"judges": judges, "all": _all_scored(own, draws, seed), "kinds": kinds}
    return result


def difference_figures(ratings: Sequence[Rating], draws: int, seed: int) -> dict[str, Any]:
    """Criterion -> score of A minus score of B, the judges' means, over the conversations that both have."""
    photos = {rating.record: rating.photo for rating in ratings}
    result = {}
    for name in CRITERIA:
        means = _unit_means(ratings, name)
        both = sorted(record for run, record in means if run == "A" and ("B", record) in means)
        apart = [means["A", record] - means["B", record] for record in both]
        result[name] = {**mean_figure(apart, [photos[record] for record in both], draws, seed), "n": len(both)}
    return result


def _scored(ratings: Sequence[Rating], criterion: str, draws: int, seed: int) -> dict[str, Any]:
    photos = {rating.unit: rating.photo for rating in ratings}
    means = _unit_means(ratings, criterion)
    return {**mean_figure(list(means.values()), [photos[unit] for unit in means], draws, seed), "n": len(means)}


def _all_scored(ratings: Sequence[Rating], draws: int, seed: int) -> dict[str, Any]:
    return {name: _scored(ratings, name, draws, seed) for name in CRITERIA}


def _unit_means(ratings: Iterable[Rating], criterion: str) -> dict[Unit, float]:
    """Conversation -> mean of its judges."""
    found: dict[Unit, list[int]] = defaultdict(list)
    for rating in ratings:
        found[rating.unit].append(rating.scores[criterion])
    return {unit: fmean(scores) for unit, scores in found.items()}


# Agreement


def judge_agreement(ratings: Sequence[Rating], draws: int, seed: int) -> dict[str, Any]:
    """Criterion -> Krippendorff's alpha (ordinal) of the judges, over the conversations that two or more rated."""
    judges = sorted({rating.judge for rating in ratings})
    photos = {rating.unit: rating.photo for rating in ratings}
    result = {}
    for name in CRITERIA:
        cells = {(rating.unit, rating.judge): float(rating.scores[name]) for rating in ratings}
        result[name] = _alpha(cells, judges, photos, draws, seed)
    return result


def people_agreement(
    ratings: Sequence[Rating], people: Sequence[Score], draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Criterion -> "people" (alpha of the raters), and for each judge and for "all" (the judges' mean): alpha of two
    raters, the judge and the people's mean, and "bias", the judge minus the people's mean.
    """
    photos = {rating.unit: rating.photo for rating in ratings}
    judges = [*sorted({rating.judge for rating in ratings}), "all"]
    result: dict[str, dict[str, Any]] = {}
    for name in CRITERIA:
        given = [score for score in people if score.criterion == name]
        raters = sorted({score.rater for score in given})
        cells = {((score.run, score.record), score.rater): float(score.score) for score in given}
        lines: dict[str, Any] = {"people": _alpha(cells, raters, photos, draws, seed)}
        means = {unit: fmean(values) for unit, values in _gathered(cells).items()}
        for judge in judges:
            own = _unit_means([r for r in ratings if judge in (r.judge, "all")], name)
            both = sorted(unit for unit in own if unit in means)
            pair = {(unit, who): table[unit] for unit in both for who, table in (("judge", own), ("people", means))}
            apart = [own[unit] - means[unit] for unit in both]
            lines[judge] = {
                "alpha": _alpha(pair, ["judge", "people"], photos, draws, seed),
                "bias": mean_figure(apart, [photos[unit] for unit in both], draws, seed),
            }
        result[name] = lines
    return result


def _gathered(cells: Mapping[tuple[Unit, str], float]) -> dict[Unit, list[float]]:
    found: dict[Unit, list[float]] = defaultdict(list)
    for (unit, _), value in cells.items():
        found[unit].append(value)
    return found


def _alpha(
    cells: Mapping[tuple[Unit, str], float], raters: Sequence[str], photos: Mapping[Unit, str], draws: int, seed: int
) -> dict[str, Any]:
    """Alpha, ordinal, of (unit, rater) -> value, over the units that two or more rated."""
    units = sorted(unit for unit, values in _gathered(cells).items() if len(values) > 1)
    table = np.array([[cells.get((unit, rater), NAN) for rater in raters] for unit in units])
    if not units:
        return {**_figure(NAN), "n": 0}
    places = np.array([photos.get(unit, f"{unit[0]}/{unit[1]}") for unit in units])
    groups = [table[places == photo] for photo in np.unique(places)]
    value, low, high = _with_interval(groups, lambda part: krippendorff_alpha(part.T, "ordinal"), draws, seed)
    return {**_figure(value, low, high), "n": len(units)}


# Pairs


def pair_figures(verdicts: Sequence[Verdict], draws: int, seed: int) -> dict[str, Any]:
    """ "judges" (label -> wins, ties and losses of A, "win_rate" with a tie as half a win, "position"), "all" (each
    pair decided by the sum of its judges' verdicts), "agreement" (alpha, ordinal, of the verdicts B, tie, A).

    position: "first" is the share of answers for the conversation that stood first, among those that were no tie (0.5
    without bias); "flipped" the share of pairs whose winner changed when the order did.
    """
    labels = sorted({verdict.judge for verdict in verdicts})
    photos = {verdict.record: verdict.photo for verdict in verdicts}
    judges = {}
    for judge in labels:
        own = [verdict for verdict in verdicts if verdict.judge == judge]
        won = _won([v.value for v in own], [v.photo for v in own], draws, seed)
        judges[judge] = {**won, "position": _position(own, draws, seed)}
    sums: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        sums[verdict.record] += verdict.value
    together = _won([_sign(sums[record]) for record in sums], [photos[record] for record in sums], draws, seed)
    cells = {(("", verdict.record), verdict.judge): float(verdict.value) for verdict in verdicts}
    agreement = _alpha(cells, labels, {("", record): photo for record, photo in photos.items()}, draws, seed)
    return {"judges": judges, "all": together, "agreement": agreement}


def _won(values: Sequence[int], photos: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    rate = mean_figure([(value + 1) / 2 for value in values], photos, draws, seed)
    return {"n": len(values), "wins": sum(v > 0 for v in values), "ties": sum(v == 0 for v in values),
            "losses": sum(v < 0 for v in values), "win_rate": rate}  # fmt: skip


def _position(verdicts: Sequence[Verdict], draws: int, seed: int) -> dict[str, Any]:
    decided = [
        (float(answer == "first"), verdict.photo)
        for verdict in verdicts for answer in (verdict.forward, verdict.backward) if answer != "tie"
    ]  # fmt: skip
    flipped = [verdict.forward == verdict.backward != "tie" for verdict in verdicts]
    return {
        "first": {**mean_figure([v for v, _ in decided], [p for _, p in decided], draws, seed), "n": len(decided)},
        "flipped": sum(flipped) / len(flipped) if flipped else None,
    }


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


# Intervals


def mean_figure(values: Sequence[float], photos: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    """A mean and its interval, resampled by photo; no interval for fewer than two photos."""
    if not values:
        return _figure(NAN)
    low, high = statistics.mean(values, list(photos), draws=draws, seed=seed, level=LEVEL).percentile or (NAN, NAN)
    return _figure(fmean(values), low, high)


def _with_interval(
    groups: Sequence[Numbers], statistic: Callable[[Numbers], float], draws: int, seed: int
) -> tuple[float, float, float]:
    low, high = clustered_bootstrap(groups, statistic, draws, seed, LEVEL)
    return statistic(np.concatenate(groups)), low, high


def _figure(value: float, low: float = NAN, high: float = NAN) -> dict[str, float | None]:
    found = {"value": value, "low": low, "high": high}
    return {name: float(number) if math.isfinite(number) else None for name, number in found.items()}
