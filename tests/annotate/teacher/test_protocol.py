"""The request's key, the loop that asks again, the prompts, the registry."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miras.annotate.teacher.protocol import STEPS, Request, ask, prompt, teacher_of
from miras.annotate.teacher.schemas import Elements, Reasoning
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Message, NoAnswer, Usage, seed_of
from tests.annotate.made import Fake, elements

REQUEST = Request("elements", (Message("user", "List."),), Elements, 1, Path("/a/x.jpg"), "abc", "a mug")


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"image": Path("/b/y.jpg")}, True),
        ({"digest": "abd"}, False),
        ({"image": None}, False),
        ({"seed": 2}, False),
        ({"notes": "a cup"}, False),
        ({"schema": Reasoning}, False),
        ({"step": "other"}, False),
        ({"messages": (Message("system", "List."),)}, False),
        ({"messages": (Message("user", "List. "),)}, False),
    ],
)
def test_the_key_holds_all_that_decides_the_answer(changes: dict[str, Any], same: bool) -> None:
    assert (replace(REQUEST, **changes).key == REQUEST.key) is same


class Script(Fake):
    """Replies one after the other."""

    def __init__(self, *replies: Answer) -> None:
        super().__init__()
        self.replies = list(replies)

    async def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.replies.pop(0)


GOOD = json.dumps(elements())


def test_an_unfit_answer_goes_back_with_its_faults_and_all_is_counted() -> None:
    bad = json.dumps({"elements": elements()["elements"][:2]})
    teacher = Script(
        Answer("{", Usage(5, 1), 0.5, attempts=3, finish="length"),
        Answer(bad, Usage(7, 2), 0.25),
        Answer(GOOD, Usage(9, 4), 1),
    )
    asked = asyncio.run(ask(teacher, REQUEST, Elements))
    assert len(asked.value.elements) == 4
    assert (asked.usage, asked.cost, asked.attempts) == (Usage(21, 7), 1.75, 5)
    second, third = teacher.requests[1:]
    assert second.messages[0] == REQUEST.messages[0]
    assert second.messages[1] == Message("assistant", "{")
    assert "cut off" in second.messages[2].text and "not valid JSON" in second.messages[2].text
    assert "at least 3" in third.messages[2].text and len(third.messages) == 3
    assert len({request.key for request in teacher.requests}) == 3


def test_it_gives_up_with_the_last_fault() -> None:
    teacher = Script(*[Answer("{}")] * 9)
    with pytest.raises(NoAnswer, match="3 unfit ones, the last: elements: Field required"):
        asyncio.run(ask(teacher, REQUEST, Elements))
    assert len(teacher.requests) == 3


def test_a_check_beyond_the_schema_sends_back_too() -> None:
    teacher = Script(Answer(GOOD), Answer(GOOD))
    verdicts = [["no spoon, please"], []]
    asyncio.run(ask(teacher, REQUEST, Elements, lambda _: verdicts.pop(0)))
    assert "- no spoon, please" in teacher.requests[1].messages[2].text


@pytest.mark.parametrize("step", STEPS)
def test_prompts(step: str) -> None:
    loaded = prompt(step)
    assert len(loaded.version) == 12
    assert loaded.system and "JSON" in loaded.system
    names = set(loaded.user.get_identifiers())
    with pytest.raises(KeyError):
        loaded.messages()
    user = loaded.messages(**dict.fromkeys(names, "$5 {x} ${caption}"))[1].text
    assert user.count("$5 {x} ${caption}") >= len(names)


def test_seeds_differ_by_every_part_and_stay() -> None:
    seeds = {seed_of(0, "a", "b"), seed_of(0, "ab"), seed_of(1, "a", "b"), seed_of(0, "a", "c")}
    assert len(seeds) == 4
    assert seed_of(0, "a", "b") == 490627849


def test_an_unknown_teacher() -> None:
    with pytest.raises(InputError, match="openai"):
        teacher_of("oracle")
