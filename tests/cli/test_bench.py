"""Turns of a model of the hub's parts with random weights; nothing is fetched."""

from __future__ import annotations

import json

import pytest
import torch

from miras.cli.benches import machine
from miras.cli.main import call
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.loading import place
from tests import hub


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """`miras-7b` is of its shape, but tiny, and so is the machine's measuring."""
    values = hub.miras_7b(tmp_path)
    monkeypatch.setattr(machine, "READ_BYTES", 2**16)
    monkeypatch.setattr(machine, "SIDE", 32)
    monkeypatch.setattr(presets, "configuration", lambda name: MirasConfig(**values))
    return values


def test_turns_with_random_weights(capsys, tiny):
    line = ["bench", "turns", "--preset", "miras-7b", "--random-weights", "--layers", "1", "--turns", "2"]
    assert call([*line, "--repeats", "1", "--dtype", "float32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "miras-7b, random weights" and found["photo_encodings"] == 1
    assert [turn["token_ratio"] for turn in found["turns"]] == [None, None]  # on a CPU the cheaper loop alone
    assert all(turn["recompute_tokens"] > turn["new_tokens"] for turn in found["turns"][1:])
    for turn in found["turns"]:
        assert 0 < turn["first_token_seconds"] <= turn["first_mask_seconds"] <= 2 * turn["seconds"]
        assert turn["times_the_limit"] > 1 and turn["tokens_per_second"] > 0 and turn["memory_mb"] > 0


def test_narrower_and_as_deep(tiny):
    whole, narrow = (place.drawn("miras-7b", torch.device("cpu"), torch.float32, None, times) for times in (1, 2))
    shape, thin = (one.instruction.language_model.config for one in (whole, narrow))
    assert (thin.hidden_size, thin.num_attention_heads) == (shape.hidden_size // 2, shape.num_attention_heads // 2)
    assert (thin.num_hidden_layers, thin.head_dim) == (shape.num_hidden_layers, shape.head_dim)
    towers = (narrow.image_encoder.semantic_tower.channels, whole.image_encoder.semantic_tower.channels)
    assert [2 * width for width in towers[0]] == towers[1]


def test_fewer_layers_and_the_precision_asked_for(tiny):
    whole, cut = (place.drawn("miras-7b", torch.device("cpu"), torch.bfloat16, layers) for layers in (None, 1))
    language = cut.instruction.language_model
    assert len(language.model.layers) == 1 and len(whole.instruction.language_model.model.layers) == 2
    assert cut.config.alignment_layers == [0, 1] and language.lm_head.weight.dtype is torch.bfloat16
    assert cut.weights == "random"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--random-weights"], "--preset, --random-weights (and --layers, --scale) together"),
        (["--layers", "2"], "one alone"),
        (["--scale", "2"], "one alone"),
        (["--preset", "miras-7b", "--random-weights", "--scale", "3"], "--scale 1, 2, 4, 8, 16, got 3"),
        (["--preset", "miras-tiny", "--random-weights"], "for random weights (miras-7b), got miras-tiny"),
    ],
)
def test_options_that_do_not_go_together(capsys, words, said):
    assert call(["bench", "turns", *words]) == 2
    assert said in capsys.readouterr().err
