"""The endpoint teacher against a real OpenAI-compatible server: llama.cpp's, in a child process, with a small model.

Faults come from a proxy before it, so that what is retried and sent back are the real server's own replies.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from miras.annotate.teacher import elements as step
from miras.annotate.teacher.photos import read_photos
from miras.annotate.teacher.protocol import Request, ask
from miras.annotate.teacher.schemas import Element, Elements
from miras.core.llm.answers import Asked, Message
from miras.core.llm.journal import Journal, Journaled
from tests.annotate.made import photos_file
from tests.servers import cut, garble, real_server, serve, status


class Colour(BaseModel):
    """A schema that a small model can only meet when the server enforces it."""

    model_config = ConfigDict(extra="forbid")

    colour: Literal["vermilion", "ultramarine"]
    sure: bool


class TinyElement(Element):
    """Short texts, so that an answer takes a second."""

    text: Annotated[str, Field(max_length=12)]
    number: Annotated[int, Field(ge=1, le=9)] | None
    caption: Annotated[str, Field(max_length=24)]


class TinyElements(Elements):
    """The first step's answer, cut down: exactly three."""

    elements: Annotated[list[TinyElement], Field(min_length=3, max_length=3)]  # type: ignore[assignment]

    def _whole(self) -> TinyElements:  # what a model of this size writes is not judged
        return self


REQUEST = Request(
    "colour", (Message("system", "You answer in JSON."), Message("user", "Which colour is the sea?")), Colour, 3
)  # fmt: skip


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of the real server."""
    with real_server() as url:
        yield url


def teacher(url: str, **changes: Any) -> Any:
    from miras.annotate.teacher.openai import OpenAITeacher
    from miras.core.llm.endpoint import Settings

    options: dict[str, Any] = {"photos": False, "max_tokens": 200, "temperature": 0.0, "timeout": 30.0, "wait": 0.01}
    return OpenAITeacher(Settings("smollm2", "", url, **options | changes))


def asked(url: str, **changes: Any) -> Asked[Colour]:
    async def run() -> Asked[Colour]:
        one = teacher(url, **changes)
        try:
            return await ask(one, REQUEST, Colour)
        finally:
            await one.close()

    return asyncio.run(run())


def test_structured_answers_and_usage(upstream: str) -> None:
    found = asked(upstream, price_in=1.0, price_out=2.0)
    assert found.value.colour in ("vermilion", "ultramarine")
    assert found.attempts == 1
    assert 10 < found.usage.prompt < 200 and 3 < found.usage.completion < 60
    assert found.cost == pytest.approx((found.usage.prompt + 2 * found.usage.completion) / 1e6)


def test_faults_before_a_real_server(upstream: str) -> None:
    """A 429 that asks to wait, a cut connection, a 500, and an answer torn in the middle that is sent back."""
    with serve(status(429, retry_after="0.2"), cut, status(500), garble, upstream=upstream) as proxy:
        found = asked(proxy.url)
        assert len(proxy.asked) == 5
    assert found.value.colour in ("vermilion", "ultramarine")
    assert found.attempts == 5
    assert proxy.times[1] - proxy.times[0] >= 0.19
    again = [message["role"] for message in proxy.asked[4]["messages"]]
    assert again == ["system", "user", "assistant", "user"]
    assert "not valid JSON" in proxy.asked[4]["messages"][3]["content"]
    once = asked(upstream).usage.prompt
    assert found.usage.prompt > 2 * once, "both paid answers are counted, the second with the first in its prompt"


def test_the_first_step_and_its_journal(upstream: str, tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path, 1)))
    journal = tmp_path / "journal.jsonl"

    async def run() -> tuple[Asked[TinyElements], int, int]:
        journaled = Journaled(teacher(upstream), Journal(journal))
        try:
            found = await step.list_elements(journaled, photo, 0, TinyElements)
            return found, journaled.paid, journaled.replayed  # type: ignore[return-value]
        finally:
            await journaled.close()

    first, paid, _ = asyncio.run(run())
    again, paid_again, replayed = asyncio.run(run())
    assert len(first.value.elements) == 3
    assert all(element.text and len(element.text) <= 12 for element in first.value.elements)
    assert (paid, paid_again, replayed) == (paid, 0, paid)
    assert again == first
    kept = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(kept) == paid >= 1
    assert kept[0]["usage"]["prompt"] > 200
