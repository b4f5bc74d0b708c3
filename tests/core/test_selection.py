"""The operators: by hand, and against a small interpreter written another way."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.selection import Steps, advance, apply, complement, follow, signs
from miras.core.types import Mark, Mask, Name, Operator, Piece, Region, Selection, Turn, Words

SHAPE = (2, 3)
REPLACE, ADD, CUT, UNDO, REJECT, EXCEPT = Operator
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
        ([reply(EXCEPT, "All but", (1, A))], ~A, "~1", 1),
        ([reply((3, C)), reply(EXCEPT, (1, A), (2, B))], ~(A | B), "~(1 + 2)", 2),
        ([reply((1, A), (2, C)), reply(EXCEPT, "Inverted.")], ~(A | C), "~(1 + 2)", 2),
        ([reply((1, A), (2, C)), reply(EXCEPT), reply(CUT, (3, B))], ~(A | C) & ~B, "~(1 + 2) - 3", 3),
        ([reply(EXCEPT, (1, A), (2, C), CUT, (3, B))], ~(A | C) & ~B, "~(1 + 2) - 3", 1),
        ([reply((1, A)), reply(EXCEPT), reply(EXCEPT)], A, "1", 3),
        ([reply((1, A), (2, C)), reply(EXCEPT), reply(EXCEPT)], A | C, "1 + 2", 3),
        ([reply(EXCEPT, (1, A)), reply(CUT, (2, B)), reply(EXCEPT)], A | B, "~(~1 - 2)", 3),
        ([reply(EXCEPT, (1, A)), reply(ADD, (2, B))], ~A | B, "~1 + 2", 2),
        ([reply((1, A)), reply(CUT, (2, B)), reply(EXCEPT), reply(ADD, (3, C))], ~(A & ~B) | C, "~(1 - 2) + 3", 4),
        ([reply((1, A)), reply(EXCEPT), reply(UNDO)], A, "1", 1),
        ([reply((1, A)), reply(UNDO, EXCEPT, (2, C))], ~C, "~2", 1),
    ],
)
def test_operators(turns: list[Turn], mask: Mask, expression: str, count: int) -> None:
    steps = run(*turns)
    assert len(steps) == count
    assert steps[-1].expression == expression
    np.testing.assert_array_equal(steps[-1].mask, mask)
    assert steps[-1].mask.dtype == np.bool_


@pytest.mark.parametrize("turns", [[], [reply("Hello.")], [reply(UNDO)], [reply(REJECT)], [reply((1, A)), reply(UNDO)],
                                   [reply(EXCEPT, "Inverted.")]])  # fmt: skip
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

    def __invert__(self) -> Pixels:
        return Pixels(EVERYTHING - self.members)


def pixels(mask: Mask) -> frozenset[int]:
    """Selected places, counted along the rows."""
    return frozenset(np.flatnonzero(mask).tolist())


EVERYTHING = frozenset(range(6))
Said = tuple[frozenset[int], bool]
"""What is selected, and whether anything is said to be."""


def reference(stack: list[Said], turn: Turn) -> list[Said]:
    """What a turn does to the stack of selections: an operator at a time, with all regions that it governs."""
    undos = [at for at, piece in enumerate(turn.content) if piece == Mark(UNDO)]
    stack = stack[: max(0, len(stack) - len(undos))]
    tail = turn.content[undos[-1] :] if undos else (Mark(REPLACE), *turn.content)
    groups: list[tuple[Operator, list[frozenset[int]]]] = []
    for piece in tail:
        if isinstance(piece, Mark):
            groups.append((piece.operator, []))
        elif isinstance(piece, Name):
            groups[-1][1].append(pixels(next(r.mask for r in turn.regions if r.id == piece.region)))
    nothing: Said = (frozenset(), False)
    now, changed, replaced = stack[-1] if stack else nothing, False, False
    for operator, parts in groups:
        whole = frozenset().union(*parts)
        if operator is EXCEPT and (parts or now[1]):
            now, changed = (EVERYTHING - (whole if parts else now[0]), True), True
        elif operator in (REPLACE, ADD) and parts:
            fresh = operator is REPLACE and not replaced
            now, changed = (whole if fresh else now[0] | whole, True), True
            replaced = replaced or fresh
        elif operator is CUT and parts:
            now, changed = (now[0] - whole, now[1]) if now[1] else nothing, True
    return [*stack, now] if changed else stack


WORDS: st.SearchStrategy[Operator | None | int] = st.one_of(st.sampled_from(Operator), st.none(), st.integers(0, 63))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(WORDS, max_size=6), max_size=5))
def test_any_program_runs_as_the_reference_does(program: list[list[Operator | None | int]]) -> None:
    steps: Steps = ()
    stack: list[Said] = []
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
        assert [(pixels(step.mask), bool(step.expression)) for step in steps] == stack
        for step in steps[-1:]:
            expression = re.sub(r"\d+", r"named['\g<0>']", step.expression) or "Pixels(frozenset())"
            assert eval(expression, {"named": named, "Pixels": Pixels}).members == pixels(step.mask)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("", []), ("1", [(1, True)]), ("(1 + 2) - 3", [(1, True), (2, True), (3, False)]), ("~1", [(1, False)]),
        ("~(1 + 2) - 3", [(1, False), (2, False), (3, False)]), ("~(~1 - 2)", [(1, True), (2, True)]),
        ("~(1 - 2) + 3", [(1, False), (2, True), (3, True)]), ("(1 + 2) - 2", [(1, True), (2, False)]),
        ("((1 + 2) - 2) + 2", [(1, True), (2, True)]), ("~(10 + 2)", [(10, False), (2, False)]),
    ],
)  # fmt: skip
def test_which_regions_an_expression_selects(expression: str, found: list[tuple[int, bool]]) -> None:
    assert list(signs(expression).items()) == found


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([ADD, CUT, EXCEPT]), st.integers(0, 63)), min_size=1, max_size=6))
def test_the_complement_of_a_complement_is_what_it_was(program: list[tuple[Operator, int]]) -> None:
    current = Selection(A.copy(), "1")
    for number, (operator, bits) in enumerate(program, 2):
        mask = np.array([bits >> place & 1 for place in range(6)], np.bool_).reshape(SHAPE)
        current = complement(current) if operator is EXCEPT else apply(current, Region(number, "x", mask, 1), operator)
    twice = complement(complement(current))
    np.testing.assert_array_equal(twice.mask, current.mask)
    np.testing.assert_array_equal(complement(current).mask, ~current.mask)
    assert twice.expression == current.expression


def test_what_was_named_before_is_that_region_to_the_pixel() -> None:
    """Added and cut again leaves nothing of it, however much it overlaps."""
    first, second = reply((1, A)), reply(ADD, (2, B))
    without = Turn("assistant", (Mark(CUT), Name("the same", 2)))
    twice = Turn("assistant", (Name("this", 1), Name("that", 2)))
    *_, (_, cut), (_, both) = follow([Turn.user("a"), first, Turn.user("b"), second, without, twice])
    assert (cut[-1].expression, both[-1].expression) == ("(1 + 2) - 2", "1 + 2")
    assert not (cut[-1].mask & B).any()
    np.testing.assert_array_equal(both[-1].mask, A | B)
    assert (twice.recalled, twice.names, first.recalled) == ((1, 2), (1, 2), ())
    with pytest.raises(InputError, match="region 2"):
        advance((), without)
