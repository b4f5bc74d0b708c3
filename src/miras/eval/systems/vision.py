"""A vision model behind an OpenAI-compatible endpoint: it answers with boxes and points, our decoder makes the masks.

In: a photo and messages; whoever answers calls (`core.llm.completions`), a decoder. Out: a `System`. The photo and
the whole conversation so far stand in every call. The model keeps no count of the selection: its operations are carried
out by `core.selection`. An answer that does not fit is sent back twice; then it is a fault of the system (IoU 0).
Every paid answer is in a journal where there is one. Knows no key, no HTTP and no weights.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from miras.core.errors import InputError
from miras.core.llm.answers import Answer as Said
from miras.core.llm.answers import Answerer, Estimate, Message, Usage, ask, digest_of, seed_of
from miras.core.llm.completions import Call, Completions, data_url
from miras.core.llm.endpoint import Settings, cost_of, guess_tokens
from miras.core.llm.journal import Journal, Journaled
from miras.core.llm.prompts import read_prompt
from miras.core.photo import read_photo
from miras.core.selection import Steps, advance
from miras.core.types import Box, Mark, Mask, Name, Operator, Piece, Region, Turn
from miras.data.language.words import definite
from miras.eval.protocol import Answer, History, operator_of
from miras.eval.systems.vision_answers import GRID, SCHEMA, pixels_of, read_answer, value_of

WRITTEN = 120
"""Tokens that an answer usually takes; a guess, for estimates."""
_FORMAT = 1


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

    def refine(self, *, phrase: str, points: NDArray[np.float32] | None, box: Box | None) -> tuple[Mask, float | None]:
        """phrase: its name, or "". points: (P, 3) x, y, label in photo pixels, 1 inside, 0 outside; box: XYXY. Mask
        and its predicted IoU.
        """
        ...


class OurDecoder:
    """Words, then `ChatSession.refine`, in a session in which nothing was said.

    The phrase is asked first ("Select the PHRASE."); points and box refine what it names (the first region; where it
    names none they stand alone). `refine` keeps the mask inside the box.
    """

    def __init__(self, session: ChatSession) -> None:
        self._session = session

    def refine(self, *, phrase: str, points: NDArray[np.float32] | None, box: Box | None) -> tuple[Mask, float | None]:
        """A fork for each region: none knows of another."""
        session = self._session.fork()
        named: tuple[Region, ...] = ()
        if phrase.strip():
            with contextlib.suppress(InputError):  # words that cannot be asked leave points and box
                named = session.ask(f"Select {definite(phrase)}.").regions
        if named:
            session.refine(points=points, box=box, region=named[0].id)
            region = next(one for one in session.regions if one.id == named[0].id)
        else:
            (region,) = self._session.fork().refine(points=points, box=box).regions
        return region.mask, region.score


class _Counted:
    """An answerer, and what its answers took, whether they fit or not."""

    def __init__(self, inner: Answerer[Question]) -> None:
        self._inner, self.usage, self.cost, self.calls = inner, Usage(), 0.0, 0

    @property
    def name(self) -> str:
        """As the inner one's."""
        return self._inner.name

    async def answer(self, question: Question, /) -> Said:
        """The inner one's answer."""
        answer = await self._inner.answer(question)
        self.usage, self.cost = self.usage + answer.usage, self.cost + answer.cost
        self.calls += answer.attempts
        return answer

    def estimate(self, questions: Sequence[Question], /) -> Estimate:
        """As the inner one's."""
        return self._inner.estimate(questions)

    def stop(self) -> None:
        """Begin nothing new."""
        self._inner.stop()

    async def close(self) -> None:
        """Close the inner one."""
        await self._inner.close()


class Vision:
    """A vision model behind the protocol. Its calls are made one after the other."""

    def __init__(
        self, endpoint: Answerer[Question], decoder: Loaded, *, label: str, seed: int = 0, journal: Path | None = None
    ) -> None:
        """label: as the figures call it. decoder: our model. journal: a file that holds every paid answer."""
        self.name, self.seed = label, seed
        self._decoder = decoder
        self._journal = None if journal is None else Journal(journal)
        self._paid = _Counted(endpoint)
        self._asked: Answerer[Question] = self._paid
        if self._journal is not None:
            self._asked = Journaled(self._paid, self._journal, "model")
        self._questions = 0
        self._runner = asyncio.Runner()
        self._opening: tuple[Path | bytes, Opened] | None = None

    def facts(self) -> dict[str, Any]:
        """Model and sampling, the prompt's version, and whose decoder makes the masks."""
        return {"endpoint": self._asked.name, "prompt": read_prompt("miras.eval.systems", "vision").version,
                "decoder": self._decoder.name, "hand": "words, points, cut at the box", "grid": GRID}  # fmt: skip

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> VisionDialogue:
        """A new conversation; the photo of the one before is not encoded again."""
        if self._opening is None or self._opening[0] != photo:
            pixels = read_photo(photo)
            digest = digest_of([list(pixels.shape), pixels.tobytes().hex()])
            self._opening = (photo, Opened(pixels, digest, OurDecoder(self._decoder.chat(pixels, seed=self.seed))))
        return VisionDialogue(self, self._opening[1])

    def answer(self, messages: tuple[Message, ...], opened: Opened) -> dict[str, Any]:
        """The answer to the last message, checked. Raises NoAnswer when none fits, EndpointDown."""
        question = Question(messages, seed_of(self.seed, *(m.text for m in messages)), opened.photo, opened.digest)
        self._questions += 1
        return self._runner.run(ask(self._asked, question, read_answer)).value

    def spent(self) -> dict[str, Any]:
        """Tokens and cost (0 without prices), unfit answers among them: of the journal, so of the whole run however
        often it was stopped; without a journal since this began. questions, calls: since this began.
        """
        book: Journal | _Counted = self._paid if self._journal is None else self._journal
        usage, cost = book.usage, book.cost
        return {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "cost": round(cost, 6),
                "questions": self._questions, "calls": self._paid.calls}  # fmt: skip

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


class VisionDialogue:
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

    def append_exchange(self, user: str, gold: Turn) -> None:
        """The data's reply stands as if the model had given it: the boxes of its masks, no points."""
        self._keep(self._with(user), value_of(gold), advance(self._steps, gold), gold)

    def fork(self) -> VisionDialogue:
        """A conversation with the same past."""
        return VisionDialogue(self._vision, self._opened, self._messages, self._steps, self._regions)

    def _with(self, text: str) -> tuple[Message, ...]:
        system, user = read_prompt("miras.eval.systems", "vision").messages(message=text)
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
            mask, score = self._opened.decoder.refine(phrase=region["phrase"], points=points, box=box)
            regions.append(Region(number, region["phrase"], mask, turn, operator, score))
        marks: tuple[Piece, ...] = ()
        if not value["found"]:
            marks = (Mark(Operator.REJECT),)
        elif operation in ("add", "cut", "undo"):
            marks = (Mark(Operator(operation)),)
        return Turn("assistant", (*marks, *(Name(one.phrase, one.id) for one in regions)), tuple(regions))
