"""A segmenter that fills what it is told, talkers that read from a script, and pairs of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed.compose import Composed, compose
from miras.core.segmenter import PROMPTS, Candidates, Prompt

SIZE = (40, 60)
"""Of the photo."""
THINGS = {
    "cup": (10, 10, 20, 20), "lid": (12, 8, 18, 12), "table": (0, 20, 60, 40), "spoon": (30, 12, 50, 15),
    "left egg": (2, 2, 6, 6), "right egg": (50, 2, 54, 6),
}  # fmt: skip
"""XYXY, of what stands in the photo."""


class Painter:
    """Fills boxes; a phrase is looked up in `THINGS`, "egg" is two of them; a point is a square around it, and takes
    a square out where it is outside. Keeps what it was asked."""

    def __init__(self, prompts: frozenset[str] = frozenset(PROMPTS), presence: float | None = None) -> None:
        self.name, self.prompts, self.presence = "painter", prompts, presence
        self.asked: list[Prompt] = []
        self.encoded = 0

    def facts(self) -> Mapping[str, Any]:
        return {"segmenter": self.name, "weights": "none"}

    def encode(self, photo: NDArray[np.uint8]) -> tuple[int, int]:
        self.encoded += 1
        return photo.shape[0], photo.shape[1]

    def segment(self, encoding: tuple[int, int], prompt: Prompt) -> Candidates:
        prompt.fits(encoding, self.prompts, self.name)
        self.asked.append(prompt)
        boxes = [] if prompt.box is None else [prompt.box]
        if not boxes and prompt.phrase is not None:
            boxes = [box for name, box in THINGS.items() if prompt.phrase in name]
        masks = [self._filled(encoding, prompt, box) for box in boxes or [(0, 0, 0, 0)]]
        kept = [mask for mask in masks if mask.any()]
        scores = np.linspace(0.9, 0.8, len(kept), dtype=np.float32)
        stack = np.stack(kept) if kept else np.zeros((0, *encoding), np.bool_)
        return Candidates(stack, scores, self.presence, instances=len(kept) > 1)

    def _filled(self, size: tuple[int, int], prompt: Prompt, box: tuple[float, ...]) -> NDArray[np.bool_]:
        mask = np.zeros(size, np.bool_) if prompt.mask is None else prompt.mask.copy()
        x1, y1, x2, y2 = (round(side) for side in box)
        if prompt.mask is None:
            mask[y1:y2, x1:x2] = True
        for x, y, inside in [] if prompt.points is None else prompt.points:
            mask[max(0, int(y) - 2) : int(y) + 2, max(0, int(x) - 2) : int(x) + 2] = bool(inside)
        return mask


def photo() -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    return rng.integers(0, 255, (*SIZE, 3)).astype(np.uint8)


def filled(*names: str) -> NDArray[np.bool_]:
    """The union of things."""
    mask = np.zeros(SIZE, np.bool_)
    for name in names:
        x1, y1, x2, y2 = THINGS[name]
        mask[y1:y2, x1:x2] = True
    return mask


def new(phrase: str, *points: tuple[float, float, bool], box: bool = True, **changes: Any) -> dict[str, Any]:
    """A new region of an answer, boxed in thousandths of the photo."""
    sides: list[float] = []
    if box:
        x1, y1, x2, y2 = THINGS[phrase]
        sides = [round(1000 * side) for side in (x1 / 60, y1 / 40, x2 / 60, y2 / 40)]
    marks = [{"x": x, "y": y, "inside": inside} for x, y, inside in points]
    return {"id": 0, "phrase": phrase, "box": sides, "points": marks, **changes}


def old(number: int) -> dict[str, Any]:
    """An earlier region of an answer."""
    return {"id": number, "phrase": "", "box": [], "points": []}


def step(does: str, *regions: dict[str, Any]) -> dict[str, Any]:
    return {"do": does, "regions": list(regions)}


def answer(text: str, *steps: dict[str, Any]) -> str:
    return json.dumps({"text": text, "steps": list(steps)})


def look(verdict: str, *points: tuple[float, float, bool]) -> str:
    marks = [{"x": x, "y": y, "inside": inside} for x, y, inside in points]
    return json.dumps({"verdict": verdict, "points": marks})


def scripted(folder: Path, *answers: str, segmenter: Any = None, looks: bool = False) -> Composed:
    """A pair whose talker reads these answers."""
    file = folder / "script.jsonl"
    file.write_text("\n".join(answers), encoding="utf-8")
    return compose(f"scripted:{file}", segmenter or Painter(), look=looks)
