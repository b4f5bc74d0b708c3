"""Every figure that is told of a run: its title, unit, direction, how a turn counts in it, and over the corpus.

In: turns as a run writes them (`runs.samples.Row`). Out: `METRICS`, read by the summary and its intervals, by the
report, and by the comparison of runs. A new metric is a function of a turn and a line here (docs/extending.md). A
figure is the sum of `part` over the sum of `whole`, over the turns that are `counted`: that is all that the bootstrap
over photos and the permutation test need. Knows no file and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from miras.core.types import Operator
from miras.eval.metrics import pixels
from miras.eval.metrics.pixels import THRESHOLDS, Overlap

HIT = 0.5
"""IoU above which an answer is right."""
EDITS = (Operator.ADD, Operator.CUT, Operator.UNDO, Operator.EXCEPT)


class Asked(Protocol):
    """What a metric may read of a turn; `runs.samples.Row` says what each is."""

    @property
    def overlap(self) -> Overlap | None:
        """Counts of the selections; None where they were not compared."""
        ...

    @property
    def band(self) -> Overlap | None:
        """Counts of their boundary bands."""
        ...

    @property
    def iou(self) -> float | None:
        """0..1."""
        ...

    @property
    def boundary_iou(self) -> float | None:
        """0..1."""
        ...

    @property
    def phrase(self) -> str:
        """What the reply of the data names."""
        ...

    @property
    def text(self) -> str:
        """What was answered."""
        ...

    @property
    def gold_text(self) -> str:
        """The reply of the data."""
        ...

    @property
    def refused(self) -> bool:
        """It says that the thing is not there."""
        ...

    @property
    def refused_wanted(self) -> bool:
        """The reply of the data says so."""
        ...

    @property
    def operator_wanted(self) -> str | None:
        """What the reply of the data does."""
        ...

    @property
    def operator_got(self) -> str | None:
        """What the answer does."""
        ...


def has_target(turn: Asked) -> bool:
    """Whether some pixel is to be selected after it, and was counted."""
    return turn.overlap is not None and turn.overlap.gold > 0


def _has_band(turn: Asked) -> bool:
    return has_target(turn) and turn.boundary_iou is not None


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. part, whole: of a turn; the figure is their sums' quotient, times 100 where the unit is "%".

    meaning: a few words for the report. counted: which turns. corpus: the figure over the counts of many turns, where
    it exists by itself (published code); else the quotient. mean: each turn weighs the same, so that effect sizes and
    wins can be told. interval: it stands in the summary with an interval. compared: it is tested between runs.
    grouped: it is told over all, and by turn, hops, kind, size and source; else a group of the summary has it.
    """

    title: str
    part: Callable[[Asked], float]
    whole: Callable[[Asked], float] = lambda turn: 1.0
    unit: str = "%"
    meaning: str = ""
    lower_is_better: bool = False
    counted: Callable[[Asked], bool] = has_target
    corpus: Callable[[Sequence[Overlap]], float] | None = None
    mean: bool = True
    interval: bool = True
    compared: bool = True
    grouped: bool = True

    @property
    def scale(self) -> float:
        """100 for per cent."""
        return 100.0 if self.unit == "%" else 1.0

    def over(self, turns: Sequence[Asked]) -> float | None:
        """The figure over the turns that are counted; None where there are none."""
        held = [turn for turn in turns if self.counted(turn)]
        if not held:
            return None
        if self.corpus is not None:
            return self.corpus([counts for turn in held if (counts := turn.overlap) is not None])
        whole = sum(self.whole(turn) for turn in held)
        return self.scale * sum(self.part(turn) for turn in held) / whole if whole else 0.0


def _counts(turn: Asked) -> Overlap:
    return turn.overlap or Overlap(0, 0, 0)


def _pixels(
    title: str, corpus: Callable[[Sequence[Overlap]], float], part: Callable[[Overlap], float],
    whole: Callable[[Overlap], float] | None = None, *, meaning: str, compared: bool = False, interval: bool = True,
    unit: str = "%", lower_is_better: bool = False,
) -> Metric:  # fmt: skip
    """A metric of the counts of pixels. whole: None = the mean of the turns."""
    pooled = (lambda turn: 1.0) if whole is None else (lambda turn: whole(_counts(turn)))
    return Metric(
        title, lambda turn: part(_counts(turn)), pooled, unit, meaning, lower_is_better, corpus=corpus,
        mean=whole is None, interval=interval, compared=compared,
    )  # fmt: skip


METRICS: dict[str, Metric] = {
    "giou": _pixels("gIoU", pixels.giou, lambda o: o.iou, meaning="mean IoU of the turns", compared=True),
    "ciou": _pixels("cIoU", pixels.ciou, lambda o: o.both, lambda o: o.union,
                    meaning="pooled pixels; large targets weigh more", compared=True),
    "f1": _pixels("F1", pixels.f1, lambda o: 2 * o.both, lambda o: o.predicted + o.gold,
                  meaning="pooled pixels (Dice)"),
    "precision": _pixels("Precision", pixels.precision, lambda o: o.both, lambda o: o.predicted,
                         meaning="pooled pixels"),
    "recall": _pixels("Recall", pixels.recall, lambda o: o.both, lambda o: o.gold, meaning="pooled pixels"),
    "mean_f1": _pixels("Mean F1", pixels.mean_f1, lambda o: o.f1, meaning="mean of the turns", interval=False),
    "mean_precision": _pixels("Mean precision", pixels.mean_precision, lambda o: o.precision,
                              meaning="mean of the turns", interval=False),
    "mean_recall": _pixels("Mean recall", pixels.mean_recall, lambda o: o.recall, meaning="mean of the turns",
                           interval=False),
    "p50": _pixels("P@0.5", lambda some: pixels.precision_at(some, HIT), lambda o: o.iou > HIT,
                   meaning="share of turns with IoU above 0.5", compared=True),
    "p50_95": _pixels("P@0.5:0.95", pixels.p50_95, lambda o: sum(o.iou > at for at in THRESHOLDS) / len(THRESHOLDS),
                      meaning="mean over 0.5, 0.55, ..., 0.95", interval=False),
    "boundary_iou": Metric("Boundary IoU", lambda turn: turn.boundary_iou or 0.0, interval=False, counted=_has_band,
                           meaning="of bands along the outlines"),
    "no_mask_rate": _pixels("No mask", pixels.no_mask_rate, lambda o: o.predicted == 0, unit="0..1", interval=False,
                            meaning="share of turns for which nothing was selected; they count as IoU 0",
                            lower_is_better=True),
    "refusals": Metric("Refusals right", lambda turn: turn.refused, unit="0..1", interval=False, grouped=False,
                       counted=lambda turn: turn.refused_wanted, meaning="what is not there is refused"),
    "false_refusals": Metric("False refusals", lambda turn: turn.refused, unit="0..1", interval=False, grouped=False,
                             counted=lambda turn: bool(turn.phrase), lower_is_better=True,
                             meaning="what is there is refused"),
    "operators_obeyed": Metric("Operators obeyed", lambda turn: turn.operator_got == turn.operator_wanted,
                               unit="0..1", interval=False, grouped=False,
                               counted=lambda turn: turn.operator_wanted in EDITS,
                               meaning="add, cut, undo and all but are done"),
}  # fmt: skip
"""By name, in the order of the report."""


def grouped() -> dict[str, Metric]:
    """Those that are told over all, and of every group of turns."""
    return {name: metric for name, metric in METRICS.items() if metric.grouped}


def compared() -> dict[str, Metric]:
    """Those that are tested between runs."""
    return {name: metric for name, metric in METRICS.items() if metric.compared}
