"""A tiny model that points, and sessions whose replies are written out."""

from __future__ import annotations

import torch

from miras.chat.session import ChatSession
from miras.core.grammar import SPECIAL_TOKENS
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from tests.centred import centred

OBJ, SEG, REF, ADD, CUT, UNDO, NOT = ("[OBJ]", "[SEG]", "[REF]", "[ADD]", "[CUT]", "[UNDO]", "[NOT]")


def made(**changes: object) -> Miras:
    """A tiny model that points and knows all but; masks are neither empty nor full."""
    config = presets.configuration("miras-tiny").to_diff_dict() | {"points": True, "complements": True} | changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tiny = Miras(MirasConfig(**config))

    centred(tiny)
    return tiny


def ids(session: ChatSession, *pieces: str) -> list[int]:
    grammar = session.model.grammar
    return [i for p in pieces for i in ([grammar.id(p)] if p in SPECIAL_TOKENS else grammar.tokenizer.encode(p))]


def say(session: ChatSession, *pieces: str, user: str = "and"):
    return session.ask(user, forced=ids(session, *pieces))
