"""The sheets of a study: one HTML page for each rater, complete in itself, and an empty CSV beside it.

In: a `Design`. Out: `sheets/rater_01.html`, `sheets/rater_01.csv`, ... for the raters, and `key.json` apart from them.
A page loads nothing from anywhere: photos are data URLs, what people and models say is escaped, and its own script is
the only one that may run. Knows no figure; whose a conversation is stands in no page.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.llm.completions import data_url
from miras.core.masks import decode_rle, resize_mask
from miras.core.photo import read_photo
from miras.core.types import Region, Rle
from miras.eval.people.design import KEY, Card, Design
from miras.eval.people.questions import SIDES, Question, questions_of
from miras.eval.rating.sheets import COLUMNS
from miras.eval.rating.transcripts import Transcript, changes, meant_by
from miras.eval.runs import summary

SHEETS = "sheets"
SIDE, QUALITY = 640, 80
"""Longer side of a picture in pixels, and its JPEG quality."""
KEYS = {"left": "\u2190", "equal": "\u2193", "right": "\u2192", "yes": "y", "no": "n"}
"""Answer -> the key that gives it; numbers are their own."""


class Pictures:
    """The pictures of one page, each once. `urls`: data URLs in the order first asked for."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self._places: dict[tuple[str, str], int] = {}

    def place(self, photo: str, rle: Rle | None) -> int:
        """The number of a photo, with a selection outlined where there is one. Raises InputError for a bad photo."""
        facts = (photo, str(rle["counts"]) if rle else "")
        if facts not in self._places:
            self._places[facts] = len(self.urls)
            self.urls.append(_drawn(photo, json.dumps(rle) if rle else ""))
        return self._places[facts]


def write_sheets(plan: Design, out: Path) -> list[Path]:
    """The key and the raters' files, in a new or empty folder. Returns their paths, the key first.

    Raises InputError for a folder that holds something (answers are never written over), or a photo that cannot be
    read.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("a new or empty folder for the study", str(out), "answers are never written over")
    pages = {rater: page(plan, rater, cards) for rater, cards in plan.raters.items()}
    summary.write_json(out / KEY, plan.key())
    written = [out / KEY]
    for rater, text in pages.items():
        written.append(_write(out / SHEETS / f"rater_{rater}.html", text))
        written.append(_write(out / SHEETS / f"rater_{rater}.csv", empty_csv(plan, rater)))
    return written


def empty_csv(plan: Design, rater: str) -> str:
    """The rater's sheet with a line for each card and question, scores blank."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(COLUMNS)
    for card in plan.raters[rater]:
        writer.writerows((card.id, question.name, "", rater) for question in questions_of(plan.kind))
    return lines.getvalue()


def page(plan: Design, rater: str, cards: Sequence[Card]) -> str:
    """The whole page of one rater, HTML."""
    pictures = Pictures()
    questions = questions_of(plan.kind)
    bodies = [_card(plan, card, number, len(cards), questions, pictures) for number, card in enumerate(cards, 1)]
    about = {"study": plan.study, "rater": rater, "columns": COLUMNS, "keys": KEYS, "pictures": pictures.urls}
    script = _template("people.js")
    parts = {
        "SCRIPT_HASH": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "RATER": escape(rater), "COUNT": str(len(cards)), "KIND": plan.kind, "STYLE": _template("people.css"),
        "INTRO": _intro(plan.kind, questions), "CARDS": "\n".join(bodies), "SCRIPT": script,
        "DATA": json.dumps(about).replace("<", "\\u003c"),
    }  # fmt: skip
    pieces = _template("people.html").split("@@")
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _card(plan: Design, card: Card, number: int, count: int, questions: Sequence[Question], pictures: Pictures) -> str:
    transcripts = [plan.transcripts[code, card.record] for code in card.shown]
    photo = pictures.place(transcripts[0].rows[0].image, None)
    turns = "\n".join(_turns(transcripts, pictures))
    asked = "\n".join(_question(card.id, question) for question in questions)
    return (
        f'<section class="card" data-card="{card.id}" aria-labelledby="h-{card.id}" hidden>\n'
        f'<h2 id="h-{card.id}" tabindex="-1">Conversation {number} of {count}</h2>\n'
        f'<div class="talk"><figure class="photo">{_img(photo, "The photo")}<figcaption>the photo</figcaption>'
        "</figure>\n"
        f'{turns}\n</div>\n<form class="questions">\n{asked}\n</form>\n</section>'
    )


def _turns(transcripts: Sequence[Transcript], pictures: Pictures) -> Iterator[str]:
    """A block for each message: what was said, what was meant, what each system answered."""
    drawn = [{row.turn for row in transcript.drawn} for transcript in transcripts]
    for exchange in zip(*(changes(transcript.rows) for transcript in transcripts), strict=True):
        row = exchange[0][0]
        meant = meant_by(row)
        answers = []
        for place, (own, changed) in enumerate(exchange):
            side = ("Left", "Right")[place] if len(transcripts) > 1 else ""
            if not own.has_mask:
                seen = '<p class="none">Nothing is selected.</p>'
            elif not changed:
                seen = '<p class="none">The selection stays as it was.</p>'
            elif own.turn not in drawn[place]:
                seen = '<p class="none">The selection changes; not shown, a later one is.</p>'
            else:
                what = f"The photo with what is selected after reply {own.turn} tinted {side.lower()}".strip()
                picture = _img(pictures.place(own.image, own.rle), what)
                seen = f"<figure>{picture}</figure>"
            said = escape(" ".join(own.text.split())) or "<em>(no answer)</em>"
            head = f"<h3>{side}</h3>" if side else ""
            answers.append(f'<div class="answer">{head}<p class="reply">{said}</p>{seen}</div>')
        note = f'<p class="meant">meant: {escape(meant)}</p>' if meant else ""
        user = escape(" ".join(row.user.split()))
        yield (
            f'<div class="turn"><p class="user"><span>{row.turn}. Person</span> {user}</p>'
            f'{note}<div class="answers">{"".join(answers)}</div></div>'
        )


def _question(card: str, question: Question) -> str:
    anchors = dict(question.anchors)
    answers = "".join(
        f'<label><input type="radio" name="{card} {question.name}" value="{answer}"><b>{answer}</b>'
        + (f"<span>{escape(anchors[answer])}</span>" if answer in anchors else "")
        + (f'<kbd aria-hidden="true">{KEYS[answer]}</kbd>' if answer in KEYS else "") + "</label>"
        for answer in (reversed(question.answers) if question.is_scale else question.answers)
    )  # fmt: skip
    note = f'<p class="note">{escape(question.note)}</p>' if question.note else ""
    kind = "scale" if question.anchors else "sides" if question.answers == SIDES else "choice"
    return (
        f'<fieldset class="{kind}" data-question="{question.name}"><legend><b>{question.name}</b> '
        f"{escape(question.text)}</legend>{answers}{note}</fieldset>"
    )


def _intro(kind: str, questions: Sequence[Question]) -> str:
    names = ", ".join(f"<b>{question.name}</b>" for question in questions)
    if kind == "pairwise":
        what = (
            "Two assistants got the same messages about the same photograph. Their answers stand left and right; the "
            "sides are by chance and tell nothing. Say for each question which is better; <b>equal</b> is an answer."
        )
        keys = "<kbd>\u2190</kbd> left, <kbd>\u2192</kbd> right, <kbd>\u2193</kbd> equal"
    else:
        what = (
            "An assistant answered messages about a photograph. Take for each question the description that fits best; "
            "where two fit, the lower one. Use the whole scale, and let one question not decide another."
        )
        keys = "<kbd>1</kbd> to <kbd>5</kbd>, <kbd>y</kbd> and <kbd>n</kbd>"
    return (
        f"<p>{what}</p><p>What is selected is tinted and outlined, the rest is darker. <i>Meant</i> is what the author "
        "of the conversation noted; the assistant was not told. Longer replies are not better, neither are politer "
        f"ones. Questions: {names}.</p><p>Keys: {keys}; the next open question follows by itself. <kbd>PgDn</kbd> and "
        "<kbd>PgUp</kbd> go on and back.</p>"
    )


def _img(place: int, words: str) -> str:
    return f'<img data-picture="{place}" alt="{escape(words)}">'


@lru_cache(maxsize=8)
def _small(photo: str) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(read_photo(Path(photo)))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)


@lru_cache(maxsize=512)
def _drawn(photo: str, rle: str) -> str:
    """A photo as a data URL; rle: JSON, "" for the photo alone."""
    pixels = _small(photo)
    if rle:
        from miras.chat.render import overlay

        mask = resize_mask(decode_rle(json.loads(rle)), pixels.shape[:2])
        pixels = overlay(pixels, [Region(1, "", mask, 1)], labels=False)
    return data_url(pixels, SIDE, QUALITY)


def _template(name: str) -> str:
    return files("miras.eval.people").joinpath("templates", name).read_text(encoding="utf-8")


def _write(file: Path, text: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"to write {file}", error.strerror or str(error), "free room or give another --out") from error
    return file


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
