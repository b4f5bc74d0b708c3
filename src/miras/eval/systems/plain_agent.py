"""A plain agent: a vision-language model that calls a segmenter, sends everything anew, and keeps no mask.

In: a talker's answerer, a segmenter. Out: a `System`. After the protocol of SAM 3's agent (tools `segment_phrase`,
`examine_each_mask`, `select_masks_and_return`, `report_no_mask`; all masks are deleted at every `segment_phrase`; of a
request only the newest picture is kept), in our own words and, since that agent answers one request, with the
conversation before it: "whole" keeps what was said, called and shown, "words" what was said and returned. It has no
regions, no operators, no undo: every answer replaces the selection. Knows no session.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed.asking import Asking, Question, seeded
from miras.chat.composed.compose import Asked
from miras.chat.composed.families import seen_size
from miras.chat.composed.masks import MOST_INSTANCES, THERE
from miras.chat.composed.pictures import crop, marked, resized
from miras.core.errors import InputError
from miras.core.llm.answers import Message
from miras.core.llm.completions import data_url
from miras.core.llm.prompts import read_prompt
from miras.core.llm.structured import read_json
from miras.core.masks import union
from miras.core.photo import read_photo
from miras.core.segmenter import Prompt, Segmenter
from miras.core.types import Mask, Operator, Region, Turn
from miras.eval.protocol import Answer, History
from miras.eval.systems.specs import AGENT

TOOLS = ("segment_phrase", "examine_each_mask", "select_masks_and_return", "report_no_mask")
MOST_ROUNDS = 12
"""Answers to one message; then nothing is returned."""
PACKAGE = "miras.eval.systems"
Schema = dict[str, Any]
Past = Literal["whole", "words"]
Read = Callable[[str], tuple[dict[str, Any] | None, list[str]]]


def agent_schema() -> Schema:
    """Of an answer."""
    number = {"type": "integer", "minimum": 1}
    return _object(
        thought={"type": "string"}, tool={"type": "string", "enum": list(TOOLS)}, phrase={"type": "string"},
        masks={"type": "array", "items": number, "maxItems": MOST_INSTANCES},
    )  # fmt: skip


def verdict_schema() -> Schema:
    """Of an answer about one mask."""
    return _object(thought={"type": "string"}, verdict={"type": "string", "enum": ["accept", "reject"]})


def _object(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


class PlainAgent:
    """asked: the talker (`compose.talker_of`). past: what of earlier turns is sent again."""

    def __init__(self, asked: Asked, segmenter: Segmenter, *, past: Past = "whole", seed: int = 0) -> None:
        self.name = AGENT if past == "whole" else f"{AGENT}-{past}"
        self._asked, self._segmenter, self._past, self._seed = asked, segmenter, past, seed
        self._opening: tuple[Path | bytes, AgentDialogue] | None = None

    def facts(self) -> dict[str, Any]:
        """Talker, sampling and prompts; segmenter."""
        versions = [read_prompt(PACKAGE, name).version for name in ("agent", "examine")]
        about = {name: str(value) for name, value in self._segmenter.facts().items()}
        return {**about, "talker": self._asked.spec, "sampling": self._asked.asking.name, "prompts": versions,
                "past": self._past}  # fmt: skip

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> AgentDialogue:
        """A conversation; the segmenter does not encode the photo of before again."""
        if self._opening is None or self._opening[0] != photo:
            pixels = read_photo(photo)
            encoding = self._segmenter.encode(pixels)
            fresh = AgentDialogue(self._asked, self._segmenter, encoding, pixels, self._past, self._seed)
            self._opening = (photo, fresh)
        return self._opening[1].fork()

    def spent(self) -> dict[str, Any]:
        """See `Asking.spent`."""
        return self._asked.asking.spent()

    def close(self) -> None:
        """Close connections and the journal."""
        self._asked.close()


@dataclass
class _Request:
    """One message at work. before: what stands before it; newest: the last call of `segment_phrase` and its picture."""

    before: tuple[Message, ...]
    message: Message
    newest: tuple[Message, ...] = ()
    masks: tuple[Mask, ...] = ()
    used: tuple[str, ...] = ()
    examined: bool = False

    @property
    def messages(self) -> tuple[Message, ...]:
        """As they are sent."""
        return (*self.before, self.message, *self.newest)


class AgentDialogue:
    """One photo's requests. rounds: questions that were asked so far, as a script of answers counts them."""

    def __init__(
        self, asked: Asked, segmenter: Segmenter, encoding: Any, photo: NDArray[np.uint8], past: Past, seed: int
    ) -> None:
        self._asking: Asking = asked.asking
        self._segmenter, self._encoding, self._photo, self._whole = segmenter, encoding, photo, past == "whole"
        self._seed, self._quality = seed, asked.quality
        self._seen = seen_size(asked.family, (photo.shape[0], photo.shape[1]), asked.max_side)
        self._picture = self._url(resized(photo, self._seen))
        self._said: tuple[Message, ...] = ()
        self._turns, self._rounds = 0, 0

    def ask(self, text: str) -> Answer:
        """Rounds until masks are returned. Raises NoAnswer, EndpointDown; then nothing was said."""
        start, rounds = time.perf_counter(), self._rounds
        system = read_prompt(PACKAGE, "agent").messages(message="")[0]
        pictures = (self._picture,)
        message = Message("user", f"The request: {text}", () if self._said else pictures)
        request = _Request((system, *self._said), message)
        try:
            mask, last = self._worked(request, text)
        except BaseException:
            self._rounds = rounds
            raise
        kept = (*request.newest, last) if self._whole else (last,)
        self._said = (*self._said, request.message, *kept)
        self._turns += 1
        regions = () if mask is None else (Region(self._turns, "", mask, 2 * self._turns - 1),)
        operator = Operator.REJECT if mask is None else Operator.REPLACE
        seconds = time.perf_counter() - start
        return Answer("", mask, regions, operator, mask is None, None, seconds)

    def append_exchange(self, user: str, gold: Turn) -> None:
        """In words: nothing is kept of masks."""
        pictures = () if self._said else (self._picture,)
        value = {"thought": gold.text, "tool": TOOLS[2] if gold.names else TOOLS[3], "phrase": "", "masks": []}
        told = Message("assistant", json.dumps(value, ensure_ascii=False))
        self._said = (*self._said, Message("user", f"The request: {user}", pictures), told)
        self._turns += 1

    def fork(self) -> AgentDialogue:
        """The same past."""
        twin = object.__new__(AgentDialogue)
        twin.__dict__.update(self.__dict__)
        return twin

    # Within

    def _worked(self, request: _Request, text: str) -> tuple[Mask | None, Message]:
        """What is returned, and the answer that returned it."""
        for _ in range(MOST_ROUNDS):
            value = self._answered(request)
            told = Message("assistant", json.dumps(value, ensure_ascii=False))
            if value["tool"] == "select_masks_and_return":
                return union(*(request.masks[number - 1] for number in value["masks"])), told
            if value["tool"] == "report_no_mask":
                return None, told
            if value["tool"] == "segment_phrase":
                request.masks, request.examined = self._segmented(value["phrase"]), False
                request.used = (*request.used, value["phrase"])
            else:
                request.masks = tuple(mask for mask in request.masks if self._accepted(text, mask))
                request.examined = True
            request.newest = (told, self._shown(request))
        return None, told

    def _answered(self, request: _Request) -> dict[str, Any]:
        messages = request.messages
        question = Question(
            messages, agent_schema(), seeded(self._seed, messages), "talk", turn=self._rounds
        )  # fmt: skip
        value, _ = self._asking.ask(question, _reader(request))
        self._rounds += 1
        return value

    def _segmented(self, phrase: str) -> tuple[Mask, ...]:
        found = self._segmenter.segment(self._encoding, Prompt(phrase=phrase))
        if not len(found.masks) or (found.presence is not None and found.presence < THERE):
            return ()
        masks = found.masks if found.instances else found.masks[found.best : found.best + 1]
        return tuple(mask for mask in masks if mask.any())[:MOST_INSTANCES]

    def _accepted(self, text: str, mask: Mask) -> bool:
        """One mask, by itself."""
        part, (left, top, right, bottom) = crop(self._photo, mask)
        scale = min(1.0, max(self._seen) / max(bottom - top, right - left))
        size = (max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale)))
        system, user = read_prompt(PACKAGE, "examine").messages(message=text)
        pictures = (self._picture, self._url(resized(part, size)))
        messages = (system, replace(user, pictures=pictures))
        question = Question(messages, verdict_schema(), seeded(self._seed, messages), "look")
        value, _ = self._asking.ask(question, lambda told: read_json(told, verdict_schema()))
        return bool(value["verdict"] == "accept")

    def _shown(self, request: _Request) -> Message:
        count = len(request.masks)
        used = ", ".join(repr(phrase) for phrase in request.used)
        if not count:
            return Message("user", f"No mask fits. Phrases so far: {used}. Try another one, or report_no_mask.")
        regions = [Region(number, "", mask, 0) for number, mask in enumerate(request.masks, 1)]
        picture = self._url(marked(self._photo, regions, self._seen))
        text = f"{count} masks, as the picture shows them, by number. Phrases so far: {used}."
        return Message("user", text, (picture,))

    def _url(self, picture: NDArray[np.uint8]) -> str:
        return data_url(picture, max(picture.shape[:2]), self._quality)


def _reader(request: _Request) -> Read:
    """Reads an answer by what can be called now."""

    def read(text: str) -> tuple[dict[str, Any] | None, list[str]]:
        value, faults = read_json(text, agent_schema())
        if value is None:
            return None, faults
        faults, tool, count = list(faults), value["tool"], len(request.masks)
        if tool == "segment_phrase" and not value["phrase"].strip():
            faults.append('phrase: "segment_phrase" needs one')
        if tool == "segment_phrase" and value["phrase"] in request.used:
            faults.append(f"phrase: {value['phrase']!r} was given before")
        if tool == "examine_each_mask" and (not count or request.examined):
            faults.append('tool: "examine_each_mask" needs masks that were not examined yet')
        if tool == "select_masks_and_return" and not value["masks"]:
            faults.append('masks: "select_masks_and_return" needs at least one number')
        if any(number > count for number in value["masks"]):
            faults.append(f"masks: there are {count} masks")
        return (None if faults else value), faults

    return read


def opened(talker: Any, segmenter: Segmenter, *, past: Past = "whole", seed: int = 0) -> PlainAgent:
    """Raises InputError for a talker that answers no questions, and a segmenter that takes no phrases."""
    if not isinstance(talker, Asked):
        raise InputError("a talker that answers questions (openai:, hf:, scripted:)", talker.spec)
    if "phrase" not in segmenter.prompts:
        cure = "use sam3:REPO, gdino:REPO+sam2:REPO, clipseg:REPO or miras-mini"
        raise InputError("a segmenter that takes phrases", segmenter.name, cure)
    return PlainAgent(talker, segmenter, past=past, seed=seed)
