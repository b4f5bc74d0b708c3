"""The moves that mean again what was named before, and all but; and that nothing changes without them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from miras.core.recall import anew, pointing
from miras.core.selection import follow
from miras.core.types import Example, Mark, Operator
from miras.data.dialogues.recalls import ALL_BUT, POINTING
from miras.data.dialogues.sampler import KINDS, MOVES, sample
from miras.data.inspect.stats import final_region
from miras.data.inspect.validate import validate
from miras.data.language import phrasing
from miras.data.record import example_of, record_of, turn_record
from tests.data.dialogues.test_sampler import PHOTOS

ABLE = {"points": True, "complements": True}
DONE = {
    "keep": (), "both": (), "recall": (), "previous": (), "reselect": (), "again": (), "recall_too": (Operator.ADD,),
    "readd": (Operator.ADD,), "recut": (Operator.CUT,), "except": (Operator.EXCEPT,), "background": (Operator.EXCEPT,),
    "invert": (Operator.EXCEPT,),
}  # fmt: skip


def talks(count: int = 130, **able: bool) -> list[Example]:
    return [
        sample(photo, np.random.default_rng(seed), turns=(3, 6), heldout=bool(seed % 2), **able)
        for photo in PHOTOS.values()
        for seed in range(count)
    ]


@pytest.fixture(scope="module")
def able() -> list[Example]:
    return talks(**ABLE)


def test_every_move_appears_and_every_kind(able: list[Example]) -> None:
    moves = Counter(move for example in able for move in example.meta["moves"].values())
    assert set(moves) == {*MOVES, *POINTING, *ALL_BUT}
    assert min(moves.values()) >= 5
    assert {example.kind for example in able} == set(KINDS)


def test_what_was_named_is_the_region_it_was(able: list[Example]) -> None:
    again = 0
    for example in able:
        conversation = example.conversation
        masks = [region.mask.tobytes() for region in conversation.regions]
        assert len(set(masks)) == len(masks)
        assert [region.id for region in conversation.regions] == list(range(1, len(masks) + 1))
        again += sum(len(turn.recalled) for turn in conversation.turns)
        for index, move in example.meta["moves"].items():
            turn = conversation.turns[index]
            marks = tuple(piece.operator for piece in turn.content if isinstance(piece, Mark))
            if move in DONE:
                assert marks == DONE[move], move
            if move in POINTING:
                assert turn.recalled and not turn.regions, move
            assert bool(turn.names) or move in ("invert", "undo", "absent", "chat")
    assert again > 200


def test_records_of_them_are_faultless(able: list[Example]) -> None:
    for number, example in enumerate(able):
        record = record_of(example, id=f"{number}", image_id=f"{number}", image="p.jpg", size=(60, 100))
        assert [str(fault) for fault in validate([record], photos=False)] == []
        turns = example_of(record, example.image).conversation.turns
        assert [turn_record(turn) for turn in turns] == record["turns"]
        if example.focus:
            assert final_region(record) is not None


def test_selections_are_what_was_meant(able: list[Example]) -> None:
    for example in able:
        replies = list(follow(example.conversation.turns))
        moves = list(example.meta["moves"].values())
        for place, ((turn, steps), move) in enumerate(zip(replies, moves, strict=True)):
            before = replies[place - 1][1] if place else ()
            if move == "invert":
                np.testing.assert_array_equal(steps[-1].mask, ~before[-1].mask)
            elif move in ("except", "background"):
                known = {region.id: region.mask for region in example.conversation.regions}
                left = np.logical_or.reduce([known[number] for number in turn.names])
                np.testing.assert_array_equal(steps[-1].mask, ~left)
                assert steps[-1].mask.any()
            elif move == "recut":
                (number,) = turn.recalled
                mask = next(region.mask for region in example.conversation.regions if region.id == number)
                assert not (steps[-1].mask & mask).any()
                assert (before[-1].mask & mask).any() and steps[-1].mask.any()


def test_nothing_says_everything_but_cuts(able: list[Example]) -> None:
    """ "Everything but the lid" is all but, where there is all but."""
    for example in able:
        for index, move in example.meta["moves"].items():
            said = example.conversation.turns[index - 1].text.lower()
            if move in ("cut", "recut"):
                assert not said.startswith("everything but")


def test_without_them_there_are_only_the_old_moves() -> None:
    assert not {move for example in talks(60) for move in example.meta["moves"].values()} - set(MOVES)


@pytest.mark.parametrize("able", [{"points": True}, {"complements": True}])
def test_each_comes_alone(able: dict[str, bool]) -> None:
    drawn = talks(120, **able)
    moves = {move for example in drawn for move in example.meta["moves"].values()}
    other = ALL_BUT if "points" in able else POINTING
    assert not moves & set(other)
    assert any(turn.recalled for e in drawn for turn in e.conversation.turns) == ("points" in able)


def test_anew_and_pointing_invert_each_other(able: list[Example]) -> None:
    for example in able[:300]:
        drawn = anew(example.conversation)
        assert not any(turn.recalled for turn in drawn.turns)
        again = pointing(drawn)
        assert [turn.content for turn in again.turns] == [turn.content for turn in example.conversation.turns]
        for (_, one), (_, other), (_, third) in zip(
            follow(example.conversation.turns), follow(drawn.turns), follow(again.turns), strict=True
        ):
            assert [step.mask.tobytes() for step in one] == [step.mask.tobytes() for step in other]
            assert [step.expression for step in one] == [step.expression for step in third]


@pytest.mark.parametrize(
    "move",
    ["keep", "both", "all", "recall", "previous", "recall_too", "cut_it", "readd", "readd_it", "select_it", "except",
     "background", "invert"],
)  # fmt: skip
def test_there_are_dozens_of_wordings(move: str) -> None:
    wordings = phrasing.load()
    assert len(set(wordings.train[move])) >= 22
    assert len(set(wordings.heldout[move])) >= 4
