"""The answers about one photo, as plain values.

In: a session and conversations. Out: for each conversation, held in a fork of the session, its turns, what is selected
at its end and how sure that is; a small picture of it. The photo is encoded once, and what stands before every turn is
read once for all conversations. Knows no file but the photo.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from miras.chat.backend import ReadsAhead
from miras.chat.render import heart, overlay, shown
from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.errors import MirasError
from miras.core.masks import area, box_of, encode_rle, resize_mask
from miras.core.selection import signs
from miras.core.types import Mask, Operator, Region, Selection
from miras.data.record import turn_record
from miras.predict.questions import Messages

SIDE, QUALITY = 288, 72
"""Longer side of a small picture in pixels, and its JPEG quality."""


def answers(
    session: ChatSession, questions: Sequence[Messages]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[int, bytes]]:
    """(answers, failures, small pictures by the number of the question, from 1). A conversation of which a message
    cannot be answered is a failure as a whole."""
    found: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    pictures: dict[int, bytes] = {}
    if len(questions) > 1 and isinstance(session.backend, ReadsAhead):
        session.backend.read_opening()
    for number, messages in enumerate(questions, 1):
        talk = session.fork()
        try:
            replies = [talk.ask(message) for message in messages]
        except MirasError as error:
            failed.append({"question": number, "error": str(error)})
            continue
        found.append({"question": number, **_answer(talk, replies)})
        pictures[number] = picture(talk, replies[-1])
    return found, failed, pictures


def _answer(talk: ChatSession, replies: Sequence[Reply]) -> dict[str, Any]:
    """score: the lowest of the regions that are selected; None for none. certainty: the lowest of the replies."""
    selection = talk.selection
    signed = signs(selection.expression)
    known = {region.id: region for region in talk.regions}
    added = [known[number] for number, sign in signed.items() if sign]
    scores = [region.score for region in added if region.score is not None]
    sure = [reply.certainty for reply in replies if reply.certainty is not None]
    return {
        "turns": [turn_record(turn) for turn in talk.turns],
        "told": [reply.text for reply in replies],
        "regions": [{"id": region.id, "score": region.score} for region in talk.regions],
        "label": _label(talk, added, signed),
        "focus": added[-1].phrase if added else "",
        "selection": _selection(selection),
        "score": min(scores, default=None),
        "certainty": min(sure, default=None),
        "refused": any(Operator.REJECT in reply.operators for reply in replies),
        "unsure": any(reply.unsure for reply in replies),
    }


def _label(talk: ChatSession, added: Sequence[Region], signed: dict[int, bool]) -> str:
    """What is selected, in words; "" for nothing."""
    left = [region.phrase for region in talk.regions if signed.get(region.id) is False]
    words = " + ".join(region.phrase for region in added)
    return words or (f"all but {' + '.join(left)}" if left else "")


def _selection(selection: Selection) -> dict[str, Any] | None:
    """None where nothing is selected."""
    box = box_of(selection.mask)
    if box is None:
        return None
    return {
        "expression": selection.expression, "area": area(selection.mask), "box_xyxy": [int(side) for side in box],
        "rle": encode_rle(selection.mask),
    }  # fmt: skip


# Pictures


def picture(talk: ChatSession, last: Reply) -> bytes:
    """The photo with what is selected, small, as JPEG."""
    height, width = talk.size
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    photo = Image.fromarray(talk.photo).resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=3.0)
    regions = [_small(region, size) for region in shown(talk.regions, last.regions, talk.selection.expression)]
    drawn = overlay(np.array(photo), regions, _shrunk(talk.selection.mask, size), labels=False)
    held = io.BytesIO()
    Image.fromarray(drawn).save(held, "JPEG", quality=QUALITY, optimize=True)
    return held.getvalue()


def _small(region: Region, size: tuple[int, int]) -> Region:
    return replace(region, mask=_shrunk(region.mask, size))


def _shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    """At another (H, W); what is too small for it is still a pixel."""
    small = resize_mask(mask, size)
    if mask.any() and not small.any():
        x, y = heart(mask)
        small = small.copy()
        row, column = int(y * size[0] / mask.shape[0]), int(x * size[1] / mask.shape[1])
        small[min(row, size[0] - 1), min(column, size[1] - 1)] = True
    return small
