"""Dual image encoders at full size: CLIP's patches look into their windows of ConvNeXt's maps.

In: the views of photos. Out: `ImageFeatures`. Source: patch info mining of Mini-Gemini (Li et al. 2024), which the
paper's code is built on: queries from the semantic patches, keys and values from all four maps of the detail tower, put
together at stride 4; the sum goes through LLaVA's projector. The towers stay as they are published.
B photos, N = g * g visual tokens, S width of the semantic tower, T of all detail maps together, D language width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from miras.core.errors import InputError
from miras.model.config import MirasConfig
from miras.model.language import registry as languages
from miras.model.towers import registry
from miras.model.visual_encoders import ImageFeatures, Seen, pool_maps, resized, tower_maps
from miras.model.visual_parsing import Views, as_trained


class PatchMining(nn.Module):
    """One head of attention of each semantic patch over its own window of detail features.

    A window has one query, so that keys and values of its cells are never made: the query goes back through the key's
    weights and meets the cells themselves, and the mean that the weights make of the cells goes through the value's.
    The same sums in another order, with as many products as the window has cells fewer (64 at full size). Keys have no
    bias: it moves all cells of a window alike, which a softmax does not see.
    """

    def __init__(self, width: int, detail: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.key = nn.Sequential(nn.LayerNorm(detail, bias=False), nn.Linear(detail, width, bias=False))
        self.value = nn.Sequential(nn.LayerNorm(detail), nn.Linear(detail, width))

    def forward(self, semantic_BNS: Tensor, detail: Sequence[Tensor]) -> Tensor:
        """(B, N, S): what the patches find. detail: maps of h x h with T channels in all; h is a multiple of g."""
        grid, width = int(semantic_BNS.shape[1] ** 0.5), semantic_BNS.shape[2]
        cells = torch.cat([windows(each, grid) for each in detail], -1).flatten(3, 4).flatten(1, 2)
        parts: Any = (self.key, self.value)
        (scale, key), (shift, value) = parts
        asked_BNT = functional.linear(self.query(semantic_BNS), (key.weight * scale.weight).T)
        plain = functional.layer_norm(cells, cells.shape[-1:], eps=scale.eps).to(asked_BNT.dtype)  # before either scale
        fit = torch.einsum("bnt,bnwt->bnw", asked_BNT, plain) / width**0.5
        found_BNT = torch.einsum("bnw,bnwt->bnt", fit.softmax(-1), plain)
        found: Tensor = value(found_BNT * shift.weight + shift.bias)
        return found


def windows(map_BThw: Tensor, grid: int) -> Tensor:
    """(B, g, g, side, side, T): the cells of each window, a view."""
    return map_BThw.unflatten(3, (grid, -1)).unflatten(2, (grid, -1)).permute(0, 2, 4, 3, 5, 1)


class PatchEncoder(nn.Module):
    """The two towers, the fusion, the projector, and maps for what the model remembers of masks."""

    has_head = False
    semantic_read = (3,)
    """Which maps of the semantic tower are read."""

    def __init__(self, config: MirasConfig, language_width: int) -> None:
        super().__init__()
        self.config = config
        if config.use_semantic_tower:
            self.semantic_tower = registry.build(config.semantic_tower)
        if config.use_detail_tower:
            self.detail_tower = registry.build(config.detail_tower)
        semantic = self.semantic_tower.channels[3] if config.use_semantic_tower else 0
        detail = self.detail_tower.channels if config.use_detail_tower else []
        if semantic and detail:
            self.mining = PatchMining(semantic, sum(detail))
        inner = semantic or detail[3]
        self.projector = nn.Sequential(
            nn.Linear(inner, language_width), nn.GELU(), nn.Linear(language_width, language_width)
        )
        if semantic and (published := languages.source(config.language).projector()) is not None:
            fill(self.projector, published, config.language)
        self.middle = nn.Conv2d(detail[2] if detail else semantic, config.width, 1)
        self.fused_in = nn.Conv2d(inner, config.width, 1)

    def forward(self, views: Views) -> ImageFeatures:
        """Views of B photos to their features."""
        grid, stride16 = self.config.grid, views.detail_B3SS.shape[-1] // 16
        semantic, detail = self.towers(views)
        if semantic:
            patches = semantic[3].flatten(2).transpose(1, 2)
            if detail:
                finest = detail[0].shape[-1]
                patches = patches + self.mining(patches, [resized(each, finest) for each in detail])
        else:
            patches = resized(detail[3], grid).flatten(2).transpose(1, 2)
        fused = patches.transpose(1, 2).unflatten(2, (grid, grid))
        pixels = resized(self.middle(detail[2] if detail else semantic[3]), stride16)
        pixels = pixels + resized(self.fused_in(fused), stride16)
        none = pixels.new_zeros(len(views.sizes), 0)
        return ImageFeatures(
            self.projector(patches), pixels, none[..., None, None], none[..., None, None],
            pool_maps(semantic, detail, self.classify(semantic, len(views.sizes))),
            Seen(none[..., None, None], none, none), views.sizes,
        )  # fmt: skip

    def towers(self, views: Views) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of both towers, float32; of the semantic one all at its patches' stride."""
        semantic: list[Tensor] = []
        if self.config.use_semantic_tower:
            tower = self.semantic_tower
            maps = tower(as_trained(views.semantic_B3ss, tower.mean, tower.std))
            semantic = [*maps[:3], resized(maps[3], self.config.grid)]
        detail = tower_maps(self.detail_tower, views.detail_B3SS) if self.config.use_detail_tower else []
        dtype = self.middle.weight.dtype
        return [each.to(dtype) for each in semantic], [each.to(dtype) for each in detail]

    def look(self, views: Views) -> tuple[Tensor, Tensor]:
        """What the towers see over the whole photos (B, F), and no chances of classes."""
        semantic, detail = self.towers(views)
        seen = self.classify(semantic, len(views.sizes))
        return pool_maps(semantic, detail, seen), seen.chance_BK

    def classify(self, semantic_maps: list[Tensor], photos: int) -> Seen:
        """Nothing: there is no classifier."""
        none = self.middle.weight.new_zeros(photos, 0)
        return Seen(none[..., None, None], none, none)

    @property
    def pooled_width(self) -> int:
        """F, the length of `pool_maps`."""
        semantic = self.semantic_tower.channels[3] if self.config.use_semantic_tower else 0
        return semantic + (2 * self.detail_tower.channels[3] if self.config.use_detail_tower else 0)


def fill(projector: nn.Sequential, published: Mapping[str, Tensor], name: str) -> None:
    """The projector as it was published. Raises InputError where the towers are of another width."""
    if unlike := [key for key, value in projector.state_dict().items() if published[key].shape != value.shape]:
        got, wanted = (tuple(held[unlike[0]].shape) for held in (projector.state_dict(), published))
        cure = "give the tower that it was trained with, or a language model without projector"
        raise InputError(f"a semantic tower for the projector of {name} {wanted}", f"one that needs {got}", cure)
    projector.load_state_dict(dict(published))
