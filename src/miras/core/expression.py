"""The selection as an expression that a person may change: "(1 + 2) - 3", "1 & 2", "~1".

In: text over region ids, with `+` (with), `-` (without), `&` (only where both are), `~` (all but) and brackets. Out:
the same in one spelling, its words, and the selection that it gives. `~` binds closest; the others go from left to
right. Knows regions, and nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import as_mask
from miras.core.types import Mask, Region, Selection

LONGEST, DEEPEST = 4000, 60
"""Characters, and brackets within brackets, of an expression that is read."""
EXPECTED = "an expression over regions, as (1 + 2) - 3, 1 & 2 or ~1"
CURE = "write numbers of regions with + - & ~ and brackets"


@dataclass(frozen=True, slots=True)
class Not:
    """All of the photo but this."""

    of: Node


@dataclass(frozen=True, slots=True)
class Pair:
    """sign: "+", "-" or "&"."""

    sign: str
    left: Node
    right: Node


Node = int | Not | Pair
"""An expression; a number is the region of this id."""


def parse(expression: str) -> Node | None:
    """The tree of an expression; None = nothing is selected. Raises InputError for what is none."""
    if len(expression) > LONGEST:
        raise InputError(f"an expression of at most {LONGEST} characters", str(len(expression)), "shorten it")
    tokens = re.findall(r"[0-9]+|\S", expression)
    if not tokens:
        return None
    reader = _Reader(tokens[::-1])
    tree = reader.sum(0)
    if reader.rest:
        raise InputError(EXPECTED, f"{reader.rest[-1]!r} after a whole one", CURE)
    return tree


@dataclass(slots=True)
class _Reader:
    """rest: tokens that are still to be read, the next one last."""

    rest: list[str]

    def sum(self, depth: int) -> Node:
        """Terms and the signs between them."""
        left = self.term(depth)
        while self.rest and self.rest[-1] in "+-&":
            left = Pair(self.rest.pop(), left, self.term(depth))
        return left

    def term(self, depth: int) -> Node:
        """A region, all but a term, or brackets."""
        ended = not self.rest
        token = "" if ended else self.rest.pop()
        if token.isdecimal() and token.isascii():
            return int(token[:20])
        if token not in ("~", "("):
            raise InputError(EXPECTED, "its end" if ended else f"{token!r} where a region was due", CURE)
        if depth >= DEEPEST:
            raise InputError(f"at most {DEEPEST} brackets within brackets", "more", "leave some out")
        if token == "~":
            return Not(self.term(depth + 1))
        inner = self.sum(depth + 1)
        if not self.rest or self.rest.pop() != ")":
            raise InputError(EXPECTED, "a bracket that is not closed", CURE)
        return inner


def write(node: Node | None) -> str:
    """The one spelling of an expression, as `core.selection` writes it."""
    if node is None:
        return ""
    if isinstance(node, int):
        return str(node)
    if isinstance(node, Not):
        return f"~{_closed(node.of)}"
    chained = isinstance(node.left, Pair) and node.sign == node.left.sign != "-"
    return f"{write(node.left) if chained else _closed(node.left)} {node.sign} {_closed(node.right)}"


def _closed(node: Node) -> str:
    return f"({write(node)})" if isinstance(node, Pair) else write(node)


def evaluate(expression: str, regions: Iterable[Region], size: tuple[int, int]) -> Selection:
    """What an expression selects. size: (H, W) of the photo. Raises InputError for a text that is no expression, and
    for a region that is not there."""
    known = {region.id: region.mask for region in regions}
    tree = parse(expression)
    if tree is None:
        return Selection(np.zeros(size, np.bool_))
    return Selection(_mask(tree, known), write(tree))


def _mask(node: Node, known: Mapping[int, Mask]) -> Mask:
    if isinstance(node, Not):
        return ~_mask(node.of, known)
    if isinstance(node, Pair):
        left, right = _mask(node.left, known), _mask(node.right, known)
        return left | right if node.sign == "+" else left & right if node.sign == "&" else left & ~right
    if node not in known:
        expected = f"regions from 1 to {len(known)}" if known else "a region that is there"
        raise InputError(expected, str(node)[:20], "name one that the conversation has")
    return as_mask(known[node]).copy()


def selects_rest(expression: str) -> bool:
    """Whether what no region covers is selected: by "~1" it is, by "1" and by "1 - 1" it is not."""

    def selected(node: Node) -> bool:
        if isinstance(node, Not):
            return not selected(node.of)
        if isinstance(node, int):
            return False
        left, right = selected(node.left), selected(node.right)
        return left or right if node.sign == "+" else left and right if node.sign == "&" else left and not right

    tree = parse(expression)
    return tree is not None and selected(tree)


def turned(expression: str) -> bool:
    """Whether a part that takes away stands within a part that is inverted, as in "~(1 - 2)": then the signs of single
    regions do not say what is selected."""

    def takes(node: Node) -> bool:
        if isinstance(node, Pair):
            return node.sign == "-" or takes(node.left) or takes(node.right)
        return isinstance(node, Not)

    def within(node: Node) -> bool:
        if isinstance(node, Not):
            return takes(node.of) or within(node.of)
        return isinstance(node, Pair) and (within(node.left) or within(node.right))

    tree = parse(expression) if "~" in expression else None
    return tree is not None and within(tree)


def words(expression: str, phrase: Callable[[int], str]) -> str:
    """What is selected, in words: "cup within table + spoon"; what is taken away is left out. phrase: of a region."""

    def said(node: Node) -> str:
        if isinstance(node, int):
            return phrase(node)
        if isinstance(node, Not):
            return said(node.of.of) if isinstance(node.of, Not) else f"all but {said(node.of)}"
        if node.sign == "-":
            return said(node.left)
        return f"{said(node.left)} {'+' if node.sign == '+' else 'within'} {said(node.right)}"

    tree = parse(expression)
    return "" if tree is None else said(tree)
