"""The recipes of `miras-7b` on its shape with tiny checkpoints of the hub: trained, talked with, and by two processes;
by two of `miras-qwen` too (`test_qwen`).

Run as a script under `torchrun`, it trains the jobs of `JOBS` in a row.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from miras.chat.load import load
from miras.core.errors import InputError
from miras.model.hub.checkpoint import origin
from miras.train import run
from miras.train.loop import sharding, shards, trainer
from miras.train.recipe import recipe as recipes
from miras.train.recipe.schema import Features, Recipe, Start
from miras.train.stages.training_module import build
from tests import hub, qwen
from tests.train.tiny import corpus

JOBS = {
    ("full-8x80gb", 1): 1e-6, ("full-8x80gb", 2): 1e-6, ("full-2nodes", 1): 3e-5, ("full-2nodes", 2): 3e-5,
    ("qwen-8x80gb", 2): 1e-6,
}  # fmt: skip
"""DDP and FSDP2: recipe and stage -> how far weights may be apart (docs/distributed.md)."""


def small(name: str, stage: int, start: Start, accumulate: int = 1) -> Recipe:
    """A recipe at the size of a test: the same keys but for sizes, device and precision."""
    whole = recipes.load(name).recipes[stage - 1]
    return replace(
        whole, start=start, steps=2, batch=replace(whole.batch, photos=1, accumulate=accumulate, workers=0),
        check=replace(whole.check, every=0, photos=2, overlays=1), device="cpu", precision="float32", frozen="float32",
        optimiser=replace(whole.optimiser, kind="adamw"), log_every=1, checkpoint_every=1, gradient_checkpointing=True,
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
    with pytest.raises(
        InputError, match=r"bitsandbytes, for AdamW in 8 bits, got no such package; pip install 'miras\[qlora\]'"
    ):
        trainer.arguments(eight, where / "none")
    with pytest.raises(InputError, match="bitsandbytes, for weights of 4 bits"):
        build(replace(chosen, frozen="nf4", precision="bf16"))


def tensors(held) -> list[torch.Tensor]:
    """All in nested dictionaries."""
    if isinstance(held, dict):
        return [value for each in held.values() for value in tensors(each)]
    return [held] if isinstance(held, torch.Tensor) else []


@pytest.mark.parametrize("frozen", ["nf4", "int8"])
def test_qlora_trains_and_goes_on(where, frozen, monkeypatch):
    """`full-24gb` as it is on a card, by the CPU's backend of bitsandbytes, where that is installed. Its optimiser
    holds what has fewer than 4096 numbers in 32 bits, as all that is here, unless told otherwise."""
    eight_bits = partial(pytest.importorskip("bitsandbytes").optim.AdamW8bit, min_8bit_size=256)
    monkeypatch.setattr(trainer, "optimiser", lambda recipe: eight_bits)
    data, chosen = replace(corpus(where / "photos"), held_out=[]), small("full-24gb", 2, begun(where))
    eight = replace(chosen.optimiser, kind="adamw8bit")
    chosen = replace(chosen, frozen=frozen, precision="bf16", optimiser=eight)
    run.run(chosen, data, where / frozen)
    state = load_file(where / frozen / "checkpoint-2" / trainer.STATE)
    assert any(bool(value.any()) for name, value in state.items() if "lora_B" in name)
    assert all("lora_" in name for name in state if "language_model" in name)
    kept = torch.load(where / frozen / "checkpoint-2" / "optimizer.pt", weights_only=True)["state"]
    assert "torch.uint8" in {str(value.dtype) for value in tensors(kept)}
    assert (
        load(where / frozen / "model").chat(where / "photos" / "0.png", max_new_tokens=4).ask("A cup?").text is not None
    )
    shutil.copytree(where / frozen, where / f"{frozen}-on", ignore=shutil.ignore_patterns("checkpoint-2", "model"))
    run.run(chosen, data, where / f"{frozen}-on", resume=True)
    again = load_file(where / f"{frozen}-on" / "checkpoint-2" / trainer.STATE)
    assert all(torch.equal(state[name], again[name]) for name in state)
    with origin(bits=4 if frozen == "nf4" else 8):
        language = build(chosen).to("cpu").model.instruction.language_model
    held = {value.dtype for name, value in language.named_parameters() if name.endswith("mlp.up_proj.weight")}
    assert held == {torch.uint8 if frozen == "nf4" else torch.int8}


def job(name: str, stage: int, where: Path, accumulate: int = 1) -> Recipe:
    """Under FSDP2 shares lie in memory and each process writes its own; in stage 2 conversations share rows."""
    one = small(name, stage, begun(where, name), accumulate)
    if one.parallel == "ddp":
        return one
    batch = replace(one.batch, conversations=2, pack=4096 * (stage - 1))
    return replace(one, offload=True, checkpoints="sharded", batch=batch)


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of the last checkpoint of a run, whole."""
    last = folder / "checkpoint-2"
    return shards.whole_state(last) if (last / shards.SHARDS).is_dir() else load_file(last / trainer.STATE)


@pytest.fixture(scope="module")
def two(where):
    """All jobs, by two processes that share one start."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch without gloo")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(["src", "."])}
    done = subprocess.run(
        [*launch, "-m", "tests.train.loop.test_full_size", str(where)], cwd=Path(__file__).parents[3],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return where


@pytest.mark.parametrize(("name", "stage"), JOBS)
def test_two_processes_do_what_one_does(two, name, stage):
    data = replace(corpus(two / "photos"), held_out=[])
    run.run(job(name, stage, two, 2), data, two / f"one-{name}-{stage}")
    one, both = (state_of(two / f"{how}-{name}-{stage}") for how in ("one", "two"))
    assert one.keys() == both.keys()
    apart = max(float((one[key].float() - both[key].float()).abs().max()) for key in one)
    assert apart <= JOBS[name, stage], apart


def test_one_process_goes_on_with_what_two_began(two):
    """Shares are shared out anew, and a step has the same photos; else one line says how it would."""
    whole, copy = two / "two-full-2nodes-2", two / "resumed"
    shutil.copytree(whole, copy, ignore=shutil.ignore_patterns("checkpoint-2", "model"))
    data = replace(corpus(two / "photos"), held_out=[])
    wanted = r"steps of 2 photos, as .*checkpoint-1 was written \(2 processes\), got 1 \(1 processes\); --set batch.acc"
    with pytest.raises(InputError, match=wanted):
        trainer.place(job("full-2nodes", 2, two), copy, True)
    assert run.run(job("full-2nodes", 2, two, 2), data, copy, resume=True)["steps"] == 2
    there, here = state_of(whole), state_of(copy)
    assert max(float((there[key] - here[key]).abs().max()) for key in there) <= 3e-5
    (next((copy / "checkpoint-1" / shards.SHARDS).glob("*.distcp"))).unlink()
    with pytest.raises(InputError, match=r"whole shards in .*take this one away"):
        shards.whole_state(copy / "checkpoint-1")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for name, stage in JOBS:  # the paper's with a cache of features that both processes fill
        kept = Features(0.1, str(place / "shared-features")) if name.startswith("full") else Features()
        chosen = replace(job(name, stage, place), features=kept)
        run.run(chosen, replace(corpus(place / "photos"), held_out=[]), place / f"two-{name}-{stage}")
    sharding.leave()
