"""Figures on pixels: foreground only, counted per sample, then over the corpus.

In: pairs of masks, their run lengths, or their counts. Out: per cent, as the field prints them (rates: 0 to 1).
Knows no model, file or dialogue.
gIoU and cIoU as in LISA (Lai et al. 2024): the mean of the IoUs, and the sum of the intersections
over the sum of the unions. What PixelRIST prints as "cIoU" is gIoU (without its misses, which it leaves out):
`summary` gives both names. A reply without a mask counts as IoU 0.

Where nothing is there (gold is empty), as in GRES (Liu et al. 2023): selecting nothing is IoU 1, selecting
anything is IoU 0 and enlarges cIoU's union; P@ looks only at samples with a target; N-acc is the share of samples
without a target for which nothing was selected, T-acc the share of those with one for which something was.
Unlike GRES, P@ asks for an IoU above the threshold, not at it, as InstructPart does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import Mask, Rle
from miras.eval.metrics import bands as edges
from miras.eval.metrics import packed

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55, ... 0.95, as COCO averages over them."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels of one sample: in both masks (or both boundary bands), in the predicted one, in the gold one."""

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

    @property
    def precision(self) -> float:
        """0..1; nothing selected: 1 where nothing is there, else 0."""
        return self.both / self.predicted if self.predicted else float(self.gold == 0)

    @property
    def recall(self) -> float:
        """0..1; nothing there: 1 where nothing was selected, else 0."""
        return self.both / self.gold if self.gold else float(self.predicted == 0)

    @property
    def f1(self) -> float:
        """0..1; Dice. 1 where nothing is there and nothing was selected."""
        whole = self.predicted + self.gold
        return 2 * self.both / whole if whole else 1.0


# Counting


def overlap(predicted: Mask | None, gold: Mask) -> Overlap:
    """Counts of two (H, W) masks; None = a reply without a mask. Raises InputError for unequal sizes."""
    if predicted is None:
        return Overlap(0, 0, int(np.count_nonzero(gold)))
    if predicted.shape != gold.shape:
        raise InputError(f"a mask of the gold mask's size {gold.shape}", str(predicted.shape), "resize it to the photo")
    both = np.count_nonzero(np.logical_and(predicted, gold))
    return Overlap(int(both), int(np.count_nonzero(predicted)), int(np.count_nonzero(gold)))


def overlaps(predicted: Sequence[Rle | None], gold: Sequence[Rle], names: Sequence[str] | None = None) -> list[Overlap]:
    """Counts of many pairs of COCO run lengths, a batch at a time, no mask decoded; None = no mask.

    names: what errors call the samples; by default their places. Raises InputError for unequal numbers,
    for run lengths that cannot be read, and for a mask of another size than its gold mask.
    """
    counts: list[Overlap] = []
    for first, second in _batches(predicted, gold, names):
        columns = (packed.intersections(first, second), packed.areas(first), packed.areas(second))
        counts += map(Overlap, *(column.tolist() for column in columns))
    return counts


def boundaries(
    predicted: Sequence[Rle | None],
    gold: Sequence[Rle],
    names: Sequence[str] | None = None,
    share: float = edges.BAND,
) -> list[Overlap]:
    """Counts within the boundary bands of many pairs: their `iou` is Boundary IoU (Cheng et al. 2021).

    share: width of the band over the photo's diagonal; at least 1 pixel. Raises InputError as `overlaps`.
    """  # fmt: skip
    counts: list[Overlap] = []
    for first, second in _batches(predicted, gold, names):
        counts += [Overlap(*row) for row in edges.bands(first, second, edges.band_widths(first, share)).tolist()]
    return counts


# Corpus


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


def mean_precision(samples: Sequence[Overlap]) -> float:
    """Mean of the samples' precisions."""
    return _percent(sum(sample.precision for sample in samples), len(samples))


def mean_recall(samples: Sequence[Overlap]) -> float:
    """Mean of the samples' recalls."""
    return _percent(sum(sample.recall for sample in samples), len(samples))


def mean_f1(samples: Sequence[Overlap]) -> float:
    """Mean of the samples' F1; not the F1 of `mean_precision` and `mean_recall`."""
    return _percent(sum(sample.f1 for sample in samples), len(samples))


def precision_at(samples: Sequence[Overlap], threshold: float) -> float:
    """P@threshold: share of the samples with a target whose IoU is above it (InstructPart's P50)."""
    present = _present(samples)
    return _percent(sum(sample.iou > threshold for sample in present), len(present))


def p50_95(samples: Sequence[Overlap]) -> float:
    """Mean of P@0.5, P@0.55, ... P@0.95."""
    return sum(precision_at(samples, threshold) for threshold in THRESHOLDS) / len(THRESHOLDS)


def no_mask_rate(samples: Sequence[Overlap]) -> float:
    """Share, 0 to 1, of the samples with a target for which no pixel was selected."""
    present = _present(samples)
    return _ratio(sum(sample.predicted == 0 for sample in present), len(present))


def n_acc(samples: Sequence[Overlap], refused: Sequence[bool] | None = None) -> float | None:
    """GRES's N-acc, per cent: samples without a target that were left alone; None where there are none.

    refused: whether each reply said that the target is not there; by default, that it selected no pixel.
    """
    return _accuracy(samples, refused, absent=True)


def t_acc(samples: Sequence[Overlap], refused: Sequence[bool] | None = None) -> float | None:
    """GRES's T-acc, per cent: samples with a target that were not refused; see `n_acc`."""
    return _accuracy(samples, refused, absent=False)


def summary(samples: Sequence[Overlap], bands: Sequence[Overlap] | None = None) -> dict[str, float | None]:
    """All figures by name. bands: what `boundaries` gives for the same samples, for `boundary_iou`.

    None: a figure of samples of which there are none.
    """
    figures: dict[str, float | None] = {
        "giou": giou(samples), "pixelrist_ciou": giou(samples), "ciou": ciou(samples),
        "precision": precision(samples), "recall": recall(samples), "f1": f1(samples),
        "mean_precision": mean_precision(samples), "mean_recall": mean_recall(samples), "mean_f1": mean_f1(samples),
        "p50": precision_at(samples, 0.5), "p50_95": p50_95(samples), "no_mask_rate": no_mask_rate(samples),
        "n_acc": n_acc(samples), "t_acc": t_acc(samples),
    }  # fmt: skip
    if bands is not None:
        if len(bands) != len(samples):
            raise InputError("as many boundary counts as samples", f"{len(bands)} for {len(samples)}")
        figures["boundary_iou"] = giou(bands)
    return figures


def _batches(
    predicted: Sequence[Rle | None], gold: Sequence[Rle], names: Sequence[str] | None
) -> Iterator[tuple[packed.Runs, packed.Runs]]:
    """Runs of predictions and gold masks, a batch at a time, sizes compared."""
    if len(predicted) != len(gold):
        raise InputError("one prediction (or None) for each gold mask", f"{len(predicted)} for {len(gold)}")
    if names is not None and len(names) != len(gold):
        raise InputError("a name for each sample", f"{len(names)} for {len(gold)}")
    for start in range(0, len(gold), packed.BATCH):
        place = slice(start, start + packed.BATCH)
        wanted = packed.read(gold[place], partial(_name, names, start, "the gold mask of {}"))
        sizes = wanted.size_N2.tolist()
        given = [_empty(*sizes[step]) if rle is None else rle for step, rle in enumerate(predicted[place])]
        runs = packed.read(given, partial(_name, names, start, "{}"))
        packed.same_sizes(runs, wanted, partial(_name, names, start, "{} and its gold mask"))
        yield runs, wanted


@lru_cache(maxsize=256)
def _empty(height: int, width: int) -> Rle:
    """A mask without a pixel."""
    return encode_rle(np.zeros((height, width), np.bool_))


def _present(samples: Sequence[Overlap]) -> list[Overlap]:
    return [sample for sample in samples if sample.gold]


def _accuracy(samples: Sequence[Overlap], refused: Sequence[bool] | None, *, absent: bool) -> float | None:
    said = [sample.predicted == 0 for sample in samples] if refused is None else list(refused)
    if len(said) != len(samples):
        raise InputError("a refusal, true or false, for each sample", f"{len(said)} for {len(samples)}")
    right = [flag == absent for flag, sample in zip(said, samples, strict=True) if (sample.gold == 0) == absent]
    return _percent(sum(right), len(right)) if right else None


def _name(names: Sequence[str] | None, start: int, words: str, step: int) -> str:
    """What an error calls the sample at a place of the batch that begins at `start`."""
    return words.format(names[start + step] if names is not None else f"sample {start + step}")


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def _percent(part: float, whole: int) -> float:
    return 100 * _ratio(part, whole)
