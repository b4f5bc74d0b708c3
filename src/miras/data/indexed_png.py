"""Indexed PNG: one label a pixel, and `labels.txt` that names the indices.

In: a folder with `images/`, `masks/*.png` of the same names (with the folders inside the two) and `labels.txt`
(line number, from 0, = index). Out: one `AnnotatedPhoto` per mask, one annotation per label present. Instances are
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
from miras.data.places import PHOTOS, files, the_one
from miras.data.vocabulary import is_null, looked_for, words

MIN_SHARE = 0.0002
"""A label on fewer of a photo's pixels than this is a speck: left out, and not called absent."""


def read(
    folder: Path | str, source: str | None = None, min_share: float = MIN_SHARE, on_fault: OnFault | None = None
) -> list[AnnotatedPhoto]:
    """All photos of the folder, sorted by name; `source` defaults to the folder's name.

    Raises InputError when `labels.txt` or the masks are missing, and for faulty records (photo or index without
    counterpart, a mask with several photos of its name, another size) unless `on_fault` takes them.
    """
    folder = Path(folder)
    labels = read_labels(folder / "labels.txt")
    masks = _by_name(folder / "masks", ".png")
    if not masks:
        raise InputError(f"PNG masks in {folder / 'masks'}", "none")
    faults = Faults(folder / "labels.txt", on_fault)
    photos = _by_name(folder / "images", *PHOTOS)
    found: list[AnnotatedPhoto] = []
    for name, same_name in masks.items():
        with faults.of(f"masks/{name}.png"):
            path = the_one(photos.pop(name, []), f"masks/{name}.png") or folder / "images" / f"{name}.jpg"
            mask = the_one(same_name, path.name, "mask") or same_name[0]
            found.append(_photo(name, path, mask, labels, source or folder.resolve().name, min_share))
    for name, paths in photos.items():
        for path in paths:
            faults.add(path.relative_to(folder).as_posix(), f"expected masks/{name}.png, got no such file")
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


def _by_name(folder: Path, *endings: str) -> dict[str, list[Path]]:
    """Path in the folder, without the ending -> the files of that name."""
    found: dict[str, list[Path]] = {}
    for file in files(folder, *endings):
        found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), []).append(file)
    return found


def _photo(name: str, path: Path, mask: Path, labels: list[str], source: str, min_share: float) -> AnnotatedPhoto:
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
    return AnnotatedPhoto(name, path, size, annotations, source, vocabulary)


def _counts(indices: NDArray[Any]) -> dict[int, int]:
    """Pixels of each index that occurs."""
    if indices.dtype == np.uint8:
        counts = np.bincount(indices.ravel(order="K"))
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    values, numbers = np.unique(indices, return_counts=True)
    return {int(i): int(n) for i, n in zip(values, numbers, strict=True)}
