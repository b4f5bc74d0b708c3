"""The loop that asks again, sums, digests and seeds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from miras.core.llm.answers import Answer, Estimate, Message, NoAnswer, Usage, ask, digest_of, seed_of


@dataclass(frozen=True)
class Said:
    messages: tuple[Message, ...]
    step: str = "greeting"

    @property
    def key(self) -> str:
        return digest_of([[m.role, m.text] for m in self.messages])


class Script:
    """Replies one after the other."""

    name = "script"

    def __init__(self, *replies: Answer) -> None:
        self.replies, self.asked = list(replies), list[Said]()

    async def answer(self, request: Said, /) -> Answer:
        self.asked.append(request)
        return self.replies.pop(0)

    def estimate(self, requests: Any, /) -> Estimate:
        return Estimate(len(requests), 0, 0, None)

    def stop(self) -> None: ...

    async def close(self) -> None: ...


QUESTION = Said((Message("user", "Say a number."),))


def number(text: str) -> tuple[int | None, list[str]]:
    return (int(text), []) if text.isdigit() else (None, [f"{text!r} is no number"])


def test_an_unfit_answer_goes_back_and_everything_is_counted() -> None:
    script = Script(Answer("x", Usage(5, 1), 0.5, 3, "length"), Answer("7", Usage(9, 2), 0.25))
    found = asyncio.run(ask(script, QUESTION, number))
    assert (found.value, found.usage, found.cost, found.attempts) == (7, Usage(14, 3), 0.75, 4)
    first, back, again = script.asked[1].messages
    assert (first, back) == (QUESTION.messages[0], Message("assistant", "x"))
    assert "cut off" in again.text and "'x' is no number" in again.text
    assert script.asked[0].key != script.asked[1].key


def test_it_gives_up_with_the_last_fault() -> None:
    script = Script(*[Answer(f"a{i}") for i in range(9)])
    with pytest.raises(NoAnswer, match="greeting step that fits, got 3 unfit ones, the last: 'a2' is no number"):
        asyncio.run(ask(script, QUESTION, number))
    assert [len(said.messages) for said in script.asked] == [1, 3, 3]


def test_a_value_with_faults_is_unfit() -> None:
    verdicts = [(1, ["too small"]), (2, [])]
    assert asyncio.run(ask(Script(Answer("1"), Answer("2")), QUESTION, lambda _: verdicts.pop(0))).value == 2


def test_estimates_add_up_and_unknown_prices_stay_unknown() -> None:
    one = Estimate(1, 2, 3, 0.5)
    assert one + one == Estimate(2, 4, 6, 1.0)
    assert (one + replace(one, cost=None)).cost is None


def test_digests_and_seeds_stay() -> None:
    assert digest_of({"b": 1, "a": "ü"}) == digest_of({"a": "ü", "b": 1}) != digest_of({"a": "u", "b": 1})
    assert seed_of(0, "a", "b") == 490627849
    assert len({seed_of(0, "a", "b"), seed_of(0, "ab"), seed_of(1, "a", "b"), seed_of(0, "a", "c")}) == 4
