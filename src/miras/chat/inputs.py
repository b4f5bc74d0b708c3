"""What a person gives, checked: options, a message, points, a box, a mask.

In: anything. Out: values the engine can use, or InputError. Knows the photo's size and no more.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.masks import as_mask
from miras.core.types import Box, Mask

Point = tuple[float, float, int]
"""(x, y, label) in photo pixels; label 1 = inside, 0 = outside."""


def clean_text(text: object) -> str:
    """A message as the model reads it: control characters but newline and tab are dropped.

    Raises InputError when it is no text or when nothing visible is in it.
    """
    if not isinstance(text, str):
        raise InputError("a message as text", type(text).__name__, "give a string")
    whole = text.encode("utf-8", "replace").decode("utf-8")
    kept = "".join(char for char in whole if char in "\n\t" or unicodedata.category(char) != "Cc").strip()
    if all(unicodedata.category(char)[0] == "Z" or unicodedata.category(char) in ("Cc", "Cf") for char in kept):
        raise InputError("a message with words", "an empty one", "say what to find in the photo")
    return kept


Recompute = Literal["never", "turn", "token"]
REFUSE_BELOW = 0.5
"""Probability of the refusal calibration below which a thing is refused: what its weights were fitted for."""


@dataclass(frozen=True)
class Options:
    """seed: of the draws when temperature > 0. max_new_tokens: ids of a reply, mask slots not counted.

    temperature: 0 takes the likeliest id. recompute, for checks and the benchmark (the same replies, slower):
    "turn" encodes the photo and runs the whole conversation anew at each turn, "token" does not even keep
    the cache from one id of a reply to the next, as LISA's evaluation (`use_cache=False`). refuse_below: a thing is
    refused where the refusal calibration gives it a lower probability of being there to be selected, 0..1; less refuses
    less of what is there, and more of what is not is selected. 0 refuses only what nothing can be drawn of.
    """

    seed: int = 0
    max_new_tokens: int = 64
    temperature: float = 0.0
    recompute: Recompute = "never"
    refuse_below: float = REFUSE_BELOW

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise InputError("max_new_tokens of at least 1", str(self.max_new_tokens), "give more")
        if not 0 <= self.temperature < math.inf:
            raise InputError("a temperature of 0 or more", str(self.temperature), "give 0 for the likeliest words")
        if self.recompute not in get_args(Recompute):
            raise InputError(f"recompute: {', '.join(get_args(Recompute))}", repr(self.recompute))
        if not 0 <= self.refuse_below <= 1:
            raise InputError("refuse_below from 0 to 1", str(self.refuse_below), f"leave it out for {REFUSE_BELOW}")

    @staticmethod
    def saved(values: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of options that were saved with a session; what an older version did not have is left out."""
        kinds = {"seed": int, "max_new_tokens": int, "temperature": float, "recompute": str, "refuse_below": float}
        needed = kinds.keys() - {"refuse_below"}
        return {name: kind(values[name]) for name, kind in kinds.items() if name in needed or name in values}


@dataclass(frozen=True)
class Gesture:
    """A hand's prompt. points: (P, 3) float32 x, y, label. mask: replaces the region as it is."""

    points: NDArray[np.float32] | None = None
    box: Box | None = None
    mask: Mask | None = None


def gesture(
    size: tuple[int, int],
    points: Sequence[Point] | NDArray[np.float32] | None,
    box: Sequence[float] | None,
    mask: NDArray[np.bool_] | None,
) -> Gesture:
    """Points, box and mask for a photo of size (H, W). Raises InputError when they do not fit it."""
    if mask is not None:
        if points is not None or box is not None:
            raise InputError("a mask alone, or points and a box", "both", "leave one out")
        return Gesture(mask=given_mask(size, mask))
    if points is None and box is None:
        raise InputError("points, a box or a mask", "none of them", "give one")
    return Gesture(
        points=None if points is None else _points(size, points), box=None if box is None else _box(size, box)
    )


def _points(size: tuple[int, int], points: Sequence[Point] | NDArray[np.float32]) -> NDArray[np.float32]:
    array = _numbers(points, "points")
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise InputError("points as rows (x, y, label)", f"shape {array.shape}", "give [(x, y, 1), ...]")
    for x, y, label in array.tolist():
        if not (0 <= x <= size[1] and 0 <= y <= size[0]):
            raise InputError(f"points inside the photo, {size[1]} x {size[0]} pixels", f"({x:g}, {y:g})", "move it")
        if label not in (0, 1):
            raise InputError("label 1 (inside) or 0 (outside)", f"{label:g}", "give (x, y, 1) or (x, y, 0)")
    return array


def _box(size: tuple[int, int], box: Sequence[float]) -> Box:
    array = _numbers(box, "a box")
    if array.shape != (4,):
        raise InputError("a box (x1, y1, x2, y2)", f"shape {array.shape}", "give four numbers")
    x1, y1, x2, y2 = array.tolist()
    if not (0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]):
        raise InputError(
            f"a box (x1, y1, x2, y2) inside the photo, {size[1]} x {size[0]} pixels",
            f"({x1:g}, {y1:g}, {x2:g}, {y2:g})", "give its left, top, right and bottom",
        )  # fmt: skip
    return x1, y1, x2, y2


def given_mask(size: tuple[int, int], mask: NDArray[Any]) -> Mask:
    """A mask (see `core.masks.as_mask`) of a photo of size (H, W), as a copy. Raises InputError for anything else."""
    array = np.asarray(mask)
    if array.shape != tuple(size):
        raise InputError(f"a mask of shape {tuple(size)}", f"{array.dtype} of shape {array.shape}", "resize it")
    return np.array(as_mask(array), dtype=np.bool_)


def _numbers(values: object, name: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} as numbers", repr(values)[:80], "give photo pixels") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} as finite numbers", repr(values)[:80], "give photo pixels")
    return array
