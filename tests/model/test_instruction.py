from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from miras.core.errors import InputError
from miras.core.grammar import IMAGE, MASK, SEG
from miras.model.presets import build


@pytest.fixture(scope="module")
def model():
    return build("miras-tiny")


def test_slots_are_filled_in_reading_order(model):
    image, mask = model.grammar.id(IMAGE), model.grammar.id(MASK)
    ids = torch.tensor([[image] * 4 + [65, mask, mask, 66, mask, mask]])
    visual, slots = torch.randn(1, 4, 32), torch.randn(4, 32)
    embeds = model.embed(ids, visual, slots)
    torch.testing.assert_close(embeds[0, :4], visual[0])
    torch.testing.assert_close(embeds[0, [5, 6, 8, 9]], slots)


def test_wrong_counts_say_both_numbers(model):
    ids = torch.tensor([[model.grammar.id(IMAGE)] * 4])
    with pytest.raises(InputError, match=r"4 tokens .* got 3"):
        model.embed(ids, torch.randn(1, 3, 32), None)


def test_special_tokens_are_predicted_past_the_vocabulary(model):
    last = torch.randn(1, 1, 32)
    logits = model.instruction.logits(last)
    assert logits.shape[-1] == model.tokenizer.vocab_size + 8
    row = model.grammar.id(SEG)
    expected = last[0, 0] @ model.instruction.special[row - model.tokenizer.vocab_size]
    torch.testing.assert_close(logits[0, 0, row], expected)


def test_cache_gives_the_same_states(model):
    embeds = model.embed(torch.randint(0, 200, (1, 12)))
    whole = model.comprehend(embeds, predicted=None)
    cache = DynamicCache()
    model.comprehend(embeds[:, :7], cache)
    rest = model.comprehend(embeds[:, 7:], cache, predicted=None)
    torch.testing.assert_close(rest.logits_BLV, whole.logits_BLV[:, 7:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rest.hidden_BLE, whole.hidden_BLE[:, 7:], atol=1e-5, rtol=1e-4)


def test_only_lora_and_special_tokens_learn(model):
    learning = {n for n, p in model.instruction.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora_" in n or n.startswith("special") for n in learning)


def test_merging_lora_changes_nothing():
    model = build("miras-tiny")
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data.normal_(0, 0.1)
    embeds = model.embed(torch.randint(0, 200, (1, 9)))
    with torch.no_grad():
        before = model.comprehend(embeds).logits_BLV
        model.instruction.language.merge()
        model.instruction.language.merge()  # twice is once
        torch.testing.assert_close(model.comprehend(embeds).logits_BLV, before, atol=1e-5, rtol=1e-4)
