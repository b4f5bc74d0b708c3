"""Conversations written for models that point, and for those that draw anew; see `test_recalls.py` too."""

from __future__ import annotations

import numpy as np
import pytest

from miras.core.recall import anew, pointing, ranks, told
from miras.core.selection import follow
from miras.core.types import Conversation, Mark, Name, Operator, Region, Turn, Words

A, B = (np.eye(3, dtype=np.bool_), ~np.eye(3, dtype=np.bool_))


def reply(*pieces: object, turn: int = 1) -> Turn:
    """Regions stand for the names that draw them; (phrase, id) names an earlier one."""
    content, regions = [], []
    for piece in pieces:
        if isinstance(piece, Region):
            content.append(Name(piece.phrase, piece.id))
            regions.append(piece)
        else:
            content.append(Name(*piece) if isinstance(piece, tuple) else piece)
    return Turn("assistant", tuple(content), tuple(regions))


def talk(*replies: Turn) -> Conversation:
    return Conversation(tuple(turn for one in replies for turn in (Turn.user("and"), one)))


ADD, CUT, EXCEPT = Mark(Operator.ADD), Mark(Operator.CUT), Mark(Operator.EXCEPT)
DRAWN = talk(
    reply(Region(1, "cup", A, 1)), reply(ADD, Region(2, "lid", B, 3, Operator.ADD)),
    reply(CUT, Region(3, "that", B, 5, Operator.CUT), Region(4, "rim", A & B, 5, Operator.CUT)),
)  # fmt: skip


def test_equal_masks_are_one_region() -> None:
    found = pointing(DRAWN)
    assert [turn.names for turn in found.turns[1::2]] == [(1,), (2,), (2, 3)]
    assert [region.id for region in found.regions] == [1, 2, 3]
    assert found.turns[5].content[1] == Name("that", 2)
    assert [turn.text for turn in found.turns] == [turn.text for turn in DRAWN.turns]
    *_, (_, one) = follow(DRAWN.turns)
    *_, (_, other) = follow(found.turns)
    assert one[-1].mask.tobytes() == other[-1].mask.tobytes()
    assert (one[-1].expression, other[-1].expression) == ("((1 + 2) - 3) - 4", "((1 + 2) - 2) - 3")


def test_two_names_of_one_reply_stay_two() -> None:
    twice = talk(reply(Region(1, "cup", A, 1), Region(2, "mug", A, 1)))
    assert [region.id for region in pointing(twice).regions] == [1, 2]
    empty = talk(reply(Region(1, "cup", A & B, 1)), reply(Region(2, "mug", A & B, 3)))
    assert [region.id for region in pointing(empty).regions] == [1, 2]


def test_drawn_anew_it_has_its_operator_and_its_mask() -> None:
    back = anew(pointing(DRAWN))
    assert [(r.id, r.phrase, r.turn) for r in back.regions] == [
        (1, "cup", 1), (2, "lid", 3), (3, "that", 5), (4, "rim", 5),
    ]  # fmt: skip
    assert back.regions[2].operator is Operator.CUT
    np.testing.assert_array_equal(back.regions[2].mask, B)
    assert anew(DRAWN) is DRAWN


@pytest.mark.parametrize(
    ("points", "complements", "names"),
    [(True, True, [(1,), (1,), (1, 2)]), (False, True, [(1,), (2,), (3, 4)]), (True, False, [(1,)]),
     (False, False, [(1,)])],
)  # fmt: skip
def test_told_as_a_model_can_learn_it(points: bool, complements: bool, names: list[tuple[int, ...]]) -> None:
    whole = talk(
        reply(Region(1, "cup", A, 1)), reply(EXCEPT, Words("All but"), ("cup", 1)),
        reply(("cup", 1), Region(2, "lid", B, 5)),
    )  # fmt: skip
    found = told(whole, points=points, complements=complements)
    assert found is not None
    assert [turn.names for turn in found.turns[1::2]] == names
    assert told(talk(whole.turns[3]), points=points, complements=False) is None


@pytest.mark.parametrize(
    ("mentioned", "first", "newest"),
    [([1], [0], [0]), ([1, 2, 1], [0, 1, 0], [0, 1, 0]), ([3, 1, 2], [0, 1, 2], [2, 1, 0]), ([], [], [])],
)
def test_ranks(mentioned: list[int], first: list[int], newest: list[int]) -> None:
    assert ranks(mentioned) == (first, newest)
