"""How an OpenAI-compatible endpoint is asked: address, model, limits, prices; the key comes from the environment alone.

In: options and an environment. Out: `Settings`; guesses of tokens, and what they cost. Knows no HTTP.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from miras.core.errors import InputError
from miras.core.llm.answers import Usage


@dataclass(frozen=True)
class Settings:
    """How the endpoint is asked.

    base_url: None = the SDK's default. photos: whether the model sees; else words must stand for a photo. max_side:
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
            raise InputError("a model", "none", "name one")
        for name, value, least in (("max_side", self.max_side, 32), ("timeout", self.timeout, 0.01),
                                   ("retries", self.retries, 0), ("max_tokens", self.max_tokens, 1),
                                   ("price_in", self.price_in, 0), ("price_out", self.price_out, 0)):  # fmt: skip
            if value is not None and not value >= least:
                raise InputError(f"{name} of at least {least}", str(value))
        if (self.price_in is None) != (self.price_out is None):
            raise InputError("both prices, for tokens read and written", "one")


def settings_from(
    environment: Mapping[str, str] | None = None, *, prefix: str = "", option: str = "--model", **options: Any
) -> Settings:
    """Settings from options and, where they are None, the environment.

    Read: OPENAI_BASE_URL, OPENAI_API_KEY and, with a prefix, PREFIX_MODEL, PREFIX_PRICE_IN, PREFIX_PRICE_OUT. option:
    what a person gives the model with, for errors. Raises InputError. The key may be empty where a base URL is given:
    local servers need none.
    """
    env = os.environ if environment is None else environment
    given = {name: value for name, value in options.items() if value is not None}
    for name, variable in (("model", f"{prefix}_MODEL"), ("base_url", "OPENAI_BASE_URL")):
        if name not in given and env.get(variable):
            given[name] = env[variable]
    for name, variable in (("price_in", f"{prefix}_PRICE_IN"), ("price_out", f"{prefix}_PRICE_OUT")):
        if name not in given and env.get(variable):
            try:
                given[name] = float(env[variable])
            except ValueError as error:
                raise InputError(f"a number in {variable}", repr(env[variable])) from error
    if not str(given.get("model", "")).strip():
        raise InputError("a model", "none", f"set {prefix}_MODEL or give {option}" if prefix else f"give {option}")
    url = given.get("base_url")
    if url is not None:
        check_url(url)
    key = env.get("OPENAI_API_KEY", "").strip()
    if not key and url is None:
        raise InputError("a key for the server", "none", "set OPENAI_API_KEY, or OPENAI_BASE_URL for one of your own")
    return Settings(**given, api_key=key)


def check_url(url: str) -> None:
    """Raises InputError for an address that is none, or that holds a secret: the HTTP library logs every address."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError("an address that begins with http:// or https://", repr(bare(url)), "mend --base-url")
    if url != bare(url):
        raise InputError(
            "an address without a user, password or query", bare(url), "put the key into OPENAI_API_KEY, never there"
        )


def bare(url: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def guess_tokens(characters: int, pictures: int = 0, max_side: int = 1024) -> int:
    """Tokens by rule of thumb: 4 characters each; a picture by 512-pixel tiles (85 + 170 each, OpenAI's published
    rule).
    """
    return math.ceil(characters / 4) + pictures * (85 + 170 * math.ceil(max_side / 512) ** 2)


def cost_of(settings: Settings, usage: Usage) -> float | None:
    """What tokens cost at these prices; None without prices."""
    if settings.price_in is None or settings.price_out is None:
        return None
    return (usage.prompt * settings.price_in + usage.completion * settings.price_out) / 1_000_000
