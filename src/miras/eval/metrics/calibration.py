"""Does the score mean what it says: predicted IoU beside the IoU that it was.

In: scores and IoUs, 0 to 1. Out: expected calibration error, Brier score, and the bins of a reliability curve.
Bins hold equally many samples (Nguyen and O'Connor 2015), for scores crowd; equal scores share a bin, so the order of
the samples does not matter. Knows no model, mask or file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError

BINS = 10
HIT = 0.5
"""An IoU above it counts as found."""
Floats = NDArray[np.float64]


def calibration(scores: Sequence[float], ious: Sequence[float], bins: int = BINS) -> dict[str, Any]:
    """`ece`: of the score against the IoU; `ece_50`, `brier`: against IoU > 0.5; `squared_error`: against the IoU.

    `bins`: rows {n, score, iou, found}, means, in the order of the scores. Raises InputError for unequal numbers,
    none, fewer than one bin, and values that are not in 0..1.
    """
    score_N, iou_N = _checked(scores, ious, bins)
    found_N = (iou_N > HIT).astype(np.float64)
    groups = equal_mass(score_N, bins)
    return {
        "n": len(score_N),
        "ece": _ece(score_N, iou_N, groups),
        "ece_50": _ece(score_N, found_N, groups),
        "brier": float(np.mean((score_N - found_N) ** 2)),
        "squared_error": float(np.mean((score_N - iou_N) ** 2)),
        "bins": [
            {"n": len(g), "score": float(score_N[g].mean()), "iou": float(iou_N[g].mean()),
             "found": float(found_N[g].mean())}
            for g in groups
        ],
    }  # fmt: skip


def ece(scores: Sequence[float], outcomes: Sequence[float], bins: int = BINS) -> float:
    """Mean distance of score and outcome over bins of equal mass, weighted by their samples. Raises InputError."""
    score_N, outcome_N = _checked(scores, outcomes, bins)
    return _ece(score_N, outcome_N, equal_mass(score_N, bins))


def equal_mass(score_N: Floats, bins: int) -> list[NDArray[np.int64]]:
    """Indices of each bin, scores rising; at most `bins`, none empty, equal scores together."""
    order = np.argsort(score_N, kind="stable").astype(np.int64)
    ranked = score_N[order]
    ends = [round(len(order) * (index + 1) / bins) for index in range(bins)]
    cuts = sorted({int(np.searchsorted(ranked, ranked[end - 1], "right")) for end in ends if end > 0})
    return [order[start:stop] for start, stop in zip([0, *cuts[:-1]], cuts, strict=True)]


def _ece(score_N: Floats, outcome_N: Floats, groups: list[NDArray[np.int64]]) -> float:
    gaps = [len(g) * abs(float(score_N[g].mean() - outcome_N[g].mean())) for g in groups]
    return sum(gaps) / len(score_N)


def _checked(scores: Sequence[float], outcomes: Sequence[float], bins: int) -> tuple[Floats, Floats]:
    score_N, outcome_N = np.asarray(scores, np.float64), np.asarray(outcomes, np.float64)
    if score_N.ndim != 1 or score_N.shape != outcome_N.shape or not len(score_N):
        raise InputError("a score and an outcome for each sample, at least one", f"{score_N.size} and {outcome_N.size}")
    if bins < 1:
        raise InputError("at least 1 bin", str(bins))
    for name, values in (("scores", score_N), ("outcomes", outcome_N)):
        wrong = values[~((values >= 0) & (values <= 1))]
        if len(wrong):
            raise InputError(f"{name} from 0 to 1", str(float(wrong[0])))
    return score_N, outcome_N
