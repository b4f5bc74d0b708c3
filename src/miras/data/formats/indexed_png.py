"""Indexed PNG: one label a pixel, and `labels.txt` that names the indices.

In: a folder with `images/`, `masks/*.png` of the same names (with the folders inside the two) and `labels.txt`
(line number, from 0, = index; a first line `__ignore__`, as LabelMe writes it, is index -1). Out: one `AnnotatedPhoto`
per mask, one annotation per label present. Instances are not told apart: the format has none. A mask without any label
says that nobody drew it, not that the photo is empty: its vocabulary is empty. 255 (65535 in masks of 16 bits) is void
where it has no label: neither a label nor background. Knows no data set by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.text import read_text
from miras.core.types import AnnotatedPhoto, Annotation, Mask, Rle
from miras.data.io.checks import Faults, OnFault, index_image, photo_size
from miras.data.io.places import PHOTOS, files, the_one
from miras.data.language.vocabulary import NULL_NAMES, is_null, labels_of, looked_for, words

MIN_SHARE = 0.0002
"""A label on fewer of a photo's pixels than this is a speck: left out, and not called absent."""
SEAM = 9
"""Pixels of void in each direction in which something may hide; the seam that VOC draws around things is narrower."""
_IGNORE = "ignore"
"""In words, what LabelMe calls index -1."""
_VOID = NULL_NAMES - {"background", "null", "none", ""}
"""Names of what nobody labelled, rather than of the background."""


def read(
    folder: Path | str, source: str | None = None, min_share: float = MIN_SHARE, on_fault: OnFault | None = None
) -> list[AnnotatedPhoto]:
    """All photos of the folder, sorted by name; `source` defaults to the folder's name.

    Raises InputError when `labels.txt` or the masks are missing, and for faulty records (photo or index without
    counterpart, a mask with several photos of its name, another size) unless `on_fault` takes them.
    """
    return [photo for photo, _ in photos(folder, source, min_share, on_fault)]


def photos(
    folder: Path | str, source: str | None = None, min_share: float = MIN_SHARE, on_fault: OnFault | None = None
) -> Iterator[tuple[AnnotatedPhoto, Rle | None]]:
    """The same one by one, each with its void pixels as run lengths, None where there are none."""
    folder = Path(folder)
    labels = read_labels(folder / "labels.txt")
    faults = Faults(folder / "labels.txt", on_fault)
    masks = _by_name(folder / "masks", ".png", faults=faults)
    if not masks:
        raise InputError(f"PNG masks in {folder / 'masks'}", "none")
    drawn = {file for same_name in masks.values() for file in same_name}
    others = [file for file in files(folder / "masks") if file not in drawn]
    faults.leave("files", "files in masks/ that are no PNG", others[0].name if others else "", len(others))
    by_name = _by_name(folder / "images", *PHOTOS)
    for name, same_name in masks.items():
        with faults.of(f"masks/{name}.png", "photos"):
            path = the_one(by_name.pop(name, []), f"masks/{name}.png") or folder / "images" / f"{name}.jpg"
            mask = the_one(same_name, path.name, "mask") or same_name[0]
            yield _photo(name, path, mask, labels, source or folder.resolve().name, min_share, faults)
    for name, paths in by_name.items():
        for path in paths:
            faults.add(path.relative_to(folder).as_posix(), f"expected masks/{name}.png, got no such file", "photos")
    faults.finish()


def read_labels(path: Path) -> list[str]:
    """The label of each index, in words. Raises InputError when missing, empty or with a name twice."""
    try:
        lines = read_text(path).rstrip().splitlines()
    except OSError as error:
        raise InputError("labels.txt, one label a line", f"{path} ({error})") from error
    if lines and words(lines[0]) == _IGNORE:
        del lines[0]
    found = labels_of(dict(enumerate(lines)))
    labels = [found[i] or words(line) for i, line in enumerate(lines)]
    named = [label for label in labels if not is_null(label)]
    twice = sorted({label for label in named if named.count(label) > 1})
    if not named or twice:
        raise InputError("different labels, one a line", f"{path} with {f'{twice} twice' if twice else 'none'}")
    return labels


def _by_name(folder: Path, *endings: str, faults: Faults | None = None) -> dict[str, list[Path]]:
    """Path in the folder, without the ending -> the files of that name."""
    found: dict[str, list[Path]] = {}
    for file in files(folder, *endings, faults=faults):
        found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), []).append(file)
    return found


def _photo(
    name: str, path: Path, mask: Path, labels: list[str], source: str, min_share: float, faults: Faults
) -> tuple[AnnotatedPhoto, Rle | None]:
    size = photo_size(path)
    indices = np.asfortranarray(index_image(mask, size))
    counts = _counts(indices)
    index = 255 if max(counts) <= 255 else 65535
    void = indices == index if index >= len(labels) and counts.pop(index, 0) else None
    unknown = sorted(set(counts) - set(range(len(labels))))
    if unknown:
        raise InputError(f"indices 0 to {len(labels) - 1} (labels.txt)", f"{unknown[:5]}")
    kept = [i for i, n in counts.items() if not is_null(labels[i]) and n >= min_share * indices.size]
    annotations = tuple(Annotation(labels[i], labels[i], encode_rle(indices == i)) for i in kept)
    vocabulary = looked_for(
        (label for label in labels if not is_null(label)) if kept else (),
        (labels[i] for i in kept),
        (labels[i] for i in counts if i not in kept) if void is None or not _may_hide(void) else labels,
    )
    _count(kept, counts, labels, void is not None, faults, f"masks/{name}.png")
    photo = AnnotatedPhoto(name, path, size, annotations, source, vocabulary)
    return photo, None if void is None else encode_rle(void)


def _may_hide(void: Mask) -> bool:
    """Whether void is so wide somewhere that a thing may be under it."""
    narrowed = Image.fromarray(void.astype(np.uint8)).filter(ImageFilter.MinFilter(SEAM))
    return min(void.shape) < SEAM or bool(np.asarray(narrowed).any())


def _count(
    kept: list[int], counts: dict[int, int], labels: list[str], has_void: bool, faults: Faults, name: str
) -> None:  # fmt: skip
    """Tell the tally which labels of a mask are read."""
    faults.tally.read["labels"] += len(kept)
    for index in counts:
        if labels[index] in _VOID:
            faults.leave("labels", "labels that name nothing", f"{name}, {labels[index]!r}")
        elif index not in kept and not is_null(labels[index]):
            faults.leave("labels", "labels on too few pixels", f"{name}, {labels[index]!r}")
    faults.leave("labels", "labels that are void (255 without a name)", name, int(has_void))


def _counts(indices: NDArray[Any]) -> dict[int, int]:
    """Pixels of each index that occurs."""
    if indices.dtype == np.uint8:
        counts = np.bincount(indices.ravel(order="K"))
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    values, numbers = np.unique(indices, return_counts=True)
    return {int(i): int(n) for i, n in zip(values, numbers, strict=True)}
