"""Towers by name: one that was never seen before, with other strides and other pixels, in a model that talks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from miras.chat.session import ChatSession
from miras.core.errors import InputError, WeightsError
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from miras.model.towers import registry
from miras.model.towers.base import SCALES, Tower
from miras.model.visual_parsing import as_trained, normalise

TINY = presets.configuration("miras-tiny").to_diff_dict()


class Patches(Tower):
    """Four maps, two of them at strides that the encoder does not use; pixels as CLIP's."""

    strides = (8, 8, 16, 16)
    mean = (122.8, 116.7, 104.1)
    std = (68.5, 66.6, 70.3)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.channels = [4, 6, 8, 10]
        self.cells = nn.ModuleList(
            nn.Conv2d(3, out, stride, stride) for out, stride in zip(self.channels, self.strides, strict=True)
        )
        self.seen: list[Tensor] = []

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Patches of each size."""
        self.seen.append(pixels_B3HW)
        return [cell(pixels_B3HW) for cell in self.cells]


@pytest.fixture
def patches() -> Iterator[str]:
    registry.TOWERS["patches"] = Patches
    yield "patches"
    del registry.TOWERS["patches"]


def white(side: int) -> NDArray[np.uint8]:
    return np.full((side, side, 3), 255, np.uint8)


@pytest.mark.parametrize("kind", ["semantic_tower", "detail_tower"])
def test_a_new_tower_talks(patches: str, kind: str, photo: NDArray[np.uint8]) -> None:
    model = Miras(MirasConfig(**{**TINY, kind: patches})).eval()
    with torch.no_grad():
        features = model.encode_image([white(40)])
    tower = getattr(model.image_encoder, kind)
    side = {"semantic_tower": 64, "detail_tower": 128}[kind]
    wanted = torch.tensor([(255 - mean) / std for mean, std in zip(Patches.mean, Patches.std, strict=True)])
    torch.testing.assert_close(tower.seen[0], wanted[None, :, None, None].expand(1, 3, side, side))
    assert features.pixels_BChw.shape == (1, 32, 8, 8)
    session = ChatSession(model, photo, max_new_tokens=16)
    assert session.refine(points=[(20, 20, 1)]).selection.mask.shape == photo.shape[:2]


def test_every_tower_of_the_registry_keeps_the_promise() -> None:
    for name in registry.TOWERS.keys() - {"clip", "convnext", "qwen3vl"}:  # of checkpoints: tests of their own
        tower = registry.build(name).eval()
        with torch.no_grad():
            maps = tower(torch.zeros(1, 3, 64, 64))
        assert [m.shape[1:] for m in maps] == [
            (c, 64 // s, 64 // s) for c, s in zip(tower.channels, tower.strides, strict=True)
        ]
        assert len(SCALES) == len(maps) and tower.published == (name != "tiny")


def test_a_tower_without_classifier_or_weights_says_so(patches: str) -> None:
    with pytest.raises(WeightsError, match="leave semantic_head out"):
        Miras(MirasConfig(**{**TINY, "semantic_tower": patches, "semantic_head": True}))
    with pytest.raises(WeightsError, match="published weights of Patches"):
        registry.build(patches).load_published()


def test_an_unknown_tower_is_told_with_those_that_there_are(patches: str) -> None:
    with pytest.raises(InputError, match="efficientnet-lite0, efficientnet-lite2, qwen3vl, tiny, patches"):
        MirasConfig(**{**TINY, "detail_tower": "resnet"})


@pytest.mark.parametrize(
    ("mean", "std", "pixel", "wanted"),
    [(127.0, 128.0, 255, 1.0), (0.0, 255.0, 255, 1.0), (0.0, 1.0, 200, 200.0), ((0.0, 10.0, 20.0), (1.0, 2.0, 4.0), 20,
     (20.0, 5.0, 0.0))],
)  # fmt: skip
def test_pixels_as_a_tower_was_trained(mean: object, std: object, pixel: int, wanted: object) -> None:
    view = normalise(torch.full((1, 3, 2, 2), float(pixel)))
    got = as_trained(view, mean, std)  # type: ignore[arg-type]
    expected = torch.as_tensor(wanted).reshape(-1).expand(3)[None, :, None, None].expand(1, 3, 2, 2)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-5)
    assert (got is view) == (mean == 127.0)
