"""Conversations for models that point at what was named before, and for models that do not.

In: a conversation. Out: the same one with other names: what is meant again is pointed at, or drawn anew. Nothing that
is said or selected changes. Knows no model and no grammar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from miras.core.types import Conversation, Mark, Name, Operator, Piece, Region, Turn


def told(conversation: Conversation, *, points: bool, complements: bool) -> Conversation | None:
    """The conversation as a model that can do this has it. Without complements it ends before the first reply that
    selects all but something; None when nothing is left."""
    turns = conversation.turns
    if not complements:
        but = [index for index, turn in enumerate(turns) if Mark(Operator.EXCEPT) in turn.content]
        turns = turns[: but[0] - 1] if but else turns
    if not turns:
        return None
    return pointing(Conversation(turns)) if points else anew(Conversation(turns))


def pointing(conversation: Conversation) -> Conversation:
    """Regions whose mask an earlier turn's region has, pixel by pixel, are that region; the others are numbered on."""
    return _renumbered(conversation, points=True)


def anew(conversation: Conversation) -> Conversation:
    """What is named again is a region of its own, with the same mask; all are numbered on."""
    if not any(turn.recalled for turn in conversation.turns):
        return conversation
    return _renumbered(conversation, points=False)


def ranks(mentioned: Sequence[int]) -> tuple[list[int], list[int]]:
    """For each mention, given by its region: the place of that region, from 0, among the regions by their first
    mention, and by their last one from the newest."""
    first, newest = list(dict.fromkeys(mentioned)), list(dict.fromkeys(reversed(mentioned)))
    return [first.index(one) for one in mentioned], [newest.index(one) for one in mentioned]


def _renumbered(conversation: Conversation, *, points: bool) -> Conversation:
    known: dict[int, Region] = {}
    new: dict[int, int] = {}
    turns: list[Turn] = []
    made: list[Region] = []
    for index, turn in enumerate(conversation.turns):
        earlier = list(made)
        drawn = {region.id: region for region in turn.regions}
        operator, content, regions = Operator.REPLACE, list[Piece](), list[Region]()
        for piece in turn.content:
            if isinstance(piece, Mark):
                operator = piece.operator
            if not isinstance(piece, Name) or (piece.region not in drawn and piece.region not in known):
                content.append(piece)
                continue
            region = drawn.get(piece.region) or replace(known[piece.region], operator=operator, phrase=piece.phrase)
            same = next((one for one in earlier if _same(one, region)), None) if points else None
            if points and piece.region in known:
                same = next(one for one in made if one.id == new[piece.region])
            if same is None:
                same = replace(region, id=len(made) + 1, turn=index)
                made.append(same)
                regions.append(same)
            if piece.region in drawn:
                known[piece.region], new[piece.region] = region, same.id
            content.append(Name(piece.phrase, same.id))
        turns.append(replace(turn, content=tuple(content), regions=tuple(regions)))
    return Conversation(tuple(turns))


def _same(one: Region, other: Region) -> bool:
    return one.area > 0 and np.array_equal(one.mask, other.mask)
