"""Embeddings that are padded past the tokenizer's ids: special tokens come after the padding, which is never said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from miras.chat.generation.decoding import check_reply
from miras.chat.session import ChatSession
from miras.core.errors import InputError, WeightsError
from miras.core.grammar import ADD, OBJ, SEG, SPECIAL_TOKENS
from miras.model import presets
from miras.model.language import tiny
from miras.model.language.tokenizers import ByteTokenizer
from miras.model.miras import Miras

PADDING = 62


def table_of(rows: int) -> PreTrainedModel:
    """The tiny language model with another number of rows."""
    values = {**tiny.random_llama().config.to_dict(), "vocab_size": rows}
    return LlamaForCausalLM(LlamaConfig(**values))


@pytest.fixture
def padded(monkeypatch: pytest.MonkeyPatch) -> tuple[Miras, Miras]:
    """A model, and the same one on a padded table whose padding is the likeliest to be said."""
    plain = presets.build("miras-tiny")
    wide = table_of(ByteTokenizer.vocab_size + PADDING)
    monkeypatch.setattr(tiny, "random_llama", lambda: wide)
    other = presets.build("miras-tiny")
    state = plain.state_dict()
    for name, value in state.items():
        if value.shape != other.state_dict()[name].shape:
            state[name] = torch.cat([value, 50 * torch.randn(PADDING, value.shape[1])])
    other.load_state_dict(state)
    return plain, other


def test_a_padded_table_answers_like_a_tight_one(padded: tuple[Miras, Miras], photo: NDArray[np.uint8]) -> None:
    plain, other = padded
    assert other.instruction.vocab_size == plain.instruction.vocab_size + PADDING
    for token in SPECIAL_TOKENS:
        assert other.grammar.id(token) == plain.grammar.id(token) + PADDING
    told = []
    for model in padded:
        session = ChatSession(model, photo, max_new_tokens=24)
        pieces = [[model.grammar.id(OBJ)], model.tokenizer.encode(" cup"), [model.grammar.id(SEG)]]
        session.ask("the cup", forced=[i for row in pieces for i in row])
        session.ask("and what else?")
        pieces[0] = [model.grammar.id(ADD), model.grammar.id(OBJ)]
        session.ask("again", forced=[i for row in pieces for i in row])
        told.append([(r.text, r.selection.expression, r.selection.mask.tobytes()) for r in session.history])
        assert not any(token in model.grammar.padding for token in session.backend.engine.past.ids)
        restored = ChatSession.from_json(model, session.to_json(), photo)
        assert restored.selection.expression == session.selection.expression
    assert told[0] == told[1]


def test_a_name_reaches_its_own_row(padded: tuple[Miras, Miras]) -> None:
    other = padded[1]
    row = SPECIAL_TOKENS.index(SEG)
    embeds = other.embed(torch.tensor([[other.grammar.id(SEG)]]))
    assert torch.equal(embeds[0, 0], other.instruction.special[row])
    last = torch.randn(1, 1, other.instruction.width)
    logits = other.instruction.logits(last)
    assert logits.shape[-1] == other.grammar.words + other.grammar.specials
    torch.testing.assert_close(logits[0, 0, other.grammar.id(SEG)], last[0, 0] @ other.instruction.special[row])


@pytest.mark.parametrize("at", [0, PADDING - 1])
def test_padding_is_no_reply(padded: tuple[Miras, Miras], at: int) -> None:
    grammar = padded[1].grammar
    with pytest.raises(InputError, match="ids of a reply"):
        check_reply([ByteTokenizer.vocab_size + at], grammar)
    assert check_reply([ByteTokenizer.vocab_size - 1], grammar) == (ByteTokenizer.vocab_size - 1,)


def test_a_table_with_too_few_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = table_of(ByteTokenizer.vocab_size - 2)
    monkeypatch.setattr(tiny, "random_llama", lambda: narrow)
    with pytest.raises(WeightsError, match="258 ids of the tokenizer, got 256"):
        presets.build("miras-tiny")
