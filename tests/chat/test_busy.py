"""Conversations in threads: those of one model do not disturb each other, and one session takes one turn at a time."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.load import load
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import OBJ, SEG
from miras.core.types import Turn, Words
from miras.model.miras import Miras

Says = Callable[..., tuple[int, ...]]
COUNT = 8


@pytest.fixture(autouse=True)
def many_switches() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


def held(model: Miras, number: int) -> list[dict[str, Any]]:
    """A conversation of its own: another photo, other words, every second one with draws."""
    photo = np.random.default_rng(number).integers(0, 255, (40 + number, 48, 3), np.uint8)
    session = ChatSession(model, photo, seed=number, max_new_tokens=12, temperature=number % 2 * 0.9)
    obj, seg = model.grammar.id(OBJ), model.grammar.id(SEG)
    session.ask("the cup", forced=(obj, *model.tokenizer.encode(f" cup {number}"), seg))
    session.ask(f"What is number {number}?")
    session.refine(points=[(5 + number, 9, 1)], region=1)
    session.fork().ask("another way")
    session.ask("and now?")
    session.undo()
    events = json.loads(session.to_json())["events"]
    return [{key: value for key, value in event.items() if key != "seconds"} for event in events]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_eight_conversations_at_once_are_those_held_one_after_the_other(dtype: str) -> None:
    model = load("miras-tiny", dtype=dtype).model
    wanted = [held(model, number) for number in range(COUNT)]
    assert len({json.dumps(one) for one in wanted}) == COUNT
    start = Barrier(COUNT)

    def at_once(number: int) -> list[dict[str, Any]]:
        start.wait(60)
        return held(model, number)

    with ThreadPoolExecutor(COUNT) as pool:
        assert list(pool.map(at_once, range(COUNT))) == wanted


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """The first mask waits. Set when it does; to be set when it may go on."""
    reached, go_on, segment = Event(), Event(), Miras.segment

    def waiting(self: Miras, *args: Any, **options: Any) -> Any:
        if not reached.is_set():
            reached.set()
            assert go_on.wait(60)
        return segment(self, *args, **options)

    monkeypatch.setattr(Miras, "segment", waiting)
    return reached, go_on


def test_a_second_turn_of_a_busy_session_is_refused(
    session: ChatSession, photo: NDArray[np.uint8], says: Says, stopped: tuple[Event, Event]
) -> None:
    reached, go_on = stopped
    cup, pan = says(OBJ, " cup", SEG), says(OBJ, " pan", SEG)
    turns: dict[str, Callable[[], object]] = {
        "ask": lambda: session.ask("the pan", forced=pan),
        "stream": lambda: list(session.stream("the pan", forced=pan)),
        "refine": lambda: session.refine(points=[(5, 5, 1)]),
        "append_exchange": lambda: session.append_exchange("hello", Turn("assistant", (Words("Hello."),))),
        "undo": session.undo,
    }
    twin = session.fork()
    with ThreadPoolExecutor(1) as other:
        first = other.submit(session.ask, "the cup", forced=cup)
        try:
            assert reached.wait(60)
            for turn in turns.values():
                with pytest.raises(InputError, match="expected one turn at a time, got a second one") as refused:
                    turn()
                assert "\n" not in str(refused.value)
            assert session.history == ()  # it can be looked at
            assert twin.ask("the pan", forced=pan).regions[0].phrase == "pan"  # a fork is another session
            assert copy.deepcopy(session._busy) is not session._busy
        finally:
            go_on.set()
        assert first.result(60).regions[0].phrase == "cup"
    assert [reply.user for reply in session.history] == ["the cup"]
    for turn in turns.values():  # and now each is taken
        turn()


def test_a_turn_that_fails_or_is_dropped_frees_the_session(session: ChatSession, says: Says) -> None:
    with pytest.raises(InputError):
        session.ask("")
    with pytest.raises(InputError):
        session.refine()
    stream = session.stream("the cup", forced=says("The ", OBJ, " cup", SEG))
    next(stream)
    assert session.ask("the pan", forced=says(OBJ, " pan", SEG)).regions[0].id == 1
    with pytest.raises(InputError, match="one turn at a time"):
        list(stream)
    assert len(session.history) == 1
