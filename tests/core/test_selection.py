"""The operators: by hand, and against a small interpreter written another way."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miras.core.selection import Steps, advance, apply
from miras.core.types import Mark, Mask, Name, Operator, Piece, Region, Selection, Turn, Words

SHAPE = (2, 3)
REPLACE, ADD, CUT, UNDO, REJECT = Operator
A, B, C = (
    np.array(rows, np.bool_)
    for rows in ([[1, 1, 0], [0, 0, 0]], [[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]])
)  # fmt: skip
NOTHING = np.zeros(SHAPE, np.bool_)


def reply(*pieces: Operator | tuple[int, Mask] | str) -> Turn:
    """An assistant turn from operators, (region id, mask) pairs and words."""
    content: list[Piece] = []
    regions: list[Region] = []
    for piece in pieces:
        if isinstance(piece, Operator):
            content.append(Mark(piece))
        elif isinstance(piece, tuple):
            content.append(Name(f"part {piece[0]}", piece[0]))
            regions.append(Region(piece[0], f"part {piece[0]}", piece[1], turn=1))
        else:
            content.append(Words(piece))
    return Turn("assistant", tuple(content), tuple(regions))


def run(*turns: Turn) -> Steps:
    """The steps after a whole conversation."""
    steps: Steps = ()
    for turn in turns:
        steps = advance(steps, turn)
    return steps


@pytest.mark.parametrize(
    ("turns", "mask", "expression", "count"),
    [
        ([reply("Here: ", (1, A))], A, "1", 1),
        ([reply((1, A), " and ", (2, B))], A | B, "1 + 2", 1),
        ([reply((1, A)), reply((2, B))], B, "2", 2),
        ([reply((1, A)), reply(ADD, (2, B))], A | B, "1 + 2", 2),
        ([reply((1, A)), reply(ADD, (2, B), (3, C))], A | B | C, "1 + 2 + 3", 2),
        ([reply((1, A)), reply(CUT, (2, B))], A & ~B, "1 - 2", 2),
        ([reply((1, A), (2, C)), reply(CUT, (3, B))], (A | C) & ~B, "(1 + 2) - 3", 2),
        ([reply((1, A)), reply(CUT, (2, B)), reply(ADD, (3, B))], A | B, "(1 - 2) + 3", 3),
        ([reply((1, A)), reply(CUT, (2, B), (3, C))], A & ~B & ~C, "(1 - 2) - 3", 2),
        ([reply((1, A)), reply((2, A), CUT, (3, B))], A & ~B, "2 - 3", 2),
        ([reply((1, A)), reply(ADD, (2, B), CUT, (3, A))], B & ~A, "(1 + 2) - 3", 2),
        ([reply((1, A)), reply((2, B)), reply(UNDO, "Back.")], A, "1", 1),
        ([reply((1, A)), reply((2, B)), reply((3, C)), reply(UNDO, UNDO)], A, "1", 1),
        ([reply((1, A)), reply((2, B)), reply(UNDO, ADD, (3, C))], A | C, "1 + 3", 2),
        ([reply((1, A)), reply((2, B)), reply(UNDO, (3, C))], A, "1", 1),
        ([reply((1, A)), reply(REJECT, "There is no lid.")], A, "1", 1),
        ([reply((1, A)), reply(REJECT, (2, B))], A, "1", 1),
        ([reply((1, A)), reply("It is made of steel.")], A, "1", 1),
        ([reply(ADD, (1, A))], A, "1", 1),
        ([reply(CUT, (1, A))], NOTHING, "", 1),
        ([reply(CUT, (1, A)), reply(ADD, (2, B))], B, "2", 2),
        ([reply((1, A)), reply(CUT, (2, A))], NOTHING, "1 - 2", 2),
    ],
)
def test_operators(turns: list[Turn], mask: Mask, expression: str, count: int) -> None:
    steps = run(*turns)
    assert len(steps) == count
    assert steps[-1].expression == expression
    np.testing.assert_array_equal(steps[-1].mask, mask)
    assert steps[-1].mask.dtype == np.bool_


@pytest.mark.parametrize("turns", [[], [reply("Hello.")], [reply(UNDO)], [reply(REJECT)], [reply((1, A)), reply(UNDO)]])
def test_nothing_selected(turns: list[Turn]) -> None:
    assert run(*turns) == ()


def test_a_selection_never_shares_memory_with_its_region_or_the_step_before() -> None:
    mask = A.copy()
    steps = run(reply((1, mask)))
    mask[:] = True
    np.testing.assert_array_equal(steps[0].mask, A)
    later = advance(steps, reply(ADD, (2, B)))
    later[-1].mask[:] = False
    np.testing.assert_array_equal(steps[0].mask, A)
    assert later[0] is steps[0]


def test_apply_on_nothing() -> None:
    region = Region(7, "part", A, turn=1)
    for before in (None, Selection(NOTHING)):
        assert apply(before, region, ADD).expression == "7"
        assert apply(before, region, REPLACE).expression == "7"
        assert apply(before, region, CUT).expression == ""
        assert not apply(before, region, CUT).mask.any()


# --- against a small interpreter: sets of pixels, one pass for undo, one for what follows it


@dataclass(frozen=True)
class Pixels:
    """A set whose + and - bind alike, from the left, as in a selection's expression."""

    members: frozenset[int]

    def __add__(self, other: Pixels) -> Pixels:
        return Pixels(self.members | other.members)

    def __sub__(self, other: Pixels) -> Pixels:
        return Pixels(self.members - other.members)


def pixels(mask: Mask) -> frozenset[int]:
    """Selected places, counted along the rows."""
    return frozenset(np.flatnonzero(mask).tolist())


def reference(stack: list[frozenset[int]], turn: Turn) -> list[frozenset[int]]:
    """What a turn does to the stack of selections."""
    undos = [at for at, piece in enumerate(turn.content) if piece == Mark(UNDO)]
    stack = stack[: max(0, len(stack) - len(undos))]
    tail = turn.content[undos[-1] :] if undos else turn.content
    governed: list[tuple[Operator, frozenset[int]]] = []
    for at, piece in enumerate(tail):
        if isinstance(piece, Name):
            marks = [mark.operator for mark in tail[:at] if isinstance(mark, Mark)]
            mask = next(region.mask for region in turn.regions if region.id == piece.region)
            governed.append((marks[-1] if marks else REPLACE, pixels(mask)))
    governed = [(operator, part) for operator, part in governed if operator in (REPLACE, ADD, CUT)]
    if not governed:
        return stack
    plain = [at for at, (operator, _) in enumerate(governed) if operator is REPLACE]
    now = frozenset[int]() if plain or not stack else stack[-1]
    for operator, part in governed[plain[0] :] if plain else governed:
        now = now - part if operator is CUT else now | part
    return [*stack, now]


WORDS: st.SearchStrategy[Operator | None | int] = st.one_of(st.sampled_from(Operator), st.none(), st.integers(0, 63))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(WORDS, max_size=6), max_size=5))
def test_any_program_runs_as_the_reference_does(program: list[list[Operator | None | int]]) -> None:
    steps: Steps = ()
    stack: list[frozenset[int]] = []
    named: dict[str, Pixels] = {}
    for written in program:
        pieces: list[Operator | tuple[int, Mask] | str] = []
        for word in written:
            if isinstance(word, int):
                mask = np.array([word >> place & 1 for place in range(6)], np.bool_).reshape(SHAPE)
                pieces.append((len(named) + 1, mask))
                named[str(len(named) + 1)] = Pixels(pixels(mask))
            else:
                pieces.append("so" if word is None else word)
        turn = reply(*pieces)
        steps, stack = advance(steps, turn), reference(stack, turn)
        assert [pixels(step.mask) for step in steps] == stack
        for step in steps[-1:]:
            expression = re.sub(r"\d+", r"named['\g<0>']", step.expression) or "Pixels(frozenset())"
            assert eval(expression, {"named": named, "Pixels": Pixels}).members == pixels(step.mask)
