"""The recipes of `miras-7b` on its shape with tiny checkpoints of the hub: trained, talked with, and by two processes;
by two of `miras-qwen` too (`test_qwen`).

Run as a script under `torchrun`, it trains the jobs of `JOBS` in a row.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from miras.chat.load import load
from miras.core.errors import InputError
from miras.train import run
from miras.train.loop import sharding, trainer
from miras.train.recipe import recipe as recipes
from miras.train.recipe.schema import Features, Recipe, Start
from tests import hub, qwen
from tests.train.tiny import corpus

JOBS = {"full-8x80gb": 1e-6, "full-2nodes": 3e-5, "qwen-8x80gb": 1e-6}
"""DDP, FSDP2 and DDP: recipe -> how far weights may be apart (docs/distributed.md)."""


def small(name: str, stage: int, start: Start, accumulate: int = 1) -> Recipe:
    """A recipe at the size of a test: the same keys but for sizes, device and precision."""
    whole = recipes.load(name).recipes[stage - 1]
    return replace(
        whole, start=start, steps=2, batch=replace(whole.batch, photos=1, accumulate=accumulate, workers=0),
        check=replace(whole.check, every=0, photos=2, overlays=1), device="cpu", precision="float32", frozen="float32",
        optimiser=replace(whole.optimiser, kind="adamw"), log_every=1, checkpoint_every=2, gradient_checkpointing=True,
        features=Features(),
    )  # fmt: skip


def begun(where: Path, name: str = "full") -> Start:
    """A new model of tiny checkpoints; name: of a recipe, whose model's shape it has."""
    file = where / ("qwen.json" if name.startswith("qwen") else "values.json")
    return Start(preset="miras-tiny", config=json.loads(file.read_text()))


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    (folder / "values.json").write_text(json.dumps(hub.miras_7b(folder)))
    (folder / "qwen.json").write_text(json.dumps(qwen.miras_qwen(folder)))
    corpus(folder / "photos")
    return folder


def test_both_stages_then_a_conversation(where):
    data, kept = replace(corpus(where / "photos"), held_out=[]), where / "stage1" / "model"
    outcome = run.run(small("full-80gb", 1, begun(where)), data, where / "stage1")
    assert outcome["steps"] == 2 and 0 < outcome["loss"] < 100
    second = small("full-80gb", 2, Start(weights=str(kept), operators=True))
    second = replace(second, features=Features(0.1, str(where / "features")))
    outcome = run.run(second, data, where / "stage2")
    assert outcome["features"]["parts"] == ["decoder", "detail", "semantic"] and outcome["features"]["misses"] == 6
    state = load_file(where / "stage2" / "model" / "model.safetensors")
    assert any("lora_" in name and bool(value.any()) for name, value in state.items() if "lora_B" in name)
    assert not any("vision_encoder" in name or "_tower." in name for name in state)
    first = load_file(kept / "model.safetensors")
    moved = {name.split(".")[0] for name in state if name in first and not torch.equal(state[name], first[name])}
    assert {"alignment", "decoder", "image_encoder", "mask_encoder", "instruction"} <= moved

    session = load(where / "stage2" / "model").chat(where / "photos" / "0.png", max_new_tokens=8)
    grammar = session.model.grammar
    ids = (grammar.id("[OBJ]"), *grammar.tokenizer.encode(" cup"), grammar.id("[SEG]"))
    assert session.ask("Where is the cup?", forced=ids).regions[0].phrase == "cup"
    assert session.ask("And now?").text is not None


def test_a_recipe_that_needs_bitsandbytes_says_so(where, monkeypatch):
    monkeypatch.setattr(trainer.importlib.util, "find_spec", lambda name: None)
    chosen = small("full-24gb", 1, begun(where))
    eight = replace(chosen, optimiser=replace(chosen.optimiser, kind="adamw8bit"))
    with pytest.raises(InputError, match="bitsandbytes, for AdamW in 8 bits, got no such package; pip install"):
        trainer.arguments(eight, where / "none")
    from miras.train.stages.training_module import build

    with pytest.raises(InputError, match="bitsandbytes, for weights of 4 bits"):
        build(replace(chosen, frozen="nf4"))


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="torch without gloo")
def test_two_processes_do_what_one_does(where):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(["src", "."])}
    done = subprocess.run(
        [*launch, "-m", "tests.train.loop.test_full_size", str(where)], cwd=Path(__file__).parents[3],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name, tolerance in JOBS.items():
        run.run(
            small(name, 2, begun(where, name), 2), replace(corpus(where / "photos"), held_out=[]), where / f"one-{name}"
        )
        one, both = (
            load_file(next((where / f"{how}-{name}").glob("checkpoint-*")) / trainer.STATE) for how in ("one", "two")
        )
        assert one.keys() == both.keys()
        apart = max(float((one[key].float() - both[key].float()).abs().max()) for key in one)
        assert apart <= tolerance, (name, apart)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for job in JOBS:  # the paper's with a cache of features that both processes fill
        kept = Features(0.1, str(place / "shared-features")) if job.startswith("full") else Features()
        chosen = replace(small(job, 2, begun(place, job)), features=kept)
        run.run(chosen, replace(corpus(place / "photos"), held_out=[]), place / f"two-{job}")
    sharding.leave()
