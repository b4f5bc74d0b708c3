"""Reinforcement as a run: what is sampled is what is learnt, a run goes on exactly, and what makes no sense is said."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from miras.core.errors import InputError
from miras.train import run
from miras.train.grpo.policy import log_chances
from miras.train.grpo.rollout import Rollout, rollouts
from miras.train.loop import trainer
from miras.train.recipe import recipe as recipes
from miras.train.stages.training_module import build
from tests.train.tiny import SMALL, corpus

FAST = (
    "start.weights=miras-tiny", "steps=4", "batch.photos=1", "batch.conversations=1", "batch.accumulate=1",
    "optimiser.ema=0.5", "reinforce.group=3", "reinforce.tokens=12", "threads=0", "seed=7",
)  # fmt: skip


def recipe(*changes: str):
    return recipes.load("grpo-cpu", [*SMALL, *FAST, *changes]).recipes[0]


def curve(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "learning_rate" in row}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("photos"), 3)


@pytest.fixture(scope="module")
def sampled(photos):
    """A model and what it says about two photos."""
    told = recipe("reinforce.temperature=0.7", "batch.conversations=2", "start.points=true", "start.complements=true")
    module = build(told)
    module.model.eval()
    items, collate = run.items(told, photos, module.model), run.Collate(module.model, told)
    asked = [collate([items[number]])["batch"].asked[0] for number in (0, 2)]
    return module.model, told, asked, [one for each in asked for one in rollouts(module.model, each, told.reinforce, 7)]


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run.run(recipe(), photos, folder)


def test_what_is_learnt_has_the_chance_it_was_drawn_with(sampled):
    """One pass over the tree gives every id the probability that the engine drew it with, cache, guesses and all."""
    model, _, _, made = sampled
    assert len(made) == 4 and any(one.slots for one in made)
    assert any(choice.merged >= 0 for one in made for choice in one.choices), "names that may end in two ways"
    for one in made:
        drawn = np.array([choice.chance for choice in one.choices])
        found = log_chances(model, one, 0.7).detach().numpy()
        np.testing.assert_allclose(found, drawn, atol=2e-5)


def test_a_reply_sees_its_own_history_and_no_other_reply(sampled):
    """The tree against each reply read alone, in a row."""
    model, _, _, made = sampled
    one = max(made, key=lambda each: len(each.group))
    assert len(set(one.group)) > 1 and len(one.group) == 3 * len(set(one.group))
    slot = model.grammar.id("<mask>")
    mask_at = [place for place, token in enumerate(one.ids) if token == slot]
    together = log_chances(model, one, 1.0).detach()
    for reply in {0, len(one.group) - 1}:
        mine = [t for t, number in enumerate(one.reply) if number == reply]
        path = [max(one.after[t] for t in mine)]
        while (parent := one.parents[path[-1]]) >= 0:
            path.append(parent)
        path.reverse()
        place = {old: new for new, old in enumerate(path)}
        k = model.config.mask_tokens
        rows = [n for n, at in enumerate(mask_at) if at in place]
        alone = Rollout(
            one.visual, [one.ids[at] for at in path], list(range(-1, len(path) - 1)),
            [one.slots[n // k][n % k][None] for n in rows], [one.choices[t] for t in mine], [0] * len(mine),
            [place[one.after[t]] for t in mine],
        )  # fmt: skip
        torch.testing.assert_close(log_chances(model, alone, 1.0).detach(), together[mine], atol=2e-5, rtol=0)


def test_the_same_seed_says_the_same(sampled):
    model, told, asked, made = sampled
    again = rollouts(model, asked[0], told.reinforce, 7)
    assert [one.ids for one in again] == [one.ids for one in made[:2]]
    assert [one.ids for one in rollouts(model, asked[0], told.reinforce, 8)] != [one.ids for one in again]


def test_a_run_leaves_a_model_and_its_rewards(whole, photos):
    folder, outcome = whole
    assert outcome["steps"] == 4 and (folder / "model" / "config.json").exists()
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    first = next(row for row in rows if "learning_rate" in row)
    assert {f"part/{name}" for name in ("reward", "reward_mask", "asked_mask", "kl", "clipped", "flat")} <= first.keys()
    assert first["part/kl"] == pytest.approx(0, abs=1e-7), "the first step is made by the weights of the start"
    before = build(recipe()).model.own_state_dict()
    after = load_file(folder / "checkpoint-4" / trainer.STATE)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name].float())}
    assert moved and all(name.startswith("instruction.") for name in moved)


def test_a_stopped_run_goes_on_as_if_it_had_not_been(whole, photos, tmp_path, monkeypatch):
    """Stopped in the fourth step, the second on the same replies: the round is begun again."""
    real, calls = run.TrainingModule.forward, []

    def forward(self, batch):
        calls.append(batch.first)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(run.TrainingModule, "forward", forward)
    with pytest.raises(KeyboardInterrupt):
        run.run(recipe(), photos, tmp_path / "run")
    assert calls == [0, 0, 1, 1]
    monkeypatch.setattr(run.TrainingModule, "forward", real)
    shutil.rmtree(tmp_path / "run" / ".saving", ignore_errors=True)
    run.run(recipe(), photos, tmp_path / "run", resume=True)
    first, again = curve(whole[0]), curve(tmp_path / "run")
    assert again.keys() == first.keys() and max(abs(again[step] - first[step]) for step in first) < 1e-6
    one, two = (load_file(folder / "checkpoint-4" / trainer.STATE) for folder in (whole[0], tmp_path / "run"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-6)


FAULTS = [
    ("reinforce.group=1", "reinforce.group: at least 2"),
    ("reinforce.temperature=0", "reinforce.temperature: above 0"),
    ("reinforce.rewards.wit=1", r"reinforce.rewards.wit \(known: mask"),
    ("reinforce.rewards.mask=-1", "reinforce.rewards: at least 0 each"),
    ("reinforce.scale=batch", "reinforce.scale: group or none"),
    ("reinforce.epsilon=1", "reinforce.epsilon: above 0 and below 1"),
    ("reinforce.beta=-1", "reinforce.beta: at least 0"),
    ("reinforce.updates=0", "reinforce.updates: at least 1"),
    ("checkpoint_every=3", "checkpoint_every: a multiple of reinforce.updates, 2"),
    ("parallel=fsdp2", "parallel: ddp for stage 3"),
    ("reinforce.groop=4", r"unknown key reinforce.groop \(near: group"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_a_recipe_that_makes_no_sense(change, told):
    with pytest.raises(InputError, match=told):
        recipe(change)


def test_rewards_that_are_all_nothing():
    zero = [f"reinforce.rewards.{name}=0" for name in ("mask", "operator", "refusal", "reference", "format")]
    with pytest.raises(InputError, match="one above 0"):
        recipe(*zero)


def test_losses_are_of_the_other_stages():
    with pytest.raises(InputError, match=r"stage 3 has reinforce\.rewards"):
        build(recipe("losses.text=1"))


def test_weights_that_cannot_talk_and_data_without_photos(photos, tmp_path):
    chain = recipes.load("grpo-cpu", [*SMALL, *FAST, "start.weights="])
    with pytest.raises(InputError, match=r"weights that can talk.*start\.weights=miras-mini"):
        run.train(chain, [tmp_path], tmp_path / "run")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="photos"):
        run.train(recipes.load("grpo-cpu", [*SMALL, *FAST]), [tmp_path / "none"], tmp_path / "run")


def test_a_reward_that_never_comes_stops_the_run(photos, tmp_path):
    only = [f"reinforce.rewards.{name}=0" for name in ("mask", "operator", "refusal", "format")]
    with pytest.raises(InputError, match=r"0 for each of the first 1 rounds \(reference: 0\.5\)"):
        run.run(recipe(*only, "reinforce.patience=1", "data.turns=[1,1]"), photos, tmp_path / "run")
