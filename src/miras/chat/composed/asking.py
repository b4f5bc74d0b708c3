"""Asking a talker: one question and its answer, counted; from any thread.

In: messages with pictures, a schema, whoever answers (`core.llm.answers.Answerer`). Out: checked values and what they
took. An answer that does not fit is sent back once; then it is NoAnswer. Every paid answer is in a journal where there
is one. Knows no session.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from miras.chat.state import Spent
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Answerer, Estimate, Message, Usage, ask, digest_of, seed_of
from miras.core.llm.completions import Call, Completions
from miras.core.llm.endpoint import Settings, cost_of, guess_tokens
from miras.core.llm.journal import Journal, Journaled

WRITTEN = 120
"""Tokens that an answer usually takes; a guess, for estimates."""
REPAIRS = 1
"""How often an answer that does not fit is sent back."""
_FORMAT = 2
T = TypeVar("T")
Read = Callable[[str], tuple[dict[str, Any] | None, list[str]]]


@dataclass(frozen=True)
class Question:
    """One message, with everything before it. step: "talk" or "look". most: tokens that the answer may take. turn: how
    many exchanges there were before."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] = field(repr=False, compare=False)
    seed: int = 0
    step: str = "talk"
    most: int = 1024
    turn: int = 0

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything here that decides the answer."""
        said = [[m.role, m.text, [digest_of(picture) for picture in m.pictures]] for m in self.messages]
        return digest_of({"format": _FORMAT, "messages": said, "schema": self.schema, "seed": self.seed})


class Endpoint:
    """Answers questions through `Completions`. Use it in one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises InputError without the package openai, and for a model that is to see no photos."""
        if not settings.photos:
            raise InputError("a model that sees the photos", "one that does not")
        self._settings, self._completions = settings, Completions(settings, extra="composed")

    @property
    def name(self) -> str:
        """Model, photo size and sampling; never a key or an address."""
        return self._completions.name

    async def answer(self, question: Question, /) -> Answer:
        """`Completions.answer`. Raises EndpointDown, NoAnswer."""
        call = Call(
            question.step, question.messages, question.schema, question.seed, tokens=self._tokens(question)
        )  # fmt: skip
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
        characters = sum(len(message.text) for message in question.messages) + len(json.dumps(question.schema))
        pictures = sum(len(message.pictures) for message in question.messages)
        return guess_tokens(characters, pictures, self._settings.max_side)


class _Counted:
    """An answerer, and what its answers took, whether they fit or not."""

    def __init__(self, inner: Answerer[Question]) -> None:
        self._inner, self.usage, self.cost, self.calls = inner, Usage(), 0.0, 0

    @property
    def name(self) -> str:
        """As the inner one's."""
        return self._inner.name

    async def answer(self, question: Question, /) -> Answer:
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


class Asking:
    """An answerer that any thread may ask. journal: a file of paid answers."""

    def __init__(self, answerer: Answerer[Question], journal: Path | None = None, repairs: int = REPAIRS) -> None:
        self._journal = None if journal is None else Journal(journal)
        self._paid = _Counted(answerer)
        self._asked: Answerer[Question] = self._paid
        if self._journal is not None:
            self._asked = Journaled(self._paid, self._journal, "model")
        self._repairs, self.questions = repairs, 0

    @property
    def name(self) -> str:
        """The answerer's."""
        return self._paid.name

    def ask(self, question: Question, read: Read) -> tuple[dict[str, Any], Spent]:
        """The checked answer, and what it took. Raises NoAnswer when none fits, EndpointDown."""
        self.questions += question.step == "talk"
        asked = _run(ask(self._asked, question, read, self._repairs))
        look = int(question.step == "look")
        return asked.value, Spent(asked.attempts, asked.usage.prompt, asked.usage.completion, asked.cost, look)

    def spent(self) -> dict[str, Any]:
        """Tokens and cost (0 without prices), unfit answers among them: of the journal, so of the whole run however
        often it was stopped; without a journal since this began. questions, calls: since this began."""
        book: Journal | _Counted = self._paid if self._journal is None else self._journal
        return {"prompt_tokens": book.usage.prompt, "completion_tokens": book.usage.completion,
                "cost": round(book.cost, 6), "questions": self.questions, "calls": self._paid.calls}  # fmt: skip

    def close(self) -> None:
        """Close connections and the journal."""
        _run(self._asked.close())


def seeded(seed: int, messages: Sequence[Message]) -> int:
    """A seed of its own for each question."""
    return seed_of(seed, *(message.text for message in messages))


class _Loop:
    """One event loop for all talkers of a process, in a thread of its own; a fork of the process gets a new one."""

    def __init__(self) -> None:
        self._guard, self._process = threading.Lock(), 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs."""
        with self._guard:
            if self._loop is None or self._process != os.getpid():
                self._loop, self._process = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="miras-talkers", daemon=True).start()
            return self._loop


_LOOP = _Loop()


def _run(work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, _LOOP.get())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
