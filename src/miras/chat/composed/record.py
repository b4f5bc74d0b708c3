"""An exchange of a pair as plain values: the pieces of its reply, in words.

In: exchanges. Out: plain values, and back, checked. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miras.chat.state import Exchange
from miras.core.types import Mark, Name, Operator, Piece, Region, Turn, Words


def write(exchange: Exchange) -> dict[str, Any]:
    """Its pieces, and whether a hand pointed."""
    return {"content": [_written(piece) for piece in exchange.reply.content], "pointed": exchange.pointed}


def read(raw: Mapping[str, Any], user: str, regions: tuple[Region, ...], first_region: int) -> Exchange:
    """The exchange. Raises ValueError where pieces and regions do not fit each other."""
    content = tuple(_read(piece) for piece in raw["content"])
    names = [piece.region for piece in content if isinstance(piece, Name)]
    drawn = [number for number in names if number >= first_region]
    expected = [first_region + index for index in range(len(regions))]
    if drawn != expected or [region.id for region in regions] != expected:
        raise ValueError("regions that are not those of the reply")
    if any(number < 1 for number in names):
        raise ValueError("a name of no region")
    return Exchange(Turn.user(user), Turn("assistant", content, regions), pointed=bool(raw["pointed"]))


def _written(piece: Piece) -> dict[str, Any]:
    if isinstance(piece, Words):
        return {"words": piece.text}
    if isinstance(piece, Mark):
        return {"mark": piece.operator.value}
    return {"name": piece.phrase, "region": piece.region}


def _read(raw: Mapping[str, Any]) -> Piece:
    if "words" in raw:
        return Words(str(raw["words"]))
    if "mark" in raw:
        return Mark(Operator(raw["mark"]))
    return Name(str(raw["name"]), int(raw["region"]))
