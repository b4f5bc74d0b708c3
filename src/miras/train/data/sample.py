"""A photo in memory, and what a change of it leaves true.

In: pixels and annotations of one photo. Out: what of an annotation is still in sight, and which labels are not to be
called absent. What `augment`, `copy_paste` and `rendered_text` share; knows none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.types import AnnotatedPhoto, Annotation, Mask

MIN_SHARE = 0.35
"""An annotation of which less than this share stays in the crop is dropped, and its label is no longer
one that can be called absent: a sliver of it may be in sight."""
MIN_WRITTEN = 0.95
"""The same of written text: half a word says something else."""
_WRITTEN = re.compile(r"""(?:^|\s)["'\u201c\u2018].+["'\u201d\u2019]$""")


@dataclass(frozen=True)
class Sample:
    """A photo in memory: pixels (H, W, 3) uint8 RGB and its annotations of the same size."""

    pixels: NDArray[np.uint8]
    photo: AnnotatedPhoto


def resize(mask: Mask, box: tuple[int, int, int, int], size: tuple[int, int]) -> Mask:
    """The part of a mask in box (XYXY) at `size` (H, W): a pixel is in when half of it is covered."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize(size[::-1], Image.Resampling.BILINEAR, box=box)
    return np.asarray(image) >= 128


def is_written(note: Annotation) -> bool:
    """Whether the annotation is a written text: its phrase or label ends in a quotation."""
    return any(_WRITTEN.search(text) for text in (note.label, note.phrase))


def least_share(note: Annotation) -> float:
    """The share of its mask that must stay in sight for the annotation to stay true."""
    return MIN_WRITTEN if is_written(note) else MIN_SHARE


def gone(before: Iterable[Annotation], after: Iterable[Annotation]) -> set[str]:
    """Labels of which no annotation is left: they are not to be called absent, a bit may be in sight."""
    return {note.label for note in before} - {note.label for note in after}
