"""Asking a talker: what a question is known by, what questions will take, asking from several threads."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from miras.chat.composed.asking import WRITTEN, Asking, Endpoint, Question
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Estimate, Message, NoAnswer, Usage
from miras.core.llm.endpoint import Settings

QUESTION = Question((Message("system", "s"), Message("user", "u", ("data:,a",))), {"type": "object"})


def test_a_question_is_known_by_all_that_decides_its_answer() -> None:
    system, user = QUESTION.messages
    others = [
        replace(QUESTION, seed=1), replace(QUESTION, schema={"type": "array"}), replace(QUESTION, messages=(user,)),
        replace(QUESTION, messages=(system, replace(user, pictures=("data:,b",)))),
        replace(QUESTION, messages=(system, replace(user, text="v"))),
    ]  # fmt: skip
    assert len({each.key for each in (QUESTION, *others)}) == 6
    assert replace(QUESTION, turn=3).key == QUESTION.key


def test_a_blind_model_cannot_be_asked() -> None:
    pytest.importorskip("openai")
    with pytest.raises(InputError, match="sees the photos"):
        Endpoint(Settings("m", "k", "http://127.0.0.1:9/v1", photos=False))


def test_an_estimate_counts_words_and_pictures() -> None:
    pytest.importorskip("openai")
    settings = Settings("m", "k", "http://127.0.0.1:9/v1", max_side=512, price_in=1.0, price_out=2.0)
    found = Endpoint(settings).estimate([QUESTION, QUESTION])
    assert (found.requests, found.completion_tokens) == (2, 2 * WRITTEN) and found.prompt_tokens > 2 * 255
    assert found.cost == pytest.approx((found.prompt_tokens + 2 * found.completion_tokens) / 1e6)


class Echo:
    """Answers with the last message, unless it says "no"."""

    name = "echo"

    async def answer(self, question: Any, /) -> Answer:
        return Answer(question.messages[-1].text, Usage(2, 1), cost=0.5)

    def estimate(self, questions: Any, /) -> Estimate:
        return Estimate(len(questions), 0, 0, None)

    def stop(self) -> None: ...

    async def close(self) -> None: ...


def read(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    return (None, ["it says no"]) if text.startswith(("no", "This answer")) else ({"text": text}, [])


def test_many_threads_may_ask_at_once() -> None:
    asking, got = Asking(Echo()), dict[int, str]()

    def work(number: int) -> None:
        question = replace(QUESTION, messages=(Message("user", f"message {number}"),))
        got[number] = asking.ask(question, read)[0]["text"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got == {number: f"message {number}" for number in range(8)}
    assert asking.spent() == {
        "prompt_tokens": 16, "completion_tokens": 8, "cost": 4.0, "questions": 8, "calls": 8
    }  # fmt: skip
    asking.close()


def test_one_repair_then_a_named_fault() -> None:
    asking = Asking(Echo())
    with pytest.raises(NoAnswer, match="2 unfit ones, the last: it says no"):
        asking.ask(replace(QUESTION, messages=(Message("user", "no"),)), read)
    assert asking.spent()["calls"] == 2
    asking.close()
