"""Indexed PNG: one label a pixel, and `labels.txt` that names the indices.

In: a folder with `images/`, `masks/*.png` of the same stems and `labels.txt` (line number, from 0,
= index). Out: one `AnnotatedPhoto` per mask, one annotation per label present. Instances are
not told apart: the format has none. A mask without any label says that nobody drew it, not that the
photo is empty: its vocabulary is empty. Knows no data set by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.checks import Faults, OnFault, index_image, photo_size
from miras.data.vocabulary import is_null, looked_for, words

MIN_SHARE = 0.0002
"""A label on fewer of a photo's pixels than this is a speck: left out, and not called absent."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif")


def read(
    folder: Path | str, source: str | None = None, min_share: float = MIN_SHARE, on_fault: OnFault | None = None
) -> list[AnnotatedPhoto]:
    """All photos of the folder, sorted by name; `source` defaults to the folder's name.

    Raises InputError when `labels.txt` or the masks are missing, and for faulty records (photo or
    index without counterpart, another size) unless `on_fault` takes them.
    """
    folder = Path(folder)
    labels = read_labels(folder / "labels.txt")
    masks = sorted((folder / "masks").glob("*.png"))
    if not masks:
        raise InputError(f"PNG masks in {folder / 'masks'}", "none")
    faults = Faults(folder / "labels.txt", on_fault)
    photos = _by_stem(folder / "images")
    found: list[AnnotatedPhoto] = []
    for mask in masks:
        with faults.of(f"masks/{mask.name}"):
            path = photos.pop(mask.stem, folder / "images" / f"{mask.stem}.jpg")
            found.append(_photo(path, mask, labels, source or folder.resolve().name, min_share))
    for stem, path in photos.items():
        faults.add(f"images/{path.name}", f"expected masks/{stem}.png, got no such file")
    faults.finish()
    return found


def read_labels(path: Path) -> list[str]:
    """The label of each index, in words. Raises InputError when missing, empty or with a name twice."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, ValueError) as error:
        raise InputError("labels.txt, one label a line", f"{path} ({error})") from error
    labels = [words(line) for line in lines]
    named = [label for label in labels if not is_null(label)]
    twice = sorted({label for label in named if named.count(label) > 1})
    if not named or twice:
        raise InputError("different labels, one a line", f"{path} with {f'{twice} twice' if twice else 'none'}")
    return labels


def _by_stem(folder: Path) -> dict[str, Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {file.stem: file for file in files if file.suffix.lower() in _SUFFIXES}


def _photo(path: Path, mask: Path, labels: list[str], source: str, min_share: float) -> AnnotatedPhoto:
    size = photo_size(path)
    indices = np.asfortranarray(index_image(mask, size))
    counts = _counts(indices)
    unknown = sorted(set(counts) - set(range(len(labels))))
    if unknown:
        raise InputError(f"indices 0 to {len(labels) - 1} (labels.txt)", f"{unknown[:5]}")
    kept = [i for i, n in counts.items() if not is_null(labels[i]) and n >= min_share * indices.size]
    annotations = tuple(Annotation(labels[i], labels[i], encode_rle(indices == i)) for i in kept)
    vocabulary = looked_for(
        (label for label in labels if not is_null(label)) if kept else (),
        (labels[i] for i in kept),
        (labels[i] for i in counts if i not in kept),
    )
    return AnnotatedPhoto(mask.stem, path, size, annotations, source, vocabulary)


def _counts(indices: NDArray[Any]) -> dict[int, int]:
    """Pixels of each index that occurs."""
    if indices.dtype == np.uint8:
        counts = np.bincount(indices.ravel(order="K"))
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    values, numbers = np.unique(indices, return_counts=True)
    return {int(i): int(n) for i, n in zip(values, numbers, strict=True)}
