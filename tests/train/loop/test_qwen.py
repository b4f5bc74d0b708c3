"""`miras-qwen`'s shape with tiny checkpoints of the hub: trained in both stages, talked with, evaluated, counted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from miras.chat.load import load
from miras.eval.protocol import Ours
from miras.eval.run import evaluate
from miras.train import run
from miras.train.loop.estimate import estimate
from miras.train.recipe import recipe as recipes
from miras.train.recipe.schema import Start
from tests import qwen
from tests.eval.runs.test_run import progressive
from tests.train.loop.test_full_size import begun, small
from tests.train.tiny import corpus


class Brief:
    """A model whose replies are short: it was trained for two steps."""

    def __init__(self, loaded):
        self.loaded, self.name = loaded, loaded.name

    def chat(self, photo, **options):
        return self.loaded.chat(photo, **{**options, "max_new_tokens": 8})


def test_both_stages_then_a_conversation_and_an_evaluation(tmp_path):
    (tmp_path / "qwen.json").write_text(json.dumps(qwen.miras_qwen(tmp_path)))
    data, kept = replace(corpus(tmp_path / "photos"), held_out=[]), tmp_path / "stage1" / "model"
    outcome = run.run(small("qwen-24gb", 1, begun(tmp_path, "qwen")), data, tmp_path / "stage1")
    assert outcome["steps"] == 2 and 0 < outcome["loss"] < 100
    run.run(small("qwen-24gb", 2, Start(weights=str(kept), operators=True)), data, tmp_path / "stage2")
    state = load_file(tmp_path / "stage2" / "model" / "model.safetensors")
    learnt = [name for name, value in state.items() if "lora_B" in name and bool(value.any())]
    assert {name.rpartition(".lora_")[0].rpartition(".")[2] for name in learnt} >= {"q_proj", "o_proj", "down_proj"}
    assert not any("vision_encoder" in name or "_tower." in name for name in state)
    first = load_file(kept / "model.safetensors")
    moved = {name.split(".")[0] for name in state if name in first and not torch.equal(state[name], first[name])}
    assert {"alignment", "decoder", "image_encoder", "mask_encoder", "instruction"} <= moved
    assert bool(first["alignment.dense_out.weight"].any())  # from zero: the dense prompt learns

    loaded = load(tmp_path / "stage2" / "model")
    session = loaded.chat(tmp_path / "photos" / "0.png", max_new_tokens=8)
    grammar = session.model.grammar
    ids = (grammar.id("[OBJ]"), *grammar.tokenizer.encode(" cup"), grammar.id("[SEG]"))
    assert session.ask("Where is the cup?", forced=ids).regions[0].phrase == "cup"
    assert session.ask("And now?").text is not None
    summary = evaluate([progressive(tmp_path / "step.png")], Ours(Brief(loaded)), out=tmp_path / "measured")
    assert summary["n"] == 2 and 0 <= summary["giou"] <= 1


@pytest.mark.parametrize(
    ("name", "preset", "parameters", "trained", "most"),
    [
        ("qwen-24gb", "miras-qwen-8b", 9_059_326_051, 79_499_075, 24e9),
        ("qwen-8x80gb", "miras-qwen", 4_706_360_179, 55_841_091, 80e9),
    ],
)
def test_its_recipes_are_counted_without_a_hub(name, preset, parameters, trained, most):
    second = recipes.load(name).recipes[1]
    counted = estimate(replace(second, start=replace(second.start, weights="", preset=preset)), 8)
    assert (counted.parameters, counted.trained) == (parameters, trained) and counted.memory < most
