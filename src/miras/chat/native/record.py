"""An exchange of our model as plain values: token ids, checked against the grammar.

In: exchanges, ids. Out: plain values, and back. Knows the grammar, so that ids that are no reply are refused; knows no
cache (it is made anew from the ids and the masks).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from miras.chat.generation.decoding import check_reply
from miras.chat.state import Exchange
from miras.core.grammar import MASK, REF, SEG, Encoder, parse_reply
from miras.core.types import Name, Region, Turn


def opening(ids: Sequence[int]) -> str:
    """SHA-256 of the ids before every turn."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()


def write(exchange: Exchange) -> dict[str, Any]:
    """Its ids, and whether a hand pointed."""
    return {
        "prompt_ids": list(exchange.prompt_ids), "reply_ids": list(exchange.reply_ids), "pointed": exchange.pointed
    }  # fmt: skip


def read(
    raw: Mapping[str, Any], user: str, regions: tuple[Region, ...], first_region: int, grammar: Encoder
) -> Exchange:
    """The exchange. Raises ValueError where ids and regions do not fit each other, InputError for ids of no reply."""
    ids = tuple(int(i) for i in raw["reply_ids"])
    said = check_reply(ids, grammar)
    recalled = [int(number) for number in raw.get("recalled", ())]
    if any(not 0 < number < first_region for number in recalled):
        raise ValueError(f"recalled regions {recalled} of {first_region - 1}")
    content, free = parse_reply(said, grammar, first_region, recalled)
    slots, ends = [grammar.id(MASK)] * grammar.mask_tokens, (grammar.id(SEG), grammar.id(REF))
    whole = [i for token in said for i in ([token, *slots] if token in ends else [token])]
    if list(ids) != whole:
        raise ValueError("mask slots that do not follow each name")
    named = [(p.region, p.phrase) for p in content if isinstance(p, Name) and p.region >= first_region]
    if [(region.id, region.phrase) for region in regions] != named or free != first_region + len(regions):
        raise ValueError("regions that are not those of the reply")
    prompt = tuple(int(i) for i in raw["prompt_ids"])
    return Exchange(Turn.user(user), Turn("assistant", content, regions), prompt, ids, bool(raw["pointed"]))
