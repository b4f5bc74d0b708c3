"""Exact set algebra of the operators: the session executes it, never the network.

In: the selections so far and a reply. Out: the selections after it, and what an expression says. Knows nothing of
models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from miras.core.errors import InputError
from miras.core.expression import selects_rest, turned, words
from miras.core.masks import as_mask
from miras.core.types import Mark, Mask, Name, Operator, Region, Selection, Turn

Steps = tuple[Selection, ...]
"""The selection after each step that changed it, oldest first; the last one is current."""


def advance(steps: Steps, turn: Turn, earlier: Iterable[Region] = ()) -> Steps:
    """The steps after an assistant turn.

    Within one reply regions without operator replace what was selected before and unite with
    each other; after `[ADD]` a region is united, after `[CUT]` taken away; after `[NOT]` all of the photo but the
    regions is selected, and without any all but what was selected (no effect when nothing was). `[UNDO]` goes back
    one step (no effect when there is none). `[REJ]`, and a reply without region, change nothing.
    earlier: the regions of the turns before, which it may name again. Raises InputError for one that is not there.
    """
    regions = {region.id: region for region in (*earlier, *turn.regions)}
    operator = Operator.REPLACE
    current: Selection | None = None
    replaced = alone = False
    but: Selection | None = None
    for piece in (*turn.content, Mark(Operator.REPLACE)):
        before = current if current is not None else (steps[-1] if steps else None)
        if isinstance(piece, Mark):
            if alone and before is not None and before.expression:  # `[NOT]` that no region followed
                current = complement(before)
            operator, but, alone = piece.operator, None, piece.operator is Operator.EXCEPT
            if operator is Operator.UNDO:
                steps, current, replaced = steps[:-1], None, False
        elif isinstance(piece, Name) and operator not in (Operator.UNDO, Operator.REJECT):
            if piece.region not in regions:
                raise InputError("a region that is there", f"region {piece.region} ({piece.phrase!r})")
            region = regions[piece.region]
            if operator is Operator.EXCEPT:
                but, alone = apply(but, region, Operator.ADD), False
                current = complement(but)
                continue
            effective = operator
            if operator is Operator.REPLACE:
                effective = Operator.ADD if replaced else Operator.REPLACE
                replaced = True
            current = apply(before, region, effective)
    return steps if current is None else (*steps, current)


def follow(turns: Iterable[Turn]) -> Iterator[tuple[Turn, Steps]]:
    """Each assistant turn of a conversation with the steps after it."""
    steps: Steps = ()
    regions: list[Region] = []
    for turn in turns:
        if turn.role == "assistant":
            steps = advance(steps, turn, regions)
            regions += turn.regions
            yield turn, steps


def apply(before: Selection | None, region: Region, operator: Operator) -> Selection:
    """One operator on one region. before None = nothing selected. Masks of one size are assumed.

    Raises InputError for a region whose mask is none.
    """
    name, mask = str(region.id), as_mask(region.mask)
    if operator is Operator.CUT:
        if before is None or not before.expression:
            return Selection(mask & False, "")
        return Selection(before.mask & ~mask, f"{_group(before.expression)} - {name}")
    if operator is Operator.ADD and before is not None and before.expression:
        plus = _group(before.expression) if {"-", "&"} & set(before.expression) else before.expression
        return Selection(before.mask | mask, f"{plus} + {name}")
    return Selection(mask.copy(), name)


def complement(before: Selection) -> Selection:
    """All of the photo but a selection; of a complement, what it leaves out. `~` binds closer than + and -."""
    inner = before.expression.removeprefix("~")
    if inner != before.expression and _is_one(inner):
        return Selection(~before.mask, inner[1:-1] if inner.startswith("(") else inner)
    return Selection(~before.mask, f"~{_group(before.expression)}")


def signs(expression: str) -> dict[int, bool]:
    """For each region of an expression, in its order: whether it is selected by it (True) or left out, by its last
    mention. "(1 + 2) - 3" leaves out 3, "~1" leaves out 1; of "1 & 2" both are selected."""
    found: dict[int, bool] = {}
    stack, sign, turned = [True], True, False
    for token in re.findall(r"\d+|[-+&~()]", expression):
        if token == "~":
            turned = not turned
        elif token in "+-&":
            sign = token != "-"
        elif token == "(":
            stack.append(stack[-1] == (sign != turned))
            sign, turned = True, False
        elif token == ")":
            stack.pop()
            sign, turned = True, False
        else:
            found.pop(int(token), None)
            found[int(token)] = stack[-1] == (sign != turned)
            turned = False
    return found


def parted(expression: str) -> tuple[list[int], list[int]]:
    """The regions that an expression selects, and those that it leaves out (`signs`), in its order. One that takes away
    all that it named selects nothing, so that there is nothing to be left out of: "1 - 1"."""
    found = signs(expression)
    added, left = ([number for number, sign in found.items() if sign == wanted] for wanted in (True, False))
    return added, left if added or selects_rest(expression) else []


def is_empty(mask: Mask) -> bool:
    """A mask without pixels is no answer."""
    return not bool(mask.any())


def label(expression: str, phrase: Callable[[int], str]) -> str:
    """What an expression selects, in words: its phrases, or all but those; "" for nothing. phrase: of a region."""
    if "&" in expression or turned(expression):
        return words(expression, phrase)
    added, left = (" + ".join(map(phrase, numbers)) for numbers in parted(expression))
    return added or (f"all but {left}" if left else "")


def _group(expression: str) -> str:
    return expression if _is_one(expression.lstrip("~")) else f"({expression})"


def _is_one(expression: str) -> bool:
    """A number, or one pair of brackets around everything."""
    if not expression.startswith("("):
        return " " not in expression
    depth = 0
    for at, char in enumerate(expression):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return at == len(expression) - 1
    return False
