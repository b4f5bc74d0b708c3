"""A photo as square views, and the exact way back, in numpy.

In: RGB photos as `core.photo.read_photo` gives them (EXIF applied), masks, points, boxes. Out: pixels of views, masks
of photos. The photo is stretched to each square: every pixel of a view carries picture, none is padding, and the way
back is one scale per axis. Knows no weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.types import Box, Mask

Floats = NDArray[np.float32]
MEAN, STD = np.float32(127.0), np.float32(128.0)
"""Of the pixels of every view, 0..255: (x - 127) / 128, which EfficientNet-Lite was trained on."""


def view(photo_HW3: NDArray[np.uint8], side: int) -> Floats:
    """A photo, uint8 (H, W, 3) RGB, as a normalised view (3, side, side)."""
    image = Image.fromarray(photo_HW3).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels = (np.asarray(image, dtype=np.float32) - MEAN) / STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def cells(masks_RHW: NDArray[np.bool_], side: int) -> Floats:
    """Masks of one photo to (R, 1, side, side) in 0..1: the covered share of each cell; of photos smaller than the view
    bilinear between pixels."""
    if min(masks_RHW.shape[-2:]) >= side:
        return np.stack([_shares(mask, side) for mask in masks_RHW])[:, None]
    return np.stack([_bilinear(mask.astype(np.float32), (side, side)) for mask in masks_RHW])[:, None]


def _shares(mask_HW: NDArray[np.bool_], side: int) -> Floats:
    """Counts by two cumulative sums: cells overlap where the sides do not divide."""
    height, width = mask_HW.shape
    top, bottom = _bounds(height, side)
    left, right = _bounds(width, side)
    down = np.zeros((height + 1, width), np.int32)
    np.cumsum(mask_HW, 0, dtype=np.int32, out=down[1:])
    across = np.zeros((side, width + 1), np.int32)
    np.cumsum(down[bottom] - down[top], 1, out=across[:, 1:])
    counts = (across[:, right] - across[:, left]).astype(np.float32)
    high, wide = (bottom - top).astype(np.float32), (right - left).astype(np.float32)
    shares: Floats = np.divide(np.divide(counts, high[:, None]), wide)
    return shares


def _bounds(length: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel of each cell, and the one after its last."""
    number = np.arange(side)
    return number * length // side, -((number + 1) * length // -side)


def logits_to_photo(logits_hw: Floats, size: tuple[int, int]) -> Mask:
    """Mask logits of a view to a bool mask (H, W) of the photo: bilinear, then > 0."""
    values = np.asarray(logits_hw, np.float32)
    (top, bottom, below), across = _steps(values.shape[0], size[0]), _across(values, size[1])
    mask = np.empty(size, np.bool_)
    above = np.float32(1) - below
    starts = np.flatnonzero(np.diff(top, prepend=-1))
    for start, end in zip(starts, [*starts[1:], size[0]], strict=True):  # rows between the same two: small blocks
        first, second = across[top[start]], across[bottom[start]]
        rows = slice(start, end)
        mask[rows] = above[rows, None] * first + below[rows, None] * second > 0
    return mask


def _bilinear(values_hw: Floats, size: tuple[int, int]) -> Floats:
    (top, bottom, below), across = _steps(values_hw.shape[0], size[0]), _across(values_hw, size[1])
    return (np.float32(1) - below)[:, None] * across[top] + below[:, None] * across[bottom]


def _across(values_hw: Floats, width: int) -> Floats:
    left, right, weight = _steps(values_hw.shape[1], width)
    return (np.float32(1) - weight) * values_hw[:, left] + weight * values_hw[:, right]


def _steps(length: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """For each of `wanted` pixel centres the two samples beside it, and the weight of the second."""
    place = np.float32(length) / np.float32(wanted) * (np.arange(wanted, dtype=np.float32) + np.float32(0.5))
    place = np.maximum(place - np.float32(0.5), np.float32(0))
    low = np.minimum(place.astype(np.int64), length - 1)
    return low, np.minimum(low + 1, length - 1), np.clip(place - low.astype(np.float32), 0, 1).astype(np.float32)


def points_to_view(points_P3: Floats, size: tuple[int, int]) -> Floats:
    """Points (x, y, label) in photo pixels to (P, 3) with x, y in 0..1."""
    points = np.array(points_P3, dtype=np.float32)
    points[:, 0] /= np.float32(size[1])
    points[:, 1] /= np.float32(size[0])
    return points


def box_to_view(box: Box, size: tuple[int, int]) -> Floats:
    """Box XYXY in photo pixels to (4,) in 0..1."""
    height, width = size
    return np.array([box[0] / width, box[1] / height, box[2] / width, box[3] / height], np.float32)
