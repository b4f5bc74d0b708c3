"""Asking a language model: the answer, what it cost, and the loop that asks again when an answer does not fit.

In: a question, whoever answers, and a function that reads the answer. Out: the value and what all its replies took.
One `Answer` is one reply that was paid, fit or unfit: `ask` judges it and asks again, so that a journal around
whoever answers sees every paid reply. Knows no HTTP, no journal and no task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from miras.core.errors import MirasError

REASKS = 2
"""How often an unfit answer is sent back before the question is given up."""
_SHOWN_FAULTS, _SHOWN_TEXT = 8, 6000

V = TypeVar("V")


class NoAnswer(MirasError):
    """This question got no usable answer; others may."""


class EndpointDown(NoAnswer):
    """No question will get an answer: a wrong key, no credit, no server. The run stops; what was paid is kept."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat. pictures: data URLs, which stand before its text."""

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.completion + other.completion)


@dataclass(frozen=True, slots=True)
class Answer:
    """One paid reply. cost: in the currency of the prices given, 0 without prices. attempts: calls it took, failed
    ones too. finish: "stop", or "length" when it was cut off.
    """

    text: str
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    attempts: int = 1
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What questions will take. cost: None without prices."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None

    def __add__(self, other: Estimate) -> Estimate:
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        return Estimate(
            self.requests + other.requests, self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens, cost,
        )  # fmt: skip


class Question(Protocol):
    """What is asked: a frozen dataclass with these fields. key: digest of everything that decides the answer."""

    @property
    def key(self) -> str:
        """See above."""
        ...

    @property
    def step(self) -> str:
        """What kind of question it is, in a word."""
        ...

    @property
    def messages(self) -> tuple[Message, ...]:
        """What is said."""
        ...


Q = TypeVar("Q", bound=Question)
Q_in = TypeVar("Q_in", bound=Question, contravariant=True)


class Answerer(Protocol[Q_in]):
    """Whoever answers. `name` says everything about it that decides its answers; it enters the journal's keys."""

    @property
    def name(self) -> str:
        """Such as "openai:MODEL:side=1024"; never a key or an address."""
        ...

    async def answer(self, request: Q_in, /) -> Answer:
        """One reply, unchecked. Raises NoAnswer, EndpointDown."""
        ...

    def estimate(self, requests: Sequence[Q_in], /) -> Estimate:
        """What the questions will take, without a call."""
        ...

    def stop(self) -> None:
        """Begin nothing new: what waits is given up with NoAnswer, what is on its way is finished."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Asked(Generic[V]):
    """A checked value, and what all its replies took together."""

    value: V
    usage: Usage
    cost: float
    attempts: int


async def ask(
    answerer: Answerer[Q], request: Q, read: Callable[[str], tuple[V | None, list[str]]], reasks: int = REASKS
) -> Asked[V]:
    """Ask until the answer fits, at most 1 + reasks times; each time the faults go back with the unfit answer.

    read: the value of an answer's text, or None; and its faults, a line each. Raises NoAnswer when no answer fits.
    """
    usage, cost, attempts = Usage(), 0.0, 0
    asking, faults = request, [""]
    for _ in range(reasks + 1):
        answer = await answerer.answer(asking)
        usage, cost, attempts = usage + answer.usage, cost + answer.cost, attempts + answer.attempts
        value, faults = read(answer.text)
        if value is not None and not faults:
            return Asked(value, usage, cost, attempts)
        if answer.finish == "length":
            faults = ["the answer was cut off because it was too long: write less", *faults]
        asking = replace(cast(Any, request), messages=(*request.messages, *_again(answer.text, faults)))
    raise NoAnswer(
        f"an answer to the {request.step} step that fits",
        f"{reasks + 1} unfit ones, the last: {'; '.join(faults)}"[:600],
    )


def _again(text: str, faults: Sequence[str]) -> tuple[Message, Message]:
    lines = "\n".join(f"- {fault}" for fault in faults[:_SHOWN_FAULTS])
    return (
        Message("assistant", text[:_SHOWN_TEXT]),
        Message(
            "user", f"This answer cannot be used:\n{lines}\nGive the whole answer again, mended, as one JSON object."
        ),
    )


def digest_of(value: Any) -> str:
    """SHA-256 of plain values, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def seed_of(seed: int, *parts: object) -> int:
    """A seed of its own for each question, 31 bits."""
    return int(digest_of([seed, *map(str, parts)])[:8], 16) & 0x7FFFFFFF
