"""What the decoder says of one region, as a prediction.

In: its logits, what was asked. Out: a `MaskPrediction`. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence

from miras.core.types import Box
from miras.model.numeric.pieces import Meant, cleaned
from miras.model.numeric.prediction import MaskPrediction, scores
from miras.model.numeric.views import Floats


def drawn(
    logits_Mhw: Floats, iou_M: Floats, calibration: Sequence[float], naming: float, points: Floats | None,
    box: Box | None, meant: Meant | None,
) -> MaskPrediction:  # fmt: skip
    """Of mask logits (M, h, w) and IoU logits (M,). calibration, naming: see `scores`. With points the best candidate
    counts, else the first. Where nothing is pointed at, specks are taken out, and the pieces that are not meant."""
    rated = scores(iou_M, calibration, naming)
    best = int(rated.argmax()) if points is not None else 0
    pointed = points is not None or box is not None
    return MaskPrediction(logits_Mhw if pointed else cleaned(logits_Mhw, meant), rated, best)
