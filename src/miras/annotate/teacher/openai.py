"""The teacher behind any OpenAI-compatible endpoint: `core.llm.completions`, asked in the words of this room.

In: requests. Out: paid replies. The photo is sent where the model sees; else what is known of it stands in the first
message of the user. Knows no journal, no retry and no key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from miras.annotate.teacher.protocol import Request
from miras.annotate.teacher.schemas import json_schema
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Estimate, Message, NoAnswer, Usage
from miras.core.llm.completions import Call, Completions
from miras.core.llm.completions import data_url as url_of
from miras.core.llm.endpoint import Settings, cost_of, guess_tokens, settings_from
from miras.core.photo import read_photo

WRITTEN = {"elements": 600, "reasoning": 900, "dialogues": 700}
"""Tokens that answers of each step usually take; a guess, for estimates."""


def from_options(environment: Mapping[str, str] | None = None, **options: Any) -> OpenAITeacher:
    """A teacher from options and, where they are None, the environment.

    Read: OPENAI_BASE_URL, OPENAI_API_KEY, MIRAS_TEACHER_MODEL, MIRAS_TEACHER_PRICE_IN, MIRAS_TEACHER_PRICE_OUT. Raises
    InputError. The key may be empty where a base URL is given: local servers need none.
    """
    return OpenAITeacher(settings_from(environment, prefix="MIRAS_TEACHER", **options))


class OpenAITeacher:
    """One endpoint and one model. Use it in one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises InputError without the extra "annotate"."""
        self._settings, self._completions = settings, Completions(settings)

    @property
    def name(self) -> str:
        """Model, photo size and sampling. Not the address: the same model may move."""
        return self._completions.name

    async def answer(self, request: Request, /) -> Answer:
        """`Completions.answer`. Raises EndpointDown, NoAnswer."""
        try:
            call = await asyncio.to_thread(self._told, request)
        except InputError as error:
            raise NoAnswer(error.expected, error.got, error.cure) from error
        return await self._completions.answer(call)

    def _told(self, request: Request) -> Call:
        """The call; the photo, or what is known of it, stands in the first message of the user."""
        messages = request.messages
        pictures: tuple[str, ...] = ()
        if request.image is not None and self._settings.photos:
            pictures = (data_url(request.image, self._settings.max_side, self._settings.quality),)
        elif request.image is not None:
            messages = _described(request)
        schema = json_schema(request.schema)
        return Call(request.step, messages, schema, request.seed, pictures, self._tokens(request))

    def estimate(self, requests: Sequence[Request], /) -> Estimate:
        """Counts by rule of thumb, without a call: `guess_tokens`, schema included; answers as in `WRITTEN`. Re-asks
        and retries are not foreseen.
        """
        read = sum(self._tokens(request) for request in requests)
        most = self._settings.max_tokens
        written = sum(min(WRITTEN.get(r.step, 500), most or 10**9) for r in requests)
        return Estimate(len(requests), read, written, cost_of(self._settings, Usage(read, written)))

    def stop(self) -> None:
        """Begin nothing new."""
        self._completions.stop()

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.close()

    def _tokens(self, request: Request) -> int:
        seen = request.image is not None and self._settings.photos
        notes = request.notes if request.image is not None and not seen else ""
        spoken = sum(len(message.text) for message in request.messages)
        characters = spoken + len(json.dumps(json_schema(request.schema))) + len(notes)
        return guess_tokens(characters, int(seen), self._settings.max_side)


def _described(request: Request) -> tuple[Message, ...]:
    """The messages with what is known of the photo. Raises NoAnswer when nothing is."""
    if not request.notes:
        raise NoAnswer(
            "something known of the photo, for a teacher that does not see it", "no caption and no annotations"
        )
    first = next(place for place, message in enumerate(request.messages) if message.role == "user")
    text = (
        "You cannot see the photo. This list of what is in it stands for it; nothing else is certain.\n"
        f"{request.notes}\n\n{request.messages[first].text}"
    )
    return (*request.messages[:first], Message("user", text), *request.messages[first + 1 :])


@lru_cache(maxsize=16)  # five requests or so are about the same photo
def data_url(photo: Path, max_side: int, quality: int = 90) -> str:
    """The photo, upright and no larger than max_side, as a JPEG in a data URL. Raises InputError."""
    return url_of(read_photo(photo), max_side, quality)
