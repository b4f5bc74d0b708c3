"""A talker that knows the data's own answers, before our decoder: what a pair makes of a talker that errs nowhere.

In: records, a segmenter. Out: a `System`. Unlike `baseline:gold-box`, which has operators and memory of its own, this
is the very session of a composed pair: the data's reply becomes the JSON that a talker would answer (phrase, box, ids
of earlier regions, operators), and goes through the schema, the plan, the segmenter and the session's algebra. It SEES
THE DATA: no system may be ranked with it. Knows no figure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed.answers import WORDS
from miras.chat.composed.asking import Asking
from miras.chat.composed.compose import Asked, Composed, compose
from miras.chat.composed.families import THOUSAND, family_of
from miras.chat.composed.scripted import Scripted
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.recall import anew, pointing
from miras.core.segmenter import Candidates, Prompt, Segmenter
from miras.core.types import Conversation, Mark, Name, Region, Turn
from miras.data.record import Record, turn_of
from miras.eval.protocol import Answer, History, Ours, answer_of
from miras.eval.systems.specs import BASELINE

NAME = f"{BASELINE}gold-talker"
_DIGITS = 3
"""Of a thousandth of the photo: boxes lose nothing that a pixel would notice."""


class GoldTalker:
    """`compose(talker=the data, segmenter=ours, look=False)`. segmenter: whatever draws; ours: our model, where it is
    that."""

    name = NAME
    alone = True
    """It answers final targets that are asked alone."""

    def __init__(self, segmenter: Segmenter, *, ours: Ours | None = None, seed: int = 0) -> None:
        self._segmenter, self._seed, self._ours = _Once(segmenter), seed, ours
        self._records: dict[str, Record] = {}

    @property
    def trained_on(self) -> str:
        """As our model's card says; empty of other segmenters."""
        return "" if self._ours is None else self._ours.trained_on

    def facts(self) -> dict[str, Any]:
        """That it sees the data; what tells the segmenter from others."""
        return {"sees_the_data": True, **{name: str(value) for name, value in self._segmenter.facts().items()}}

    def prepare(self, chosen: Sequence[Record], history: History) -> dict[str, Any]:
        """Take the records that will be asked, with their masks."""
        self._records |= {record["id"]: record for record in chosen}
        return {"from": "phrases, boxes and operators of the data's own replies", "records": len(chosen)}

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> GoldTalk:
        """A conversation about a record that was prepared. Raises InputError for any other."""
        known = self._records.get(record)
        if known is None:
            raise InputError("a record told beforehand", repr(record), "call prepare first")
        told = Conversation(tuple(turn_of(turn, index) for index, turn in enumerate(known["turns"]) if index % 2))
        replies = anew(told).turns[-1:] if history == "alone" else pointing(told).turns
        script = Scripted.of([""] * len(replies), "the data")
        pair = compose(Asked("scripted:the data", Asking(script), family_of("")), self._segmenter, look=False)
        return GoldTalk(pair, pair.chat(photo, seed=self._seed), script, replies)


class GoldTalk:
    """The data's replies, said by a talker. ids: the session's number of each region of the data."""

    points = True
    """What is appended may name earlier regions again."""

    def __init__(
        self, pair: Composed, session: ChatSession, script: Scripted, replies: tuple[Turn, ...],
        ids: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self._pair, self._session, self._script, self._replies = pair, session, script, replies
        self._ids = dict(ids or {})
        self._known = {region.id: region for reply in replies for region in reply.regions}

    def ask(self, text: str) -> Answer:
        """The next reply of the data, through the pair. Raises InputError when there is none any more."""
        start, turn = time.perf_counter(), len(self._session.history)
        if turn >= len(self._replies):
            raise InputError(f"at most {len(self._replies)} messages, as in the data", f"message {turn + 1}")
        gold = self._replies[turn]
        self._script.answers[turn] = answer_for(gold, self._ids, self._known)
        missing = [self._known[number] for number in gold.names if number not in self._ids]
        before = len(self._session.regions)
        reply = self._session.ask(text)
        for wanted, got in _paired(missing, self._session.regions[before:]):
            self._ids[wanted.id] = got.id
        return answer_of(reply, time.perf_counter() - start)

    def append_exchange(self, user: str, gold: Turn) -> None:
        """`ChatSession.append_exchange`: the data's regions are the session's from then on."""
        before = len(self._session.regions)
        self._session.append_exchange(user, gold)
        for wanted, got in zip(gold.regions, self._session.regions[before:], strict=True):
            self._ids[wanted.id] = got.id

    def fork(self) -> GoldTalk:
        """A conversation with the same past."""
        return GoldTalk(self._pair, self._session.fork(), self._script, self._replies, self._ids)


def answer_for(gold: Turn, ids: Mapping[int, int], known: Mapping[int, Region]) -> str:
    """What a talker answers that means a reply of the data. ids: of the session, by the data's; a region that the
    session has not, since its mask was empty, is named anew. known: the data's regions, by its ids."""
    steps: list[dict[str, Any]] = []
    for piece in gold.content:
        if isinstance(piece, Mark):
            steps.append({"do": WORDS[piece.operator], "regions": []})
        elif isinstance(piece, Name):
            if not steps:
                steps.append({"do": "replace", "regions": []})
            steps[-1]["regions"].append(_region(known[piece.region], ids.get(piece.region, 0)))
    return json.dumps({"text": gold.text, "steps": steps}, ensure_ascii=False)


def _region(region: Region, number: int) -> dict[str, Any]:
    box = box_of(region.mask)
    if number or box is None:
        return {"id": number, "phrase": "" if number else region.phrase, "box": [], "points": []}
    height, width = region.mask.shape
    x, y = THOUSAND / width, THOUSAND / height
    sides = [round(side * scale, _DIGITS) for side, scale in zip(box, (x, y, x, y), strict=True)]
    return {"id": 0, "phrase": region.phrase, "box": sides, "points": []}


def _paired(wanted: Sequence[Region], got: Sequence[Region]) -> list[tuple[Region, Region]]:
    """Regions of the data with those that were drawn for them, in order: some may have stayed empty."""
    pairs, rest = [], list(got)
    for region in wanted:
        if rest and rest[0].phrase == " ".join(region.phrase.split()):
            pairs.append((region, rest.pop(0)))
    return pairs


class _Once:
    """A segmenter that does not encode the photo of before again."""

    def __init__(self, inner: Segmenter) -> None:
        self._inner, self.name, self.prompts = inner, inner.name, inner.prompts
        self._last: tuple[NDArray[np.uint8], Any] | None = None

    def facts(self) -> Mapping[str, Any]:
        """As the inner one's."""
        return self._inner.facts()

    def encode(self, photo: NDArray[np.uint8]) -> Any:
        """The inner one's, or the last."""
        if self._last is None or not np.array_equal(self._last[0], photo):
            self._last = (photo, self._inner.encode(photo))
        return self._last[1]

    def segment(self, encoding: Any, prompt: Prompt) -> Candidates:
        """The inner one's."""
        return self._inner.segment(encoding, prompt)
