"""The mean of two models, weight by weight."""

from __future__ import annotations

import pytest
import torch

from miras.core.errors import InputError, WeightsError
from miras.model.miras import Miras
from miras.model.presets import build, configuration
from miras.train.loop.blend import blend
from miras.train.recipe import recipe


def test_the_mean_lies_between(tmp_path):
    for name, seed in (("old", 1), ("new", 2)):
        build("miras-tiny", seed).save_pretrained(tmp_path / name)
    before = {name: Miras.from_pretrained(tmp_path / name).own_state_dict() for name in ("old", "new")}
    blend(tmp_path / "new", str(tmp_path / "old"), 0.25)
    after = Miras.from_pretrained(tmp_path / "new").own_state_dict()
    assert any(not torch.equal(before["old"][name], before["new"][name]) for name in after)
    for name, value in after.items():
        if value.is_floating_point():
            wanted = 0.75 * before["old"][name] + 0.25 * before["new"][name]
            torch.testing.assert_close(value, wanted, atol=2e-3, rtol=2e-3)  # saved in half precision


def test_another_architecture_is_named_and_nothing_is_written(tmp_path):
    build("miras-tiny").save_pretrained(tmp_path / "new")
    config = configuration("miras-tiny")
    config.use_alignment = False
    Miras(config).save_pretrained(tmp_path / "old")
    kept = (tmp_path / "new" / "model.safetensors").read_bytes()
    with pytest.raises(WeightsError, match="one architecture"):
        blend(tmp_path / "new", str(tmp_path / "old"), 0.5)
    with pytest.raises(WeightsError, match="preset"):
        blend(tmp_path / "new", "miras-tiny", 0.5)
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == kept


def test_blend_stands_beside_a_chain_that_begins_with_weights():
    assert recipe.load("mini-cpu").blend == 0.5
    assert recipe.load("mini-cpu", ["blend=0.7"]).blend == 0.7
    alone = recipe.load("words-cpu", ["blend=0.5"])
    assert (len(alone.recipes), alone.blend, alone.apart) == (1, 0.5, True) and not recipe.load("words").apart
    assert alone.recipes[0].start.reads and not recipe.load("words").recipes[0].start.reads
    for name, changes in (("stage2", ["blend=0.5"]), ("mini", ["blend=0.5"]), ("mini-cpu", ["blend=2"])):
        with pytest.raises(InputError, match="blend"):
            recipe.load(name, changes)
