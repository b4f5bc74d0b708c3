from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from miras.core.errors import WeightsError
from miras.model.miras import Miras
from miras.model.presets import build
from miras.model.saved import LANGUAGE_PREFIX

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path):
    model = build("miras-tiny")
    model.save_pretrained(tmp_path)
    return model, tmp_path


def test_saves_and_loads_half_precision_without_the_language_model(saved):
    model, folder = saved
    state = load_file(folder / "model.safetensors")
    assert not any(name.startswith(LANGUAGE_PREFIX) and "lora_" not in name for name in state)
    again = Miras.from_pretrained(folder)
    with torch.no_grad():
        a, b = model.encode_image([PHOTO]), again.encode_image([PHOTO])
    torch.testing.assert_close(a.visual_BND, b.visual_BND, atol=2e-2, rtol=2e-2)


def test_auto_model_finds_it(saved):
    import miras.model.auto  # tells it

    assert isinstance(miras.model.auto.AutoModel.from_pretrained(saved[1]), Miras)


def test_other_version_missing_and_foreign_files_are_told_apart(saved, tmp_path):
    folder = saved[1]
    with pytest.raises(WeightsError, match=r"config\.json"):
        Miras.from_pretrained(folder / "none")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "weights_version": 99}))
    with pytest.raises(WeightsError, match="version 99"):
        Miras.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({**values, "width": 64}))
    with pytest.raises(WeightsError, match="fit the configuration"):
        Miras.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        Miras.from_pretrained(folder)


def test_counts_the_photos_it_encodes():
    model = build("miras-tiny")
    model.encode_image([PHOTO, PHOTO])
    assert model.encoded_photos == 2


@pytest.mark.parametrize("hint", ["words", "points", "box", "all"])
def test_segments_in_the_frame_of_the_photo(hint):
    model = build("miras-tiny")
    previous = np.zeros(PHOTO.shape[:2], bool)
    previous[10:20, 10:20] = True
    span = torch.randn(4, 64) if hint in ("words", "all") else None
    points = np.array([[99.0, 59.0, 1.0]], np.float32) if hint in ("points", "all") else None
    box = (0.0, 0.0, 50.0, 30.0) if hint in ("box", "all") else None
    with torch.no_grad():
        features = model.encode_image([PHOTO])
        memory = model.mask_tokens(features, 0, previous[None]).flatten(0, 1) if hint == "all" else None
        prediction = model.segment(features, 0, span, memory, previous if hint == "all" else None, points, box)
    assert prediction.mask((60, 100)).shape == (60, 100)
    assert prediction.mask((60, 100)).dtype == bool
    assert prediction.logits_Mhw.shape[0] == prediction.iou_M.shape[0] == model.config.candidates
    assert 0 <= prediction.iou_M.min() <= prediction.iou_M.max() <= 1


def test_a_photo_encoded_in_bfloat16_is_close_and_its_features_stay_float32():
    model = build("miras-tiny", seed=2)
    with torch.no_grad():
        exact = model.encode_image([PHOTO])
        model.encode_fast(torch.float32)
        torch.testing.assert_close(model.encode_image([PHOTO]).pixels_BChw, exact.pixels_BChw, atol=1e-5, rtol=1e-4)
        model.encode_fast(torch.bfloat16)
        fast = model.encode_image([PHOTO])
    for name in ("visual_BND", "pixels_BChw", "fine8_BChw", "fine4_BChw"):
        wanted, got = getattr(exact, name), getattr(fast, name)
        assert got.dtype == torch.float32
        assert (got - wanted).abs().mean() < 0.03 * wanted.abs().mean()
