"""`index.html`: what was found in each photo, at a glance, what a person should check first.

In: photos with their parts and small pictures. Out: pages, each one self-contained file. First answers without a mask,
then refusals, then what the model itself is unsure of, then the rest; in each group the least sure before the others.
Only the order is held in memory. Knows no session.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from miras.core.files import whole
from miras.core.pages import template
from miras.predict.job import Folder
from miras.predict.outputs import FAILURES, Part, mask_file, valid
from miras.predict.photos import Photo
from miras.predict.questions import Messages

PAGE = 400
"""Answers on a page, some 6 MB."""
SHOWN_FAILURES = 20
GROUPS = ("no mask", "refused", "unsure", "others")


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """An answer by how much it is to be checked: group, then how sure (0 to 1), then the place of its photo."""

    group: int
    sure: float
    photo: int
    place: int


def row_of(answer: dict[str, Any], photo: int, place: int) -> Row:
    """photo, place: which answer it is."""
    if answer["refused"] or answer["selection"] is None:
        return Row(1 if answer["refused"] else 0, answer["certainty"] or 0.0, photo, place)
    return Row(2 if answer["unsure"] else 3, answer["score"] or 0.0, photo, place)


def rows_of(parts: Iterable[tuple[int, Part]]) -> list[Row]:
    """The answers of all photos (number, part), what is to be checked first of all first."""
    return sorted(row_of(a, photo, place) for photo, part in parts for place, a in enumerate(part["answers"]))


def write_sheet(
    folder: Folder, photos: Sequence[Photo], questions: Sequence[Messages], failures: Sequence[dict[str, Any]],
    failed: int, pngs: bool,
) -> list[Path]:  # fmt: skip
    """The pages. failures: the first of them; failed: how many there are. pngs: whether masks are written as PNG."""
    numbered = ((n, part) for n, photo in enumerate(photos) if (part := folder.answered(photo)) is not None)
    rows = rows_of(numbered)
    pages = [rows[start : start + PAGE] for start in range(0, len(rows), PAGE)] or [[]]
    sheet = template("miras.predict", "sheet.html")
    counts = {name: sum(row.group == group for row in rows) for group, name in enumerate(GROUPS)}
    written = []
    for number, page in enumerate(pages, 1):
        path = folder.path / _name(number)
        cards = _cards(folder, photos, page, questions, pngs)
        about = {
            "photos": len(photos), "answers": len(rows), "counts": counts, "questions": questions,
            "failures": [{**line, "photo": valid(str(line["photo"]))} for line in failures[:SHOWN_FAILURES]],
            "failed": failed, "failures_file": FAILURES, "number": number,
            "pages": [_name(other) for other in range(1, len(pages) + 1)],
        }  # fmt: skip
        with whole(path) as staging, staging.open("w", encoding="utf-8") as file:
            file.writelines(sheet.generate(cards=cards, **about))
        written.append(path)
    for stale in folder.path.glob("index-*.html"):
        if stale not in written:
            stale.unlink()
    return written


def _name(number: int) -> str:
    return "index.html" if number == 1 else f"index-{number}.html"


def _cards(
    folder: Folder, photos: Sequence[Photo], rows: Sequence[Row], questions: Sequence[Messages], pngs: bool
) -> Iterator[dict[str, Any]]:
    """What the template shows of each answer, one at a time."""
    for row in rows:
        photo = photos[row.photo]
        part = folder.answered(photo)
        if part is None:
            continue
        answer = part["answers"][row.place]
        mask = mask_file(Path(), photo, answer["question"], len(questions) > 1).as_posix()
        yield {
            "name": valid(photo.file), "group": GROUPS[row.group], "score": answer["score"], "label": answer["label"],
            "turns": list(zip(questions[answer["question"] - 1], answer["told"], strict=True)),
            "picture": _picture(folder.thumbnail(photo, answer["question"])),
            "photo": _link(os.path.relpath(photo.path, folder.path)),
            "mask": quote(mask) if pngs and answer["selection"] is not None else "",
        }  # fmt: skip


def _link(path: str) -> str:
    return quote(os.fsencode(Path(path).as_posix()))


def _picture(path: Path) -> str:
    try:
        return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except OSError:
        return ""
