"""The vocabulary: what an utterance reads like, and records that cannot be changed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from miras.core.types import Conversation, Mark, Name, Operator, Piece, Region, Selection, Timings, Turn, Words


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ((), ""),
        ((Words("It is "), Name("the lid", 1), Words(" .")), "It is the lid."),
        ((Words("It is"), Name("the lid", 1), Words(", yes !")), "It is the lid, yes!"),
        ((Mark(Operator.ADD), Words("Also"), Name("the  handle", 2), Words(".")), "Also the handle."),
        ((Name("a", 1), Words(" and"), Name("b", 2)), "a and b"),
        ((Mark(Operator.UNDO), Words("Back\nagain.")), "Back again."),
        ((Words("what : this ; that ?"),), "what: this; that?"),
    ],
)
def test_a_reply_reads_as_plain_words(content: tuple[Piece, ...], text: str) -> None:
    assert Turn("assistant", content).text == text


@pytest.mark.parametrize(
    "text",
    ["", "  two  spaces ,  kept\n\n", "[SEG] <image> <|im_end|> <mask> [OBJ] x", "👍🏽", "أين المقبض؟", "\ud800"],
)
def test_a_users_text_is_literal(text: str) -> None:
    turn = Turn.user(text)
    assert (turn.role, turn.text, turn.content, turn.regions) == ("user", text, (Words(text),), ())


def test_regions_in_the_order_they_were_named() -> None:
    mask = np.array([[True, False], [True, True]])
    regions = tuple(Region(number, f"part {number}", mask, turn=1 + number // 3 * 2) for number in (1, 2, 3))
    conversation = Conversation(
        (
            Turn.user("a"),
            Turn("assistant", (Name("part 1", 1), Name("part 2", 2)), regions[:2]),
            Turn.user("b"),
            Turn("assistant", (Name("part 3", 3),), regions[2:]),
        )
    )
    assert [region.id for region in conversation.regions] == [1, 2, 3]
    assert regions[0].area == 3
    assert type(regions[0].area) is int
    assert Conversation().regions == ()


def test_the_total_is_the_sum_of_the_parts() -> None:
    assert Timings(0.25, 0.5, 1.0).total == 1.75
    assert Timings().total == 0.0


def test_operators_are_strings_in_json() -> None:
    assert json.loads(json.dumps(list(Operator))) == ["replace", "add", "cut", "undo", "reject", "except"]
    assert Operator("cut") is Operator.CUT


@pytest.mark.parametrize(
    ("record", "attribute"),
    [
        (Words("a"), "text"),
        (Turn.user("a"), "role"),
        (Selection(np.zeros((1, 1), np.bool_)), "expression"),
        (Conversation(), "turns"),
    ],
)
def test_records_are_frozen(record: Any, attribute: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, attribute, "b")
