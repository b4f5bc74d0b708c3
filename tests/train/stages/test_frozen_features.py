"""Features of frozen towers on disk: training with them is training without, bit by bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from miras.core.errors import InputError
from miras.train import run
from miras.train.recipe.schema import Features, Start
from miras.train.stages import frozen_features
from miras.train.stages.training_module import build, features_faults
from tests import hub
from tests.train.tiny import corpus, recipe

STILL = {
    "whole": 1,
    "flip": 0,
    "colours": 0,
    "hue_shift": 0,
    "grey": 0,
    "jpeg": 0,
    "coarse": 0,
    "copy_paste": 0,
    "text": 0,
}
PIXELS = torch.rand(1, 3, 56, 56)


def chosen(stage: str, folder, **changes):
    one = recipe(stage, "steps=3")
    frozen = replace(one.optimiser, rates={**one.optimiser.rates, "_tower\\.": 0})
    return replace(one, optimiser=frozen, augment=STILL, features=Features(0.1, str(folder)), **changes)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A recipe of the shape of `miras-7b`, and its module."""
    values = hub.miras_7b(tmp_path_factory.mktemp("hub"))
    one = chosen("stage2", tmp_path_factory.mktemp("features"), start=Start(preset="miras-tiny", config=values))
    return one, build(one)


def learnt(module, batches) -> list[torch.Tensor]:
    """Losses and gradients of a few micro-batches."""
    found = []
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        loss = module(batch["batch"], batch["photos"])["loss"]
        module.zero_grad()
        loss.backward()
        found += [loss.detach(), *(p.grad.clone() for p in module.parameters() if p.grad is not None)]
    return found


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_losses_and_gradients_are_the_same_bit_by_bit(tmp_path, large, stage):
    """Four photos, two a step: the third step sees what the first saw; the second time nothing is computed."""
    one, module = (chosen("stage1", tmp_path), None) if stage == "stage1" else large
    module, data = module or build(one), replace(corpus(tmp_path / "photos"), held_out=[])
    items, collate = run.items(one, data, module.model), run.Collate(module.model, one)
    batches = [collate([items[2 * n], items[2 * n + 1]]) for n in range(3)]
    without = learnt(module, batches)
    module.keep_features(one)
    disk, parts = module.features.disk, len(module.features.parts)
    for hits, misses in ((2 * parts, 4 * parts), (8 * parts, 4 * parts)):
        found = learnt(module, batches)
        assert len(found) == len(without) > 50
        assert all(torch.equal(a, b) for a, b in zip(without, found, strict=True))
        assert (disk.hits, disk.misses) == (hits, misses)
    assert parts == (2 if stage == "stage1" else 3)


def test_what_is_kept_is_named_by_all_that_it_follows_from(tmp_path, large):
    one, module = replace(large[0], features=Features(0.1, str(tmp_path), ("semantic", "detail"))), large[1]
    encoder = module.model.image_encoder
    for is_half, changed in ((False, False), (True, False), (True, True)):
        for tower in (encoder.semantic_tower, encoder.detail_tower):
            tower.__dict__.pop("forward", None)
            if changed:
                next(tower.parameters()).data.mul_(1.5)
        kept = frozen_features.FrozenFeatures(module.model, one, is_half)
        for photo, side in (("a", 128), ("b", 128), ("a", 64)):
            with kept.of([photo]):
                encoder.detail_tower(torch.rand(1, 3, side, side))
        with kept.of(["a"]):
            maps = encoder.semantic_tower(PIXELS)
        assert [each.numel() > 0 for each in maps] == [False, False, False, True]  # the others are read by nobody
        assert (kept.disk.hits, kept.disk.misses) == (0, 4)
    assert all(each.numel() for each in encoder.semantic_tower(PIXELS)) and kept.disk.misses == 4  # no photo is named


@pytest.mark.parametrize("changes", [{"flip": 0.5}, {"text": 0.1}, {"whole": 0.9}, {"hue_shift": 0.1}])
def test_a_cache_that_finds_nothing_again_is_refused(tmp_path, changes):
    one = chosen("stage2", tmp_path)
    assert not features_faults(one) and not features_faults(replace(one, features=Features(), augment=changes))
    with pytest.raises(InputError, match=r"features\.gigabytes: of use where photos stay as they are"):
        build(replace(one, augment=STILL | changes))


def test_nothing_frozen_is_refused(tmp_path, large):
    model = large[1].model
    one = replace(large[0], features=Features(0.1, str(tmp_path), ("detail",)))
    model.image_encoder.detail_tower.requires_grad_(True)
    with pytest.raises(InputError, match="a frozen detail tower to keep features of, got none in this recipe"):
        frozen_features.FrozenFeatures(model, one, False)
