"""What the formats of annotation tools have in common: photos with labelled masks.

In: `Labelled` photos from a reader. Out: records, or annotated photos for training, in both the label in words as
phrase. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto, Annotation, Rle
from miras.data.io import places
from miras.data.io.checks import OnFault, is_hidden
from miras.data.io.left_out import LeftOut
from miras.data.io.single import id_of, single
from miras.data.language.vocabulary import is_null, looked_for, words
from miras.data.record import Record

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".gif", ".ppm", ".mpo")
"""Endings of photos, in lower case."""
FIGURE = "figure"
"""Key of a record's meta: what a mask was in the file ("polygon", "box", "brush", ...)."""
UNIT = "figures"
"""What is counted as read or left out."""
NO_LABEL, NO_PHOTO = "figures whose label means no label", "figures of photos that cannot be used"
_OTHER_SPLITS = {"training": "train", "testing": "test"}


@dataclass(frozen=True, slots=True)
class Note:
    """A mask with its label as the file has it. meta: what else the file says of it."""

    label: str
    rle: Rle
    meta: dict[str, Any]


@dataclass(slots=True)
class Labelled:
    """A photo with its masks. id: its name in the dataset; size: (H, W); split: one of SPLITS or "".

    vocabulary: labels of the file that were looked for in this photo; empty when that is not known. unsure: labels of
    figures that were left out of this photo: they are not called absent.
    """

    id: str
    path: Path
    size: tuple[int, int]
    split: str
    source: str
    vocabulary: frozenset[str] = frozenset()
    notes: list[Note] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)


class Ids:
    """Names of photos: for each photo the first of several names that no other photo has."""

    def __init__(self) -> None:
        self._owner: dict[str, Path] = {}

    def of(self, path: Path, *names: str) -> str:
        """The name of this photo. Raises InputError when all are another photo's."""
        for name in names:
            if self._owner.setdefault(name, path) == path:
                return name
        raise InputError("a name of its own for each photo", f"{path.name} again ({names[-1]})")


def records(photos: Iterable[Labelled], on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each mask; ids "{source}/{split}/{photo}-{n}", n from 1 in each photo. Photos without a mask are
    counted as left out where `on_fault` is a tally."""
    tally = LeftOut.of(on_fault)
    for photo in photos:
        if not photo.notes:
            tally.leave("photos", "photos without masks", photo.path.name, was_read=True)
        for number, note in enumerate(photo.notes, 1):
            yield single(
                photo.path, photo.size, words(note.label), note.rle, split=photo.split, source=photo.source,
                id=id_of(photo.source, photo.split, f"{photo.id}-{number}"), image_id=photo.id,
                meta={"label": note.label, **note.meta},
            )  # fmt: skip


def annotated(photos: Iterable[Labelled]) -> list[AnnotatedPhoto]:
    """The photos with what is surely absent in each, also those without any mask."""
    return [
        AnnotatedPhoto(
            photo.id, photo.path, photo.size,
            tuple(Annotation(words(note.label), words(note.label), note.rle) for note in photo.notes),
            photo.source,
            looked_for(photo.vocabulary, {words(note.label) for note in photo.notes}, map(words, photo.unsure)),
            split=photo.split,
        )
        for photo in photos
    ]  # fmt: skip


def vocabulary(names: Iterable[str]) -> frozenset[str]:
    """Labels of a file in words, without those that mean none."""
    return frozenset(words(name) for name in names if not is_null(name))


def split_named(name: str) -> str:
    """The split that a tool calls so ("Train", "valid", "Validation", ...), or ""."""
    plain = name.strip().lower()
    return places.split_named(plain) or _OTHER_SPLITS.get(plain, "")


def is_photo(path: Path) -> bool:
    """Whether a file is a photo by its name; hidden ones are none."""
    return path.suffix.lower() in SUFFIXES and not is_hidden(path)


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder and of those in it, sorted. Raises InputError for a folder that cannot be read."""
    try:
        found = sorted(path for path in folder.rglob("*") if is_photo(path))
        return [path for path in found if not any(is_hidden(Path(part)) for part in path.relative_to(folder).parts)]
    except OSError as error:
        raise InputError("a folder of photos", f"{folder} ({error.strerror})") from error


def plain_name(name: str) -> str:
    """A path as a file has it, "/" between its parts."""
    return name.replace("\\", "/")


def without_suffix(name: str) -> str:
    """A path without the ending of a photo."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and stem and f".{ending.lower()}" in SUFFIXES else name
