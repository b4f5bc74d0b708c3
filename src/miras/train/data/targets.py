"""What the decoder learns from: regions of a batch with their prompts and targets.

In: augmented samples. Out: mask targets, points, boxes and earlier selections as tensors.
R regions, Q points, s side of the mask grid (a quarter of the detail view).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from miras.core.types import Mask
from miras.model.numeric.prediction import BOTTOM_RIGHT, INSIDE, OUTSIDE, PADDING, TOP_LEFT

POINTS = 4
"""Point slots of a region (Q)."""


@dataclass(frozen=True)
class Prompted:
    """The prompts beside the words of one region. words False: the clicks alone."""

    points_Q3: NDArray[np.float32]
    shown_ss: NDArray[np.float32] | None
    words: bool


def cover(mask: Mask, side: int) -> NDArray[np.float32]:
    """The covered share of each cell of a side x side grid over the photo, float32 0..1."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32) / 255.0


def no_points() -> NDArray[np.float32]:
    """Empty point slots (Q, 3)."""
    points = np.zeros((POINTS, 3), np.float32)
    points[:, 2] = PADDING
    return points


def prompt(target_ss: NDArray[np.float32], others: list[NDArray[np.float32]], rng: np.random.Generator) -> Prompted:
    """Mostly words alone; sometimes clicks, a box, or a mask that was selected before."""
    points = no_points()
    draw = rng.random()
    words = True
    shown = None
    if draw < 0.16:
        _click(points, target_ss, rng)
        words = rng.random() < 0.5
        if rng.random() < 0.5:
            shown = spoil(target_ss, rng)
    elif draw < 0.26:
        _box(points, target_ss, rng)
        words = rng.random() < 0.5
    elif draw < 0.5:
        shown = others[rng.integers(len(others))] if others and rng.random() < 0.8 else spoil(target_ss, rng)
    return Prompted(points, shown, words)


def _click(points: NDArray[np.float32], target: NDArray[np.float32], rng: np.random.Generator) -> None:
    side = target.shape[0]
    inside, outside = np.argwhere(target > 0.5), np.argwhere(target < 0.1)
    for slot in range(int(rng.integers(1, POINTS))):
        positive = slot == 0 or rng.random() < 0.5
        pool = inside if positive else outside
        if len(pool):
            y, x = pool[rng.integers(len(pool))]
            points[slot] = ((x + rng.random()) / side, (y + rng.random()) / side, INSIDE if positive else OUTSIDE)


def _box(points: NDArray[np.float32], target: NDArray[np.float32], rng: np.random.Generator) -> None:
    side = target.shape[0]
    ys, xs = np.flatnonzero((target > 0.3).any(1)), np.flatnonzero((target > 0.3).any(0))
    if not len(ys):
        return
    low = np.array([xs[0], ys[0]]) / side
    high = np.array([xs[-1] + 1, ys[-1] + 1]) / side
    wobble = rng.normal(0, 0.05, (2, 2)) * (high - low)
    points[0] = (*np.clip(low + wobble[0], 0, 1), TOP_LEFT)
    points[1] = (*np.clip(high + wobble[1], 0, 1), BOTTOM_RIGHT)


def spoil(mask_ss: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A plausible wrong version of a mask: grown, shrunk, shifted or half missing."""
    image = Image.fromarray((mask_ss * 255).astype(np.uint8))
    kind = rng.integers(4)
    if kind == 0:
        image = image.filter(ImageFilter.MaxFilter(int(rng.choice([3, 5, 9]))))
    elif kind == 1:
        image = image.filter(ImageFilter.MinFilter(3))
    spoiled = np.asarray(image, dtype=np.float32) / 255.0
    if kind == 2:
        spoiled = np.roll(spoiled, tuple(rng.integers(-8, 9, 2)), (0, 1))
    elif kind == 3:
        spoiled = spoiled.copy()
        cut = int(rng.integers(1, spoiled.shape[0]))
        spoiled[:, :cut] = 0
    return spoiled


@dataclass
class Regions:
    """R regions of a batch. photo_R: index of the photo; known: photo x region pairs of which the
    cover is known (for the patch loss)."""

    photo_R: Tensor
    target_Rss: Tensor
    points_RQ3: Tensor
    shown_R1ss: Tensor
    present_R: Tensor
    words_R: Tensor


def collate(photo: list[int], targets: list[NDArray[np.float32]], prompts: list[Prompted], side: int) -> Regions:
    """Lists of one entry a region (there may be none) to tensors."""
    blank = np.zeros((side, side), np.float32)
    shown = [blank if p.shown_ss is None else (p.shown_ss > 0.5).astype(np.float32) for p in prompts]
    points = np.array([p.points_Q3 for p in prompts], np.float32).reshape(-1, POINTS, 3)
    return Regions(
        torch.tensor(photo, dtype=torch.long),
        torch.from_numpy(np.array(targets, np.float32).reshape(-1, side, side)),
        torch.from_numpy(points),
        torch.from_numpy(np.array(shown, np.float32).reshape(-1, 1, side, side)),
        torch.tensor([p.shown_ss is not None and bool((p.shown_ss > 0.5).any()) for p in prompts], dtype=torch.bool),
        torch.tensor([p.words for p in prompts], dtype=torch.bool),
    )


def moved(value: Any, device: torch.device) -> Any:
    """A batch (a dataclass of tensors, lists of them, and other things) on another device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in fields(value)}
        tensors = {k: moved(v, device) for k, v in held.items() if isinstance(v, Tensor) or is_dataclass(v)}
        return replace(value, **tensors)
    return value
