"""Figures on pixels: foreground only, counted per sample, then over the corpus.

In: pairs of masks, or their counts. Out: per cent, as the field prints them (rates: 0 to 1). Knows no
model, file or dialogue.
gIoU and cIoU as in LISA (Lai et al. 2024): the mean of the IoUs, and the sum of the intersections
over the sum of the unions. A reply without a mask counts as IoU 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miras.core.errors import InputError
from miras.core.types import Mask

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55, ... 0.95, as COCO averages over them."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels of one sample: in both masks, in the predicted one, in the gold one."""

    both: int
    predicted: int
    gold: int

    @property
    def union(self) -> int:
        """Pixels of either mask."""
        return self.predicted + self.gold - self.both

    @property
    def iou(self) -> float:
        """0..1; 1 where nothing is there and nothing was selected."""
        return self.both / self.union if self.union else 1.0


def overlap(predicted: Mask | None, gold: Mask) -> Overlap:
    """Counts of two (H, W) masks; None = a reply without a mask. Raises InputError for unequal sizes."""
    if predicted is None:
        return Overlap(0, 0, int(np.count_nonzero(gold)))
    if predicted.shape != gold.shape:
        raise InputError(f"a mask of the gold mask's size {gold.shape}", str(predicted.shape), "resize it to the photo")
    both = np.count_nonzero(np.logical_and(predicted, gold))
    return Overlap(int(both), int(np.count_nonzero(predicted)), int(np.count_nonzero(gold)))


def giou(samples: Sequence[Overlap]) -> float:
    """Mean IoU of the samples (what PixelRIST prints as "cIoU")."""
    return _percent(sum(sample.iou for sample in samples), len(samples))


def ciou(samples: Sequence[Overlap]) -> float:
    """All intersections over all unions: large targets weigh more."""
    return _percent(sum(sample.both for sample in samples), sum(sample.union for sample in samples))


def precision(samples: Sequence[Overlap]) -> float:
    """Share of all selected pixels that are right."""
    return _percent(sum(sample.both for sample in samples), sum(sample.predicted for sample in samples))


def recall(samples: Sequence[Overlap]) -> float:
    """Share of all gold pixels that were selected."""
    return _percent(sum(sample.both for sample in samples), sum(sample.gold for sample in samples))


def f1(samples: Sequence[Overlap]) -> float:
    """Harmonic mean of the pooled precision and recall: the pooled Dice."""
    both = sum(sample.both for sample in samples)
    return _percent(2 * both, sum(sample.predicted + sample.gold for sample in samples))


def precision_at(samples: Sequence[Overlap], threshold: float) -> float:
    """P@threshold: share of the samples whose IoU is above it (InstructPart's P50)."""
    return _percent(sum(sample.iou > threshold for sample in samples), len(samples))


def p50_95(samples: Sequence[Overlap]) -> float:
    """Mean of P@0.5, P@0.55, ... P@0.95."""
    return sum(precision_at(samples, threshold) for threshold in THRESHOLDS) / len(THRESHOLDS)


def no_mask_rate(samples: Sequence[Overlap]) -> float:
    """Share, 0 to 1, of the samples with a target for which no pixel was selected."""
    present = [sample for sample in samples if sample.gold]
    return _ratio(sum(sample.predicted == 0 for sample in present), len(present))


def summary(samples: Sequence[Overlap]) -> dict[str, float]:
    """All figures by name."""
    return {
        "giou": giou(samples), "ciou": ciou(samples), "precision": precision(samples), "recall": recall(samples),
        "f1": f1(samples), "p50": precision_at(samples, 0.5), "p50_95": p50_95(samples),
        "no_mask_rate": no_mask_rate(samples),
    }  # fmt: skip


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def _percent(part: float, whole: int) -> float:
    return 100 * _ratio(part, whole)
