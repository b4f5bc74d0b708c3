"""What every backend keeps: one suite over our own model and over pairs, behind the same session.

What is said is put into the models' mouths, so that all of them name the same things.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.chat.composed.compose import compose
from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.errors import InputError, NothingToUndo
from miras.core.selection import follow
from miras.core.types import Mark, Mask, Name, Operator, Region, Turn, Words
from miras.segmenters.own import MirasSegmenter
from tests.chat.composed.pairs import SIZE, Painter, answer, new, old, photo, step
from tests.chat.pointing import ids, made

TALK: list[tuple[str, tuple[str, ...], str, str]] = [
    ("the cup", (" The", "[OBJ]", " cup", "[SEG]", "."), answer("The cup.", step("replace", new("cup"))), "1"),
    ("and the lid", ("[ADD]", "[OBJ]", " lid", "[SEG]"), answer("lid", step("add", new("lid"))), "1 + 2"),
    ("not the cup", ("[CUT]", "[OBJ]", " cup", "[REF]"), answer("cup", step("cut", old(1))), "(1 + 2) - 1"),
    ("back", ("[UNDO]", " Back."), answer("Back.", step("undo")), "1 + 2"),
    ("a dog", ("[REJ]", " None."), answer("None.", step("refuse")), "1 + 2"),
    ("all but the lid", ("[NOT]", "[OBJ]", " lid", "[REF]"), answer("lid", step("all_but", old(2))), "~2"),
    ("thanks", (" Gladly.",), answer("Gladly."), "~2"),
]
"""Message, what our model says, what a talker answers, and the selection after it."""


@dataclass
class Case:
    """model: what opens sessions. say: one message of `TALK`."""

    model: Any
    say: Callable[[ChatSession, int], Any]

    def session(self) -> ChatSession:
        return self.model.chat(photo(), seed=3)

    def talk(self, session: ChatSession, count: int = len(TALK)) -> list[Any]:
        return [self.say(session, number) for number in range(len(session.history), count)]


@pytest.fixture(params=["native", "painter", "own segmenter", "looking"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    tiny = made()
    if request.param == "native":
        loaded = Loaded(tiny, "tiny", 0.0)
        return Case(loaded, lambda session, n: session.ask(TALK[n][0], forced=ids(session, *TALK[n][1])))
    segmenter = MirasSegmenter("tiny", tiny, "w") if request.param == "own segmenter" else Painter()
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(said for _, _, said, _ in TALK))
    pair = compose(f"scripted:{script}", segmenter, look=request.param == "looking")
    return Case(pair, lambda session, n: session.ask(TALK[n][0]))


def facts(session: ChatSession) -> Any:
    """All but how long it took; numbers of a cache that was made anew are equal up to the order of float sums."""
    document = json.loads(session.to_json())
    for event in document["events"]:
        event.pop("seconds"), event.pop("new_tokens")
        event["certainty"] = event["certainty"] and round(event["certainty"], 3)
        for region in event.get("regions", [event.get("region")]):
            region["score"] = region["score"] and round(region["score"], 3)
    return document


def test_the_operators_are_carried_out_exactly(case: Case) -> None:
    session = case.session()
    replies = case.talk(session)
    assert [reply.selection.expression for reply in replies] == [expression for *_, expression in TALK]
    cup, lid = (region.mask for region in session.regions)
    wanted: list[Mask] = [cup, cup | lid, (cup | lid) & ~cup, cup | lid, cup | lid, ~lid, ~lid]
    for reply, mask in zip(replies, wanted, strict=True):
        np.testing.assert_array_equal(reply.selection.mask, mask)
    *_, (_, steps) = follow(session.turns)
    np.testing.assert_array_equal(steps[-1].mask, session.selection.mask)
    assert [reply.recalled for reply in replies] == [(), (), (1,), (), (), (2,), ()]


def test_undo_is_exact_and_goes_to_the_beginning(case: Case) -> None:
    session = case.session()
    known = [facts(session)]
    for number in range(len(TALK)):
        case.say(session, number)
        known.append(facts(session))
    for before in reversed(known[:-1]):
        session.undo()
        assert facts(session) == before
    with pytest.raises(NothingToUndo):
        session.undo()
    case.talk(session)
    assert facts(session) == known[-1]


def test_a_fork_is_independent(case: Case) -> None:
    session = case.session()
    case.talk(session, 2)
    twin, before = session.fork(), facts(session)
    case.talk(twin)
    twin.refine(box=(0, 0, 9, 9), region=1)
    assert facts(session) == before and len(twin.history) == len(TALK) + 1
    twin.undo()
    case.talk(session)
    assert facts(session) == facts(twin)


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_a_restored_session_goes_on_the_same(case: Case, count: int) -> None:
    session = case.session()
    case.talk(session, count)
    twin = case.model.restore(session.to_json(), photo())
    assert twin.to_json() == session.to_json()
    assert [reply.to_dict() for reply in twin.history] == [reply.to_dict() for reply in session.history]
    case.talk(session), case.talk(twin)
    assert facts(session) == facts(twin)
    assert json.loads(session.to_json(since=count))["events"] == json.loads(session.to_json())["events"][count:]


def test_a_region_changed_by_hand(case: Case) -> None:
    session = case.session()
    case.talk(session, 2)
    before = facts(session)
    drawn = np.zeros(SIZE, np.bool_)
    drawn[3:9, 4:20] = True
    reply = session.refine(mask=drawn, region=1)
    assert (reply.user, reply.text, reply.regions[0].score) == ("", "", None)
    np.testing.assert_array_equal(session.selection.mask, drawn | session.regions[1].mask)
    boxed = session.refine(box=(5, 5, 30, 30), region=2).regions[0].mask
    outside = boxed.copy()
    outside[5:30, 5:30] = False
    assert boxed.any() and not outside.any()
    twin = case.model.restore(session.to_json(), photo())
    np.testing.assert_array_equal(twin.selection.mask, session.selection.mask)
    session.undo()
    session.undo()
    assert facts(session) == before


def test_pointing_and_telling(case: Case) -> None:
    session = case.session()
    assert session.refine(box=(5, 5, 30, 30)).selection.expression == "1"
    mask = np.eye(*SIZE, dtype=np.bool_)
    told = Turn("assistant", (Mark(Operator.ADD), Words("The "), Name("cup", 2)), (Region(2, "cup", mask, 3),))
    assert session.append_exchange("the cup", told).text == "The cup"
    again = Turn("assistant", (Mark(Operator.CUT), Name("cup", 2)))
    assert session.append_exchange("not it", again).selection.expression == "(1 + 2) - 2"
    with pytest.raises(InputError, match=r"regions \[3\]"):
        session.append_exchange("again", told)
    twin = case.model.restore(session.to_json(), photo())
    assert facts(twin) == facts(session) and twin.turns[1].regions[0].phrase == session.regions[0].phrase


def test_what_is_selected_is_exported(case: Case, tmp_path: Path) -> None:
    session = case.session()
    case.talk(session, 3)
    document = json.loads(next(p for p in session.export(tmp_path, ["rle"])).read_text())
    assert document["masks"][0]["area"] == int(session.selection.mask.sum())
    assert len(session.export(tmp_path / "each", ["png"], each=True)) == 2


@pytest.mark.parametrize(
    "hand", [{}, {"points": [(61, 2, 1)]}, {"box": (9, 9, 5, 20)}, {"box": (0, 0, 5, 5), "region": 7}]
)
def test_bad_input_changes_nothing(case: Case, hand: dict[str, Any]) -> None:
    session = case.session()
    case.talk(session, 2)
    before = facts(session)
    with pytest.raises(InputError):
        session.refine(**hand)
    for text in ("", "\x00", 7):
        with pytest.raises(InputError):
            session.ask(text)  # type: ignore[arg-type]
    assert facts(session) == before
