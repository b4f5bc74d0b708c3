"""Both stages run on `miras-tiny`, and learn: the loss falls on a batch seen again and again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.model.presets import build
from miras.model.visual_parsing import VisualParsing
from miras.train import stage1, stage2
from miras.train.loop import MovingAverage, Plan, factor, run, trained
from tests.train.test_augment import sample


def learn(model, step, count=25):
    torch.manual_seed(0)
    adam = torch.optim.AdamW(trained(model).values(), lr=3e-3)
    values = []
    for _ in range(count):
        parts = step()
        adam.zero_grad()
        parts["loss"].backward()
        adam.step()
        values.append({name: float(value.detach()) for name, value in parts.items()})
    return values


def test_stage1_learns():
    model = build("miras-tiny")
    rng = np.random.default_rng(0)
    batch = stage1.phrase_batch([sample(), sample(64, 64)], 32, 2, rng)
    states = stage1.PhraseStates(model)
    parsing = VisualParsing(128, 64)
    model.instruction.requires_grad_(False)
    values = learn(model, lambda: stage1.step(model, batch, states, parsing, stage1.Weights()))
    assert values[-1]["mask"] < 0.7 * values[0]["mask"]


def test_stage2_learns_words_and_masks():
    model = build("miras-tiny")
    rng = np.random.default_rng(0)
    batch = stage2.dialogue_batch([sample(), sample(64, 64)], model.grammar, "chatml", 32, rng, turns=(2, 2))
    parsing = VisualParsing(128, 64)
    values = learn(model, lambda: stage2.step(model, batch, parsing, stage2.Weights()))
    assert values[-1]["text"] < values[0]["text"]
    assert values[-1]["mask"] < values[0]["mask"]


def test_stage2_places_are_obj_and_seg():
    model = build("miras-tiny")
    batch = stage2.dialogue_batch([sample()] * 3, model.grammar, "chatml", 32, np.random.default_rng(1))
    photo = batch.regions.photo_R
    assert (batch.ids_CL[photo, batch.obj_R] == model.grammar.id("[OBJ]")).all()
    assert (batch.ids_CL[photo, batch.seg_R] == model.grammar.id("[SEG]")).all()
    assert (batch.ids_CL == model.grammar.id("<mask>")).sum() == len(photo) * model.config.mask_tokens
    for r, before in enumerate(batch.earlier):
        assert all(photo[b] == photo[r] and b < r for b in before)


def test_probes_name_what_is_not_there():
    model = build("miras-tiny")
    samples = [sample(), sample(64, 64)]
    rng = np.random.default_rng(3)
    batches = [stage2.dialogue_batch(samples, model.grammar, "chatml", 32, rng) for _ in range(8)]
    probed = [batch.probes for batch in batches if len(batch.probes.photo_P)]
    assert probed
    for probes in probed:
        rows = torch.arange(len(probes.photo_P))
        assert (probes.ids_PL[rows, probes.obj_P] == model.grammar.id("[OBJ]")).all()
        assert (probes.ids_PL[rows, probes.seg_P] == model.grammar.id("[SEG]")).all()
        parts = stage2.step(model, batches[0], VisualParsing(128, 64), stage2.Weights())
        assert torch.isfinite(parts["presence"])
    for batch in batches:
        own = torch.arange(len(batch.phrases))
        assert not batch.absent_RC[own, batch.regions.photo_R].any()


def test_schedule_warms_up_and_ends_at_zero():
    assert factor(0.0, 0.1) < factor(0.05, 0.1) < factor(0.1, 0.1) == 1.0
    assert factor(1.0, 0.1) == pytest.approx(0.0, abs=1e-9)


def test_moving_average_swaps_there_and_back():
    model = torch.nn.Linear(2, 2)
    parameters = trained(model)
    average = MovingAverage(parameters, 0.5)
    start = model.weight.detach().clone()
    model.weight.data += 1
    average.update(parameters)
    average.swap(parameters)
    assert (model.weight > start).all() and (model.weight < start + 1).all()
    average.swap(parameters)
    torch.testing.assert_close(model.weight.detach(), start + 1)


def test_losses_that_are_not_finite_stop_the_run(tmp_path):
    model = torch.nn.Linear(1, 1)

    def step(index, progress, rng):
        return {"loss": model(torch.ones(1, 1)).sum() * float("nan")}

    with pytest.raises(FloatingPointError, match="step 2"):
        list(run(model, Plan(steps=9), step, tmp_path / "log.jsonl", lambda tag: None))
    assert torch.isfinite(model.weight).all()
