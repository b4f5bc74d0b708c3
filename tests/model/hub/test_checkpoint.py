"""Where weights come from: read, drawn at random, or none at all."""

from __future__ import annotations

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from miras.model import presets
from miras.model.hub import checkpoint
from miras.model.miras import Miras
from tests import hub


def test_the_paper_s_model_can_be_counted_without_a_hub():
    with checkpoint.origin("shapes", dtype=torch.bfloat16), torch.device("meta"):
        model = Miras(presets.configuration("miras-7b"))
    count = dict.fromkeys(("semantic_tower", "detail_tower", "vision_encoder", "language_model"), 0)
    for name, parameter in model.named_parameters():
        assert parameter.is_meta
        for part in count:
            count[part] += parameter.numel() * (f".{part}." in name and "lora_" not in name)
    assert count == {  # as `transformers` counts the published checkpoints
        "semantic_tower": 303_507_456, "detail_tower": 196_230_336, "vision_encoder": 637_026_048,
        "language_model": 6_738_939_904,
    }  # fmt: skip


def test_random_weights_are_finite_and_buffers_are_as_they_are_computed():
    config = CLIPVisionConfig(**hub.CLIP)
    with checkpoint.origin("random", dtype=torch.bfloat16):
        model = checkpoint.made(CLIPVisionModel, config, "")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16} and not any(p.is_meta for p in model.parameters())
    assert torch.equal(model.embeddings.position_ids, torch.arange(17)[None])
    assert bool(model(torch.randn(1, 3, 56, 56).bfloat16()).last_hidden_state.isfinite().all())


def test_what_is_said_inside_ends_with_it():
    with checkpoint.origin("random", bits=4), checkpoint.origin(dtype=torch.bfloat16):
        assert checkpoint.now() == checkpoint.Origin("random", torch.bfloat16, "cpu", 4)
    assert checkpoint.now() == checkpoint.Origin()
