"""A semantic tower with its classifier takes the place of another; the map from words fits the names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.model.presets import build
from miras.model.towers.efficientnet import EfficientNetLite
from miras.train.stages import imagenet

WHOLE = encode_rle(np.ones((64, 64), bool))


def photos(folder: Path, count: int = 4) -> list[AnnotatedPhoto]:
    made = []
    for number in range(count):
        file = folder / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        made.append(AnnotatedPhoto(str(number), file, (64, 64), (Annotation("cup", "cup", WHOLE),), "drawn"))
    return made


def test_ridge_finds_the_map_and_weighs_rows():
    facts = torch.randn(200, 3)
    wanted = torch.randn(3, 2)
    found = imagenet.ridge(facts, facts @ wanted, torch.ones(200), 1e-6)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    noisy = torch.cat([facts, facts])
    targets = torch.cat([facts @ wanted, torch.randn(200, 2)])
    weights = torch.cat([torch.ones(200), torch.zeros(200)])
    torch.testing.assert_close(imagenet.ridge(noisy, targets, weights, 1e-6), wanted, atol=1e-4, rtol=1e-4)


def test_another_tower_takes_its_place_and_the_rest_stays(tmp_path):
    model = build("miras-tiny", seed=3)
    new = imagenet.with_classifier(model, photos(tmp_path))
    assert new.config.semantic_head
    assert new.concepts is not None
    before, after = model.own_state_dict(), new.own_state_dict()
    for name, value in before.items():
        if name in imagenet.WIDER:
            torch.testing.assert_close(after[name][:, : value.shape[1]], value)
            assert not after[name][:, value.shape[1] :].any()
        elif not name.startswith((*imagenet.REFITTED, "image_encoder.semantic_tower.")):
            torch.testing.assert_close(after[name], value)


def test_layers_after_the_new_tower_give_what_they_gave_where_it_sees_as_much(tmp_path, monkeypatch):
    """Towers that pass the colours of each cell on, mixed in another way: then least squares can be exact."""

    def forward(self, pixels):
        mixes = [torch.randn(c, 3, generator=torch.Generator().manual_seed(id(self) % 1000)) for c in self.channels]
        pools = [torch.nn.functional.adaptive_avg_pool2d(pixels, pixels.shape[-1] // s) for s in (4, 8, 16, 32)]
        return [torch.einsum("bchw,kc->bkhw", pool, mix) for pool, mix in zip(pools, mixes, strict=True)]

    monkeypatch.setattr(EfficientNetLite, "forward", forward)
    model, shown = build("miras-tiny", seed=3), photos(tmp_path, 12)
    new = imagenet.with_classifier(model, shown)
    views = model.parsing([np.random.default_rng(99).integers(0, 255, (64, 64, 3), dtype=np.uint8)])
    for name, level in (("semantic_in", 3), ("semantic_mid", 2)):
        wanted, given = (
            getattr(one.image_encoder, name)(one.image_encoder.semantic_tower(views.semantic_B3ss)[level])
            for one in (model, new)
        )
        assert (given - wanted).square().mean() < 0.02 * wanted.var()


def test_photos_are_needed():
    with pytest.raises(InputError, match="photos to fit"):
        imagenet.with_classifier(build("miras-tiny"), [])
