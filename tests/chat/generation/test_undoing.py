"""What is said after an undo agrees with what is selected then, and any true wording may still be said."""

from __future__ import annotations

import numpy as np
import pytest

from miras.chat.generation.decoding import ReplyRules
from miras.chat.state import State
from miras.core.grammar import CHATML, UNDO, Encoder
from miras.core.types import Selection
from miras.data.language import phrasing
from miras.model.language.tokenizers import ByteTokenizer

GRAMMAR = Encoder(ByteTokenizer(), image_tokens=4, mask_tokens=2)
LOGITS_V = np.zeros(ByteTokenizer.vocab_size + GRAMMAR.specials)


def sayable(text: str, selected: bool) -> bool:
    rules = ReplyRules(GRAMMAR, CHATML, max_new_tokens=200, room=500, undone=selected)
    for token_id in (GRAMMAR.id(UNDO), *GRAMMAR.tokenizer.encode(text), rules.end):
        if not np.isfinite(rules.restrict(LOGITS_V)[token_id]):
            return False
        rules.push(token_id)
    return True


@pytest.mark.parametrize("selected", [True, False])
@pytest.mark.parametrize("move", ["undo", "undone"])
def test_a_wording_is_said_where_it_is_true(move: str, selected: bool) -> None:
    true = move == ("undo" if selected else "undone")
    for text in phrasing.load().replies[move]:
        assert sayable(text, selected) == (true or text == "Undone."), text
    assert sayable("We have a cup again.", selected), "what is no wording is left alone"


def test_what_an_undo_would_leave() -> None:
    nothing, cup = Selection(np.zeros((2, 2), bool)), Selection(np.ones((2, 2), bool), "1")
    for steps, wanted in (((), False), ((cup,), False), ((nothing, cup), False), ((cup, nothing), True)):
        assert State(steps=steps).is_selected_before == wanted
