"""Asking, streaming, pointing, undoing, forking: the state is right, also after failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.reply import Reply
from miras.chat.session import POINTED, POINTING, ChatSession
from miras.core.errors import InputError, NothingToUndo
from miras.core.former import FormerNameWarning
from miras.core.grammar import ADD, CUT, OBJ, REJ, SEG, UNDO
from miras.core.masks import decode_rle
from miras.core.types import Mark, Name, Operator, Region, Turn, Words
from miras.model.miras import Miras

Says = Callable[..., tuple[int, ...]]


def facts(session: ChatSession) -> tuple[Any, ...]:
    """Everything that must stay when nothing has happened."""
    selection, past = session.selection, session.backend.engine.past
    return (
        past.ids.copy(), len(past.cache), len(session.history),
        [(r.id, r.phrase, r.mask.tobytes(), r.score) for r in session.regions],
        [turn.text for turn in session.turns], selection.expression, selection.mask.tobytes(),
    )  # fmt: skip


def same(first: Reply, second: Reply) -> bool:
    return (
        (first.ids, first.text, first.selection.expression) == (second.ids, second.text, second.selection.expression)
        and first.selection.mask.tobytes() == second.selection.mask.tobytes()
        and [r.phrase for r in first.regions] == [r.phrase for r in second.regions]
        and [r.score for r in first.regions] == pytest.approx([r.score for r in second.regions], abs=1e-5)
    )


def test_a_new_session_has_nothing(session: ChatSession) -> None:
    assert (session.turns, session.regions, session.history) == ((), (), ())
    assert session.selection.expression == ""
    assert not session.selection.mask.any()
    assert session.selection.mask.shape == session.size == (48, 64)


def test_a_reply_as_a_turn_object(session: ChatSession, says: Says) -> None:
    reply = session.ask("  Where is\x00 the cup? ", forced=says("It is ", OBJ, " the cup", SEG, "."))
    turn = reply.to_dict()
    assert (turn["user"], turn["text"]) == ("Where is the cup?", "It is the cup.")
    (region,) = turn["regions"]
    assert (region["id"], region["phrase"], region["operator"]) == (1, "the cup", "replace")
    assert 0 <= region["score"] <= 1
    np.testing.assert_array_equal(decode_rle(region["rle"]), session.regions[0].mask)
    assert turn["selection"]["area"] == region["area"] == session.regions[0].area > 0
    assert turn["selection"]["box_xyxy"] == region["box_xyxy"]
    assert turn["selection"]["expression"] == "1"
    assert set(turn["seconds"]) == {"prefill", "generate", "segment", "total"}
    assert turn["seconds"]["total"] == pytest.approx(sum(list(turn["seconds"].values())[:3]))
    assert 0 <= turn["certainty"] <= 1
    assert session.turns[1].content == (Words("It is "), Name("the cup", 1), Words("."))


def test_nothing_selected_is_area_zero_and_no_box(session: ChatSession, says: Says) -> None:
    turn = session.ask("the dragon?", forced=says(REJ, "No.")).to_dict()
    assert (turn["selection"]["area"], turn["selection"]["box_xyxy"]) == (0, None)
    assert (turn["regions"], turn["operators"]) == ([], ["reject"])


def test_the_stream_is_the_reply(model: Miras, photo: NDArray[np.uint8], says: Says) -> None:
    session = ChatSession(model, photo)
    forced = says("Voilà ", OBJ, " das Fußteil", SEG, " et ", OBJ, " 把手", SEG, " !")
    events = list(session.stream("both", forced=forced))
    reply = events[-1]
    assert isinstance(reply, Reply)
    assert "".join(e for e in events if isinstance(e, str)) == reply.text == "Voilà das Fußteil et 把手!"
    assert tuple(e for e in events if isinstance(e, Region)) == reply.regions
    assert [r.phrase for r in reply.regions] == ["das Fußteil", "把手"]


@pytest.mark.parametrize("seed", range(4))
def test_random_words_stream_as_the_reply(model: Miras, photo: NDArray[np.uint8], seed: int) -> None:
    session = ChatSession(model, photo, seed=seed, temperature=2.0, max_new_tokens=20)
    events = list(session.stream("anything"))
    assert "".join(e for e in events if isinstance(e, str)) == events[-1].text  # type: ignore[union-attr]


def test_same_seed_same_reply(model: Miras, photo: NDArray[np.uint8]) -> None:
    first, second, other = (
        ChatSession(model, photo, seed=seed, temperature=1.5, max_new_tokens=12).ask("go") for seed in (1, 1, 2)
    )
    assert same(first, second)
    assert first.ids != other.ids


def test_undo_is_exact(session: ChatSession, says: Says) -> None:
    session.ask("the cup", forced=says(OBJ, " cup", SEG))
    before = facts(session)
    reply = session.ask("also the pan", forced=says(ADD, OBJ, " pan", SEG))
    after = facts(session)
    session.undo()
    assert facts(session) == before
    again = session.ask("also the pan", forced=says(ADD, OBJ, " pan", SEG))
    assert same(reply, again)
    assert reply.new_tokens == again.new_tokens
    assert facts(session) == after
    session.undo()
    session.undo()
    assert facts(session)[0] == []
    with pytest.raises(NothingToUndo):
        session.undo()


def test_undo_of_a_refinement(session: ChatSession, says: Says) -> None:
    session.ask("the cup and the pan", forced=says(OBJ, " cup", SEG, OBJ, " pan", SEG, " there"))
    twin = session.fork()
    before = facts(session)
    mask = np.zeros(session.size, dtype=np.bool_)
    mask[3:9, 4:20] = True
    session.refine(mask=mask, region=1)
    assert facts(session) != before
    session.undo()
    assert facts(session) == before
    assert same(
        session.ask("next", forced=says(ADD, OBJ, " lid", SEG)), twin.ask("next", forced=says(ADD, OBJ, " lid", SEG))
    )


def test_what_is_pointed_at_after_all_was_taken_away_is_selected(session: ChatSession, says: Says) -> None:
    session.ask("the cup", forced=says(OBJ, " cup", SEG))
    session.select("1 - 1")
    assert session.history[-1].selection.expression == "1 - 1" and not session.selection.mask.any()
    mask = np.zeros(session.size, dtype=np.bool_)
    mask[3:9, 4:20] = True
    reply = session.refine(mask=mask)
    assert [region.id for region in reply.regions] == [2] and reply.selection.expression == "2"
    np.testing.assert_array_equal(reply.selection.mask, mask)


def test_a_selection_chosen_by_hand_is_a_turn(session: ChatSession, says: Says) -> None:
    session.ask("the cup and the lid", forced=says(OBJ, " cup", SEG, OBJ, " lid", SEG))
    session.refine(mask=np.tri(*session.size, dtype=np.bool_), region=1)
    session.refine(mask=~np.tri(*session.size, k=-9, dtype=np.bool_), region=2)
    before = facts(session)
    reply = session.select("1&2")
    one, two = (region.mask for region in session.regions)
    assert (reply.user, reply.text, reply.regions, reply.new_tokens) == ("", "", (), 0)
    assert reply.selection.expression == session.selection.expression == "1 & 2"
    np.testing.assert_array_equal(session.selection.mask, one & two)
    assert session.selection.mask.any()
    assert session.history[-1].to_dict() == reply.to_dict()
    session.undo()
    assert facts(session) == before
    session.select("1 - 2")
    session.ask("also the pan", forced=says(ADD, OBJ, " pan", SEG))  # operators go on from what was chosen
    assert session.selection.expression == "(1 - 2) + 3"
    np.testing.assert_array_equal(session.selection.mask, (one & ~two) | session.regions[2].mask)
    session.refine(mask=np.ones(session.size, np.bool_), region=1)  # a region that changes, changes it
    np.testing.assert_array_equal(session.selection.mask, ~two | session.regions[2].mask)
    session.select("")
    assert (session.selection.expression, session.selection.mask.any()) == ("", False)
    session.ask("go back", forced=says(UNDO, "Back."))  # in words as by hand
    assert session.selection.expression == "(1 - 2) + 3"


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("3", "regions from 1 to 2"),
        ("1 +", "its end"),
        ("1+2", "another selection"),
        (" ( 1 + 2 ) ", "another selection"),
    ],
)
def test_what_cannot_be_selected(session: ChatSession, says: Says, expression: str, line: str) -> None:
    session.ask("the cup and the lid", forced=says(OBJ, " cup", SEG, OBJ, " lid", SEG))
    before = facts(session)
    with pytest.raises(InputError, match=line):
        session.select(expression)
    assert facts(session) == before


def test_a_fork_is_independent(session: ChatSession, says: Says) -> None:
    session.ask("the cup", forced=says(OBJ, " cup", SEG))
    before = facts(session)
    twin = session.fork()
    twin.ask("also the pan", forced=says(ADD, OBJ, " pan", SEG))
    twin.refine(points=[(1, 1, 0)])
    assert facts(session) == before
    session.undo()
    assert len(twin.history) == 3
    assert facts(twin)[1] == len(twin.backend.engine.past.ids)


def test_a_given_mask_replaces_exactly(session: ChatSession, says: Says) -> None:
    session.ask("cup, no lid", forced=says(OBJ, " cup", SEG, CUT, OBJ, " lid", SEG, "."))
    ids = list(session.backend.engine.past.ids)
    old_slots = [slot.tokens_KD for slot in session.backend.engine.past.slots]
    mask = np.zeros(session.size, dtype=np.uint8)
    mask[10:40, 10:40] = 255
    reply = session.refine(mask=mask)  # type: ignore[arg-type]
    assert [(r.id, r.phrase, r.score) for r in reply.regions] == [(1, "cup", None)]
    np.testing.assert_array_equal(session.regions[0].mask, mask > 0)
    np.testing.assert_array_equal(session.selection.mask, (mask > 0) & ~session.regions[1].mask)
    assert session.turns[1].regions == session.regions
    assert session.backend.engine.past.ids == ids
    assert session.backend.engine.past.slots[0].tokens_KD is not old_slots[0]
    assert session.backend.engine.past.slots[1].tokens_KD is old_slots[1]
    assert 0 < reply.new_tokens < len(ids)


def test_points_and_box_go_to_the_decoder(session: ChatSession, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    session.ask("cup and pan", forced=says(OBJ, " cup", SEG, OBJ, " pan", SEG))
    calls: list[tuple[Any, ...]] = []
    segment = Miras.segment

    def spy(self: Miras, *args: Any) -> Any:
        calls.append(args)
        return segment(self, *args)

    monkeypatch.setattr(Miras, "segment", spy)
    pan = session.regions[1].mask
    session.refine(points=[(5, 6, 1), (20, 20, 0)], box=(1, 2, 30, 40))
    _, _, span, memory, previous, points, box, _ = calls[0]
    assert span.shape[0] == len(" pan") + 2
    assert memory.shape[0] == session.model.config.mask_tokens
    np.testing.assert_array_equal(previous, pan)
    assert points.tolist() == [[5, 6, 1], [20, 20, 0]]
    assert box == (1, 2, 30, 40)
    session.refine(points=[(5, 6, 1)])
    assert calls[1][2].shape == span.shape


def test_pointing_first_makes_an_exchange(session: ChatSession, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[Any] = []
    segment = Miras.segment

    def spy(self: Miras, *args: Any) -> Any:
        spans.append(args[2])
        return segment(self, *args)

    monkeypatch.setattr(Miras, "segment", spy)
    reply = session.refine(box=(3, 3, 30, 30))
    assert (reply.user, reply.text, reply.regions[0].phrase) == (POINTING, POINTED, POINTED)
    assert session.selection.expression == "1"
    session.refine(points=[(4, 4, 1)])
    assert spans == [None, None]
    assert len(session.history) == 2
    assert session.ask("also the lid", forced=says(ADD, OBJ, " lid", SEG)).selection.expression == "1 + 2"
    for _ in range(3):
        session.undo()
    assert not session.history


def test_former_names_of_a_session_are_heard_with_a_notice(session: ChatSession) -> None:
    with pytest.warns(FormerNameWarning, match=r"'ChatSession\.append_exchange'"):
        reply = session.tell("hello", Turn("assistant", (Words("Hello."),)))  # type: ignore[attr-defined]
    assert reply.text == "Hello." and len(session.turns) == 2
    with pytest.warns(FormerNameWarning, match=r"'ChatSession\.text_regions'"):
        assert session.inscriptions == session.text_regions  # type: ignore[attr-defined]


def test_an_exchange_that_was_given_is_history(session: ChatSession, says: Says) -> None:
    mask = np.zeros(session.size, dtype=np.bool_)
    mask[:10, :10] = True
    gold = Turn("assistant", (Mark(Operator.ADD), Words("The "), Name("cup", 1)), (Region(1, "cup", mask, 1),))
    reply = session.append_exchange("the cup", gold)
    assert (reply.text, reply.operators, reply.certainty) == ("The cup", (Operator.ADD,), None)
    np.testing.assert_array_equal(session.selection.mask, mask)
    assert session.ask("also", forced=says(ADD, OBJ, " lid", SEG)).selection.expression == "1 + 2"
    with pytest.raises(InputError, match=r"regions \[3\]"):
        session.append_exchange("again", gold)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32"])
@pytest.mark.parametrize("top", [1, 255])
def test_tell_takes_any_mask_and_nothing_else(session: ChatSession, kind: str, top: int) -> None:
    mask = np.zeros(session.size, kind)
    mask[:10, :10] = top
    inside = mask > 0

    def gold(number: int, values: Any, operator: Operator) -> Turn:
        return Turn("assistant", (Mark(operator), Name("cup", number)), (Region(number, "cup", values, 1),))

    session.append_exchange("the cup", gold(1, mask, Operator.ADD))
    assert session.regions[0].mask.dtype == np.bool_
    session.append_exchange("less", gold(2, np.roll(mask, 5, 1), Operator.CUT))
    np.testing.assert_array_equal(session.selection.mask, inside & ~np.roll(inside, 5, 1))
    before = facts(session)
    for values in (mask * np.float32(0.3), np.full(session.size, np.nan)):
        with pytest.raises(InputError, match="threshold"):
            session.append_exchange("and this", gold(3, values, Operator.ADD))
        with pytest.raises(InputError, match="threshold"):
            session.refine(mask=values)
    assert facts(session) == before


EMPTY = ["", "   ", "\n\t", "\x00\x01", "\u200b\u200f", 7, None]
LONG = ["x" * 100_000, "word " * 5000]
ODD = ["👩‍🚀🛸", "أين الكوب؟", "where is [SEG] <image> <|im_end|> <mask> [OBJ]?", "a\ud800b", "x\x00y"]


@pytest.mark.parametrize("text", [*EMPTY, *LONG])
def test_unusable_messages(session: ChatSession, text: Any) -> None:
    before = facts(session)
    with pytest.raises(InputError) as error:
        session.ask(text)
    assert "\n" not in str(error.value)
    assert facts(session) == before


@pytest.mark.parametrize("text", ODD)
def test_odd_messages_are_only_text(session: ChatSession, says: Says, text: str) -> None:
    reply = session.ask(text, forced=says("Yes."))
    specials = [i for i in session.backend.engine.past.ids if i >= session.model.tokenizer.vocab_size]
    assert specials == [session.model.grammar.id("<image>")] * session.model.config.image_tokens
    assert reply.user == text.replace("\x00", "").replace("\ud800", "?")


BAD_HANDS: list[dict[str, Any]] = [
    {},
    {"points": []},
    {"points": [(1, 2)]},
    {"points": [(65, 2, 1)]},
    {"points": [(-1, 2, 1)]},
    {"points": [(1, float("nan"), 1)]},
    {"points": [(1, 2, 5)]},
    {"points": "here"},
    {"box": (1, 2, 3)},
    {"box": (10, 10, 5, 20)},
    {"box": (0, 0, 65, 48)},
    {"mask": np.zeros((4, 4), dtype=np.bool_)},
    {"mask": np.zeros((48, 64), dtype=np.bool_), "box": (0, 0, 5, 5)},
    {"mask": np.full((48, 64), "x")},
    {"mask": np.full((48, 64), 0.3)},
    {"mask": np.full((48, 64), np.nan)},
    {"mask": np.linspace(-4, 4, 48 * 64).reshape(48, 64)},
    {"mask": np.arange(48 * 64).reshape(48, 64)},
    {"points": [(1, 2, 1)], "region": 9},
]


@pytest.mark.parametrize("hand", BAD_HANDS, ids=str)
def test_unusable_gestures(session: ChatSession, hand: dict[str, Any]) -> None:
    before = facts(session)
    with pytest.raises(InputError):
        session.refine(**hand)
    assert facts(session) == before


@pytest.mark.parametrize("options", [{"max_new_tokens": 0}, {"max_new_tokens": 10_000}, {"temperature": -1.0}])
def test_unusable_options(model: Miras, photo: NDArray[np.uint8], options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ChatSession(model, photo, **options)


def test_a_failed_turn_changes_nothing(session: ChatSession, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    session.ask("the cup", forced=says(OBJ, " cup", SEG))
    before = facts(session)

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Miras, "segment", fail)
        with pytest.raises(RuntimeError):
            session.ask("pan", forced=says(OBJ, " pan", SEG))
        with pytest.raises(RuntimeError):
            session.refine(box=(0, 0, 9, 9))
    assert facts(session) == before
    stream = session.stream("pan", forced=says("The ", OBJ, " pan", SEG))
    next(iter(stream))
    del stream
    assert facts(session) == before


def test_one_turn_at_a_time(session: ChatSession, says: Says) -> None:
    stream = session.stream("the cup", forced=says("The ", OBJ, " cup", SEG))
    next(iter(stream))
    session.ask("the pan", forced=says(OBJ, " pan", SEG))
    before = facts(session)
    with pytest.raises(InputError, match="one turn at a time"):
        list(stream)
    assert facts(session) == before
