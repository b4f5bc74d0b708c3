"""A conversation as one picture: one row a turn, whatever was said."""

from __future__ import annotations

import numpy as np
import pytest

from miras.chat.card import WIDTH, card
from miras.chat.reply import Reply
from miras.core.types import Operator, Region, Selection, Timings

MASK = np.zeros((60, 90), bool)
MASK[20:40, 30:60] = True
PHOTO = np.full((60, 90, 3), 128, np.uint8)
CUP = Region(1, "tea cup", MASK, 1, score=0.8)


def reply(user: str, text: str, *regions: Region, expression: str = "1") -> Reply:
    mask = MASK if expression else MASK & False
    return Reply(user, text, regions, Selection(mask, expression), timings=Timings(0.1, 0.2, 0.3))


def test_one_row_a_turn() -> None:
    first = reply("Where?", "Here is the tea cup.", CUP)
    one, two = card(PHOTO, [first]), card(PHOTO, [first, reply("Is there a dog?", "No.")])
    assert one.dtype == np.uint8
    assert one.shape[1:] == two.shape[1:] == (WIDTH, 3)
    assert two.shape[0] > 1.7 * one.shape[0]
    assert np.array_equal(two[: one.shape[0] - 30], one[:-30])


def test_the_selection_of_earlier_turns_is_still_drawn() -> None:
    later = card(PHOTO, [reply("Where?", "Here is the tea cup.", CUP), reply("Thanks", "With pleasure.")])
    half = later.shape[0] // 2
    blue = (later[:, :400, 2].astype(int) - later[:, :400, 0] > 40).sum(axis=1) > 0
    assert blue[:half].any()
    assert blue[half:].any()


@pytest.mark.parametrize(
    "turn",
    [
        reply("", "", CUP),
        reply("x" * 10_000, "y" * 10_000, expression=""),
        reply("word " * 3_000, "☕ كوب 茶杯 \ud800\x1b[31m", expression=""),
        reply("go back", "Undone.", Region(2, "", MASK, 3, Operator.CUT), expression=""),
    ],
    ids=["by hand", "one long word", "many words", "no phrase"],
)
def test_whatever_was_said(turn: Reply) -> None:
    picture = card(PHOTO, [turn])
    assert picture.shape[1] == WIDTH
    assert picture.shape[0] < 1500


def test_no_turns() -> None:
    assert card(PHOTO, []).shape[1] == WIDTH
