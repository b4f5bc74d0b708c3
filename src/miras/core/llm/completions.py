"""Any OpenAI-compatible endpoint, with or without vision, through the `openai` SDK.

In: calls (messages, pictures, a JSON schema). Out: paid replies with their tokens, cost and number of calls. Every call
is counted, retried and paced here; the SDK's own retries are off. The key is used in one place, the client, and is
taken out of every text that leaves. Knows no task and no journal.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.llm.answers import Answer, EndpointDown, Message, NoAnswer, Usage
from miras.core.llm.endpoint import Settings, bare, cost_of
from miras.core.llm.limits import Limiter, back_off, retry_after

log = logging.getLogger(__name__)

RETRIED = frozenset({408, 409, 429})
"""Statuses that are tried again, beside every 5xx, timeouts and cut connections."""
LOST_IN_A_ROW = 5
"""Requests given up one after the other until the endpoint counts as down."""
LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more is not waited for."""
_SHOWN = 300
_MODES = ("json_schema", "json_object", "text")


@dataclass(frozen=True)
class Call:
    """What is asked in one call.

    name: of the schema, letters and digits. pictures: data URLs (`data_url`); they stand before the text of the user's
    first message. schema: JSON schema of the answer. tokens: a guess of what is read, for pacing.
    """

    name: str
    messages: tuple[Message, ...]
    schema: Mapping[str, Any]
    seed: int = 0
    pictures: tuple[str, ...] = ()
    tokens: int = 0


@dataclass(slots=True)
class _Dialect:
    """What this server understands, learned from what it refuses."""

    mode: int = 0
    limit: str = "max_tokens"
    relimited: bool = False
    dropped: frozenset[str] = frozenset()

    def learn(self, refusal: str, used: _Dialect) -> bool:
        """Whether there is another way to say it, now or since the refused call was sent."""
        text = refusal.lower()
        if any(word in text for word in ("response_format", "json_schema", "json_object", "grammar")):
            if self.mode == used.mode < len(_MODES) - 1:
                self.mode += 1
                log.warning("the server refuses %s, trying %s", _MODES[used.mode], _MODES[self.mode])
            return self.mode > used.mode
        if "max_completion_tokens" in text or "max_tokens" in text:
            if self.limit == used.limit and not self.relimited:
                self.limit = "max_tokens" if used.limit == "max_completion_tokens" else "max_completion_tokens"
                self.relimited = True
            return self.limit != used.limit
        for name in ("temperature", "seed"):
            if re.search(rf"\b{name}\b", text) and name not in used.dropped:
                self.dropped |= {name}
                return True
        return False


class Completions:
    """One endpoint and one model. Use it in one event loop."""

    def __init__(self, settings: Settings, *, extra: str = "annotate") -> None:
        """Raises InputError without the SDK; extra: of this package, that brings it."""
        try:
            import openai
        except ImportError as error:
            raise InputError("the package openai", "none", f"pip install 'miras[{extra}]'") from error
        self._sdk, self._settings = openai, settings
        self._limiter = Limiter(settings.concurrency, settings.rpm, settings.tpm)
        host = urlsplit(settings.base_url or "https://api.openai.com").hostname or ""
        self._dialect = _Dialect(limit="max_completion_tokens" if host.endswith("openai.com") else "max_tokens")
        self._answered, self._reached, self._lost = False, False, 0
        self._client = openai.AsyncOpenAI(
            api_key=settings.api_key or "none", base_url=settings.base_url, max_retries=0, timeout=settings.timeout
        )

    @property
    def name(self) -> str:
        """Model, photo size and sampling. Not the address: the same model may move."""
        s = self._settings
        photo = f"side={s.max_side},quality={s.quality}" if s.photos else "blind"
        return f"openai:{s.model}:{photo},temperature={s.temperature},max_tokens={s.max_tokens}"

    @property
    def mode(self) -> str:
        """How answers are held to their schema, as far as is known: json_schema, json_object or text."""
        return _MODES[self._dialect.mode]

    @property
    def reached(self) -> bool:
        """Whether a server said anything yet, be it a refusal."""
        return self._reached

    async def answer(self, call: Call) -> Answer:
        """One reply; faults on the way are retried with growing waits, and all calls are counted.

        Raises EndpointDown when nobody will get an answer (a key that is refused, no credit, no such model, a server
        that stays away), NoAnswer when this call will not.
        """
        messages, attempts, faults = _messages(call), 0, 0
        while True:
            attempts += 1
            used = replace(self._dialect)
            try:
                async with self._limiter.turn(call.tokens) as ticket:
                    used = replace(self._dialect)
                    answer = await asyncio.wait_for(self._call(call, messages, used), self._settings.timeout)
                    ticket.tokens = answer.usage.prompt + answer.usage.completion or ticket.tokens
            except self._sdk.APIStatusError as error:
                self._reached = True
                if error.status_code in (400, 404, 422, 500, 501) and self._dialect.learn(_said(error), used):
                    continue
                self._refused(error)
                fault, asked_wait = self._short(error), retry_after(error.response.headers)
            except (self._sdk.APIConnectionError, TimeoutError) as error:
                late = isinstance(error, self._sdk.APITimeoutError | TimeoutError)
                fault = f"no answer in {self._settings.timeout:g} s" if late else self._scrub(_cause(error))[:_SHOWN]
                asked_wait = None
            except (_Unreadable, self._sdk.APIResponseValidationError, ValueError) as error:
                fault, asked_wait = f"a reply that is no chat completion ({self._scrub(str(error))[:_SHOWN]})", None
            else:
                self._answered, self._lost = True, 0
                return replace(answer, attempts=attempts)
            faults += 1
            log.info("call %d of the %s step failed: %s", attempts, call.name, fault)
            if faults > self._settings.retries or (asked_wait or 0.0) > LONGEST_WAIT:
                self._give_up(attempts, fault)
            if asked_wait is not None:
                self._limiter.pause(asked_wait)
            await self._limiter.rest(max(asked_wait or 0.0, back_off(faults - 1, self._settings.wait)))

    async def _call(self, call: Call, messages: list[dict[str, Any]], dialect: _Dialect) -> Answer:
        s, mode = self._settings, _MODES[dialect.mode]
        options: dict[str, Any] = {"model": s.model, "messages": messages, "seed": call.seed}
        if s.temperature is not None:
            options["temperature"] = s.temperature
        if s.max_tokens is not None:
            options[dialect.limit] = s.max_tokens
        if mode == "json_schema":
            described = {"name": call.name, "strict": True, "schema": call.schema}
            options["response_format"] = {"type": "json_schema", "json_schema": described}
        else:
            options["messages"] = [*messages, schema_in_words(call.schema)]
            if mode == "json_object":
                options["response_format"] = {"type": "json_object"}
        for name in dialect.dropped:
            options.pop(name, None)
        completion = await cast(Any, self._client.chat.completions).create(**options)
        try:
            choice = completion.choices[0]
            text, finish = choice.message.content or choice.message.refusal or "", choice.finish_reason or "stop"
        except (AttributeError, IndexError, TypeError) as error:
            raise _Unreadable(f"{str(completion)!r}") from error
        told = getattr(completion, "usage", None)
        usage = Usage(getattr(told, "prompt_tokens", 0) or 0, getattr(told, "completion_tokens", 0) or 0)
        if not usage.prompt + usage.completion:
            usage = Usage(call.tokens, math.ceil(len(text) / 4))
        return Answer(self._scrub(text, 8), usage, cost_of(s, usage) or 0.0, finish=finish)

    def _refused(self, error: Any) -> None:
        """Raise for a status that no retry mends; return for those that one may."""
        status, said, told = error.status_code, _said(error), self._short(error)
        if status in (401, 403):
            raise EndpointDown("a key that the server takes", told, "check OPENAI_API_KEY") from None
        if status == 404:
            raise EndpointDown(
                f"the model {self._settings.model!r} at {bare(str(self._client.base_url))}", told,
                "check the model's name and the base URL",
            ) from None  # fmt: skip
        if status in (402, 429) and ("insufficient_quota" in said or "billing" in said.lower() or status == 402):
            raise EndpointDown("credit with the server", told) from None
        if status not in RETRIED and status < 500:
            raise NoAnswer("a request that the server takes", told) from None

    def _give_up(self, attempts: int, fault: str) -> None:
        self._lost += 1
        calls = f"{attempts} call" + ("s" if attempts > 1 else "")
        if not self._answered or self._lost >= LOST_IN_A_ROW:
            raise EndpointDown(
                f"an answer from {bare(str(self._client.base_url))}", f"{calls} that failed, the last: {fault}",
                "check the server, then run again",
            ) from None  # fmt: skip
        raise NoAnswer("an answer", f"{calls} that failed, the last: {fault}", "run again") from None

    def stop(self) -> None:
        """Begin nothing new."""
        self._limiter.stop()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _short(self, error: Any) -> str:
        """A status and what the server said with it; the key is taken out before the text is cut."""
        return f"status {error.status_code}: {self._scrub(_said(error))[:_SHOWN]}"

    def _scrub(self, text: str, least: int = 1) -> str:
        """The text without the key, wherever a server may have put it. least: shorter keys are no secret, and stay."""
        key = self._settings.api_key
        return text.replace(key, "***") if key and len(key) >= least else text


class _Unreadable(Exception):
    """A reply of status 200 that is no chat completion."""


def _messages(call: Call) -> list[dict[str, Any]]:
    """As the endpoint wants them."""
    first = next((index for index, message in enumerate(call.messages) if message.role == "user"), 0)
    told: list[dict[str, Any]] = []
    for index, message in enumerate(call.messages):
        pictures = (*(call.pictures if index == first else ()), *message.pictures)
        seen = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        content = [*seen, {"type": "text", "text": message.text}] if seen else message.text
        told.append({"role": message.role, "content": content})
    return told


def data_url(pixels: NDArray[np.uint8], max_side: int, quality: int = 90) -> str:
    """A picture, (H, W, 3) uint8 RGB, no larger than max_side, as a JPEG in a data URL."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def schema_in_words(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A message that asks for an answer by a JSON schema, for whoever cannot be held to it."""
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return {
        "role": "system",
        "content": f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{text}",
    }


def _said(error: Any) -> str:
    """What the server said about an error, whole."""
    body = error.body if error.body is not None else error.message
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)


def _cause(error: BaseException) -> str:
    inner = error.__cause__ or error
    return f"the connection failed ({type(inner).__name__}: {inner})"
