"""What all teachers share: the request, the answer, the protocol, the loop that asks again, the prompts, the registry.

In: a `Request` of one of the three steps. Out: a checked value with what it cost. Knows no HTTP, no journal, and
none of the steps. One `Answer` is one reply that was paid, fit or unfit: `ask` judges it and asks again, so that
a journal around a teacher sees every paid reply.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from pydantic import BaseModel

from miras.annotate.schemas import json_schema, parse
from miras.core.errors import InputError, MirasError

M = TypeVar("M", bound=BaseModel)
STEPS = ("elements", "reasoning", "dialogues")
REASKS = 2
"""How often an unfit answer is sent back before the photo is given up."""
_FORMAT = 1
_SHOWN_FAULTS, _SHOWN_TEXT = 8, 6000


class TeacherError(MirasError):
    """This request got no usable answer; others may."""


class TeacherDown(TeacherError):
    """No request will get an answer: a wrong key, no credit, no server. The run stops; what was paid is kept."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.completion + other.completion)


@dataclass(frozen=True)
class Request:
    """One question to a teacher.

    image: the photo, None when there is none; digest: SHA-256 of its file, by which it enters the key. notes: what is
    known of the photo in words, for a teacher that sees no photos.
    """

    step: str
    messages: tuple[Message, ...]
    schema: type[BaseModel]
    seed: int
    image: Path | None = None
    digest: str = ""
    notes: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything here that decides the answer: the photo by content, not by place."""
        return digest_of({
            "format": _FORMAT, "step": self.step, "messages": [[m.role, m.text] for m in self.messages],
            "schema": json_schema(self.schema), "seed": self.seed, "photo": self.digest if self.image else "",
            "notes": self.notes,
        })  # fmt: skip


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
    """What requests will take. cost: None without prices."""

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


class Teacher(Protocol):
    """Whoever answers. `name` says everything about the teacher that decides its answers; it enters the journal's
    keys.
    """

    @property
    def name(self) -> str:
        """Such as "openai:MODEL:side=1024"; never a key or an address."""
        ...

    async def answer(self, request: Request) -> Answer:
        """One reply, unchecked. Raises TeacherError, TeacherDown."""
        ...

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """What the requests will take, without a call."""
        ...

    def stop(self) -> None:
        """Begin nothing new: what waits is given up with TeacherError, what is on its way is finished."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Asked(Generic[M]):
    """A checked value, and what all its replies took together."""

    value: M
    usage: Usage
    cost: float
    attempts: int


async def ask(
    teacher: Teacher, request: Request, schema: type[M], check: Callable[[M], list[str]] | None = None,
    reasks: int = REASKS,
) -> Asked[M]:  # fmt: skip
    """Ask until the answer fits, at most 1 + reasks times; each time the faults go back with the unfit answer.

    check: faults beyond the schema. Raises TeacherError when no answer fits.
    """
    usage, cost, attempts = Usage(), 0.0, 0
    asking, faults = request, [""]
    for _ in range(reasks + 1):
        answer = await teacher.answer(asking)
        usage, cost, attempts = usage + answer.usage, cost + answer.cost, attempts + answer.attempts
        value, faults = parse(answer.text, schema)
        if value is not None and check is not None:
            faults = check(value)
        if value is not None and not faults:
            return Asked(value, usage, cost, attempts)
        if answer.finish == "length":
            faults = ["the answer was cut off because it was too long: write less", *faults]
        asking = replace(request, messages=(*request.messages, *_again(answer.text, faults)))
    raise TeacherError(
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
    """A seed of its own for each request, 31 bits."""
    return int(digest_of([seed, *map(str, parts)])[:8], 16) & 0x7FFFFFFF


# Prompts


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file. version: the first 12 digits of its SHA-256, recorded with every result."""

    system: str
    user: Template
    version: str

    def messages(self, **values: object) -> tuple[Message, ...]:
        """The two messages, filled in. A value is taken literally, whatever stands in it."""
        return Message("system", self.system), Message("user", self.user.substitute(values))


@lru_cache
def prompt(name: str) -> Prompt:
    """The prompt of a step: `prompts/NAME.md`, the system's part and the user's with a line of three dashes between."""
    text = files("miras.annotate").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    system, _, user = text.partition("\n---\n")
    return Prompt(system.strip(), Template(user.strip()), hashlib.sha256(text.encode("utf-8")).hexdigest()[:12])


# Registry

TEACHERS: dict[str, str] = {"openai": "miras.annotate.openai_teacher:from_options"}
"""Name -> "module:function" that makes the teacher from keyword options; imported when it is asked for."""


def teacher_of(name: str, **options: Any) -> Teacher:
    """A teacher by its name. Raises InputError for an unknown name or options it cannot use."""
    if name not in TEACHERS:
        raise InputError(f"a teacher of {', '.join(sorted(TEACHERS))}", repr(name))
    module, _, function = TEACHERS[name].partition(":")
    return cast(Teacher, getattr(importlib.import_module(module), function)(**options))
