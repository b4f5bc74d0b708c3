"""Written text that a reply names: what was read in the photo is more exact than what the decoder draws.

In: a phrase, the lines that were read, the decoder's mask. Out: the mask of the text and how sure its presence is.
Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miras.core.text_regions import TextRegion, find, is_about_writing, quoted
from miras.core.types import Mask

SEEN, UNSEEN = 4.0, -4.0
"""Presence logits of a text that was read, and of one that was not."""
EXPECTED = 0.8
"""IoU to be expected of what the reader is wholly sure of (docs/decisions/0020-written-text.md)."""
ON_IT = 0.3
"""Share of a line that the decoder's mask covers where it means that line."""


@dataclass(frozen=True, eq=False)
class Written:
    """mask: (H, W), None where the text was not read. presence: logit. score: IoU to be expected, 0..1."""

    mask: Mask | None
    presence: float
    score: float = 0.0


def written(phrase: str, drawn: Mask, lines: Sequence[TextRegion]) -> Written | None:
    """What was read of the text that a phrase names; None when it names none, or when it quotes none and none was read.

    drawn: the decoder's mask for the phrase, (H, W). Text without a quotation ("text on the door") is the lines that
    it covers, or all lines.
    """
    if not is_about_writing(phrase):
        return None
    text = quoted(phrase)
    if text is not None:
        found = find(text, lines)
        if not found:
            return Written(None, UNSEEN)
    else:
        found = tuple(line for line in lines if _covered(line, drawn) >= ON_IT) or tuple(lines)
        if not found:
            return None
    mask = np.logical_or.reduce([line.mask(drawn.shape) for line in found])
    return Written(mask, SEEN, EXPECTED * min(line.confidence for line in found))


def _covered(line: TextRegion, drawn: Mask) -> float:
    own = line.mask(drawn.shape)
    return float(np.count_nonzero(own & drawn)) / max(float(np.count_nonzero(own)), 1.0)
