"""The figures of a study with people: means, wins, agreement, how far each agrees with themself.

In: answers. Out: plain objects; a figure is {"value", "low", "high"}, null where it is not defined. Intervals: 95%,
percentile bootstrap clustered by photo. Knows no file and no fault.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from miras.core.agreement import NAN, Level, Numbers, clustered_bootstrap, cohen_kappa, fleiss_kappa, krippendorff_alpha
from miras.eval.people.answers import Answer, Key
from miras.eval.people.balance import Unit
from miras.eval.rating.figures import mean_figure


def figures(key: Key, answers: Sequence[Answer], draws: int, seed: int) -> dict[str, Any]:
    """Question -> its figures, of first showings; checks and repeats count in `self` alone."""
    first = [answer for answer in answers if answer.card.role == "item"]
    result: dict[str, Any] = {}
    for name, question in key.questions.items():
        own = [answer for answer in first if answer.question == name]
        main = _wins if key.kind == "pairwise" else _means
        level: Level = "nominal" if len(question.answers) == 2 else "ordinal"
        result[name] = {**main(own, list(key.systems), draws, seed), "agreement": agreement(own, level, draws, seed),
                        "self": self_consistency([a for a in answers if a.question == name])}  # fmt: skip
    return result


def _means(answers: Sequence[Answer], systems: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    """By system the mean of the conversations' means; by pair the difference, over what both have."""
    units, photos = _units(answers)
    means = {unit: fmean(values) for unit, values in units.items()}
    by_system = {}
    for system in systems:
        own = [unit for unit in means if unit[1] == (system,)]
        figure = mean_figure([means[unit] for unit in own], [photos[unit[0]] for unit in own], draws, seed)
        by_system[system] = {**figure, "n": len(own), "answers": sum(len(units[unit]) for unit in own)}
    apart = {}
    for one, two in combinations(systems, 2):
        both = [record for record, (system,) in means if system == one and (record, (two,)) in means]
        gaps = [means[record, (one,)] - means[record, (two,)] for record in both]
        figure = mean_figure(gaps, [photos[record] for record in both], draws, seed)
        apart[f"{one} - {two}"] = {**figure, "n": len(both)}
    return {"systems": by_system, "differences": apart}


def _wins(answers: Sequence[Answer], systems: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    """By pair: answers by what they say, the win share (a tie is half a win) of the conversations' means, and an exact
    sign test of the photos: who got more of a photo's answers; photos where it is even are left out.
    """
    units, photos = _units(answers)
    pairs = {}
    for pair in combinations(systems, 2):
        own = {record: values for (record, shown), values in units.items() if shown == pair}
        said = [value for values in own.values() for value in values]
        shares = [fmean((value + 1) / 2 for value in values) for values in own.values()]
        sums: dict[str, float] = defaultdict(float)
        for record, values in own.items():
            sums[photos[record]] += sum(values)
        won, lost = sum(total > 0 for total in sums.values()), sum(total < 0 for total in sums.values())
        pairs[f"{pair[0]} against {pair[1]}"] = {
            "n": len(own), "answers": len(said), "wins": said.count(1), "ties": said.count(0), "losses": said.count(-1),
            "share": mean_figure(shares, [photos[record] for record in own], draws, seed),
            "sign_test": {"photos_won": won, "photos_lost": lost, "photos_even": len(sums) - won - lost,
                          "p": sign_test(won, lost)},
        }  # fmt: skip
    decided = [answer for answer in answers if answer.given != "equal"]
    left = mean_figure([float(answer.given == "left") for answer in decided],
                       [answer.card.photo for answer in decided], draws, seed)  # fmt: skip
    return {"pairs": pairs, "left": {**left, "n": len(decided)}}


def sign_test(won: int, lost: int) -> float | None:
    """Two-sided exact binomial test against one half; None when nothing is decided. Source: scipy.stats.binomtest."""
    if won + lost == 0:
        return None
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost, 0.5).pvalue)


def _units(answers: Sequence[Answer]) -> tuple[dict[Unit, list[float]], dict[str, str]]:
    """Unit -> its values; record -> photo."""
    found: dict[Unit, list[float]] = defaultdict(list)
    for answer in answers:
        found[answer.unit].append(answer.value)
    return dict(found), {answer.card.record: answer.card.photo for answer in answers}


# Agreement


def agreement(answers: Sequence[Answer], level: Level, draws: int, seed: int) -> dict[str, Any]:
    """Among raters, over what two or more answered: alpha with its interval, Fleiss' kappa (values as names), and the
    mean over pairs of raters of Cohen's kappa, weighted by the squared difference; n: units, pairs: of raters.
    """
    raters = sorted({answer.card.rater for answer in answers})
    units, photos = _units(answers)
    shared = sorted(unit for unit, values in units.items() if len(values) > 1)
    cells = {(answer.unit, answer.card.rater): answer.value for answer in answers}
    table: Numbers = np.array([[cells.get((unit, rater), NAN) for rater in raters] for unit in shared], np.float64)
    if not shared:
        return {"alpha": _figure(NAN), "fleiss_kappa": None, "weighted_kappa": None, "pairs": 0, "n": 0}
    places = np.array([photos[unit[0]] for unit in shared])
    groups = [table[places == photo] for photo in np.unique(places)]
    alpha: Callable[[Numbers], float] = lambda part: krippendorff_alpha(part.T, level)  # noqa: E731
    low, high = clustered_bootstrap(groups, alpha, draws, seed)
    kappas = [cohen_kappa(one, two, "quadratic") for one, two in combinations(table.T, 2)]
    defined = [kappa for kappa in kappas if math.isfinite(kappa)]
    return {
        "alpha": _figure(alpha(table), low, high), "level": level, "fleiss_kappa": _number(fleiss_kappa(table.T)),
        "weighted_kappa": _number(fmean(defined)) if defined else None, "pairs": len(defined), "n": len(shared),
    }  # fmt: skip


def self_consistency(answers: Sequence[Answer]) -> dict[str, Any]:
    """Cards that a rater saw twice: `same`, the share answered alike, and the mean distance of the two answers; in
    pairs the second showing has its sides swapped, and systems are compared. By rater too.
    """
    by_id = {answer.card.id: answer for answer in answers}
    apart: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        if answer.card.role == "repeat" and answer.card.of in by_id:
            apart[answer.card.rater].append(abs(answer.value - by_id[answer.card.of].value))
    every = [gap for gaps in apart.values() for gap in gaps]
    return {
        "n": len(every), "same": fmean(gap == 0 for gap in every) if every else None,
        "distance": fmean(every) if every else None,
        "raters": {rater: fmean(gap == 0 for gap in gaps) for rater, gaps in sorted(apart.items())},
    }  # fmt: skip


def _figure(value: float, low: float = NAN, high: float = NAN) -> dict[str, float | None]:
    return {"value": _number(value), "low": _number(low), "high": _number(high)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
