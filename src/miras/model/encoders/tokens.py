"""An image encoder whose visual tokens are the semantic tower's own, as its language model was trained on them.

In: the views of photos. Out: `ImageFeatures`: Qwen3-VL's tokens, untouched, and for what the model remembers of masks a
map in which its last states and the mask decoder's own view of the photo meet. A photo keeps its shape: its tokens are
always N, in as many rows and columns as fit its sides best.
B photos, N visual tokens, D language width, C decoder width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miras.core.errors import InputError
from miras.model.config import MirasConfig
from miras.model.language.qwen import wide
from miras.model.towers.qwen import QwenTower
from miras.model.visual_encoders import ImageFeatures, Seen
from miras.model.visual_parsing import Views, as_trained


@lru_cache
def grid_of(size: tuple[int, int], count: int) -> tuple[int, int]:
    """Rows and columns of `count` tokens whose shape is nearest to a photo's (H, W), as a ratio."""
    pairs = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
    return min(pairs, key=lambda pair: abs(math.log(pair[0] * size[1] / (pair[1] * size[0]))))


class TokenEncoder(nn.Module):
    """The tower, which stays as it was published, and two small layers."""

    has_head = False
    semantic_read = ()
    """No map of the semantic tower alone: its tokens follow the shape of each photo."""

    def __init__(self, config: MirasConfig, language_width: int) -> None:
        super().__init__()
        self.config = config
        self.semantic_tower = QwenTower(config.semantic_tower)
        side = self.semantic_tower.patch * self.semantic_tower.merge
        if (self.semantic_tower.language_width, side) != (language_width, config.semantic_stride):
            got = f"one of width {self.semantic_tower.language_width} and stride {side}"
            expected = f"a semantic tower of width {language_width} and stride {config.semantic_stride}"
            raise InputError(expected, got, "give the tower and the language model of one checkpoint")
        self.fused_in = nn.Conv2d(self.semantic_tower.channels[3], config.width, 1)
        if config.use_detail_tower:
            self.middle = nn.Conv2d(config.width, config.width, 1)

    def forward(self, views: Views) -> ImageFeatures:
        """Views of B photos to their features."""
        tokens, deep, maps = self.towers(views)
        dtype, coarse = self.fused_in.weight.dtype, views.drawn_from[-1]
        pixels = torch.cat([stretched(self.fused_in(each.to(dtype)), coarse.shape[-2:]) for each in maps])
        if self.config.use_detail_tower:
            pixels = pixels + self.middle(coarse.to(dtype))
        none = pixels.new_zeros(len(views.sizes), 0)
        return ImageFeatures(
            wide(tokens.float(), [each.float() for each in deep], self.grids(views)), pixels,
            none[..., None, None], none[..., None, None], _pooled(maps), Seen(none[..., None, None], none, none),
            views.sizes,
        )  # fmt: skip

    def grids(self, views: Views) -> list[tuple[int, int]]:
        """Rows and columns of tokens of each photo."""
        return [grid_of(size, self.config.image_tokens) for size in views.sizes]

    def towers(self, views: Views) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """What the tower gives of photos of their own shapes (`QwenTower.tokens`)."""
        side = self.config.semantic_stride
        pixels = as_trained(views.semantic_B3ss, self.semantic_tower.mean, self.semantic_tower.std)
        photos = [
            shaped(photo[None], (rows * side, columns * side))
            for photo, (rows, columns) in zip(pixels, self.grids(views), strict=True)
        ]
        return self.semantic_tower.tokens(photos)

    def look(self, views: Views) -> tuple[Tensor, Tensor]:
        """What the tower sees over the whole photos (B, F), and no chances of classes."""
        pooled = _pooled(self.towers(views)[2])
        return pooled, pooled.new_zeros(len(pooled), 0)

    @property
    def pooled_width(self) -> int:
        """F."""
        return self.semantic_tower.channels[3]


def shaped(pixels_13ss: Tensor, size: tuple[int, int]) -> Tensor:
    """A square view in a photo's own shape, with as many pixels."""
    if pixels_13ss.shape[-2:] == size:
        return pixels_13ss
    return F.interpolate(pixels_13ss, size, mode="bicubic", align_corners=False, antialias=True)


def stretched(map_1Chw: Tensor, size: Sequence[int]) -> Tensor:
    """A photo's map in its own shape as one of the square view, bilinear."""
    if map_1Chw.shape[-2:] == tuple(size):
        return map_1Chw
    return F.interpolate(map_1Chw, tuple(size), mode="bilinear", align_corners=False)


def _pooled(maps: Sequence[Tensor]) -> Tensor:
    """(B, C)."""
    return torch.cat([each.mean((2, 3)) for each in maps]).float()
