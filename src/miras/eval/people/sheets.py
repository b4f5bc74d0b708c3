"""The sheets of a study: for each rater an empty CSV, which `miras serve --rate` fills, and what is shown, as JSON.

In: a `Design`. Out: `sheets/rater_01.csv`, `sheets/rater_01.json`, ... for the raters, `sheets/pictures` for all of
them, and `key.json` apart from them. Pictures are named by their content alone. Knows no figure; whose a conversation
is stands in no sheet.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.masks import decode_rle, resize_mask
from miras.core.photo import read_photo
from miras.core.types import Region, Rle
from miras.eval.people.design import KEY, Card, Design
from miras.eval.people.questions import questions_of
from miras.eval.rating.sheets import COLUMNS
from miras.eval.rating.transcripts import Transcript, changes, meant_by
from miras.eval.runs import summary

SHEETS, PICTURES = "sheets", "pictures"
SHOWN = 1
"""Version of the JSON that says what a rater sees."""
SIDE, QUALITY = 640, 80
"""Longer side of a picture in pixels, and its JPEG quality."""


class Pictures:
    """The pictures of a study as files, each once, named by what is in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[tuple[str, str], str] = {}

    def name(self, photo: str, rle: Rle | None) -> str:
        """Of a photo, with a selection outlined where there is one. Raises InputError for a bad photo."""
        facts = (photo, json.dumps(rle) if rle else "")
        if facts not in self._names:
            content = _drawn(*facts)
            name = f"{PICTURES}/{hashlib.blake2b(content, digest_size=10).hexdigest()}.jpg"
            write_whole(self.folder / name, content)
            self._names[facts] = name
        return self._names[facts]


def write_sheets(plan: Design, out: Path) -> list[Path]:
    """The key and the raters' files, in a new or empty folder. Returns their paths, the key first.

    Raises InputError for a folder that holds something (answers are never written over), or a photo that cannot be
    read.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("a new or empty folder for the study", str(out), "answers are never written over")
    pictures = Pictures(out / SHEETS)
    shown = {rater: [card_of(plan, card, pictures) for card in cards] for rater, cards in plan.raters.items()}
    summary.write_json(out / KEY, plan.key())
    written = [out / KEY]
    for rater, cards in shown.items():
        about = {"version": SHOWN, "study": plan.study, "kind": plan.kind, "rater": rater, "cards": cards}
        text = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
        written.append(write_whole(out / SHEETS / f"rater_{rater}.csv", empty_csv(plan, rater).encode()))
        written.append(write_whole(out / SHEETS / f"rater_{rater}.json", text.encode("utf-8", "replace")))
    return written


def empty_csv(plan: Design, rater: str) -> str:
    """The rater's sheet with a line for each card and question, scores blank."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(COLUMNS)
    for card in plan.raters[rater]:
        writer.writerows((card.id, question.name, "", rater) for question in questions_of(plan.kind))
    return lines.getvalue()


def card_of(plan: Design, card: Card, pictures: Pictures) -> dict[str, Any]:
    """What a rater sees at one place: the photo, and each message with what each system answered."""
    transcripts = [plan.transcripts[code, card.record] for code in card.shown]
    photo = pictures.name(transcripts[0].rows[0].image, None)
    return {"id": card.id, "photo": photo, "turns": list(_turns(transcripts, pictures))}


def _turns(transcripts: Sequence[Transcript], pictures: Pictures) -> Iterator[dict[str, Any]]:
    """One of each message: what was said, what was meant, what each system answered, from left to right."""
    drawn = [{row.turn for row in transcript.drawn} for transcript in transcripts]
    for exchange in zip(*(changes(transcript.rows) for transcript in transcripts), strict=True):
        row = exchange[0][0]
        answers = []
        for place, (own, changed) in enumerate(exchange):
            picture, note = None, ""
            if not own.has_mask:
                note = "Nothing is selected."
            elif not changed:
                note = "The selection stays as it was."
            elif own.turn not in drawn[place]:
                note = "The selection changes; not shown, a later one is."
            else:
                picture = pictures.name(own.image, own.rle)
            side = ("left", "right")[place] if len(transcripts) > 1 else ""
            answers.append({"side": side, "text": " ".join(own.text.split()), "picture": picture, "note": note})
        yield {"user": " ".join(row.user.split()), "meant": meant_by(row) or "", "answers": answers}


@lru_cache(maxsize=8)
def _small(photo: str) -> NDArray[np.uint8]:
    picture = Image.fromarray(read_photo(Path(photo)))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _drawn(photo: str, rle: str) -> bytes:
    """A photo as JPEG; rle: JSON, "" for the photo alone."""
    pixels = _small(photo)
    if rle:
        from miras.chat.render import overlay

        mask = resize_mask(decode_rle(json.loads(rle)), pixels.shape[:2])
        pixels = overlay(pixels, [Region(1, "", mask, 1)], labels=False)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def facts(plan: Design, written: Sequence[Path]) -> dict[str, Any]:
    """What was made, as the command tells it: cards by role and rater, what was left out, which checks are missing."""
    by_rater = {rater: {role: sum(card.role == role for card in cards) for role in ("item", "repeat", "check")}
                for rater, cards in plan.raters.items()}  # fmt: skip
    return {
        "study": plan.study, "kind": plan.kind, **plan.settings, "systems": list(plan.systems),
        "questions": [question.name for question in questions_of(plan.kind)], "cards": by_rater,
        "checks_missing": sum(plan.settings["checks"] - roles["check"] for roles in by_rater.values()),
        "left_out": list(plan.left_out), "files": [str(file) for file in written],
    }  # fmt: skip
