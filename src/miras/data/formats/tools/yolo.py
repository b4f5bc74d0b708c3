"""YOLO for segmentation: `data.yaml`, photos in `images/`, and in `labels/` a text file a photo, an outline a line.

In: the YAML or its folder; `classes.txt` beside `images/` and `labels/` does as well. Out: a `Labelled` photo for
each photo of the splits. A line is a class and the corners of one outline as shares of width and height; where the
outline crosses or touches itself, as those do that bridge parts and holes, the even-odd rule holds. A line with four
numbers is a box and no mask: counted. An empty label file says that the photo shows none of the classes, a missing one
says nothing. Source: docs.ultralytics.com, "Instance Segmentation Datasets Overview".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.data.formats.tools import figures
from miras.data.formats.tools.labelled import (
    FIGURE,
    NO_LABEL,
    NO_PHOTO,
    Ids,
    Labelled,
    Note,
    records,
    vocabulary,
    without_suffix,
)
from miras.data.formats.tools.yolo_files import Dataset, Listed, label_file, lines_of, opened
from miras.data.io.checks import Faults, OnFault, photo_size
from miras.data.io.left_out import Omitted
from miras.data.language.vocabulary import is_null
from miras.data.record import Record

UNIT = "lines"
BOXES = "boxes (no masks)"
UNLABELLED = "photos without a label file"
_OVER = 0.01
"""By how much a share may lie outside 0..1: what rounding does at the border."""
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each outline. Raises InputError as `photos` does."""
    return records(photos(path, on_fault), on_fault)


def photos(path: Path, on_fault: OnFault | None = None) -> Iterator[Labelled]:
    """The photos with their masks, split by split, sorted by name.

    A photo or line that is faulty is left out and told to `on_fault`; without it all faults raise InputError after the
    last photo. What is no mask is counted. Raises InputError for a YAML without names or photos, and at the end for a
    dataset of boxes alone.
    """
    dataset = opened(path)
    faults = Faults(dataset.file, on_fault)
    listed = list(dataset.photos(faults))
    reader = _Reader(dataset, faults, Counter(label_file(each.path) for each in listed))
    for each in listed:
        yield from reader.photo(each)
    for file in dataset.label_files():
        with faults.of(file.name, "files", apart=True):
            reader.stranger(file)
    faults.finish()
    if not reader.masks and reader.boxes:
        cure = "boxes are no masks; a dataset for segmentation has outlines"
        raise InputError(f"outlines in the label files of {dataset.file}", f"{reader.boxes} boxes alone", cure)


class _Reader:
    """Reads the photos of one dataset. labels: how many photos each label file has; masks, boxes: how many were met."""

    def __init__(self, dataset: Dataset, faults: Faults, labels: Counter[Path]) -> None:
        self._dataset, self._faults, self._labels = dataset, faults, labels
        self._vocabulary = vocabulary(dataset.names.values())
        self._source = dataset.file.parent.resolve().name
        self._ids = Ids()
        self.masks = self.boxes = 0

    def photo(self, listed: Listed) -> Iterator[Labelled]:
        """The photo, with or without objects, where it can be used."""
        path, file = listed.path, label_file(listed.path)
        name = path.name
        with self._faults.of(name, "photos"):
            if self._labels[file] > 1:
                got = f"{self._labels[file]}, {name} among them, for {file.name}"
                raise InputError("one photo for a label file", got, "give each photo a name of its own")
            try:
                size = photo_size(path)
                own = without_suffix(path.relative_to(listed.folder).as_posix())
                whole = path.as_posix()
                id = self._ids.of(path, own, f"{listed.split}/{own}", without_suffix(whole), whole)
            except InputError:
                self._faults.leave(UNIT, NO_PHOTO, file.name, len(lines_of(file)))
                raise
            photo = Labelled(id, path, size, listed.split, self._source)
            if file.is_file():
                photo.vocabulary = self._vocabulary
                self._fill(photo, file)
            else:
                self._faults.leave("label files", UNLABELLED, name)
            yield photo

    def stranger(self, file: Path) -> None:
        """Raises InputError for a label file that no photo has, or more than one."""
        if self._labels[file] == 1:
            return
        lines = lines_of(file)
        if lines and lines[0][1].split()[0].isdecimal():
            self._faults.leave(UNIT, NO_PHOTO, file.name, len(lines))
            if not self._labels[file]:
                raise InputError("the photo of this label file", "none")

    def _fill(self, photo: Labelled, file: Path) -> None:
        for number, text in lines_of(file):
            with self._faults.of(f"{file.name}, line {number}", UNIT):
                label = self._label(text)
                try:
                    self._add(photo, label, text)
                except (InputError, Omitted):
                    photo.unsure.add(label)
                    raise

    def _label(self, text: str) -> str:
        key = figures.whole(text.split()[0], "a class")
        if key not in self._dataset.names:
            raise InputError(f"a class of 0 to {max(self._dataset.names)}", str(key))
        return self._dataset.names[key]

    def _add(self, photo: Labelled, label: str, text: str) -> None:
        shares = [figures.number(word, "a share") for word in text.split()[1:]]
        if any(not -_OVER <= share <= 1 + _OVER for share in shares):
            raise InputError("shares of width and height from 0 to 1", f"{text!r:.40}", "are these pixels?")
        if is_null(label):
            raise Omitted(NO_LABEL)
        if len(shares) == 4:
            self.boxes += 1
            raise Omitted(BOXES)
        if len(shares) % 2:
            raise InputError("a class and pairs of x and y", f"{len(shares)} numbers after the class")
        height, width = photo.size
        corners: list[Any] = [(x * width, y * height) for x, y in zip(shares[::2], shares[1::2], strict=True)]
        mask = figures.polygon(figures.ring(corners), photo.size)
        photo.notes.append(Note(label, encode_rle(mask), {FIGURE: "polygon"}))
        self.masks += 1
