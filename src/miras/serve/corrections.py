"""What people corrected, as training data: photos with masks in LabelMe's form, as `miras train own --data` takes them.

In: rows of conversations. Out: files. A region counts when its mask was changed by hand and stands so now, or when its
name was taken from the alternatives; what was pointed at and never named has no words to learn. Knows no HTTP.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from miras.chat.export import Item, labelme_document
from miras.chat.session import POINTED
from miras.core.masks import decode_rle
from miras.core.types import Mask
from miras.serve.database import Row
from miras.serve.problems import Problem

Json = dict[str, Any]
SAME = 0.5
"""IoU from which two masks of one name on one photo are the same thing: the later one counts."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A region as a person left it. how: "mask", "name", or "mask, name". at: time of its last turn."""

    phrase: str
    mask: Mask
    how: str
    at: float


def corrections(turns: Sequence[Row]) -> list[Correction]:
    """Of one conversation, by region. turns: its rows, oldest first."""
    hows: dict[int, set[str]] = defaultdict(set)
    now: dict[int, tuple[Json, float]] = {}
    for row in turns:
        reply = json.loads(row["reply"])
        record = json.loads(row["record"]) if row["record"] else {}
        for region in reply["regions"]:
            if region["again"]:
                continue
            now[region["id"]] = (region, row["created"])
            if reply["kind"] != "exchange":
                hows[region["id"]].add("mask")
            if region["id"] in record.get("taken", ()):
                hows[region["id"]].add("name")
    found = []
    for number, how in hows.items():
        region, at = now[number]
        phrase, mask = " ".join(region["phrase"].split()), decode_rle(region["rle"])
        if phrase and phrase != POINTED and mask.any():
            found.append(Correction(phrase, mask, ", ".join(sorted(how)), at))
    return found


def latest(found: Iterable[Correction]) -> list[Correction]:
    """Of corrections of one photo those that no later one replaces."""
    kept: list[Correction] = []
    for one in sorted(found, key=lambda each: -each.at):
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return kept[::-1]


def _same(one: Correction, other: Correction) -> bool:
    if one.phrase.lower() != other.phrase.lower() or one.mask.shape != other.mask.shape:
        return False
    both = np.count_nonzero(one.mask & other.mask)
    return bool(both >= SAME * np.count_nonzero(one.mask | other.mask))


def files(
    conversations: Iterable[tuple[Row, Sequence[Row]]], read: Callable[[Row], bytes]
) -> Iterator[tuple[str, bytes]]:
    """(name, content): each photo with corrections, and LabelMe's JSON beside it.

    conversations: (row of the photo, rows of the turns). read: gives a photo's file. Raises the problem `conflict` when
    nothing was corrected.
    """
    photos: dict[str, Row] = {}
    by_photo: dict[str, list[Correction]] = defaultdict(list)
    for photo, turns in conversations:
        if found := corrections(turns):
            photos[photo["id"]] = photo
            by_photo[photo["id"]] += found
    if not photos:
        cure = "refine a region, or take another name for it, first"
        raise Problem("conflict", "something that was corrected by hand", "nothing", cure)
    for name, photo in photos.items():
        stem = f"{_plain(photo['name'])}-{name.removeprefix('p_')}"
        image = f"{stem}.{photo['suffix']}"
        last = latest(by_photo[name])
        document = labelme_document(
            [Item(one.phrase, one.mask) for one in last], (photo["height"], photo["width"]), image
        )
        for shape in document["shapes"]:
            shape["description"] = f"corrected: {last[shape['group_id'] - 1].how}"
        yield image, read(photo)
        yield f"{stem}.json", (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def _plain(name: str) -> str:
    """A photo's name as part of a file's: what the person called it is no path."""
    return re.sub(r"[^A-Za-z0-9]+", "-", PurePosixPath(name).stem).strip("-")[:40] or "photo"
