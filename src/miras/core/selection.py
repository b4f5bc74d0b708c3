"""Exact set algebra of the operators: the session executes it, never the network.

In: the selections so far and a reply. Out: the selections after it. Knows nothing of models.
"""

from __future__ import annotations

from miras.core.masks import as_mask
from miras.core.types import Mark, Name, Operator, Region, Selection, Turn

Steps = tuple[Selection, ...]
"""The selection after each step that changed it, oldest first; the last one is current."""


def advance(steps: Steps, turn: Turn) -> Steps:
    """The steps after an assistant turn.

    Within one reply regions without operator replace what was selected before and unite with
    each other; after `[ADD]` a region is united, after `[CUT]` taken away. `[UNDO]` goes back
    one step (no effect when there is none). `[REJ]`, and a reply without region, change nothing.
    """
    regions = {region.id: region for region in turn.regions}
    operator = Operator.REPLACE
    current: Selection | None = None
    replaced = False
    for piece in turn.content:
        if isinstance(piece, Mark):
            operator = piece.operator
            if operator is Operator.UNDO:
                steps, current, replaced = steps[:-1], None, False
        elif isinstance(piece, Name) and operator not in (Operator.UNDO, Operator.REJECT):
            before = current if current is not None else (steps[-1] if steps else None)
            effective = operator
            if operator is Operator.REPLACE:
                effective = Operator.ADD if replaced else Operator.REPLACE
                replaced = True
            current = apply(before, regions[piece.region], effective)
    return steps if current is None else (*steps, current)


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
        plus = before.expression if "-" not in before.expression else _group(before.expression)
        return Selection(before.mask | mask, f"{plus} + {name}")
    return Selection(mask.copy(), name)


def _group(expression: str) -> str:
    return f"({expression})" if " " in expression else expression
