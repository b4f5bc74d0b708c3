"""InstructPart as files: one photo, one mask and six instructions for each part.

In: photos with regions. Out: the official layout, in the folder or in one for each split:
`data_{split}.json`, `images/{photo}-{object}-{part}.jpg`, `masks/` of the same stems (0 and 255). A part that came
from InstructPart keeps its six instructions; for another region the user's words stand four times, the
phrase twice, and "handle of the cup" is the part "handle" of the object "cup".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miras.core.masks import decode_rle
from miras.data.formats.instructpart import INSTRUCTIONS, PHRASE
from miras.data.io.gather import Album, Losses, Picture, Shown, by_split
from miras.data.photos.identity import file_key

WHOLE = "whole"
"""The part of a region that is no part."""
_OF = re.compile(r"^(.+?) (?:of|on) (?:the )?(.+)$")


def write(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """Returns the number of regions. A second mask of the same photo, object and part is left out and counted."""
    regions = 0
    for split, some in by_split(pictures).items():
        folder = out / split
        (folder / "masks").mkdir(parents=True)
        records: list[dict[str, Any]] = []
        taken: set[str] = set()
        for picture in some:
            parts = [_part(shown, lost) for shown in picture.shown]
            photo = _photo(picture, split, parts, folder / "photos", album, taken)
            mine: set[str] = set()
            for shown, part in zip(picture.shown, parts, strict=True):
                stem = _stem(photo, part)
                if file_key(stem) in mine:
                    lost["{} masks beside another of the same object and part"] += 1
                    continue
                mine.add(file_key(stem))
                album.place_jpeg(picture, folder / "images", stem, lost)
                pixels = decode_rle(shown.rle).astype(np.uint8) * np.uint8(255)
                Image.fromarray(pixels).save(folder / "masks" / f"{stem}.png")
                records.append({"image_path": f"{photo}.jpg", "part_list": [part]})
            taken |= mine
        name = f"data_{split}.json" if split else "data_all.json"
        (folder / name).write_text(json.dumps(records, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        regions += len(records)
    return regions


def _photo(
    picture: Picture, split: str, parts: Sequence[dict[str, Any]], folder: Path, album: Album, taken: set[str]
) -> str:  # fmt: skip
    """A name for a photo of which no file is called like one of another: "cup-lid" of "a" beside "lid" of "a-cup"."""
    while True:
        photo = album.stem(folder, picture.called(split))
        if taken.isdisjoint(file_key(_stem(photo, part)) for part in parts):
            return photo


def _stem(photo: str, part: dict[str, Any]) -> str:
    """What the files of a part are called."""
    return f"{photo}-{part['object']}-{part['part']}".replace(" ", "_")


def _part(shown: Shown, lost: Losses) -> dict[str, Any]:
    """One entry of a part list."""
    told = shown.meta.get("instructpart")
    told = told if isinstance(told, dict) else {}
    thing, part = told.get("object"), told.get("part")
    if not (isinstance(thing, str) and isinstance(part, str) and thing and part):
        found = _OF.match(shown.phrase)
        lost["that {} regions are no part of something"] += found is None
        part, thing = (found[1], found[2]) if found else (WHOLE, shown.phrase)
    instructions: Any = shown.meta.get("instructions")
    if not _six(instructions) or instructions[PHRASE] != shown.phrase:
        instructions = [shown.ask] * PHRASE + [shown.phrase] * (INSTRUCTIONS - PHRASE)
    return {
        "object": _plain(thing), "part": _plain(part), "affordance": told.get("affordance", ""),
        "action": told.get("action", ""), "instruction": instructions,
    }  # fmt: skip


def _six(value: Any) -> bool:
    return isinstance(value, list) and len(value) == INSTRUCTIONS and all(isinstance(s, str) and s for s in value)


def _plain(words: str) -> str:
    """Words that may stand in a file name."""
    return re.sub(r'[/\\:*?"<>|]+|\.\.+', "-", words)
