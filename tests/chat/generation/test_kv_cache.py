"""What was named before and is meant again is that region."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.types import Mark, Name, Operator, Region, Turn
from miras.model.miras import Miras
from tests.chat.pointing import ADD, CUT, NOT, OBJ, REF, SEG, UNDO, made, say


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
    reply = talk.append_exchange("without it", gold)
    assert (reply.recalled, reply.selection.expression) == ((2,), "(1 + 2) - 2")
    assert say(talk, OBJ, " cup", REF).recalled == (1,)
    with pytest.raises(InputError, match="region 9"):
        talk.append_exchange("without it", Turn("assistant", (Name("x", 9),)))
    old = ChatSession(model, photo)
    old.append_exchange("a", Turn("assistant", (Name("cup", 1),), (Region(1, "cup", talk.regions[0].mask, 1),)))
    with pytest.raises(InputError, match="points"):
        old.append_exchange("b", Turn("assistant", (Name("cup", 1),)))


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
    assert [r.id for r in session.backend.context.recalled(session._state)] == [1, 2]
    reply = say(session, ADD, OBJ, " cup", REF)
    assert reply.regions[0] is cup
    assert reply.selection.expression == "2 + 1"
    twin = ChatSession.from_json(small, session.to_json(), photo)
    assert twin.ask("and now?").ids == session.ask("and now?").ids
    assert len(session.backend.engine.past.ids) <= 360


def test_the_default_refinement_of_a_complement(talk: ChatSession) -> None:
    say(talk, NOT, OBJ, " cup", REF)
    mask = np.zeros(talk.size, np.bool_)
    mask[:5] = True
    assert talk.refine(mask=mask).regions[0].id == 1
    np.testing.assert_array_equal(talk.selection.mask, ~mask)
    assert talk._state.label == "all but cup"
