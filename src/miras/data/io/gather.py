"""Records as annotated photos, for the formats that hold masks but no talk; and what they lose by it.

In: records. Out: `Picture` values, each with its regions, every (photo, words, mask) once; photos put into place.
Masks stay run lengths in memory. Knows no file format.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.photo import read_photo
from miras.core.types import Operator, Rle
from miras.data.io.checks import OnFault
from miras.data.io.left_out import LeftOut
from miras.data.io.places import split_named
from miras.data.io.single import request
from miras.data.photos.carry import Carrier
from miras.data.photos.identity import Names, file_key, told_apart
from miras.data.record import Record

Photos = Literal["copy", "link", "reference"]
JPEG_QUALITY = 95
_JPEG = (".jpg", ".jpeg")
_UNSAFE = re.compile(r"[^\w.,()@+=~-]+")


class Losses(Counter[str]):
    """What the target format cannot hold: a sentence with "{}" for the number -> the number."""

    def lines(self) -> list[str]:
        """ "history of 12 conversations", ..., sorted."""
        return sorted(what.format(count) for what, count in self.items() if count)


HISTORY = "history of {} conversations"
QUESTIONS = "questions of {} conversations"
REFUSALS = "{} refusals"
EDITS = "{} edits (add, cut, undo)"
EMPTY = "{} empty masks"


@dataclass(frozen=True, slots=True)
class Shown:
    """A region as an annotation. ask: what the user said to it; split, meta: of its record."""

    phrase: str
    rle: Rle
    ask: str
    split: str
    meta: dict[str, Any]


@dataclass(slots=True)
class Picture:
    """A photo with its regions. name: what its file is called; size: (H, W); data: the file, where it is embedded.

    key: what tells photos apart; the same in all splits. source, id: of the photograph, see `identity`. apart: the
    folders that tell it from others of that name.
    """

    key: Any
    name: str
    path: Path
    size: tuple[int, int]
    data: bytes | None = None
    shown: list[Shown] = field(default_factory=list)
    source: str = ""
    id: str = ""
    apart: tuple[str, ...] = ()

    def called(self, split: str = "") -> str:
        """A name for its file, without ending; split: what the folder of the file says already."""
        return "-".join((*(part for part in self.apart if not split or split_named(part) != split), self.name))


def gather(
    records: Iterable[Record], lost: Losses, *, questions: bool = False, on_fault: OnFault | None = None
) -> tuple[list[Picture], int]:
    """(photos with at least one region, number of records), in the order of the records.

    One photo: same source, image_id and size, and the same bytes. questions: whether the format holds what the user
    asked. Raises InputError for a record without its photo, unless `on_fault` takes it and it is left out.
    """
    pictures: dict[Any, Picture] = {}
    seen: set[tuple[Any, ...]] = set()
    names = Names()
    count = 0
    for record in records:
        path = Path(record["image"])
        if "image_bytes" not in record and not path.is_file():
            fault = InputError("the photo", f"no file {path}")
            if on_fault is None:
                raise fault
            on_fault(f"record {record['id']}: {fault}")
            continue
        count += 1
        _count_losses(record, lost, questions)
        size, source, data = (record["height"], record["width"]), record["source"], record.get("image_bytes")
        known = names(source, record["image_id"] or record["image"], path, data)
        key = (source, *known, size)
        picture = pictures.get(key)
        if picture is None:
            name = path.stem if known.version or not record["image_id"] else known.id
            picture = pictures[key] = Picture(key, name, path, size, data, source=source, id=known.id)
        for shown in _shown(record):
            if not rle_tools.area({**shown.rle, "counts": shown.rle["counts"].encode("ascii")}):
                lost[EMPTY] += 1
            elif (again := (key, shown.split, shown.phrase, shown.rle["counts"])) not in seen:
                seen.add(again)
                picture.shown.append(shown)
            else:
                LeftOut.of(on_fault).leave("masks", "masks given twice (photo, words and pixels)", record["id"])
    found = [picture for picture in pictures.values() if picture.shown]
    _tell_apart(found)
    return found, count


def _tell_apart(pictures: Sequence[Picture]) -> None:
    """Photos of one file name in several folders get the names of these: "cam1-000001" and "cam2-000001"."""
    same_stem: dict[str, list[Picture]] = {}
    for picture in pictures:
        same_stem.setdefault(picture.path.stem.casefold(), []).append(picture)
    for some in same_stem.values():
        for picture in some if any(picture.name == picture.path.stem for picture in some) else ():
            path, stem = picture.path, picture.path.stem
            other = next((other.path for other in some if other.path.parent != path.parent), path)
            apart = told_apart(path, other)
            if picture.name in (stem, "/".join((*apart, stem))):
                picture.name, picture.apart = stem, apart
            elif picture.name == path.name and len(some) > 1:
                picture.name = f"{stem}-{path.suffix[1:]}"


def _shown(record: Record) -> list[Shown]:
    found: list[Shown] = []
    ask = ""
    for turn in record["turns"]:
        if turn["role"] == "user":
            ask = turn["text"]
        found += [Shown(r["phrase"], dict(r["rle"]), ask, record["split"], record["meta"]) for r in turn["regions"]]
    return found


def _count_losses(record: Record, lost: Losses, questions: bool) -> None:
    turns = record["turns"]
    lost[HISTORY] += len(turns) > 2
    if not questions:
        asked = {turn["text"] for turn in turns if turn["role"] == "user"}
        lost[QUESTIONS] += bool(asked - {request(r["phrase"]) for turn in turns for r in turn["regions"]} and asked)
    for turn in turns:
        marks = [piece["text"] for piece in turn["content"] if piece["type"] == "mark"]
        lost[REFUSALS] += str(Operator.REJECT) in marks
        lost[EDITS] += any(mark != str(Operator.REJECT) for mark in marks)


class Album:
    """Puts photos into folders, each under a name of its own."""

    def __init__(self, mode: Photos, carrier: Carrier | None = None) -> None:
        """mode: "copy", or "link" (hard links; copies where there can be none). carrier: what becomes of metadata; by
        default it is left out of copies."""
        self.mode = mode
        self._carrier = carrier or Carrier()
        self._taken: set[tuple[Path, str]] = set()
        self._placed: dict[tuple[Path, Any], str] = {}

    def put(self, picture: Picture, folder: Path, split: str = "") -> str:
        """Put the photo there, once; returns its file name. split: what the folder says already."""
        key = (folder, picture.key)
        if key not in self._placed:
            self._placed[key] = self.place(picture, folder, self.stem(folder, picture.called(split)))
        return self._placed[key]

    def stem(self, folder: Path, name: str) -> str:
        """A file name without ending that nothing in the folder has; "-2", "-3" are added where needed."""
        plain = _UNSAFE.sub("_", name).strip(".") or "photo"
        stem, number = plain, 1
        while (folder, file_key(stem)) in self._taken:
            number += 1
            stem = f"{plain}-{number}"
        self._taken.add((folder, file_key(stem)))
        return stem

    def place(self, picture: Picture, folder: Path, stem: str) -> str:
        """Put the photo there; returns its file name, with the ending it had."""
        name = stem + (picture.path.suffix.lower() or ".jpg")
        folder.mkdir(parents=True, exist_ok=True)
        if picture.data is not None:
            (folder / name).write_bytes(self._carrier.clean(picture.data))
        elif self.mode == "link":
            self._carrier.link(picture.path, folder / name)
        else:
            self._carrier.copy(picture.path, folder / name)
        return name

    def place_jpeg(self, picture: Picture, folder: Path, stem: str, lost: Losses) -> None:
        """Put the photo there as `stem`.jpg; another kind of image is encoded anew."""
        if picture.path.suffix.lower() in _JPEG:
            placed = self.place(picture, folder, stem)
            (folder / placed).replace(folder / f"{stem}.jpg")
            return
        folder.mkdir(parents=True, exist_ok=True)
        pixels = read_photo(picture.path if picture.data is None else picture.data)
        Image.fromarray(pixels).save(folder / f"{stem}.jpg", quality=JPEG_QUALITY, subsampling=0)
        lost["the exact pixels of {} photos (encoded as JPEG)"] += 1


def by_split(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    """Split -> its photos, each with the regions of this split."""
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        for split in dict.fromkeys(shown.split for shown in picture.shown):
            some = [shown for shown in picture.shown if shown.split == split]
            found.setdefault(split, []).append(replace(picture, shown=some))
    return found
