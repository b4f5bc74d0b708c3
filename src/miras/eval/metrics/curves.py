"""Where a system is good and where not: the figures by turn, hops, kind, and size of the target.

In: a `Point` for each sample: its counts, and where it stands. Out: one table for each question, rows in order,
each with its number of samples. Knows no model, file or mask.
Sizes are shares of the photo, so that a large photo does not make its targets large. The limits are COCO's
32 x 32 and 96 x 96 pixels on its usual 640 x 480 photo: small below 1/300, large from 3/100, medium between.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from miras.core.errors import InputError
from miras.eval.metrics.pixels import Overlap, summary

SMALL = 32 * 32 / (640 * 480)
"""Below this share of the photo a target is small."""
LARGE = 96 * 96 / (640 * 480)
"""From this share of the photo on a target is large."""
SIZES = ("absent", "small", "medium", "large")
MOST_HOPS = 4
"""Conversations of so many reasoning steps and more stand in one row."""


@dataclass(frozen=True, slots=True)
class Point:
    """One sample. turn: which exchange, from 1. hops: reasoning steps, from 1. pixels: height x width of the photo.

    band: the counts within the boundary bands, where they were made.
    """

    overlap: Overlap
    turn: int
    hops: int
    kind: str
    pixels: int
    band: Overlap | None = None


def size_of(target: int, pixels: int) -> str:
    """One of `SIZES`, for a target of so many pixels. Raises InputError when it does not fit into the photo."""
    if not 0 <= target <= pixels or pixels < 1:
        raise InputError("a target of 0 to as many pixels as the photo has", f"{target} of {pixels}")
    share = target / pixels
    if target == 0:
        return "absent"
    return "small" if share < SMALL else "medium" if share < LARGE else "large"


def hops_of(hops: int) -> str:
    """The row of so many reasoning steps."""
    return f"{MOST_HOPS}+" if hops >= MOST_HOPS else str(hops)


def curve(
    points: Sequence[Point], labels: Sequence[Hashable], order: Sequence[Hashable] | None = None
) -> list[dict[str, Any]]:
    """A row {"label", "n", figures...} for each label that occurs, in the order given, else sorted.

    labels: one for each point. Raises InputError for another number of labels, or one that is not in the order.
    """
    if len(labels) != len(points):
        raise InputError("a label for each sample", f"{len(labels)} for {len(points)}")
    groups: dict[Hashable, list[Point]] = {}
    for point, label in zip(points, labels, strict=True):
        groups.setdefault(label, []).append(point)
    strangers = [label for label in groups if order is not None and label not in order]
    if strangers:
        raise InputError(f"labels of {order}", repr(strangers[0]))
    ordered = [label for label in order if label in groups] if order is not None else sorted(groups, key=_rank)
    return [{"label": label, "n": len(groups[label]), **_figures(groups[label])} for label in ordered]


def _figures(points: Sequence[Point]) -> dict[str, float | None]:
    bands = [point.band for point in points if point.band is not None]
    return summary([point.overlap for point in points], bands if len(bands) == len(points) else None)


def _rank(label: Hashable) -> tuple[bool, Any]:
    """Numbers before words, each in order."""
    return (False, label) if isinstance(label, int | float) else (True, str(label))
