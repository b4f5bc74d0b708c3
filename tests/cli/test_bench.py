"""Turns of a model of the hub's parts with random weights; nothing is fetched."""

from __future__ import annotations

import json

import pytest
import torch

from miras.cli.main import call
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.loading import place
from tests import hub


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """`miras-7b` is of its shape, but tiny."""
    values = hub.miras_7b(tmp_path)
    monkeypatch.setattr(presets, "configuration", lambda name: MirasConfig(**values))
    return values


def test_turns_with_random_weights(capsys, tiny):
    line = ["bench", "turns", "--preset", "miras-7b", "--random-weights", "--layers", "1", "--turns", "2"]
    assert call([*line, "--repeats", "1", "--dtype", "float32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "miras-7b, random weights" and found["photo_encodings"] == 1
    assert [turn["token_ratio"] for turn in found["turns"]] == [None, None]  # on a CPU the cheaper loop alone
    assert all(turn["recompute_tokens"] > turn["new_tokens"] for turn in found["turns"][1:])


def test_fewer_layers_and_the_precision_asked_for(tiny):
    whole, cut = (place.drawn("miras-7b", torch.device("cpu"), torch.bfloat16, layers) for layers in (None, 1))
    language = cut.instruction.language_model
    assert len(language.model.layers) == 1 and len(whole.instruction.language_model.model.layers) == 2
    assert cut.config.alignment_layers == [0, 1] and language.lm_head.weight.dtype is torch.bfloat16
    assert cut.weights == "random"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--random-weights"], "--preset, --random-weights (and --layers) together"),
        (["--layers", "2"], "one alone"),
        (["--preset", "miras-tiny", "--random-weights"], "for random weights (miras-7b), got miras-tiny"),
    ],
)
def test_options_that_do_not_go_together(capsys, words, said):
    assert call(["bench", "turns", *words]) == 2
    assert said in capsys.readouterr().err
