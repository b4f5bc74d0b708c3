"""Our own language model as the talker: it names, another segmenter draws, and it reads what that one drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from miras.chat.composed.compose import Composed, Own, compose
from miras.chat.native.backend import Native
from miras.core.errors import InputError, MirasError
from miras.core.grammar import SPECIAL_TOKENS
from miras.core.types import Mark, Name, Operator, Region, Turn, Words
from miras.model.miras import Miras
from tests.chat.composed.pairs import Painter, filled, photo
from tests.chat.pointing import made


@pytest.fixture(scope="module")
def tiny() -> Miras:
    """Random weights that like to name things and never refuse."""
    model = made()
    with torch.no_grad():
        for token, bias in (("[OBJ]", 4.0), ("[SEG]", 4.0), ("[ADD]", 2.5)):
            model.instruction.special_bias[SPECIAL_TOKENS.index(token)] = bias
        model.alignment.verdict[:] = torch.tensor([9.0, 0.0, 0.0])
    return model.requires_grad_(False)


def pair(model: Miras, segmenter: Any = None) -> Composed:
    return compose(Own("tiny", Native(model)), segmenter or Painter(frozenset({"box", "mask"})))


def test_what_it_names_is_drawn_by_the_other(tiny: Miras) -> None:
    """A segmenter without phrases gets the box of the mask that its own decoder would draw, and the mask."""
    painter = Painter(frozenset({"box", "mask"}))
    session = pair(tiny, painter).chat(photo(), temperature=1.0, seed=1)
    replies = [session.ask(text) for text in ("the cup", "and the lid", "more")]
    assert painter.encoded == 1 and len(painter.asked) == len(session.regions) > 0
    assert all(prompt.kinds == {"box", "mask"} for prompt in painter.asked)
    for prompt, region in zip(painter.asked, session.regions, strict=True):
        np.testing.assert_array_equal(region.mask, prompt.mask)
        assert region.score == pytest.approx(0.9)
    assert all(reply.spent is not None and (reply.spent.calls, reply.spent.looks) == (1, 0) for reply in replies)


def test_it_reads_what_was_drawn(tiny: Miras) -> None:
    """The language model's memory holds the masks of the session, refined ones too, not those of its own decoder."""
    session = pair(tiny).chat(photo(), temperature=1.0, seed=1)
    session.ask("the cup")
    session.refine(mask=filled("spoon"), region=1)
    session.ask("and the lid")
    past = session.backend.talker._native.engine.past  # type: ignore[attr-defined]
    known = {region.id: region for region in session.regions}
    held = {slot.region.id: slot.region.mask for slot in past.slots if slot.region.id == 1}
    np.testing.assert_array_equal(held[1], known[1].mask)
    np.testing.assert_array_equal(held[1], filled("spoon"))


def test_saved_forked_and_told_alike(tiny: Miras) -> None:
    model = pair(tiny)
    session = model.chat(photo(), temperature=1.0, seed=1)
    session.append_exchange(
        "the cup", Turn("assistant", (Words("The "), Name("cup", 1)), (Region(1, "cup", filled("cup"), 1),))
    )
    session.append_exchange("not it", Turn("assistant", (Mark(Operator.EXCEPT), Name("cup", 1))))
    others = [session.fork(), model.restore(session.to_json(), photo())]
    reply = session.ask("the lid")
    for other in others:
        assert other.ask("the lid").to_dict()["regions"] == reply.to_dict()["regions"]
        assert other.turns[-1].text == session.turns[-1].text
    session.undo()
    assert session.selection.expression == "~1"


def test_a_message_that_is_too_long(tiny: Miras) -> None:
    session = pair(tiny).chat(photo())
    with pytest.raises(InputError, match="shorten the message"):
        session.ask("word " * 3000)
    assert not session.history


def test_other_weights_are_refused(tiny: Miras) -> None:
    text = pair(tiny).chat(photo()).to_json()
    with pytest.raises(MirasError, match="talker_weights"):
        pair(made(mask_tokens=2)).restore(text, photo())
