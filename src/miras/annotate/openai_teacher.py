"""A teacher behind any OpenAI-compatible endpoint, with or without vision, through the `openai` SDK.

In: requests. Out: paid replies with their tokens, cost and number of calls. Every call is counted, retried and paced
here; the SDK's own retries are off. The key is used in one place, the client, and is taken out of every text that
leaves. Knows no step and no journal.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from miras.annotate.limits import Limiter, back_off, retry_after
from miras.annotate.schemas import json_schema
from miras.annotate.teacher import Answer, Estimate, Request, TeacherDown, TeacherError, Usage
from miras.core.errors import InputError
from miras.core.photo import read_photo

log = logging.getLogger(__name__)

RETRIED = frozenset({408, 409, 429})
"""Statuses that are tried again, beside every 5xx, timeouts and cut connections."""
LOST_IN_A_ROW = 5
"""Requests given up one after the other until the endpoint counts as down."""
LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more is not waited for."""
WRITTEN = {"elements": 600, "reasoning": 900, "dialogues": 700}
"""Tokens that answers of each step usually take; a guess, for estimates."""
_SHOWN = 300
_MODES = ("json_schema", "json_object", "text")


@dataclass(frozen=True)
class Settings:
    """How the endpoint is asked.

    base_url: None = the SDK's default. photos: whether the model sees; else the photo's notes stand for it. max_side:
    longest side in pixels of what is sent; quality: of the JPEG. temperature, max_tokens: None = the server's.
    timeout: seconds for one call as a whole. retries: further calls after a fault. rpm, tpm: requests and tokens a
    minute. price_in, price_out: per million tokens.
    """

    model: str
    api_key: str = field(default="", repr=False)
    base_url: str | None = None
    photos: bool = True
    max_side: int = 1024
    quality: int = 90
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float = 120.0
    retries: int = 6
    wait: float = 0.5
    concurrency: int = 4
    rpm: int | None = None
    tpm: int | None = None
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise InputError("a model", "none", "set MIRAS_TEACHER_MODEL or give --model")
        for name, value, least in (("max_side", self.max_side, 32), ("timeout", self.timeout, 0.01),
                                   ("retries", self.retries, 0), ("max_tokens", self.max_tokens, 1),
                                   ("price_in", self.price_in, 0), ("price_out", self.price_out, 0)):  # fmt: skip
            if value is not None and not value >= least:
                raise InputError(f"{name} of at least {least}", str(value))
        if (self.price_in is None) != (self.price_out is None):
            raise InputError("both prices, for tokens read and written", "one")


def from_options(environment: Mapping[str, str] | None = None, **options: Any) -> OpenAITeacher:
    """A teacher from options and, where they are None, the environment.

    Read: OPENAI_BASE_URL, OPENAI_API_KEY, MIRAS_TEACHER_MODEL, MIRAS_TEACHER_PRICE_IN, MIRAS_TEACHER_PRICE_OUT. Raises
    InputError. The key may be empty where a base URL is given: local servers need none.
    """
    env = os.environ if environment is None else environment
    given = {name: value for name, value in options.items() if value is not None}
    for name, variable in (("model", "MIRAS_TEACHER_MODEL"), ("base_url", "OPENAI_BASE_URL")):
        if name not in given and env.get(variable):
            given[name] = env[variable]
    for name, variable in (("price_in", "MIRAS_TEACHER_PRICE_IN"), ("price_out", "MIRAS_TEACHER_PRICE_OUT")):
        if name not in given and env.get(variable):
            try:
                given[name] = float(env[variable])
            except ValueError as error:
                raise InputError(f"a number in {variable}", repr(env[variable])) from error
    url = given.get("base_url")
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise InputError("an address that begins with http:// or https://", repr(_bare(url)), "mend --base-url")
    if url is not None and url != _bare(url):
        raise InputError(
            "an address without a user, password or query", _bare(url), "put the key into OPENAI_API_KEY, never there"
        )
    key = env.get("OPENAI_API_KEY", "").strip()
    if not key and url is None:
        raise InputError(
            "a key for the teacher", "none", "set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own"
        )
    return OpenAITeacher(Settings(**{"model": "", **given}, api_key=key))


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


class OpenAITeacher:
    """One endpoint and one model. Use it in one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises InputError without the extra "annotate"."""
        try:
            import openai
        except ImportError as error:
            raise InputError("the package openai", "none", "pip install 'miras[annotate]'") from error
        self._sdk, self._settings = openai, settings
        self._limiter = Limiter(settings.concurrency, settings.rpm, settings.tpm)
        host = urlsplit(settings.base_url or "https://api.openai.com").hostname or ""
        self._dialect = _Dialect(limit="max_completion_tokens" if host.endswith("openai.com") else "max_tokens")
        self._answered, self._lost = False, 0
        self._client = openai.AsyncOpenAI(
            api_key=settings.api_key or "none", base_url=settings.base_url, max_retries=0, timeout=settings.timeout
        )

    @property
    def name(self) -> str:
        """Model, photo size and sampling. Not the address: the same model may move."""
        s = self._settings
        photo = f"side={s.max_side},quality={s.quality}" if s.photos else "blind"
        return f"openai:{s.model}:{photo},temperature={s.temperature},max_tokens={s.max_tokens}"

    async def answer(self, request: Request) -> Answer:
        """One reply; faults on the way are retried with growing waits, and all calls are counted.

        Raises TeacherDown when nobody will get an answer (a key that is refused, no credit, no such model, a server
        that stays away), TeacherError when this request will not.
        """
        try:
            messages = await asyncio.to_thread(self._messages, request)
        except InputError as error:
            raise TeacherError(error.expected, error.got, error.cure) from error
        attempts, faults = 0, 0
        while True:
            attempts += 1
            used = replace(self._dialect)
            try:
                async with self._limiter.turn(self._tokens(request)) as ticket:
                    used = replace(self._dialect)
                    answer = await asyncio.wait_for(self._call(request, messages, used), self._settings.timeout)
                    ticket.tokens = answer.usage.prompt + answer.usage.completion or ticket.tokens
            except self._sdk.APIStatusError as error:
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
            log.info("call %d of the %s step failed: %s", attempts, request.step, fault)
            if faults > self._settings.retries or (asked_wait or 0.0) > LONGEST_WAIT:
                self._give_up(attempts, fault)
            if asked_wait is not None:
                self._limiter.pause(asked_wait)
            await self._limiter.rest(max(asked_wait or 0.0, back_off(faults - 1, self._settings.wait)))

    async def _call(self, request: Request, messages: list[dict[str, Any]], dialect: _Dialect) -> Answer:
        s, mode = self._settings, _MODES[dialect.mode]
        options: dict[str, Any] = {"model": s.model, "messages": messages, "seed": request.seed}
        if s.temperature is not None:
            options["temperature"] = s.temperature
        if s.max_tokens is not None:
            options[dialect.limit] = s.max_tokens
        schema = json_schema(request.schema)
        if mode == "json_schema":
            described = {"name": request.step, "strict": True, "schema": schema}
            options["response_format"] = {"type": "json_schema", "json_schema": described}
        else:
            options["messages"] = [*messages, _schema_in_words(schema)]
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
            usage = Usage(self._tokens(request), _guess(text))
        return Answer(self._scrub(text, 8), usage, self._cost(usage) or 0.0, finish=finish)

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        """The messages; the photo, or what is known of it, stands in the first of the user."""
        told: list[dict[str, Any]] = [{"role": m.role, "content": m.text} for m in request.messages]
        if request.image is None:
            return told
        first = next(message for message in told if message["role"] == "user")
        if self._settings.photos:
            url = data_url(request.image, self._settings.max_side, self._settings.quality)
            first["content"] = [
                {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": first["content"]},
            ]  # fmt: skip
        elif request.notes:
            first["content"] = (
                f"You cannot see the photo. This list of what is in it stands for it; nothing else is certain.\n"
                f"{request.notes}\n\n{first['content']}"
            )
        else:
            raise TeacherError(
                "something known of the photo, for a teacher that does not see it", "no caption and no annotations"
            )
        return told

    def _refused(self, error: Any) -> None:
        """Raise for a status that no retry mends; return for those that one may."""
        status, said, told = error.status_code, _said(error), self._short(error)
        if status in (401, 403):
            raise TeacherDown("a key that the server takes", told, "check OPENAI_API_KEY") from None
        if status == 404:
            raise TeacherDown(
                f"the model {self._settings.model!r} at {_bare(str(self._client.base_url))}", told,
                "check the model's name and the base URL",
            ) from None  # fmt: skip
        if status in (402, 429) and ("insufficient_quota" in said or "billing" in said.lower() or status == 402):
            raise TeacherDown("credit with the teacher", told) from None
        if status not in RETRIED and status < 500:
            raise TeacherError("a request that the server takes", told) from None

    def _give_up(self, attempts: int, fault: str) -> None:
        self._lost += 1
        calls = f"{attempts} call" + ("s" if attempts > 1 else "")
        if not self._answered or self._lost >= LOST_IN_A_ROW:
            raise TeacherDown(
                f"an answer from {_bare(str(self._client.base_url))}", f"{calls} that failed, the last: {fault}",
                "check the server, then run again",
            ) from None  # fmt: skip
        raise TeacherError("an answer", f"{calls} that failed, the last: {fault}", "run again") from None

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Counts by rule of thumb, without a call: 4 characters a token (schema included), a photo by 512-pixel tiles
        (85 + 170 each, OpenAI's published rule), answers as in `WRITTEN`. Re-asks and retries are not foreseen.
        """
        read = sum(self._tokens(request) for request in requests)
        most = self._settings.max_tokens
        written = sum(min(WRITTEN.get(r.step, 500), most or 10**9) for r in requests)
        return Estimate(len(requests), read, written, self._cost(Usage(read, written)))

    def stop(self) -> None:
        """Begin nothing new."""
        self._limiter.stop()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _tokens(self, request: Request) -> int:
        words = sum(len(message.text) for message in request.messages) + len(json.dumps(json_schema(request.schema)))
        if request.image is None:
            return math.ceil(words / 4)
        if not self._settings.photos:
            return math.ceil((words + len(request.notes)) / 4)
        return math.ceil(words / 4) + 85 + 170 * math.ceil(self._settings.max_side / 512) ** 2

    def _cost(self, usage: Usage) -> float | None:
        s = self._settings
        if s.price_in is None or s.price_out is None:
            return None
        return (usage.prompt * s.price_in + usage.completion * s.price_out) / 1_000_000

    def _short(self, error: Any) -> str:
        """A status and what the server said with it; the key is taken out before the text is cut."""
        return f"status {error.status_code}: {self._scrub(_said(error))[:_SHOWN]}"

    def _scrub(self, text: str, least: int = 1) -> str:
        """The text without the key, wherever a server may have put it. least: shorter keys are no secret, and stay."""
        key = self._settings.api_key
        return text.replace(key, "***") if key and len(key) >= least else text


class _Unreadable(Exception):
    """A reply of status 200 that is no chat completion."""


@lru_cache(maxsize=16)  # five requests or so are about the same photo
def data_url(photo: Path, max_side: int, quality: int = 90) -> str:
    """The photo, upright and no larger than max_side, as a JPEG in a data URL. Raises InputError."""
    from PIL import Image

    picture = Image.fromarray(read_photo(photo))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _schema_in_words(schema: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return {
        "role": "system",
        "content": f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{text}",
    }


def _guess(text: str) -> int:
    """Tokens of a text of which the server said no number."""
    return math.ceil(len(text) / 4)


def _said(error: Any) -> str:
    """What the server said about an error, whole."""
    body = error.body if error.body is not None else error.message
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)


def _cause(error: BaseException) -> str:
    inner = error.__cause__ or error
    return f"the connection failed ({type(inner).__name__}: {inner})"


def _bare(url: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
