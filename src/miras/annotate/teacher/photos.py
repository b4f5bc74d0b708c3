"""The photos to annotate: JSON lines in, typed photos out, and which of their masks a phrase means.

In: a JSONL file, one photo a line: {"id", "image", "caption"?, "annotations"?: [{"phrase", "label"?, "rle"?}]}, with
`image` relative to the file's folder and `rle` in COCO's form. Out: `Photo` values, one after the other, so
that a file of any size can be read; faults by line. Knows no teacher and no step.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miras.annotate.teacher.schemas import normal
from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle, union
from miras.core.text import decoded, opened
from miras.core.types import Mask, Rle
from miras.data.io.checks import Faults, OnFault, field, photo_size, same_size

_KEYS = frozenset({"id", "image", "caption", "annotations"})


@dataclass(frozen=True, slots=True)
class Known:
    """Something known to be in a photo. label: its class, "" when not given. rle: its mask, None when there is none."""

    phrase: str
    label: str = ""
    rle: Rle | None = None


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo to annotate. image: absolute path. size: (H, W). digest: SHA-256 of the file."""

    id: str
    image: Path
    size: tuple[int, int]
    digest: str
    caption: str = ""
    known: tuple[Known, ...] = ()


def read_photos(path: Path, on_fault: OnFault | None = None) -> Iterator[Photo]:
    """The photos in the order of the file, read as they are asked for.

    Raises InputError when the file cannot be opened; faulty lines are named together at the end, or go to
    `on_fault` one by one and are left out. A photo's id may appear only once.
    """
    faults = Faults(path, on_fault)
    seen: dict[str, int] = {}
    try:
        lines = opened(path)
    except OSError as error:
        raise InputError("a JSONL file of photos", f"{path} ({error.strerror})") from error
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            photo = None
            with faults.of(f"line {number}", "lines"):
                read = _photo(line, path.resolve().parent)
                if read.id in seen:
                    raise InputError("each id once", f"{read.id!r} again, first in line {seen[read.id]}")
                seen[read.id] = number
                photo = read
            if photo is not None:
                yield photo
    faults.finish()


def _photo(line: bytes, folder: Path) -> Photo:
    try:
        record = json.loads(decoded(line, "a line"))
    except (ValueError, RecursionError) as error:
        raise InputError("a JSON object in UTF-8", str(error)) from error
    name, image = field(record, "id", str), field(record, "image", str)
    if unknown := set(record) - _KEYS:
        raise InputError(f"the keys {', '.join(sorted(_KEYS))}", f"{', '.join(sorted(map(str, unknown)))} too")
    if not name.strip():
        raise InputError("an id", "an empty one")
    path = Path(os.path.normpath(folder / image))
    size = photo_size(path)
    caption = field(record, "caption", str) if record.get("caption") is not None else ""
    notes = field(record, "annotations", list) if record.get("annotations") is not None else []
    known = tuple(_known(note, index, size) for index, note in enumerate(notes))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Photo(name, path, size, digest, " ".join(caption.split()), known)


def _known(note: Any, index: int, size: tuple[int, int]) -> Known:
    try:
        phrase = field(note, "phrase", str)
        label = field(note, "label", str) if note.get("label") is not None else ""
        if not normal(phrase):
            raise InputError("a phrase", repr(phrase))
        if note.get("rle") is None:
            return Known(phrase, label)
        mask = decode_rle(field(note, "rle", dict))
        same_size("a mask", size, (mask.shape[0], mask.shape[1]))
        return Known(phrase, label, encode_rle(mask))
    except InputError as error:
        raise InputError(error.expected, f"{error.got} in annotation {index}", error.cure) from error


def mask_of(known: Sequence[Known], names: Sequence[str], number: int | None = None) -> Mask | None:
    """The mask that one of the names means, exactly after normalisation, never by a part of a word; else None.

    The first name that any annotation has decides. Its one mask is taken, or the union of several when the
    name is said to mean just so many (number); otherwise it is not clear which is meant, and there is none.
    """
    for name in names:
        wanted = normal(name)
        found = [item for item in known if wanted in (normal(item.phrase), normal(item.label))]
        if not found:
            continue
        masks = [decode_rle(item.rle) for item in found if item.rle is not None]
        if len(masks) < len(found) or (len(masks) > 1 and len(masks) != number):
            return None
        whole = union(*masks)
        return whole if whole.any() else None
    return None


def phrases(photo: Photo) -> list[str]:
    """The phrases that have a mask, each once, in order."""
    return list(dict.fromkeys(item.phrase for item in photo.known if item.rle is not None))


def notes(photo: Photo) -> str:
    """What is known of a photo in words, for a teacher that sees none: a line for each annotation."""
    lines = [f"The photo is {photo.size[1]} pixels wide and {photo.size[0]} high."]
    lines += [f"People say about it: {photo.caption}"] if photo.caption else []
    lines += [f"- {item.phrase}{_place(item)}" for item in photo.known]
    return "\n".join(lines) if len(lines) > 1 else ""


def _place(item: Known) -> str:
    if item.rle is None:
        return ""
    mask = decode_rle(item.rle)
    if not mask.any():
        return ""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    up = ("top", "middle", "bottom")[min(int(rows.mean() * 3 / height), 2)]
    side = ("left", "centre", "right")[min(int(columns.mean() * 3 / width), 2)]
    return f" ({up} {side}, {100 * len(rows) / mask.size:.1f}% of the photo)"
