"""What all teachers share: the request, the loop that asks again, the prompts, the registry.

In: a `Request` of one of the three steps. Out: a checked value with what it cost. Knows no HTTP, no journal, and
none of the steps. What an answer is, and who may give one, stands in `core.llm.answers`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from miras.annotate.teacher.schemas import json_schema, parse
from miras.core.errors import InputError
from miras.core.llm import answers
from miras.core.llm.answers import REASKS, Answerer, Asked, Message, digest_of
from miras.core.llm.prompts import Prompt, read_prompt

M = TypeVar("M", bound=BaseModel)
STEPS = ("elements", "reasoning", "dialogues")
_FORMAT = 1


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


Teacher = Answerer[Request]
"""Whoever answers requests."""


async def ask(
    teacher: Teacher, request: Request, schema: type[M], check: Callable[[M], list[str]] | None = None,
    reasks: int = REASKS,
) -> Asked[M]:  # fmt: skip
    """`core.llm.answers.ask` for a typed answer. check: faults beyond the schema. Raises NoAnswer when none fits."""

    def read(text: str) -> tuple[M | None, list[str]]:
        value, faults = parse(text, schema)
        if value is not None and check is not None:
            faults = check(value)
        return value, faults

    return await answers.ask(teacher, request, read, reasks)


def prompt(name: str) -> Prompt:
    """The prompt of a step."""
    return read_prompt("miras.annotate.teacher", name)


# Registry

TEACHERS: dict[str, str] = {"openai": "miras.annotate.teacher.openai:from_options"}
"""Name -> "module:function" that makes the teacher from keyword options; imported when it is asked for."""


def teacher_of(name: str, **options: Any) -> Teacher:
    """A teacher by its name. Raises InputError for an unknown name or options it cannot use."""
    if name not in TEACHERS:
        raise InputError(f"a teacher of {', '.join(sorted(TEACHERS))}", repr(name))
    module, _, function = TEACHERS[name].partition(":")
    return cast(Teacher, getattr(importlib.import_module(module), function)(**options))
