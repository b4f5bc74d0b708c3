"""An exchange as plain values and back; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from miras.chat.native import record
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import OBJ, SEG
from tests.chat.test_session import Says


@pytest.fixture
def told(session: ChatSession, says: Says) -> tuple[dict[str, Any], Any, Any]:
    session.ask("the cup", forced=says("The ", OBJ, " cup", SEG, "."))
    (exchange,) = session._state.exchanges
    return record.write(exchange), exchange, session.model.grammar


def test_an_exchange_comes_back(told) -> None:
    raw, exchange, grammar = told
    assert raw["pointed"] is False and set(raw) == {"prompt_ids", "reply_ids", "pointed"}
    again = record.read(raw, exchange.user.text, exchange.reply.regions, 1, grammar)
    assert (again.prompt_ids, again.reply_ids) == (exchange.prompt_ids, exchange.reply_ids)
    assert again.reply.content == exchange.reply.content and again.reply.regions == exchange.reply.regions


@pytest.mark.parametrize(
    ("spoil", "told_wrong"),
    [
        (lambda raw: raw.update(reply_ids=raw["reply_ids"][:-3]), "mask slots|regions"),
        (lambda raw: raw.update(reply_ids=[10**7]), "expected"),
        (lambda raw: raw.update(recalled=[4]), "recalled regions"),
        (lambda raw: raw.update(reply_ids=[]), "regions that are not"),
    ],
)
def test_what_does_not_fit(told, spoil: Callable[[dict[str, Any]], None], told_wrong: str) -> None:
    raw, exchange, grammar = told
    spoil(raw)
    with pytest.raises((ValueError, InputError), match=told_wrong):
        record.read(raw, "the cup", exchange.reply.regions, 1, grammar)


def test_the_opening_is_known_by_its_ids() -> None:
    assert record.opening([1, 2]) == record.opening((1, 2)) != record.opening([12])
