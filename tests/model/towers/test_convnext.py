"""ConvNeXt's tower against `transformers`' own class: equal; open_clip's names give the same tower."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ConvNextModel

from miras.core.errors import WeightsError
from miras.model.towers import registry
from tests import hub


def test_the_maps_are_those_of_the_stages(tmp_path):
    folder = hub.convnext(tmp_path / "convnext")
    pixels = torch.randn(2, 3, 64, 64)
    maps = registry.build(f"convnext:{folder}")(pixels)
    with torch.no_grad():
        states = ConvNextModel.from_pretrained(folder).eval()(pixels, output_hidden_states=True).hidden_states
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(maps, states[1:], strict=True))
    assert [tuple(each.shape[1:]) for each in maps] == [(4, 16, 16), (8, 8, 8), (12, 4, 4), (16, 2, 2)]


def test_open_clip_gives_the_same_tower(tmp_path):
    folder = hub.convnext(tmp_path / "convnext")
    named = hub.open_clip(tmp_path / "open", folder)
    one, other = registry.build(f"convnext:{folder}"), registry.build(f"convnext:{named}")
    assert other.channels == [4, 8, 12, 16]
    pixels = torch.randn(1, 3, 64, 64)
    for mine, theirs in zip(one(pixels), other(pixels), strict=True):  # layer norms of timm have epsilon 1e-6, too
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=0)


def test_open_clip_that_lacks_a_weight(tmp_path):
    named = hub.open_clip(tmp_path / "open", hub.convnext(tmp_path / "convnext"))
    file = named / "open_clip_model.safetensors"
    state = load_file(file)
    del state["visual.trunk.stages.2.blocks.1.gamma"]
    save_file(state, file)
    with pytest.raises(WeightsError, match=r"no encoder\.stages\.2\.layers\.1\.layer_scale_parameter"):
        registry.build(f"convnext:{named}")
