"""Augmentation that keeps language true.

In: a photo with its annotations, a `Strength`, perhaps other photos to cut objects from. Out: a crop, perhaps flipped,
coarser, with a pasted object, written text and other colours; masks and words are changed with it: a flip swaps left
and right in every phrase, a photo with written text is never flipped, and words that name colours keep their hues.
Knows no model.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto
from miras.data.dialogues.sampler import mirror_annotation
from miras.data.language.phrasing import mirror, pick
from miras.train.data.copy_paste import copy_paste
from miras.train.data.rendered_text import rendered_text
from miras.train.data.sample import Sample, gone, is_written, least_share, resize

_COLOUR = re.compile(
    r"\b(?:red|orange|yellow|green|blue|purple|violet|pink|brown|beige|gold(?:en)?|colou?r\w*)\b", re.I
)


@dataclass(frozen=True)
class Strength:
    """How much `augment` changes. Chances are 0..1; what has chance 0 draws nothing from the generator.

    whole: chance of no crop. crop: area of a crop, of the photo's. aspect: the crop's sides differ from the photo's by
    a factor of up to exp(aspect). flip: chance. coarse: chance of fewer pixels, scale: how many, as a factor of the
    sides. colours: chance of each of brightness, contrast and saturation, changed by a factor of 1 - x to 1 + x.
    hue_shift: chance of other hues, turned by up to hue / 256 of the circle. grey: chance of no hues. blur: chance,
    blur_radius in pixels. jpeg: chance, jpeg_quality 1..95. copy_paste: chance that an object of another photo is
    pasted, paste_share: its area, of the photo's. text: chance that 1 to most_texts texts are written, text_height:
    of the photo's shorter side.
    Raises InputError that names every wrong value.
    """

    whole: float = 0.2
    crop: tuple[float, float] = (0.25, 1.0)
    aspect: float = 0.35
    flip: float = 0.5
    coarse: float = 0.0
    scale: tuple[float, float] = (0.4, 1.0)
    colours: float = 0.6
    brightness: float = 0.35
    contrast: float = 0.35
    saturation: float = 0.45
    hue_shift: float = 0.3
    hue: int = 12
    grey: float = 0.05
    blur: float = 0.0
    blur_radius: tuple[float, float] = (0.4, 1.5)
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (35, 90)
    copy_paste: float = 0.0
    paste_share: tuple[float, float] = (0.015, 0.12)
    text: float = 0.0
    text_height: tuple[float, float] = (0.04, 0.13)
    most_texts: int = 2

    def __post_init__(self) -> None:
        faults = []
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), _LIMITS.get(field.name, (0, 1))
            ends = tuple(value) if isinstance(value, list | tuple) else (value,)
            wanted = 2 if isinstance(field.default, tuple) else 1
            whole = isinstance(field.default[0] if isinstance(field.default, tuple) else field.default, int)
            known = all(isinstance(n, int if whole else int | float) and not isinstance(n, bool) for n in ends)
            if not known or len(ends) != wanted or not low <= ends[0] <= ends[-1] <= high:
                what = "a number" if wanted == 1 else "two rising numbers"
                faults.append(f"{field.name}: {what} from {low} to {high}, not {value!r}")
            elif wanted == 2:
                object.__setattr__(self, field.name, ends)
        if faults:
            raise InputError("augmentation in its ranges", "; ".join(faults))

    @property
    def is_still(self) -> bool:
        """Whether photos stay as they are, so that a photo is the same view each time."""
        chances = (
            self.flip,
            self.coarse,
            self.colours,
            self.hue_shift,
            self.grey,
            self.blur,
            self.jpeg,
            self.copy_paste,
        )
        return self.whole == 1 and not any(chances) and not self.text


_LIMITS: dict[str, tuple[float, float]] = {
    "crop": (0.01, 1), "aspect": (0, 2), "scale": (0.05, 1), "hue": (0, 127), "blur_radius": (0, 20),
    "jpeg_quality": (1, 95), "paste_share": (0.001, 0.9), "text_height": (0.01, 0.9), "most_texts": (1, 10),
}  # fmt: skip
"""What is not 0..1."""
DEFAULT = Strength()


def shrink(pixels: NDArray[np.uint8], photo: AnnotatedPhoto, longest: int) -> Sample:
    """A photo and its masks with the longer side at most `longest` pixels, the other at least one."""
    height, width = photo.size
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return Sample(pixels, photo)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0))
    notes, more = [], set(photo.uncounted)
    for note in photo.annotations:
        mask = resize(decode_rle(note.rle), (0, 0, width, height), size)
        if mask.any():
            notes.append(replace(note, rle=encode_rle(mask)))
        else:
            more.add(note.label)
    vocabulary = photo.vocabulary - gone(photo.annotations, notes)
    return Sample(
        small, replace(photo, size=size, annotations=tuple(notes), vocabulary=vocabulary, uncounted=frozenset(more))
    )


def augment(
    sample: Sample, rng: np.random.Generator, strength: Strength = DEFAULT, donors: Sequence[Sample] = ()
) -> Sample:
    """A random crop, perhaps flipped, with other colours, and what else `strength` asks for.

    donors: photos to cut objects from; without one that suits nothing is pasted. Text is written last, so that
    it is never mirrored. Equal input and generator state give equal output.
    """
    box = _crop(sample.photo, rng, strength)
    flipped = rng.random() < strength.flip
    sample = cropped(sample, box)
    if flipped:
        sample = flip(sample)
    if _chance(strength.coarse, rng):
        sample = shrink(
            sample.pixels, sample.photo, max(32, int(max(sample.photo.size) * rng.uniform(*strength.scale)))
        )
    if donors and _chance(strength.copy_paste, rng):
        sample = copy_paste(sample, pick(rng, donors), rng, share=strength.paste_share)
    if _chance(strength.text, rng):
        sample = rendered_text(sample, rng, most=strength.most_texts, height=strength.text_height)
    return replace(sample, pixels=_colours(sample, rng, strength))


def cropped(sample: Sample, box: tuple[int, int, int, int]) -> Sample:
    """What lies in box (XYXY in pixels, inside the photo). Annotations of which too little stays are dropped."""
    x0, y0, x1, y1 = box
    notes, more = [], set(sample.photo.uncounted)
    for note in sample.photo.annotations:
        full = decode_rle(note.rle)
        part = full[y0:y1, x0:x1]
        kept = np.count_nonzero(part)
        if kept >= 12 and kept >= least_share(note) * np.count_nonzero(full):
            notes.append(replace(note, rle=encode_rle(part)))
        elif kept:
            more.add(note.label)
    vocabulary = sample.photo.vocabulary - gone(sample.photo.annotations, notes)
    size = (y1 - y0, x1 - x0)
    photo = replace(sample.photo, size=size, annotations=tuple(notes), vocabulary=vocabulary, uncounted=frozenset(more))
    return Sample(np.ascontiguousarray(sample.pixels[y0:y1, x0:x1]), photo)


def flip(sample: Sample) -> Sample:
    """Left and right exchanged in pixels, masks, and in the words of annotations and vocabulary.

    A photo with an annotated text stays as it is: mirrored, it would say nothing. Flipping twice gives the same.
    """
    if any(is_written(note) for note in sample.photo.annotations):
        return sample
    notes = tuple(
        mirror_annotation(note, encode_rle(decode_rle(note.rle)[:, ::-1])) for note in sample.photo.annotations
    )
    vocabulary = frozenset(mirror(label) for label in sample.photo.vocabulary)
    uncounted = frozenset(mirror(label) for label in sample.photo.uncounted)
    photo = replace(sample.photo, annotations=notes, vocabulary=vocabulary, uncounted=uncounted)
    return Sample(np.ascontiguousarray(sample.pixels[:, ::-1]), photo)


def _chance(share: float, rng: np.random.Generator) -> bool:
    return share > 0 and rng.random() < share


def _crop(photo: AnnotatedPhoto, rng: np.random.Generator, strength: Strength) -> tuple[int, int, int, int]:
    """A box (XYXY): now and then the whole photo, else a share of its area around a random annotation."""
    height, width = photo.size
    if rng.random() < strength.whole or not photo.annotations:
        return 0, 0, width, height
    share = rng.uniform(*strength.crop)
    aspect = np.exp(rng.uniform(-strength.aspect, strength.aspect))
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


def _colours(sample: Sample, rng: np.random.Generator, strength: Strength) -> NDArray[np.uint8]:
    image = Image.fromarray(sample.pixels)
    for enhancer, amount in (
        (ImageEnhance.Brightness, strength.brightness),
        (ImageEnhance.Contrast, strength.contrast),
        (ImageEnhance.Color, strength.saturation),
    ):
        if rng.random() < strength.colours:
            image = enhancer(image).enhance(float(rng.uniform(1 - amount, 1 + amount)))
    named = _names_colours(sample.photo)
    if rng.random() < strength.hue_shift:
        turn = np.uint8(rng.integers(-strength.hue, strength.hue + 1) % 256)
        if not named:
            hsv = np.array(image.convert("HSV"))
            hsv[..., 0] += turn
            image = Image.fromarray(hsv, "HSV").convert("RGB")
    if rng.random() < strength.grey and not named:
        image = image.convert("L").convert("RGB")
    if _chance(strength.blur, rng):
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(*strength.blur_radius))))
    if _chance(strength.jpeg, rng):
        file = io.BytesIO()
        low, high = strength.jpeg_quality
        image.save(file, "JPEG", quality=int(rng.integers(low, high + 1)))
        image = Image.open(file).convert("RGB")
    return np.asarray(image)


def _names_colours(photo: AnnotatedPhoto) -> bool:
    """Whether the words of an annotation lean on hues ("the red cup")."""
    return any(_COLOUR.search(text) for note in photo.annotations for text in (note.phrase, *note.instructions))
