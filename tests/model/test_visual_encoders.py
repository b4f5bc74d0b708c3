from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.model.config import MirasConfig
from miras.model.presets import configuration
from miras.model.visual_encoders import ImageEncoder, MaskEncoder, box_code, pool_by_mask
from miras.model.visual_parsing import VisualParsing


def tiny(**changes) -> MirasConfig:
    values = {k: v for k, v in configuration("miras-tiny").to_diff_dict().items() if k in MirasConfig().__dict__}
    return MirasConfig(**{**values, **changes})


def photos(count: int = 2):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (70, 110, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("off", [None, "use_semantic_tower", "use_detail_tower"])
def test_shapes_with_every_tower_switch(off):
    config = tiny(**({off: False} if off else {}))
    encoder = ImageEncoder(config, 32).eval()
    features = encoder(VisualParsing(config.detail_size, config.semantic_size)(photos()))
    assert features.visual_BND.shape == (2, config.image_tokens, 32)
    assert features.pixels_BChw.shape == (2, config.width, 8, 8)
    assert features.fine8_BChw.shape[-1] == 16
    assert features.fine4_BChw.shape[-1] == 32
    assert torch.isfinite(features.pixels_BChw).all()


def test_zero_fusion_starts_as_if_there_were_no_semantic_tower_and_learns_it():
    config = tiny(zero_fusion=True)
    encoder = ImageEncoder(config, 32).eval()
    alone = ImageEncoder(tiny(use_semantic_tower=False), 32).eval()
    alone.load_state_dict(encoder.state_dict(), strict=False)
    views = VisualParsing(config.detail_size, config.semantic_size)(photos())
    features = encoder(views)
    torch.testing.assert_close(features.pixels_BChw, alone(views).pixels_BChw)
    torch.testing.assert_close(features.visual_BND, alone(views).visual_BND)
    features.pixels_BChw.square().mean().backward()
    for part in (encoder.semantic_mid, encoder.coarse_gate, encoder.fused_gate):
        assert part.weight.grad.abs().max() > 0


def test_a_photo_does_not_see_its_neighbours_in_the_batch():
    config = tiny()
    encoder = ImageEncoder(config, 32).eval()
    parsing = VisualParsing(config.detail_size, config.semantic_size)
    both, alone = encoder(parsing(photos())), encoder(parsing(photos()[1:]))
    torch.testing.assert_close(both.visual_BND[1:], alone.visual_BND, atol=1e-5, rtol=1e-4)


def test_each_patch_sees_only_its_own_window():
    config = tiny(context_layers=0)
    encoder = ImageEncoder(config, 32).eval()
    semantic, detail = torch.randn(1, 32, 2, 2), torch.randn(1, 32, 8, 8)
    before = encoder.fusion(semantic, detail)
    changed = detail.clone()
    changed[..., :4, 4:] = torch.randn(1, 32, 4, 4)  # the window of patch 1
    difference = (encoder.fusion(semantic, changed) - before).abs().amax(-1)[0]
    assert difference[1] > 1e-4
    assert difference[[0, 2, 3]].max() < 1e-6


def test_pooling_is_a_masked_mean():
    features = torch.arange(16.0).reshape(1, 1, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1, :2] = 1
    assert pool_by_mask(features, mask).item() == pytest.approx(4.5)
    assert pool_by_mask(features, torch.zeros(1, 1, 4, 4)).item() == 0


def test_box_code_tells_place_and_is_finite_when_empty():
    masks = torch.zeros(3, 1, 16, 16)
    masks[0, 0, 2:5, 3:9] = 1
    masks[1, 0, 2:5, 9:15] = 1
    codes = box_code(masks)
    assert torch.isfinite(codes).all()
    assert (codes[0] - codes[1]).abs().max() > 0.1


def test_mask_tokens_differ_by_mask_and_kind():
    config = tiny()
    encoder = MaskEncoder(config, 32)
    pixels = torch.randn(2, 32, 8, 8)
    masks = torch.zeros(2, 1, 32, 32)
    masks[0, 0, :8] = 1
    masks[1, 0, 20:] = 1
    tokens = encoder.tokens(pixels, masks)
    assert tokens.shape == (2, config.mask_tokens, 32)
    assert (tokens[0] - tokens[1]).abs().amax(-1).min() > 1e-3


def test_dense_prompt_without_mask_is_the_learned_one():
    encoder = MaskEncoder(tiny(), 32)
    encoder.no_mask.data.fill_(0.25)
    dense = encoder.dense(torch.rand(2, 1, 32, 32), torch.tensor([False, True]))
    assert dense.shape == (2, 32, 8, 8)
    assert torch.all(dense[0] == 0.25)
    assert not torch.all(dense[1] == 0.25)


def test_mask_encoder_can_be_switched_off():
    encoder = MaskEncoder(tiny(use_mask_encoder=False), 32)
    dense = encoder.dense(torch.rand(1, 1, 32, 32), torch.tensor([True]))
    assert torch.all(dense == 0)
