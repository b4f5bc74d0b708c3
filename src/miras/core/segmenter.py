"""What a segmenter is: photo + prompt -> candidate masks. Ours is one; SAM, SAM 2, SAM 3, detector + SAM are others.

In: a prompt (phrase, points, box, mask, embedding). Out: the records, checked, and the protocol. Knows numpy and masks,
no model: `miras.segmenters` has the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.masks import Size, as_mask
from miras.core.types import Box, Mask

PROMPTS = ("phrase", "points", "box", "mask", "embedding")
"""Every kind of prompt: the fields of `Prompt`."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a segmenter is asked: one thing, said in one or several ways at once. At least one of them.

    phrase: words that name it. points: (P, 3) float32 x, y, label, 1 = inside, 0 = outside, in photo pixels. box: XYXY
    in photo pixels. mask: (H, W) bool, roughly what is meant, or what is to be made better. embedding: what the
    segmenter itself understands. Raises InputError for anything else; whether it lies in the photo, `fits` says.
    """

    phrase: str | None = None
    points: NDArray[np.float32] | None = None
    box: Box | None = None
    mask: Mask | None = None
    embedding: Any | None = None

    def __post_init__(self) -> None:
        if not self.kinds:
            raise InputError("a prompt: a phrase, points, a box, a mask or an embedding", "none of them", "give one")
        if self.phrase is not None and not (isinstance(self.phrase, str) and self.phrase.strip()):
            raise InputError("a phrase with words", repr(self.phrase), "say what to find, or leave it out")
        if self.points is not None:
            object.__setattr__(self, "points", _points(self.points))
        if self.box is not None:
            object.__setattr__(self, "box", _box(self.box))
        if self.mask is not None:
            object.__setattr__(self, "mask", as_mask(np.asarray(self.mask)))

    @property
    def kinds(self) -> frozenset[str]:
        """Which of `PROMPTS` it holds."""
        return frozenset(kind for kind in PROMPTS if getattr(self, kind) is not None)

    def fits(self, size: Size, prompts: frozenset[str], name: str, cure: str = "") -> Prompt:
        """The prompt itself, once it is known to suit a photo of size (H, W) and the segmenter `name` that takes
        `prompts`. cure: what to do about a kind that it does not take. Raises InputError."""
        foreign = [kind for kind in PROMPTS if kind in self.kinds - prompts]
        if foreign:
            takes = ", ".join(kind for kind in PROMPTS if kind in prompts)
            raise InputError(f"a prompt that {name} takes: {takes}", ", ".join(foreign), cure)
        height, width = size
        for x, y, _ in () if self.points is None else self.points.tolist():
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(f"points inside the photo, {width} x {height} pixels", f"({x:g}, {y:g})", "move it")
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            if not (x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height):
                told = ", ".join(f"{side:g}" for side in self.box)
                raise InputError(f"a box inside the photo, {width} x {height} pixels", f"({told})", "cut it off there")
        if self.mask is not None and self.mask.shape != (height, width):
            raise InputError(f"a mask of shape {(height, width)}", f"shape {self.mask.shape}", "resize it")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What a segmenter answers: M masks, in its own order; M may be 0 when it finds nothing.

    masks: (M, H, W) bool at the photo's size. scores: (M,) float32 in 0..1, the IoU that the segmenter expects, or how
    sure it is. presence: chance in 0..1 that what was asked for is there at all, None where it cannot say.
    instances: the masks are different things that all fit the prompt (three dogs); else different readings of one
    thing, of which one is right (the dog, its head).
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    presence: float | None = None
    instances: bool = False

    def __post_init__(self) -> None:
        masks, scores = self.masks, self.scores
        if not isinstance(masks, np.ndarray) or masks.ndim != 3 or masks.dtype != np.bool_:
            got = f"{getattr(masks, 'dtype', type(masks).__name__)} of shape {getattr(masks, 'shape', '?')}"
            raise InputError("masks of shape (M, H, W), bool", got)
        if not isinstance(scores, np.ndarray) or scores.shape != (len(masks),) or scores.dtype != np.float32:
            got = f"{getattr(scores, 'dtype', type(scores).__name__)} of shape {getattr(scores, 'shape', '?')}"
            raise InputError(f"scores of shape ({len(masks)},), float32", got)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise InputError("scores in 0..1", f"{scores.tolist()}")
        if self.presence is not None and not 0 <= self.presence <= 1:
            raise InputError("a presence in 0..1", f"{self.presence}")

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def best(self) -> int:
        """Index of the highest score, the first of equals. Raises InputError without candidates."""
        if not len(self.masks):
            raise InputError("at least one candidate", "none", "ask whether there are any (`len`)")
        return int(self.scores.argmax())

    @property
    def mask(self) -> Mask:
        """The best mask, (H, W) bool; nothing selected without candidates."""
        best: Mask = self.masks[self.best] if len(self.masks) else np.zeros(self.masks.shape[1:], np.bool_)
        return best

    @property
    def score(self) -> float:
        """The highest score; 0 without candidates."""
        return float(self.scores.max(initial=0.0))


class Segmenter(Protocol):
    """Makes masks in photos. A photo is encoded once; a further prompt costs one pass of the decoder.

    `segment` leaves the encoding as it was, so that one encoding serves many prompts, in any order. A kind of prompt
    that it does not take, and one outside the photo, is an InputError (`Prompt.fits`).
    """

    @property
    def name(self) -> str:
        """Its spec, as a person writes it: `sam2:REPO`."""
        ...

    @property
    def prompts(self) -> frozenset[str]:
        """The kinds of prompt it takes, of `PROMPTS`."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What tells it from others, for JSON: its name, weights, thresholds. The same facts make the same masks."""
        ...

    def encode(self, photo: NDArray[np.uint8]) -> Any:
        """What `segment` needs of a photo, (H, W, 3) uint8 RGB: the expensive part."""
        ...

    def segment(self, encoding: Any, prompt: Prompt) -> Candidates:
        """Candidates for a prompt, at the photo's size. Raises InputError for one that it cannot take."""
        ...


def _points(points: NDArray[Any]) -> NDArray[np.float32]:
    array = _numbers(points, "points")
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise InputError("points as rows (x, y, label)", f"shape {array.shape}", "give [(x, y, 1), ...]")
    if not np.isin(array[:, 2], (0, 1)).all():
        raise InputError("label 1 (inside) or 0 (outside)", f"{array[:, 2].tolist()}", "give (x, y, 1) or (x, y, 0)")
    return array


def _box(box: Box) -> Box:
    array = _numbers(box, "a box")
    if array.shape != (4,):
        raise InputError("a box (x1, y1, x2, y2)", f"shape {array.shape}", "give four numbers")
    x1, y1, x2, y2 = array.tolist()
    if not (x1 < x2 and y1 < y2):
        raise InputError("a box (x1, y1, x2, y2) with x1 < x2 and y1 < y2", f"({x1:g}, {y1:g}, {x2:g}, {y2:g})")
    return x1, y1, x2, y2


def _numbers(values: object, what: str) -> NDArray[np.float32]:
    try:
        array = np.array(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what} as numbers", repr(values)[:80], "give photo pixels") from error
    if not np.isfinite(array).all():
        raise InputError(f"{what} as finite numbers", repr(values)[:80], "give photo pixels")
    return array
