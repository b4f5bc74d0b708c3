"""A vision model behind an OpenAI-compatible endpoint: it answers with boxes and points, our decoder makes the masks.

In: a photo and messages; whoever answers calls (`core.completions`), a decoder. Out: a `Conversant`. The photo and the
whole conversation so far stand in every call. The model keeps no count of the selection: its operations are carried
out by `core.selection`. An answer that does not fit is sent back twice; then it is a fault of the system (IoU 0).
Every paid answer is in a journal where there is one. Knows no key, no HTTP and no weights.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.answers import Answer as Said
from miras.core.answers import Answerer, Estimate, Message, Usage, ask, digest_of, seed_of
from miras.core.completions import Call, Completions, data_url
from miras.core.endpoint import Settings, cost_of, guess_tokens
from miras.core.errors import InputError
from miras.core.journal import Journal, Journaled
from miras.core.masks import box_of
from miras.core.photo import read_photo
from miras.core.prompts import read_prompt
from miras.core.selection import Steps, advance
from miras.core.structured import read_json
from miras.core.types import Box, Mark, Mask, Name, Operator, Piece, Region, Turn
from miras.eval.protocol import Answer, History, operator_of, operator_wanted

GRID = 1000
"""Coordinates of the model: whole numbers from 0 to this, XYXY."""
MOST_REGIONS, MOST_POINTS = 30, 8
WRITTEN = 120
"""Tokens that an answer usually takes; a guess, for estimates."""
_FORMAT = 1
_NUMBER = {"type": "integer", "minimum": 0, "maximum": GRID}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most}


SCHEMA = _object(
    text={"type": "string"},
    found={"type": "boolean"},
    operation={"type": "string", "enum": ["replace", "add", "cut", "undo", "none"]},
    regions=_list(
        _object(
            phrase={"type": "string"},
            box=_list(_NUMBER, 4),
            points=_list(_object(x=_NUMBER, y=_NUMBER, inside={"type": "boolean"}), MOST_POINTS),
        ),
        MOST_REGIONS,
    ),
)
"""JSON schema of an answer; what it means stands in prompts/vision.md."""


@dataclass(frozen=True)
class Question:
    """One message of a conversation, with everything before it. digest: of the photo's pixels, by which it is keyed."""

    messages: tuple[Message, ...]
    seed: int
    photo: NDArray[np.uint8] = field(repr=False, compare=False)
    digest: str = ""
    step: str = "select"

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything here that decides the answer."""
        return digest_of({
            "format": _FORMAT, "messages": [[m.role, m.text] for m in self.messages], "schema": SCHEMA,
            "seed": self.seed, "photo": self.digest,
        })  # fmt: skip


class Endpoint:
    """Answers questions through `Completions`. Use it in one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises InputError without the package openai, and for a model that is to see no photos."""
        if not settings.photos:
            raise InputError("a model that sees the photos", "one that does not")
        self._settings, self._completions = settings, Completions(settings, extra="eval")

    @property
    def name(self) -> str:
        """Model, photo size and sampling; never a key or an address."""
        return self._completions.name

    async def answer(self, question: Question, /) -> Said:
        """`Completions.answer`. Raises EndpointDown, NoAnswer."""
        s = self._settings
        picture = await asyncio.to_thread(data_url, question.photo, s.max_side, s.quality)
        call = Call(question.step, question.messages, SCHEMA, question.seed, (picture,), self._tokens(question))
        return await self._completions.answer(call)

    def estimate(self, questions: Sequence[Question], /) -> Estimate:
        """Counts by rule of thumb, without a call."""
        read = sum(map(self._tokens, questions))
        usage = Usage(read, WRITTEN * len(questions))
        return Estimate(len(questions), read, usage.completion, cost_of(self._settings, usage))

    def stop(self) -> None:
        """Begin nothing new."""
        self._completions.stop()

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.close()

    def _tokens(self, question: Question) -> int:
        characters = sum(len(message.text) for message in question.messages) + len(json.dumps(SCHEMA))
        return guess_tokens(characters, 1, self._settings.max_side)


class Decoder(Protocol):
    """Makes the mask of what a hand points at, in one photo."""

    def refine(self, *, points: NDArray[np.float32] | None, box: Box | None) -> tuple[Mask, float | None]:
        """points: (P, 3) x, y, label in photo pixels, 1 inside, 0 outside; box: XYXY. Mask and its predicted IoU."""
        ...


class OurDecoder:
    """`ChatSession.refine` of a session in which nothing was said."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session

    def refine(self, *, points: NDArray[np.float32] | None, box: Box | None) -> tuple[Mask, float | None]:
        """A fork for each region: none knows of another."""
        (region,) = self._session.fork().refine(points=points, box=box).regions
        return region.mask, region.score


class Vision:
    """A vision model behind the protocol. Its calls are made one after the other."""

    def __init__(
        self, endpoint: Answerer[Question], decoder: Loaded, *, label: str, seed: int = 0, journal: Path | None = None
    ) -> None:
        """label: as the figures call it. decoder: our model. journal: a file that holds every paid answer."""
        self.name, self.seed = label, seed
        self._decoder = decoder
        self._journal = None if journal is None else Journal(journal)
        self._asked: Answerer[Question] = endpoint
        if self._journal is not None:
            self._asked = Journaled(endpoint, self._journal, "model")
        self._usage, self._cost, self._calls, self._questions = Usage(), 0.0, 0, 0
        self._runner = asyncio.Runner()
        self._opening: tuple[Path | bytes, Opened] | None = None

    def facts(self) -> dict[str, Any]:
        """Model and sampling, the prompt's version, and whose decoder makes the masks."""
        return {"endpoint": self._asked.name, "prompt": read_prompt("miras.eval", "vision").version,
                "decoder": self._decoder.name, "grid": GRID}  # fmt: skip

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> VisionTalk:
        """A new conversation; the photo of the one before is not encoded again."""
        if self._opening is None or self._opening[0] != photo:
            pixels = read_photo(photo)
            digest = digest_of([list(pixels.shape), pixels.tobytes().hex()])
            self._opening = (photo, Opened(pixels, digest, OurDecoder(self._decoder.chat(pixels, seed=self.seed))))
        return VisionTalk(self, self._opening[1])

    def answer(self, messages: tuple[Message, ...], opened: Opened) -> dict[str, Any]:
        """The answer to the last message, checked. Raises NoAnswer when none fits, EndpointDown."""
        question = Question(messages, seed_of(self.seed, *(m.text for m in messages)), opened.photo, opened.digest)
        self._questions += 1
        asked = self._runner.run(ask(self._asked, question, read_answer))
        self._usage, self._cost = self._usage + asked.usage, self._cost + asked.cost
        self._calls += asked.attempts
        return asked.value

    def spent(self) -> dict[str, Any]:
        """Tokens and cost (0 without prices): of the journal, so of the whole run however often it was stopped;
        without a journal of what was answered since this began. questions, calls: since this began.
        """
        usage, cost = (self._usage, self._cost) if self._journal is None else (self._journal.usage, self._journal.cost)
        return {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "cost": round(cost, 6),
                "questions": self._questions, "calls": self._calls}  # fmt: skip

    def close(self) -> None:
        """Close connections and the journal."""
        self._runner.run(self._asked.close())
        self._runner.close()


@dataclass(frozen=True, eq=False)
class Opened:
    """A photo, (H, W, 3) uint8 RGB, with its digest and its decoder."""

    photo: NDArray[np.uint8]
    digest: str
    decoder: Decoder


class VisionTalk:
    """One conversation with it."""

    def __init__(
        self, vision: Vision, opened: Opened, messages: tuple[Message, ...] = (), steps: Steps = (), regions: int = 0
    ) -> None:
        self._vision, self._opened, self._messages = vision, opened, messages
        self._steps, self._regions = steps, regions

    def ask(self, text: str) -> Answer:
        """One call (or more, when answers do not fit). Raises NoAnswer, EndpointDown, InputError."""
        start = time.perf_counter()
        messages = self._with(text)
        value = self._vision.answer(messages, self._opened)
        turn = self._drawn(value)
        marks = [piece.operator for piece in turn.content if isinstance(piece, Mark)]
        steps = advance(self._steps, turn)
        self._keep(messages, value, steps, turn)
        scores = [region.score for region in turn.regions if region.score is not None]
        current = steps[-1] if steps else None
        return Answer(
            value["text"], current.mask if current and current.expression else None, turn.regions,
            operator_of(marks, bool(turn.regions)), Operator.REJECT in marks,
            sum(scores) / len(scores) if scores else None, time.perf_counter() - start,
        )  # fmt: skip

    def tell(self, user: str, gold: Turn) -> None:
        """The data's reply stands as if the model had given it: the boxes of its masks, no points."""
        self._keep(self._with(user), value_of(gold), advance(self._steps, gold), gold)

    def fork(self) -> VisionTalk:
        """A conversation with the same past."""
        return VisionTalk(self._vision, self._opened, self._messages, self._steps, self._regions)

    def _with(self, text: str) -> tuple[Message, ...]:
        system, user = read_prompt("miras.eval", "vision").messages(message=text)
        return (*(self._messages or (system,)), user)

    def _keep(self, messages: tuple[Message, ...], value: Mapping[str, Any], steps: Steps, turn: Turn) -> None:
        said = Message("assistant", json.dumps(value, ensure_ascii=False))
        self._messages, self._steps = (*messages, said), steps
        self._regions += len(turn.regions)

    def _drawn(self, value: Mapping[str, Any]) -> Turn:
        """The answer as a turn, its masks made by the decoder."""
        height, width = self._opened.photo.shape[:2]
        operation, turn = value["operation"], len(self._messages)
        operator = Operator(operation) if operation not in ("none", "undo") else Operator.REPLACE
        regions = []
        for number, region in enumerate(value["regions"], self._regions + 1):
            points, box = pixels_of(region, (height, width))
            mask, score = self._opened.decoder.refine(points=points, box=box)
            regions.append(Region(number, region["phrase"], mask, turn, operator, score))
        marks: tuple[Piece, ...] = ()
        if not value["found"]:
            marks = (Mark(Operator.REJECT),)
        elif operation in ("add", "cut", "undo"):
            marks = (Mark(Operator(operation)),)
        return Turn("assistant", (*marks, *(Name(one.phrase, one.id) for one in regions)), tuple(regions))


# Answers


def read_answer(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The answer of a text, or None and what is wrong with it, in words that can be sent back."""
    value, faults = read_json(text, SCHEMA)
    if value is None:
        return None, faults
    names, operation = value["regions"], value["operation"]
    if not value["found"] and (names or operation != "none"):
        faults.append('found is false: operation must be "none" and regions empty')
    elif value["found"] and operation in ("replace", "add", "cut") and not names:
        faults.append(f'operation "{operation}" needs at least one region')
    elif operation in ("undo", "none") and names:
        faults.append(f'operation "{operation}" names no regions')
    for index, region in enumerate(names):
        box, where = region["box"], f"regions[{index}]"
        if len(box) not in (0, 4):
            faults.append(f"{where}.box: must be [x1, y1, x2, y2], or empty (got {len(box)} numbers)")
        elif box and not (box[0] < box[2] and box[1] < box[3]):
            faults.append(f"{where}.box: x1 must be less than x2 and y1 less than y2 (got {box})")
        if not box and not any(point["inside"] for point in region["points"]):
            faults.append(f"{where}: needs a box or a point inside")
    return (None if faults else value), faults


def pixels_of(region: Mapping[str, Any], size: tuple[int, int]) -> tuple[NDArray[np.float32] | None, Box | None]:
    """Points (P, 3) and box of a region of an answer, in pixels of a photo of size (H, W); None for none."""
    scale = np.array([size[1], size[0]], np.float64) / GRID
    rows = [(point["x"] * scale[0], point["y"] * scale[1], float(point["inside"])) for point in region["points"]]
    if not region["box"]:
        return np.array(rows, np.float32), None
    x1, y1, x2, y2 = (float(side) for side in np.array(region["box"]) * np.tile(scale, 2))
    return (np.array(rows, np.float32) if rows else None), (x1, y1, x2, y2)


def value_of(gold: Turn) -> dict[str, Any]:
    """A reply of the data as the model would have given it; empty masks have no box and are left out."""
    operator = operator_wanted(gold)
    refused = operator is Operator.REJECT
    regions = []
    for region in () if refused or operator is Operator.UNDO else gold.regions:
        box = box_of(region.mask)
        if box is not None:
            height, width = region.mask.shape
            sides = [round(side * GRID / whole) for side, whole in zip(box, (width, height) * 2, strict=True)]
            regions.append({"phrase": region.phrase, "box": sides, "points": []})
    operation = "none" if operator is None or refused else str(operator)
    return {"text": gold.text, "found": not refused, "operation": operation, "regions": regions}
