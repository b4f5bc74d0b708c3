"""Expressions that a person may change: read, written in one spelling, evaluated; by hand and against sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.expression import DEEPEST, LONGEST, Node, Not, Pair, evaluate, parse, write
from miras.core.selection import apply, complement, label, signs
from miras.core.types import Mask, Operator, Region, Selection

A, B, C = (
    np.array(rows, np.bool_)
    for rows in ([[1, 1, 0], [0, 0, 0]], [[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]])
)  # fmt: skip
REGIONS = [Region(number, name, mask, turn=1) for number, name, mask in ((1, "cup", A), (2, "lid", B), (3, "pan", C))]
NAMES = {region.id: region.phrase for region in REGIONS}
NOTHING = np.zeros((2, 3), np.bool_)


@pytest.mark.parametrize(
    ("text", "written", "mask", "words"),
    [
        ("", "", NOTHING, ""),
        (" 1 ", "1", A, "cup"),
        ("1+2", "1 + 2", A | B, "cup + lid"),
        ("1 & 2", "1 & 2", A & B, "cup within lid"),
        ("1 & 3", "1 & 3", NOTHING, "cup within pan"),
        ("((1))", "1", A, "cup"),
        ("1 + 2 & 3", "(1 + 2) & 3", NOTHING, "cup + lid within pan"),
        ("1 & 2 & 2", "1 & 2 & 2", A & B, "cup within lid within lid"),
        ("(1 & 2) + 3", "(1 & 2) + 3", (A & B) | C, "cup within lid + pan"),
        ("1 - 2 - 3", "(1 - 2) - 3", A & ~B, "cup"),
        ("1 - (2 - 1)", "1 - (2 - 1)", A, "cup"),
        ("1 + (2 + 3)", "1 + (2 + 3)", A | B | C, "cup + lid + pan"),
        ("~1", "~1", ~A, "all but cup"),
        ("~(1 + 2)", "~(1 + 2)", ~(A | B), "all but cup + lid"),
        ("~~1", "~~1", A, "cup"),
        ("~(1 - 2)", "~(1 - 2)", ~(A & ~B), "all but cup"),
        ("~(~1 - 2)", "~(~1 - 2)", A | B, "all but all but cup"),
        ("~(1 + 2) - 3", "~(1 + 2) - 3", ~(A | B) & ~C, "all but cup + lid + pan"),
        ("~1 & 2", "~1 & 2", ~A & B, "all but cup within lid"),
        ("2 & ~(1)", "2 & ~1", B & ~A, "lid within all but cup"),
        ("1 - 1", "1 - 1", NOTHING, ""),
        ("(1 + 2) - 1 - 2", "((1 + 2) - 1) - 2", NOTHING, ""),
        ("~1 - 2", "~1 - 2", ~A & ~B, "all but cup + lid"),
    ],
)
def test_read_written_and_selected(text: str, written: str, mask: Mask, words: str) -> None:
    found = evaluate(text, REGIONS, (2, 3))
    assert found.expression == written == write(parse(written))
    np.testing.assert_array_equal(found.mask, mask)
    assert label(written, NAMES.__getitem__) == words


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("1 +", "its end"), ("(1", "not closed"), ("1 2", "'2' after"), (")", "')' where"), ("~", "its end"),
        ("1 | 2", "'|' after"), ("cup", "'c' where"), ("4", "got 4"), ("0", "got 0"), ("-1", "'-' where"),
        ("9" * 5000, "5000"), ("9" * 3000, "999"), ("~" * (DEEPEST + 1) + "1", "more"), ("(" * 2000, "more"),
        ("1 " * LONGEST, str(2 * LONGEST)), ("\u0661", "where"), ("\ud800", "where"), ("1\x00", "after"),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_told(text: str, got: str) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        evaluate(text, REGIONS, (2, 3))
    assert got in str(caught.value)


def test_a_selection_is_no_region() -> None:
    evaluate("1", REGIONS, (2, 3)).mask[:] = True
    np.testing.assert_array_equal(REGIONS[0].mask, A)


TREES = st.recursive(
    st.integers(1, 3),
    lambda inner: st.builds(Not, inner) | st.builds(Pair, st.sampled_from("+-&"), inner, inner),
    max_leaves=8,
)
EVERYTHING = frozenset(range(6))


def reference(node: Node) -> frozenset[int]:
    """By sets of places."""
    if isinstance(node, int):
        return frozenset(np.flatnonzero(REGIONS[node - 1].mask).tolist())
    if isinstance(node, Not):
        return EVERYTHING - reference(node.of)
    left, right = reference(node.left), reference(node.right)
    return {"+": left | right, "-": left - right, "&": left & right}[node.sign]


@given(TREES)
def test_any_expression_selects_as_sets_do(tree: Node) -> None:
    text = write(tree)
    assert parse(text) == tree
    found = evaluate(text, REGIONS, (2, 3))
    assert frozenset(np.flatnonzero(found.mask).tolist()) == reference(tree)
    assert set(signs(text)) <= {1, 2, 3}


@given(TREES, st.sampled_from(["add", "cut", "not"]))
def test_the_next_reply_goes_on_from_a_chosen_selection(tree: Node, act: str) -> None:
    """What operators of replies write behind any expression means what they did."""
    before: Selection = evaluate(write(tree), REGIONS, (2, 3))
    after = complement(before) if act == "not" else apply(before, REGIONS[2], Operator(act))
    again = evaluate(after.expression, REGIONS, (2, 3))
    np.testing.assert_array_equal(again.mask, after.mask)
