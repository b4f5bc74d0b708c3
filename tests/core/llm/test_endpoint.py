"""Settings from options and environment, what is refused, guesses and prices."""

from __future__ import annotations

from typing import Any

import pytest

from miras.core.errors import InputError
from miras.core.llm.answers import Usage
from miras.core.llm.endpoint import Settings, cost_of, guess_tokens, settings_from

KEY = "sk-test-0123456789abcdefghij"


def test_options_go_before_the_environment() -> None:
    env = {"OPENAI_BASE_URL": "http://a/v1", "OPENAI_API_KEY": f" {KEY}\n", "X_MODEL": "m", "X_PRICE_IN": "2"}
    found = settings_from(env, prefix="X", price_out=3.0, retries=None)
    assert (found.model, found.base_url, found.api_key, found.price_in, found.retries) == (
        "m",
        "http://a/v1",
        KEY,
        2.0,
        6,
    )
    given = settings_from(env, prefix="X", model="n", base_url="https://b/v1", price_in=1.0, price_out=0.0)
    assert (given.model, given.base_url, given.price_in) == ("n", "https://b/v1", 1.0)
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("environment", "options", "says"),
    [
        ({}, {"model": "m"}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "k"}, {}, "give --model"),
        ({"OPENAI_API_KEY": "k"}, {"prefix": "X"}, "set X_MODEL or give --model"),
        ({"OPENAI_API_KEY": "k"}, {"model": "  "}, "a model"),
        ({"OPENAI_BASE_URL": "localhost:8000"}, {"model": "m"}, "http://"),
        ({"OPENAI_BASE_URL": f"http://user:{KEY}@host/v1"}, {"model": "m"}, "without a user, password or query"),
        ({"OPENAI_BASE_URL": f"http://host/v1?key={KEY}"}, {"model": "m"}, "without a user, password or query"),
        ({"OPENAI_API_KEY": "k", "X_PRICE_IN": "x"}, {"model": "m", "prefix": "X"}, "a number in X_PRICE_IN"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "price_in": 1.0}, "both prices"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "retries": -1}, "retries"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "max_side": 1}, "max_side"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "timeout": float("nan")}, "timeout"),
    ],
)
def test_bad_options_are_refused_without_the_key(
    environment: dict[str, str], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        settings_from(environment, **options)
    assert KEY not in str(caught.value)


def test_guesses_and_prices() -> None:
    assert guess_tokens(401) == 101
    assert guess_tokens(4, pictures=2, max_side=1024) == 1 + 2 * (85 + 4 * 170)
    assert cost_of(Settings("m", price_in=10.0, price_out=20.0), Usage(100, 10)) == pytest.approx(1200e-6)
    assert cost_of(Settings("m"), Usage(100, 10)) is None
