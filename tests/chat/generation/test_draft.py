"""What is nowhere to be seen is no answer: the next name is tried, then it refuses."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.generation.engine import Engine
from miras.chat.session import ChatSession
from miras.core.types import Alternative, Operator
from tests.chat.pointing import CUT, OBJ, SEG, ids, made, say


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names whose masks come out without a pixel; "" for all."""
    names: set[str] = set()
    draw = Engine._region

    def drawn(self: Engine, job, rules, region_id, phrase, span, doubt):
        seen = dataclasses.replace(draw(self, job, rules, region_id, phrase, span, doubt), presence=50.0)
        empty = dataclasses.replace(seen.region, mask=seen.region.mask & False)
        return dataclasses.replace(seen, region=empty) if {phrase, ""} & names else seen

    monkeypatch.setattr(Engine, "_region", drawn)
    return names


def begin(session: ChatSession, monkeypatch: pytest.MonkeyPatch, *pieces: str, others: tuple[str, ...] = ()) -> None:
    """The next replies that select are these; where the name begins, others were weighed beside it."""
    planned = ids(session, *pieces)
    compose, region_of = Engine._compose, Engine._region

    def composed(self, logits_V, job):
        if job.rules.refuse is False:
            return with_plan(self, logits_V, job)
        return compose(self, logits_V, job)

    def with_plan(self, logits_V, job):
        from miras.chat.generation import engine

        class Planned(engine.Draft):
            pass

        def start(rules, logits_V, stream):
            return Planned(rules, logits_V, stream, [*planned, rules.end])

        monkeypatch.setattr(engine, "Draft", start)
        yield_from = compose(self, logits_V, job)
        try:
            return (yield from yield_from)
        finally:
            monkeypatch.setattr(engine, "Draft", engine_draft)

    from miras.chat.generation.draft import Draft as engine_draft

    def weighed(self, job, rules, region_id, phrase, span, doubt):
        seen = region_of(self, job, rules, region_id, phrase, span, doubt)
        if seen.region.alternatives:
            return seen
        alternatives = tuple(Alternative(other, 0.2) for other in others if other != phrase)
        return dataclasses.replace(seen, region=dataclasses.replace(seen.region, alternatives=alternatives))

    monkeypatch.setattr(Engine, "_compose", composed)
    monkeypatch.setattr(Engine, "_region", weighed)


def test_the_next_name_is_taken_or_it_refuses(
    photo: NDArray[np.uint8], blank: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = made(least_score=0.0)
    session = ChatSession(careful, photo, max_new_tokens=24)
    say(session, OBJ, " cup", SEG)
    before = session.selection
    begin(session, monkeypatch, CUT, "Without the", OBJ, " lid", SEG, others=("bowl", "block"))
    blank |= {"lid", "bowl"}
    events = list(session.fork().stream("without the lid"))
    reply = events[-1]
    assert [region.phrase for region in reply.regions] == ["block"]
    assert reply.operators == (Operator.CUT,)
    assert reply.text.startswith("Without the block")
    assert "".join(itertools.takewhile(lambda event: isinstance(event, str), events)).startswith("Without the block")
    assert reply.regions[0].mask.any()
    blank |= {"block"}
    refused = session.ask("without the lid")
    assert refused.operators[0] is Operator.REJECT
    assert (refused.regions, refused.selection.expression) == ((), before.expression)
    np.testing.assert_array_equal(refused.selection.mask, before.mask)
    assert session.ask("and now?").ids is not None


def test_a_second_thing_that_is_not_seen_is_said_so(
    photo: NDArray[np.uint8], blank: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ChatSession(made(least_score=0.0), photo, max_new_tokens=40)
    begin(session, monkeypatch, "The", OBJ, " cup", SEG, "and the", OBJ, " lid", SEG, ".")
    blank |= {"lid"}
    *deltas, reply = session.stream("the cup and the lid")
    assert reply.text == "The cup, but I do not see the lid."
    assert "".join(delta for delta in deltas if isinstance(delta, str)) == reply.text
    assert [region.phrase for region in session.regions] == ["cup"]
    assert reply.selection.expression == "1"
    twin = ChatSession.from_json(session.model, session.to_json(), photo)
    assert twin.turns[-1].text == reply.text


def test_too_low_a_score_is_no_answer(
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, blank: set[str]
) -> None:
    session = ChatSession(made(least_score=1.01), photo, max_new_tokens=24)
    begin(session, monkeypatch, OBJ, " cup", SEG)
    assert session.ask("the cup").operators[0] is Operator.REJECT
    assert not session.regions


def test_whatever_is_drawn_counts_where_nothing_else_is_said(
    photo: NDArray[np.uint8], blank: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ChatSession(made(), photo, max_new_tokens=24)
    begin(session, monkeypatch, OBJ, " cup", SEG)
    blank |= {"cup"}
    assert session.ask("the cup").selection.expression == "1"
