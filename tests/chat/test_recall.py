"""What was named before and is meant again is that region; what is nowhere to be seen is no answer."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.engine import Engine
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import SPECIAL_TOKENS
from miras.core.recall import ranks
from miras.core.types import Alternative, Mark, Name, Operator, Region, Turn
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.miras import Miras

OBJ, SEG, REF, ADD, CUT, UNDO, NOT = ("[OBJ]", "[SEG]", "[REF]", "[ADD]", "[CUT]", "[UNDO]", "[NOT]")


def made(**changes: object) -> Miras:
    """A tiny model that points and knows all but; masks are neither empty nor full."""
    config = presets.configuration("miras-tiny").to_diff_dict() | {"points": True, "complements": True} | changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tiny = Miras(MirasConfig(**config))

    def centre(_: torch.nn.Module, __: object, output: tuple[torch.Tensor, torch.Tensor]) -> object:
        logits_RMhw, iou_RM = output
        return logits_RMhw - logits_RMhw.mean((2, 3), keepdim=True), iou_RM

    tiny.decoder.register_forward_hook(centre)
    return tiny


@pytest.fixture(scope="module")
def pointing() -> Miras:
    return made()


@pytest.fixture
def talk(pointing: Miras, photo: NDArray[np.uint8]) -> ChatSession:
    """A cup and a red block were named, each its own exchange."""
    session = ChatSession(pointing, photo, max_new_tokens=24)
    say(session, OBJ, " cup", SEG)
    say(session, ADD, OBJ, " red block", SEG)
    return session


def ids(session: ChatSession, *pieces: str) -> list[int]:
    grammar = session.model.grammar
    return [i for p in pieces for i in ([grammar.id(p)] if p in SPECIAL_TOKENS else grammar.tokenizer.encode(p))]


def say(session: ChatSession, *pieces: str, user: str = "and"):
    return session.ask(user, forced=ids(session, *pieces))


def test_cut_again_leaves_not_one_pixel(talk: ChatSession) -> None:
    block = talk.regions[1]
    reply = say(talk, CUT, "Without the", OBJ, " red block", REF, ".")
    assert reply.regions[0] is block
    assert (reply.recalled, reply.roles, reply.text) == ((2,), (Operator.CUT,), "Without the red block.")
    assert reply.selection.expression == "(1 + 2) - 2"
    assert not (reply.selection.mask & block.mask).any()
    assert len(talk.regions) == 2
    assert talk.turns[-1].regions == ()
    (told,) = reply.to_dict()["regions"]
    assert (told["id"], told["again"], told["operator"]) == (2, True, "cut")
    assert [one["again"] for one in say(talk, OBJ, " lid", SEG).to_dict()["regions"]] == [False]
    assert talk.regions[-1].id == 3


@pytest.mark.parametrize(
    ("pieces", "recalled", "expression"),
    [
        ((OBJ, " red block", REF), (2,), "2"),
        ((OBJ, " cup", REF, "and", OBJ, " red block", REF), (1, 2), "1 + 2"),
        ((OBJ, " block", REF, OBJ, " spoon", SEG), (2,), "2 + 3"),
        ((NOT, "All but the", OBJ, " cup", REF), (1,), "~1"),
        ((NOT, OBJ, " cup", REF, OBJ, " lid", SEG), (1,), "~(1 + 3)"),
        ((NOT, "Inverted."), (), "~(1 + 2)"),
        ((UNDO, "Back."), (), "1"),
    ],
)
def test_the_same_words_mean_the_same_region(
    talk: ChatSession, pieces: tuple[str, ...], recalled: tuple[int, ...], expression: str
) -> None:
    before = talk.selection.mask.copy()
    reply = say(talk, *pieces)
    assert (reply.recalled, reply.selection.expression) == (recalled, expression)
    if expression == "~(1 + 2)":
        np.testing.assert_array_equal(reply.selection.mask, ~before)
    if expression == "~1":
        np.testing.assert_array_equal(reply.selection.mask, ~talk.regions[0].mask)
    assert all(region is talk.regions[region.id - 1] for region in reply.regions)


def test_saved_and_restored_it_goes_on_alike(talk: ChatSession, pointing: Miras, photo: NDArray[np.uint8]) -> None:
    say(talk, CUT, OBJ, " cup", REF)
    say(talk, NOT, OBJ, " red block", REF)
    twin = ChatSession.from_json(pointing, talk.to_json(), photo)
    assert [reply.recalled for reply in twin.history] == [(), (), (1,), (2,)]
    assert twin.selection.expression == "~2"
    np.testing.assert_array_equal(twin.selection.mask, talk.selection.mask)
    one, other = (session.ask("and the cup again?") for session in (talk, twin))
    assert (one.ids, one.recalled, one.text) == (other.ids, other.recalled, other.text)
    np.testing.assert_array_equal(one.selection.mask, other.selection.mask)


@pytest.mark.parametrize("recalled", [[], [3], [0], [2, 2], ["x"]])
def test_a_saved_pointer_has_a_region(
    talk: ChatSession, pointing: Miras, photo: NDArray[np.uint8], recalled: list[object]
) -> None:
    say(talk, CUT, OBJ, " cup", REF)
    document = json.loads(talk.to_json())
    assert document["events"][-1]["recalled"] == [1]
    assert "recalled" not in document["events"][0]
    document["events"][-1]["recalled"] = recalled
    with pytest.raises(InputError):
        ChatSession.from_json(pointing, json.dumps(document), photo)


def test_a_refined_region_keeps_its_id_and_is_what_is_meant(talk: ChatSession) -> None:
    mask = np.zeros(talk.size, np.bool_)
    mask[3:9, 4:20] = True
    say(talk, OBJ, " cup", REF)
    talk.refine(mask=mask)
    np.testing.assert_array_equal(talk.selection.mask, mask)
    reply = say(talk, CUT, OBJ, " cup", REF)
    assert (reply.recalled, reply.selection.expression) == ((1,), "1 - 1")
    np.testing.assert_array_equal(reply.regions[0].mask, mask)
    assert not reply.selection.mask.any()
    for _ in range(2):
        talk.undo()
    assert talk.selection.expression == "1"
    assert not np.array_equal(talk.selection.mask, mask)
    again = say(talk, OBJ, " cup", REF)
    np.testing.assert_array_equal(again.selection.mask, talk.regions[0].mask)


def test_undo_and_fork(talk: ChatSession) -> None:
    twin = talk.fork()
    say(twin, CUT, OBJ, " red block", REF)
    assert talk.selection.expression == "1 + 2"
    twin.undo()
    assert twin.selection.expression == "1 + 2"
    assert say(twin, OBJ, " cup", REF).recalled == say(talk, OBJ, " cup", REF).recalled == (1,)


def test_recomputed_it_points_alike(pointing: Miras, photo: NDArray[np.uint8]) -> None:
    for recompute in ("turn", "token"):
        session = ChatSession(pointing, photo, recompute=recompute)  # type: ignore[arg-type]
        say(session, OBJ, " cup", SEG)
        say(session, ADD, OBJ, " red block", SEG)
        assert say(session, CUT, OBJ, " red block", REF).recalled == (2,)


def test_a_told_reply_may_mean_again(talk: ChatSession, model: Miras, photo: NDArray[np.uint8]) -> None:
    gold = Turn("assistant", (Mark(Operator.CUT), Name("the block", 2)))
    reply = talk.tell("without it", gold)
    assert (reply.recalled, reply.selection.expression) == ((2,), "(1 + 2) - 2")
    assert say(talk, OBJ, " cup", REF).recalled == (1,)
    with pytest.raises(InputError, match="region 9"):
        talk.tell("without it", Turn("assistant", (Name("x", 9),)))
    old = ChatSession(model, photo)
    old.tell("a", Turn("assistant", (Name("cup", 1),), (Region(1, "cup", talk.regions[0].mask, 1),)))
    with pytest.raises(InputError, match="points"):
        old.tell("b", Turn("assistant", (Name("cup", 1),)))


def test_with_nothing_named_there_is_nothing_to_point_at(pointing: Miras, photo: NDArray[np.uint8]) -> None:
    session = ChatSession(pointing, photo)
    with pytest.raises(InputError, match="a region to point at"):
        say(session, OBJ, " cup", REF)
    assert session.turns == ()
    eager = made()
    with torch.no_grad():
        eager.instruction.special_bias[8:] = 50.0
    session = ChatSession(eager, photo, max_new_tokens=12)
    first = session.ask("the cup")
    assert eager.grammar.id(REF) not in first.ids
    second = session.ask("and the cup again")
    assert first.regions == () or second.recalled


def test_old_weights_neither_point_nor_invert(model: Miras, photo: NDArray[np.uint8]) -> None:
    session = ChatSession(model, photo)
    assert len(model.instruction.special) == 8
    for pieces in ((OBJ, " cup", REF), (NOT, "all")):
        with pytest.raises(InputError, match="ids of a reply"):
            say(session, *pieces)


def test_what_left_the_context_can_still_be_meant(photo: NDArray[np.uint8]) -> None:
    small = made(max_tokens=360)
    session = ChatSession(small, photo, max_new_tokens=16)
    say(session, OBJ, " cup", SEG)
    cup = session.regions[0]
    say(session, OBJ, " red block", SEG)
    for number in range(8):
        say(session, "So it is.", user=f"tell me more of it, number {number}")
    assert session._state.window >= 2
    assert [r.id for r in session._context.recalled(session._state)] == [1, 2]
    reply = say(session, ADD, OBJ, " cup", REF)
    assert reply.regions[0] is cup
    assert reply.selection.expression == "2 + 1"
    twin = ChatSession.from_json(small, session.to_json(), photo)
    assert twin.ask("and now?").ids == session.ask("and now?").ids
    assert len(session._engine.past.ids) <= 360


def test_the_default_refinement_of_a_complement(talk: ChatSession) -> None:
    say(talk, NOT, OBJ, " cup", REF)
    mask = np.zeros(talk.size, np.bool_)
    mask[:5] = True
    assert talk.refine(mask=mask).regions[0].id == 1
    np.testing.assert_array_equal(talk.selection.mask, ~mask)
    assert talk._state.label == "all but cup"


@pytest.mark.parametrize(
    ("mentioned", "first", "newest"),
    [([1], [0], [0]), ([1, 2, 1], [0, 1, 0], [0, 1, 0]), ([3, 1, 2], [0, 1, 2], [2, 1, 0]), ([], [], [])],
)
def test_ranks(mentioned: list[int], first: list[int], newest: list[int]) -> None:
    assert ranks(mentioned) == (first, newest)


# --- no empty success


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names whose masks come out without a pixel; "" for all."""
    names: set[str] = set()
    draw = Engine._region

    def drawn(self: Engine, job, rules, region_id, phrase, span, doubt):
        region = draw(self, job, rules, region_id, phrase, span, doubt)
        self._presence = 50.0
        return dataclasses.replace(region, mask=region.mask & False) if {phrase, ""} & names else region

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
        from miras.chat import engine

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

    from miras.chat.draft import Draft as engine_draft

    def weighed(self, job, rules, region_id, phrase, span, doubt):
        region = region_of(self, job, rules, region_id, phrase, span, doubt)
        return (
            region
            if region.alternatives
            else dataclasses.replace(
                region, alternatives=tuple(Alternative(other, 0.2) for other in others if other != phrase)
            )
        )

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


# --- unsure


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("Here is the", OBJ, " cup", SEG, "."), "I think this is the cup, but I am not sure. Here is the cup."),
        ((OBJ, " shoes", SEG), "I think these are the shoes, but I am not sure. shoes"),
        ((OBJ, " red block", REF, "and", OBJ, " lid", SEG, "."), "red block and lid. I am not sure about the lid."),
        ((OBJ, " a", SEG, OBJ, " b", SEG, OBJ, " c", SEG),
         "I think this is the a, but I am not sure. a b c I am not sure about the b and the c."),
        ((OBJ, " red block", REF), "red block"),
        (("Hello.",), "Hello."),
    ],
)  # fmt: skip
def test_what_is_unsure_says_so(photo: NDArray[np.uint8], pieces: tuple[str, ...], text: str) -> None:
    session = ChatSession(made(unsure_below=1.01), photo, max_new_tokens=24)
    say(session, OBJ, " red block", SEG)
    *parts, reply = session.stream("and", forced=ids(session, *pieces))
    assert reply.text == "".join(part for part in parts if isinstance(part, str)) == text
    assert reply.unsure == reply.to_dict()["unsure"] == bool([p for p in pieces if p == SEG])
    assert "not sure" not in session.turns[-1].text
    assert session.history[-1].text == text
    plain = made()
    told = ChatSession(plain, photo, max_new_tokens=24)
    say(told, OBJ, " red block", SEG)
    told.ask("and", forced=ids(told, *pieces))
    assert told._engine.past.ids == session._engine.past.ids
