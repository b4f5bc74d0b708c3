"""What a recipe takes: counted parts equal those that are built, and what cannot fit is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miras.cli.main import call
from miras.train.grpo import count
from miras.train.loop import estimate as estimates
from miras.train.loop.estimate import counted, estimate, kept_features
from miras.train.recipe import recipe as recipes
from miras.train.recipe.reinforce import Reinforce
from miras.train.recipe.schema import Features
from miras.train.stages.training_module import build
from tests.train.tiny import recipe


def test_what_is_counted_is_what_is_built():
    tiny = recipe("stage2")
    found, module = estimate(tiny), build(tiny)
    learnt = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert (found.parameters, found.trained) == (sum(p.numel() for p in module.model.parameters()), learnt)
    assert (found.gradients, found.optimiser, found.average) == (4 * learnt, 8 * learnt, 4 * learnt)
    assert found.weights == 4 * found.parameters


@pytest.fixture(scope="module")
def large():
    first, second = recipes.load("full-80gb").recipes
    return replace(second, start=first.start)


@pytest.fixture(scope="module")
def built(large):
    """Its module, counted once: what a recipe saves is no other architecture."""
    return counted(large)


def test_each_saving_saves_what_it_says(large, built, monkeypatch):
    monkeypatch.setattr(estimates, "counted", lambda recipe: built)
    whole = estimate(large)
    assert whole.parameters == 7_943_497_570
    packed = estimate(replace(large, frozen="nf4"))
    layers = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)  # matrices of Vicuna's layers
    assert whole.weights - packed.weights == pytest.approx(layers * (16 - 4.5) / 8)
    small = estimate(replace(large, optimiser=replace(large.optimiser, kind="adamw8bit")))
    assert small.optimiser < whole.optimiser / 3.9 and small.weights == whole.weights
    assert estimate(replace(large, gradient_checkpointing=False)).activations > 2 * whole.activations
    shared = estimate(replace(large, parallel="fsdp2"), 16)  # eight shards: each machine holds all
    assert whole.weights - shared.weights == pytest.approx(layers * 2 * 7 / 8, rel=0.01)
    away = estimate(replace(large, parallel="fsdp2", offload=True), 16)
    lora = 32 * 2 * 8 * 2 * 4096  # rank 8 on two matrices of each layer
    assert shared.weights - away.weights == pytest.approx((2 * layers + 4 * lora) / 8, rel=0.001)
    assert away.offloaded == pytest.approx((2 * layers + 20 * lora) / 8, rel=0.001) and not shared.offloaded
    assert shared.tokens == 16 * whole.tokens and shared.hours(100) == pytest.approx(whole.hours(100), rel=0.01)
    assert whole.hours(100) == pytest.approx(2 * whole.hours(200))
    assert whole.padding == pytest.approx(0.05, abs=0.02)  # measured: benchmarks/packing.json


def test_packing_takes_padding_away():
    tiny = recipe("stage2")
    padded, packed = (estimate(replace(tiny, batch=replace(tiny.batch, pack=pack))) for pack in (0, 4096))
    assert packed.padding == 0 < padded.padding and packed.tokens == pytest.approx(padded.tokens * (1 - padded.padding))
    assert packed.operations < padded.operations and packed.activations < padded.activations


def test_the_cache_of_features_holds_what_the_towers_give(large, built):
    """CLIP's last map 24 x 24 x 1024, SAM's 64 x 64 x 256, ConvNeXt-L's four at 768, 2 bytes each."""
    sizes = {
        "semantic": 24**2 * 1024,
        "decoder": 64**2 * 256,
        "detail": 192**2 * (192 + 384 / 4 + 768 / 16 + 1536 / 64),
    }
    saved = 0.0
    for parts in (("semantic",), ("decoder",), ("detail",), tuple(sizes)):
        held, cached = kept_features(replace(large, features=Features(100, "", parts)), built, 1)
        assert held == 2 * sum(sizes[part] for part in parts) and cached > 0
        saved = saved + cached if len(parts) == 1 else saved - cached
    assert saved == pytest.approx(0) and kept_features(replace(large, features=Features()), built, 1) == (0, 0)


@pytest.mark.parametrize("name", ["full-24gb", "full-80gb", "full-8x80gb", "full-2nodes", "grpo-24gb"])
def test_the_recipes_fit_what_they_are_made_for(name):
    first, *others = recipes.load(name).recipes
    for one in (first, *(replace(other, start=first.start) for other in others)):
        assert 0 < estimate(one).memory < one.memory * 1e9 * 0.85


def test_replies_are_written_one_after_the_other():
    made = replace(recipe("stage2"), stage=3, losses={}, reinforce=Reinforce(group=5, updates=2))
    found, plain = estimate(made), estimate(replace(made, stage=2))
    copied = 4 * found.trained  # of the weights of the start
    assert found.trained < plain.trained and found.weights == pytest.approx(plain.weights + copied)
    replies = made.batch.photos * made.batch.conversations * 3.5 * 5
    assert found.waiting == pytest.approx(replies * count.REPLY * count.PASS / 2) and plain.waiting == 0
    assert found.hours(1e9) == pytest.approx(found.steps * found.waiting / 3600, rel=1e-3)
    more = replace(made, reinforce=Reinforce(group=10, updates=2))
    assert estimate(more).waiting == pytest.approx(2 * found.waiting) and estimate(more).tokens > found.tokens


def test_the_command_refuses_what_cannot_fit(capsys):
    line = ["train", "full-80gb", "--dry-run", "--memory", "16GB"]
    assert call(line) == 2
    said = capsys.readouterr()
    assert "expected 16 GB to be enough, got" in said.err and "full-24gb" in said.err
    assert "7,943,497,570" in said.out and "hours:" in said.out
    assert call(["train", "full-80gb", "--dry-run", "--memory", "much"]) == 2
    assert "--memory as 24GB" in capsys.readouterr().err
