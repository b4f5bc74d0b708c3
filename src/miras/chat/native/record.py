"""An exchange of our model as plain values: token ids, checked against the grammar; and the model by a digest.

In: exchanges, weights, ids. Out: plain values, and back. Knows the grammar, so that ids that are no reply are refused,
and the model by a digest, so that another one's are; knows no cache (it is made anew from the ids and the masks).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from miras.chat.generation.decoding import check_reply
from miras.chat.state import Exchange
from miras.chat.store import WEIGHTS
from miras.core.grammar import MASK, REF, SEG, Encoder, parse_reply
from miras.core.types import Name, Region, Turn
from miras.model.miras import Miras


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values of weights as they are saved (`Miras.saved_state`, or a file of it): the
    same before and after. Of `miras-mini` it takes 0.04 s."""
    found = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def opening(ids: Sequence[int]) -> str:
    """SHA-256 of the ids before every turn."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()


def facts(model: Miras) -> dict[str, Any]:
    """What the ids and masks of a session depend on. The digest of a model that may still learn is made anew."""
    names = ("language", "template", "image_tokens", "mask_tokens", "max_tokens", "weights_version")
    known = {name: getattr(model.config, name) for name in names}
    return {**known, WEIGHTS: model.weights or digest(model.saved_state())}


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
