"""Indexed PNG as files: one label a pixel, and `labels.txt` that names the indices.

In: photos with regions. Out: in the folder (a folder for each split, where there are some) `images/`, `masks/`,
`labels.txt`; index 0 is "background", 255 what `meta["ignore"]` of a record covers. Of two masks the later one lies on
top; instances of one label are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.coco.write import categories, stack
from miras.data.io.gather import Album, Losses, Picture, Shown, by_split
from miras.data.language.vocabulary import words

MOST_LABELS = 255
"""Indices of one byte, without 0."""
BACKGROUND = "background"
VOID = 255
"""Index of pixels that are to be ignored, where no label has it."""


def write(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """Returns the number of regions. Raises InputError for more than 255 labels."""
    ids = categories(pictures, lost)
    if len(ids) > MOST_LABELS:
        raise InputError(f"at most {MOST_LABELS} labels", str(len(ids)), "choose coco or coco-panoptic")
    regions = 0
    for split, some in by_split(pictures).items():
        folder = out / split
        (folder / "masks").mkdir(parents=True)
        (folder / "labels.txt").write_text("\n".join([BACKGROUND, *ids]) + "\n", encoding="utf-8")
        for picture in some:
            kept = [shown for shown in picture.shown if words(shown.phrase) in ids]
            index = [0, *(ids[words(shown.phrase)] for shown in kept)]
            labels = np.array(index, np.uint8)[stack([shown.rle for shown in kept], picture.size, lost)]
            present = np.count_nonzero(np.bincount(labels.ravel(), minlength=2)[1:])
            lost["that {} regions are instances of their own (one mask a label)"] += len(kept) - len(set(index[1:]))
            if not present:
                continue
            if len(ids) < VOID:
                _add_void(labels, kept)
            name = album.put(picture, folder / "images", split)
            Image.fromarray(labels).save(folder / "masks" / f"{Path(name).stem}.png")
            regions += int(present)
    return regions


def _add_void(labels: NDArray[np.uint8], kept: Sequence[Shown]) -> None:
    """Pixels that the records say to ignore become 255, where they have no label."""
    ignored = next((shown.meta["ignore"] for shown in kept if isinstance(shown.meta.get("ignore"), dict)), None)
    if ignored is not None and list(ignored.get("size", ())) == list(labels.shape):
        labels[decode_rle(ignored) & (labels == 0)] = VOID
