"""Visual Parsing Module, the second half: the words that are written in a photo.

In: RGB photos as `core.photo.read_photo` gives them. Out: lines with their places. Source: PP-OCR (Du et al. 2020)
through the package `rapidocr`, whose models come with it; nothing is downloaded. Knows no weights of ours.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import MirasWarning
from miras.core.text_regions import TextRegion

MOST = 12
"""Lines of a photo that are kept: those with the highest letters."""
LEAST_SIDE = 24
"""Pixels: where the shorter side is less, at the size at which the reader looks, nothing is read."""
LONGEST = 2000
"""Pixels of the longer side at which the reader looks at most."""
SURE = 0.6
"""Confidence of the reader below which a line is dropped."""
TIGHT = 0.15
"""Heights of a line by which its box is drawn in on each side: the reader's boxes stand wide of the letters
(docs/decisions/0020-written-text.md)."""

_ASKED = re.compile(
    r"\b(read|reads|written|writing|text|says?|spells?|letter(s|ing)?|inscription|caption)\b|[\"“]", re.I
)
"""Messages that may ask for written text."""


class Page:
    """The writing in one photo, read when it is first asked for.

    photo: (H, W, 3) uint8 RGB.
    """

    def __init__(self, photo: NDArray[np.uint8]) -> None:
        self._photo = photo

    @cached_property
    def text_regions(self) -> tuple[TextRegion, ...]:
        """Its lines, as `read` finds them."""
        return read(self._photo)


def read(photo: NDArray[np.uint8]) -> tuple[TextRegion, ...]:
    """The lines of written text in a photo (H, W, 3) uint8 RGB, at most MOST, in reading order.

    Empty where `rapidocr` is not installed: `tell_unread` says so when it matters.
    """
    reader = _reader()
    shorter, longer = sorted(photo.shape[:2])
    if reader is None or shorter * min(1.0, LONGEST / longer) < LEAST_SIDE:
        return ()
    found = reader(np.ascontiguousarray(photo[..., ::-1]))
    if found.txts is None or found.boxes is None:
        return ()
    lines = [
        TextRegion(text.strip(), tightened(box), float(score))
        for text, box, score in zip(found.txts, found.boxes, found.scores, strict=True)
        if score >= SURE and any(char.isalnum() for char in text)
    ]
    kept = sorted(lines, key=lambda line: -line.height)[:MOST]
    return tuple(line for line in lines if line in kept)


def tell_unread(message: str) -> None:
    """A warning where a message asks for written text, and nothing reads it."""
    if _ASKED.search(message) and importlib.util.find_spec("rapidocr") is None:
        cure = "pip install 'miras[ocr]'"
        warnings.warn(f"the text in the photo is not read, for its reader is not installed: {cure}", MirasWarning, 2)


def tightened(box: Sequence[Sequence[float]] | NDArray[Any]) -> tuple[Any, Any, Any, Any]:
    """The corners of a line, (4, 2) from the upper left clockwise, drawn in by TIGHT heights on each side."""
    corners = np.asarray(box, np.float64)
    right, left = _along(corners[0], corners[1]), _along(corners[3], corners[2])
    down, up = _along(corners[0], corners[3]), _along(corners[1], corners[2])
    height = (np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2
    width = (np.linalg.norm(corners[1] - corners[0]) + np.linalg.norm(corners[2] - corners[3])) / 2
    inward = np.stack([right + down, -right + up, -left - up, left - down])
    corners += min(TIGHT * height, 0.4 * width) * inward
    first, second, third, fourth = ((float(x), float(y)) for x, y in corners)
    return first, second, third, fourth


def _along(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction from one corner to another, of length 1."""
    away: NDArray[np.float64] = end - start
    return away / max(float(np.linalg.norm(away)), 1e-6)


@lru_cache(maxsize=1)
def _reader() -> Any:
    """One reader for all photos; None where the package is missing."""
    try:
        from rapidocr import RapidOCR
    except ImportError:
        return None
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": _threads() for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "error", "Global.max_side_len": LONGEST, **threads})


def _threads() -> int:
    """As many as torch has, where it computes; else one for each core."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else os.cpu_count() or 1
