"""CLIP's tower against `transformers`' own class: equal."""

from __future__ import annotations

import torch
from transformers import CLIPVisionModel

from miras.model.towers import registry
from tests import hub


def test_the_last_map_is_what_llava_reads(tmp_path):
    folder = hub.clip(tmp_path / "clip")
    tower = registry.build(f"clip:{folder}")
    pixels = torch.randn(2, 3, 56, 56)
    maps = tower(pixels)
    with torch.no_grad():
        states = CLIPVisionModel.from_pretrained(folder).eval()(pixels, output_hidden_states=True).hidden_states
    theirs = states[-2][:, 1:].transpose(1, 2).reshape(2, 16, 4, 4)
    assert torch.equal(maps[3], theirs)
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 4, 4)] * 4
    assert not any(p.requires_grad for p in tower.parameters()) and tower.is_still
