"""Augmentation that keeps language true.

In: a photo with its annotations. Out: a crop with flips and colours changed, masks and words changed
with it: a flip swaps left and right in every phrase. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Mask
from miras.data.dialogues import mirror_annotation
from miras.data.phrasing import mirror

MIN_SHARE = 0.35
"""An annotation of which less than this share stays in the crop is dropped, and its label is no longer
one that can be called absent: a sliver of it may be in sight."""


@dataclass(frozen=True)
class Sample:
    """A photo in memory: pixels (H, W, 3) uint8 RGB and its annotations of the same size."""

    pixels: NDArray[np.uint8]
    photo: AnnotatedPhoto


def shrink(pixels: NDArray[np.uint8], photo: AnnotatedPhoto, longest: int) -> Sample:
    """A photo and its masks with the longer side at most `longest` pixels."""
    height, width = photo.size
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return Sample(pixels, photo)
    size = (round(height * scale), round(width * scale))
    small = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0))
    notes = []
    for note in photo.annotations:
        mask = resize(decode_rle(note.rle), (0, 0, width, height), size)
        if mask.any():
            notes.append(replace(note, rle=encode_rle(mask)))
    return Sample(small, replace(photo, size=size, annotations=tuple(notes)))


def resize(mask: Mask, box: tuple[int, int, int, int], size: tuple[int, int]) -> Mask:
    """The part of a mask in box (XYXY) at `size` (H, W): a pixel is in when half of it is covered."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize(size[::-1], Image.Resampling.BILINEAR, box=box)
    return np.asarray(image) >= 128


def augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """A random crop, perhaps flipped, with other colours."""
    box = _crop(sample.photo, rng)
    flip = rng.random() < 0.5
    size = (box[3] - box[1], box[2] - box[0])
    pixels = sample.pixels[box[1] : box[3], box[0] : box[2]]
    notes = []
    for note in sample.photo.annotations:
        full = decode_rle(note.rle)
        part = full[box[1] : box[3], box[0] : box[2]]
        kept = np.count_nonzero(part)
        if kept < 12 or kept < MIN_SHARE * np.count_nonzero(full):
            continue
        rle = encode_rle(np.ascontiguousarray(part[:, ::-1]) if flip else part)
        notes.append(mirror_annotation(note, rle) if flip else replace(note, rle=rle))
    if flip:
        pixels = pixels[:, ::-1]
    gone = {note.label for note in sample.photo.annotations} - {note.label for note in notes}
    vocabulary = sample.photo.vocabulary - gone - {mirror(label) for label in gone}
    photo = replace(sample.photo, size=size, annotations=tuple(notes), vocabulary=vocabulary)
    return Sample(_colours(np.ascontiguousarray(pixels), rng), photo)


def _crop(photo: AnnotatedPhoto, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A box (XYXY): often the whole photo, else 30-100% of its area around a random annotation."""
    height, width = photo.size
    if rng.random() < 0.2 or not photo.annotations:
        return 0, 0, width, height
    share = rng.uniform(0.25, 1.0)
    aspect = np.exp(rng.uniform(-0.35, 0.35))
    h = int(min(height, max(32, height * np.sqrt(share) * aspect)))
    w = int(min(width, max(32, width * np.sqrt(share) / aspect)))
    note = photo.annotations[rng.integers(len(photo.annotations))]
    mask = decode_rle(note.rle)
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y = rng.integers(*_range(int(ys[0]), int(ys[-1]) + 1, h, height))
    x = rng.integers(*_range(int(xs[0]), int(xs[-1]) + 1, w, width))
    return int(x), int(y), int(x) + w, int(y) + h


def _range(low: int, high: int, side: int, limit: int) -> tuple[int, int]:
    """Offsets of a window that keeps [low, high) when it can, half of it when it cannot."""
    first, last = (high - side, low) if high - low <= side else (low - side // 4, high - side + side // 4)
    first, last = max(0, min(first, limit - side)), max(0, min(last, limit - side))
    return first, max(first, last) + 1


def _colours(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    for enhancer, amount in (
        (ImageEnhance.Brightness, 0.35),
        (ImageEnhance.Contrast, 0.35),
        (ImageEnhance.Color, 0.45),
    ):
        if rng.random() < 0.6:
            image = enhancer(image).enhance(float(rng.uniform(1 - amount, 1 + amount)))
    if rng.random() < 0.3:
        hsv = np.array(image.convert("HSV"))
        hsv[..., 0] += np.uint8(rng.integers(-12, 13) % 256)
        image = Image.fromarray(hsv, "HSV").convert("RGB")
    if rng.random() < 0.05:
        image = image.convert("L").convert("RGB")
    return np.asarray(image)
