"""How many conversations, photos and raters a comparison needs.

In: the difference to be seen, how answers scatter, how alike those of one photo are; or two runs over the same data,
from which both are estimated. Out: numbers, rounded up. Normal approximations throughout (`statistics.NormalDist`, no
package needed): from some thirty photos on they are within two or three of the exact figures. Knows no sheet.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

from miras.core.errors import InputError
from miras.eval.runs import samples
from miras.eval.runs.samples import Row

POWER, ALPHA = 0.8, 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """What is needed. items: conversations (turns, pairs), `photos` times `per_photo`, rounded up to whole photos.

    independent: how many it would be, were all independent. effect: the design effect between the two.
    """

    items: int
    photos: int
    independent: float
    effect: float
    per_photo: float

    def facts(self) -> dict[str, float]:
        """As a plain object."""
        return asdict(self)


def design_effect(per_photo: float, rho: float) -> float:
    """1 + (m - 1) rho: how many times more items are needed when m come from one photo and correlate by rho.

    Source: Kish 1965, Survey Sampling. Raises InputError for m below 1 or rho outside of 0..1.
    """
    if per_photo < 1 or not 0 <= rho <= 1:
        raise InputError("at least 1 item a photo and rho from 0 to 1", f"{per_photo} and {rho}")
    return 1 + (per_photo - 1) * rho


def paired_difference(
    difference: float, sd: float, *, power: float = POWER, alpha: float = ALPHA, per_photo: float = 1, rho: float = 0
) -> Size:
    """To see a mean of paired differences: n = ((z(1 - alpha/2) + z(power)) sd / difference)^2 times the design effect.

    difference, sd (of the differences): in one unit. Two-sided. Source: Chow, Shao and Wang 2008, 3.1, with the normal
    instead of t. Raises InputError for a difference of 0, an sd of 0 or below, a power or alpha outside of 0..1.
    """
    _shares(power=power, alpha=alpha)
    if difference == 0 or not sd > 0 or not math.isfinite(difference * sd):
        raise InputError("a difference other than 0 and an sd above 0", f"{difference} and {sd}")
    return _size(((_z(1 - alpha / 2) + _z(power)) * sd / difference) ** 2, per_photo, rho)


def win_share(
    share: float, *, ties: float = 0, power: float = POWER, alpha: float = ALPHA, per_photo: float = 1, rho: float = 0
) -> Size:
    """To tell a share of wins from one half: n = ((z(1 - alpha/2) / 2 + z(power) sqrt(p (1 - p))) / (p - 1/2))^2.

    share: of wins among the decided ones; ties: share of ties, which tell nothing in a sign test: n grows by
    1 / (1 - ties). Source: Fleiss, Levin and Paik 2003, 2.4 (one sample, without continuity correction).
    Raises InputError for a share of one half or outside of 0..1, or ties of 1.
    """
    _shares(power=power, alpha=alpha, share=share)
    if share == 0.5 or not 0 <= ties < 1:
        raise InputError("a share other than 0.5 and ties from 0 to below 1", f"{share} and {ties}")
    root = (_z(1 - alpha / 2) / 2 + _z(power) * math.sqrt(share * (1 - share))) / (share - 0.5)
    return _size(root**2 / (1 - ties), per_photo, rho)


def half_width(width: float, sd: float, *, alpha: float = ALPHA, per_photo: float = 1, rho: float = 0) -> Size:
    """For an interval of a mean as wide as +- `width`: n = (z(1 - alpha/2) sd / width)^2 times the design effect.

    A share p has sd sqrt(p (1 - p)), at most 0.5. Source: Cochran 1977, 4.4. Raises InputError as `paired_difference`.
    """
    _shares(alpha=alpha)
    if not (width > 0 and sd > 0):
        raise InputError("a half width and an sd above 0", f"{width} and {sd}")
    return _size((_z(1 - alpha / 2) * sd / width) ** 2, per_photo, rho)


def sd_of_mean(sd: float, each: int, agreement: float) -> float:
    """The sd of the mean of `each` raters: sd sqrt((1 + (k - 1) r) / k); sd: of one rater's answers, r: their
    intraclass correlation. More raters help little where they agree. Source: Shrout and Fleiss 1979.
    """
    if each < 1 or not 0 <= agreement <= 1:
        raise InputError("at least 1 rater each and an agreement from 0 to 1", f"{each} and {agreement}")
    return sd * math.sqrt(design_effect(each, agreement) / each)


def raters_needed(items: int, each: int, cards: int, systems: int = 1, hidden: float = 0.1, checks: int = 3) -> int:
    """Raters, when nobody shall see more than `cards` cards: hidden repeats (a share) and checks are cards too.

    systems: cards that one conversation makes (systems in a rating, pairs of systems in a comparison). At least `each`.
    Raises InputError when no card is left for a conversation.
    """
    room = (cards - checks) / (1 + hidden)
    if room < systems:
        raise InputError(f"more than {checks + systems} cards a rater", str(cards))
    return max(each, math.ceil(items * each / (room // systems)))


# From runs


def correlation_within(groups: Mapping[str, Sequence[float]]) -> float:
    """How alike values of one group are, 0..1: the one-way intraclass correlation, groups of any size; below 0 is 0.

    (MSB - MSW) / (MSB + (n0 - 1) MSW), n0 = (N - sum m^2 / N) / (k - 1). 0 where it is not defined (one group, or no
    group of two). Source: Donner and Koval 1980.
    """
    sizes = [len(values) for values in groups.values()]
    total, count = sum(sizes), len(sizes)
    if count < 2 or total == count:
        return 0.0
    mean = fmean(chain.from_iterable(groups.values()))
    between = sum(len(values) * (fmean(values) - mean) ** 2 for values in groups.values()) / (count - 1)
    within = sum((value - fmean(values)) ** 2 for values in groups.values() for value in values) / (total - count)
    usual = (total - sum(size**2 for size in sizes) / total) / (count - 1)
    whole = between + (usual - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole > 0 else 0.0


def from_runs(
    first: Path, second: Path, difference: float, *, power: float = POWER, alpha: float = ALPHA
) -> dict[str, Any]:
    """What two runs tell of the photos needed to see a difference of gIoU (points of 100) between such systems.

    Of the turns with a target that both have: the mean difference A - B, its sd, the correlation within a photo, turns
    a photo (sum m^2 / sum m, which counts in the design effect when photos have unequal numbers of turns; Kish 1965).
    needed: as `Size`, items = turns. seen: the smallest difference that as many photos as there are would show.
    Raises InputError for runs with fewer than three photos in common, or that answer all alike.
    """
    one, two = (_ious(folder) for folder in (first, second))
    groups: dict[str, list[float]] = defaultdict(list)
    for key in one.keys() & two.keys():
        groups[one[key][0]].append(100 * (one[key][1] - two[key][1]))
    groups = dict(sorted(groups.items()))
    gaps = list(chain.from_iterable(groups.values()))
    if len(groups) < 3:
        raise InputError("two runs with at least 3 photos in common", str(len(groups)), "evaluate both on one dataset")
    sd = stdev(gaps)
    if not sd > 0:
        raise InputError("runs that differ", f"the same difference in all {len(gaps)} turns")
    rho = correlation_within(groups)
    weighted = sum(len(values) ** 2 for values in groups.values()) / len(gaps)
    effect = design_effect(weighted, rho)
    plain = paired_difference(difference, sd, power=power, alpha=alpha)
    photos = math.ceil(plain.independent * effect / (len(gaps) / len(groups)))
    seen = (_z(1 - alpha / 2) + _z(power)) * sd * math.sqrt(effect / len(gaps))
    return {
        "turns": len(gaps), "photos": len(groups), "mean": fmean(gaps), "sd": sd, "rho": rho, "per_photo": weighted,
        "effect": effect, "difference": difference, "power": power, "alpha": alpha, "seen": seen,
        "needed": {"turns": math.ceil(plain.independent * effect), "photos": photos},
    }  # fmt: skip


def _ious(folder: Path) -> dict[samples.Key, tuple[str, float]]:
    """Turn -> (photo, IoU), of the turns that gIoU counts."""
    return {row.key: (row.cluster, row.iou or 0.0) for row in samples.read(folder / samples.FILE) if _counts(row)}


def _counts(row: Row) -> bool:
    return bool(row.gold) and row.blame != "data" and row.history != "alone"


def _size(independent: float, per_photo: float, rho: float) -> Size:
    effect = design_effect(per_photo, rho)
    photos = math.ceil(round(independent * effect / per_photo, 9))
    return Size(math.ceil(round(photos * per_photo, 9)), photos, independent, effect, per_photo)


def _z(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _shares(**given: float) -> None:
    for name, value in given.items():
        if not 0 < value < 1:
            raise InputError(f"{name} between 0 and 1", str(value))
