"""Qwen3-VL's vision tower against `transformers`' own class and image processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Qwen2VLImageProcessorPil, Qwen3VLForConditionalGeneration

from miras.model.towers import registry
from tests import qwen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return qwen.qwen3vl(tmp_path_factory.mktemp("qwen") / "it")


def test_patches_are_laid_out_as_by_qwen_s_processor(folder):
    tower = registry.build(f"qwen3vl:{folder}")
    photo = np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8)
    processor = Qwen2VLImageProcessorPil(
        patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        size={"shortest_edge": 64 * 128, "longest_edge": 64 * 128},
    )  # fmt: skip
    given = processor(photo, return_tensors="pt")
    assert given["image_grid_thw"].tolist() == [[1, 4, 8]]
    pixels = (torch.from_numpy(photo).permute(2, 0, 1)[None].float() - tower.mean) / tower.std
    torch.testing.assert_close(tower.patches(pixels), given["pixel_values"], atol=1e-6, rtol=0)


@torch.no_grad()
def test_tokens_deepstack_and_maps_are_theirs_for_photos_of_several_shapes(folder):
    tower = registry.build(f"qwen3vl:{folder}")
    theirs = Qwen3VLForConditionalGeneration.from_pretrained(folder).eval().model.visual
    photos = [torch.randn(1, 3, 64, 128), torch.randn(1, 3, 128, 64)]
    tokens, deep, maps = tower.tokens(photos)
    assert tokens.shape == (2, 8, 32) and [tuple(each.shape) for each in maps] == [(1, 16, 4, 8), (1, 16, 8, 4)]
    for at, photo in enumerate(photos):
        sides = torch.tensor([[1, photo.shape[2] // 16, photo.shape[3] // 16]])
        out = theirs(tower.patches(photo), grid_thw=sides)
        torch.testing.assert_close(tokens[at], out.pooler_output, atol=1e-6, rtol=0)
        for mine, other in zip(deep, out.deepstack_features, strict=True):
            torch.testing.assert_close(mine[at], other, atol=1e-6, rtol=0)
        row, column = 1, 2  # the patch in the second row, third column: third token, second row of its four
        order = (row // 2 * (photo.shape[3] // 32) + column // 2) * 4 + row % 2 * 2 + column % 2
        torch.testing.assert_close(maps[at][0, :, row, column], out.last_hidden_state[order], atol=1e-5, rtol=0)
    assert not any(p.requires_grad for p in tower.parameters()) and tower.is_still


@torch.no_grad()
def test_it_is_a_tower_with_four_maps(folder):
    tower = registry.build(f"qwen3vl:{folder}")
    pixels = torch.randn(2, 3, 64, 64)
    maps = tower(pixels)
    assert [tuple(each.shape) for each in maps] == [(2, 16, 4, 4)] * 4
    _, _, last = tower.tokens([pixels[1:]])
    torch.testing.assert_close(maps[3][1:], last[0], atol=1e-6, rtol=0)
    assert not torch.equal(maps[0], maps[3])
