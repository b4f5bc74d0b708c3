"""What a reply is worth, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from miras.core.types import Mark, Mask, Name, Operator, Region, Turn, Words
from miras.train.grpo import rewards
from miras.train.grpo.rewards import Outcome


def box(left: int, right: int) -> Mask:
    mask = np.zeros((4, 8), np.bool_)
    mask[:, left:right] = True
    return mask


NOTHING = box(0, 0)


def drawn(number: int, mask: Mask) -> Region:
    return Region(number, "cup", mask, 3)


def said(*pieces: Words | Mark | Name, regions: tuple[Region, ...] = ()) -> Turn:
    return Turn("assistant", pieces, regions)


CUP = said(Name("cup", 3), Words("."), regions=(drawn(3, box(0, 4)),))
AGAIN = said(Name("cup", 1), Words("."))
BOTH = said(Name("cup", 1), Words(" and "), Name("spoon", 2))
REFUSED = said(Mark(Operator.REJECT), Words("There is no cup."))
ADDED = said(Mark(Operator.ADD), *CUP.content, regions=CUP.regions)
CUT = said(Mark(Operator.CUT), *CUP.content, regions=CUP.regions)
UNDONE = said(Mark(Operator.UNDO), Words("Taken back."))
TALK = said(Words("It is red."))
EMPTY = said(Name("cup", 3), regions=(drawn(3, NOTHING),))

ROWS = [
    # what is said, what is selected; what is right, what is to be selected; mask operator refusal reference format
    ("all right", CUP, box(0, 4), CUP, box(0, 4), (1.0, 1, 1, None, 1)),
    ("half of it", CUP, box(0, 2), CUP, box(0, 4), (0.5, 1, 1, None, 1)),
    ("the wrong place", CUP, box(4, 8), CUP, box(0, 4), (0.0, 1, 1, None, 1)),
    ("added instead of anew", ADDED, box(0, 8), CUP, box(0, 4), (0.5, 0, 1, None, 1)),
    ("cut instead of added", CUT, NOTHING, ADDED, box(0, 4), (0.0, 0, 1, None, 1)),
    ("refused what is there", REFUSED, NOTHING, CUP, box(0, 4), (0.0, 0, 0, None, 1)),
    ("refused what is not", REFUSED, box(0, 4), REFUSED, box(0, 4), (None, 1, 1, None, 1)),
    ("selected what is not there", CUP, box(0, 4), REFUSED, NOTHING, (None, 0, 0, None, 1)),
    ("undo to nothing", UNDONE, NOTHING, UNDONE, NOTHING, (1.0, 1, 1, None, 1)),
    ("talk", TALK, NOTHING, TALK, NOTHING, (None, 1, 1, None, 1)),
    ("talk instead of a mask", TALK, NOTHING, CUP, box(0, 4), (0.0, 0, 1, None, 1)),
    ("the region that is meant", AGAIN, box(0, 4), AGAIN, box(0, 4), (1.0, 1, 1, 1.0, 1)),
    ("drawn anew", CUP, box(0, 4), AGAIN, box(0, 4), (1.0, 1, 1, 0.0, 1)),
    ("one of two", AGAIN, box(0, 4), BOTH, box(0, 8), (0.5, 1, 1, 0.5, 1)),
    ("pointed at what is new", AGAIN, box(0, 4), CUP, box(0, 4), (1.0, 1, 1, 0.0, 1)),
    ("drawn without pixels", EMPTY, NOTHING, CUP, box(0, 4), (0.0, 1, 1, None, 0)),
    ("says nothing", said(Words(" ")), NOTHING, TALK, NOTHING, (None, 1, 1, None, 0)),
    ("names it twice", said(Name("cup", 1), Name("cup", 1)), box(0, 4), AGAIN, box(0, 4), (1.0, 1, 1, 1.0, 0)),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_parts(row):
    _, reply, selected, right, wanted, expected = row
    found = rewards.parts(Outcome(reply, selected), Outcome(right, wanted))
    assert tuple(found.values()) == pytest.approx(expected)
    assert list(found) == ["mask", "operator", "refusal", "reference", "format"]


def test_what_was_cut_off_has_no_format():
    assert rewards.format(Outcome(CUP, box(0, 4), whole=False), Outcome(CUP, box(0, 4))) == 0


def test_the_total_leaves_out_what_is_not_asked_for():
    parts = {"mask": 0.5, "operator": 1.0, "reference": None, "format": 1.0}
    assert rewards.total(parts, {"mask": 2.0, "reference": 5.0, "operator": 0.25}) == pytest.approx(1.25)
