"""What a reply that takes the last step back may say: what is selected then is known before its first word.

In: how text becomes ids. Out: ids that may not come next, by the ids that were said since `[UNDO]`: those that begin a
sentence which is said only where the other is true ("nothing is selected" over a selection, "the earlier selection is
restored" over none). Knows the wordings that the model was trained on; another sentence is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from miras.data.language import phrasing

Untrue = Mapping[tuple[int, ...], frozenset[int]]
MOVES = {True: ("undo", "undone"), False: ("undone", "undo")}
"""Whether something is selected after it -> the wordings that are true, those that are not."""


def untrue(encode: Callable[[str], Sequence[int]], selected: bool) -> Untrue:
    """Ids since `[UNDO]` -> ids that may not follow. selected: whether something is selected after it."""
    true, other = ([tuple(encode(text)) for text in phrasing.load().replies[move]] for move in MOVES[selected])
    said = {ids[:end] for ids in true for end in range(1, len(ids) + 1)}
    found: dict[tuple[int, ...], set[int]] = {}
    for ids in other:
        for end in range(len(ids)):
            if ids[: end + 1] not in said:
                found.setdefault(ids[:end], set()).add(ids[end])
    return {before: frozenset(after) for before, after in found.items()}
