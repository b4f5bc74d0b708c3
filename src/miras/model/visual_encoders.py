"""Dual visual encoders, in both senses of the sources.

In: the views of photos, and binary masks. Out: visual tokens for the language model, the feature
pyramid of the decoder, mask tokens and dense prompts. Source: paper, "dual visual encoders"
(CLIP and ConvNeXt fused by windowed cross-attention; image and mask encoded apart).
B photos, N visual tokens, D language width, C decoder width, R masks, K mask tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miras.model.config import MirasConfig
from miras.model.layers import Attention, EncoderLayer, LayerNorm2d, Mlp, sine_grid, sine_points
from miras.model.towers import registry
from miras.model.towers.base import SCALES, Tower
from miras.model.visual_parsing import Views, as_trained

GEOMETRY = 64
"""Width of the sine code of a mask's box."""
CELL_TRUST = 0.7
"""What the classifier's certainty about a cell counts beside that about the whole photo, which it was trained on."""


@dataclass(frozen=True)
class Seen:
    """What the ImageNet classifier sees of photos; without one, everything has width 0.

    cells_BFhw: features. rivals_BN: log of the sum of the exponentials of all class logits, of each cell and, last, of
    the whole photo. chance_BK: 0..1 for each class, from the photo or from the two cells that are surest.
    """

    cells_BFhw: Tensor
    rivals_BN: Tensor
    chance_BK: Tensor

    def select(self, index: Tensor) -> Seen:
        """Of these photos, in this order."""
        return Seen(self.cells_BFhw[index], self.rivals_BN[index], self.chance_BK[index])


@dataclass(frozen=True)
class ImageFeatures:
    """Everything later boxes need of the photos; computed once per photo.

    visual_BND: tokens for the language model. pixels_BChw: decoder width, stride 16 of the detail
    view. fine8_BChw, fine4_BChw: thin maps at strides 8 and 4. pooled_BF: what the towers see, over the whole photo.
    seen: what the ImageNet classifier sees. sizes: the photos' (H, W). drawn_from: what a mask decoder that looks at
    the photos itself sees there (`model.decoders`); drawn_R: the photo there of each row, None where they are its rows.
    """

    visual_BND: Tensor
    pixels_BChw: Tensor
    fine8_BChw: Tensor
    fine4_BChw: Tensor
    pooled_BF: Tensor
    seen: Seen
    sizes: tuple[tuple[int, int], ...]
    drawn_from: tuple[Tensor, ...] = ()
    drawn_R: Tensor | None = None

    def select(self, index: Tensor) -> ImageFeatures:
        """What masks are drawn from, of these photos in this order (an index may repeat); no visual tokens."""
        return ImageFeatures(
            self.visual_BND[:0], self.pixels_BChw[index], self.fine8_BChw[index], self.fine4_BChw[index],
            self.pooled_BF[index], self.seen.select(index), tuple(self.sizes[i] for i in index.tolist()),
            self.drawn_from, index if self.drawn_R is None else self.drawn_R[index],
        )  # fmt: skip

    def float32(self) -> ImageFeatures:
        """The same, every map float32."""
        return ImageFeatures(
            self.visual_BND.float(),
            self.pixels_BChw.float(),
            self.fine8_BChw.float(),
            self.fine4_BChw.float(),
            self.pooled_BF.float(),
            self.seen,
            self.sizes,
            tuple(each.float() for each in self.drawn_from),
            self.drawn_R,
        )


class WindowFusion(nn.Module):
    """Each semantic patch attends over its own window of detail features."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_query, self.norm_window = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.mlp = Mlp(width, 2 * width, width)

    def forward(self, semantic_BCgg: Tensor, detail_BChw: Tensor) -> Tensor:
        """(B, g * g, C). h must be a multiple of g: window side = h / g."""
        batch, width, grid, _ = semantic_BCgg.shape
        side = detail_BChw.shape[-1] // grid
        query = semantic_BCgg.flatten(2).transpose(1, 2)
        windows = detail_BChw.reshape(batch, width, grid, side, grid, side).permute(0, 2, 4, 3, 5, 1)
        windows = self.norm_window(windows.reshape(batch * grid * grid, side * side, width))
        flat = self.norm_query(query).reshape(-1, 1, width)
        fused = query + self.attention(flat, windows, windows).reshape(batch, -1, width)
        return fused + self.mlp(self.norm(fused))


class ImageEncoder(nn.Module):
    """The two towers, their fusion, the pyramid and the visual tokens."""

    semantic_read = (0, 1, 2, 3)
    """Which maps of the semantic tower are read."""

    def __init__(self, config: MirasConfig, language_width: int) -> None:
        super().__init__()
        width = config.width
        self.config = config
        if config.use_semantic_tower:
            self.semantic_tower = registry.build(config.semantic_tower)
            if config.semantic_head:
                self.semantic_head = self.semantic_tower.classifier()
            self.semantic_in = nn.Conv2d(self.semantic_tower.channels[3], width, 1)
            self.semantic_mid = nn.Conv2d(self.semantic_tower.channels[2], width, 1)
        if config.use_detail_tower:
            self.detail_tower = registry.build(config.detail_tower)
            channels = self.detail_tower.channels
            self.detail_32 = nn.Conv2d(channels[3], width, 1)
            self.detail_16 = nn.Conv2d(channels[2], width, 1)
            self.detail_8 = nn.Conv2d(channels[1], width // 4, 1)
            self.detail_4 = nn.Conv2d(channels[0], width // 8, 1)
        if config.use_semantic_tower and config.use_detail_tower:
            self.fusion = WindowFusion(width, config.heads)
            if config.zero_fusion:
                self.coarse_gate, self.fused_gate = nn.Conv2d(width, width, 1), nn.Linear(width, width)
                for part in (self.semantic_mid, self.coarse_gate, self.fused_gate):
                    _zero(part)
        self.context = nn.ModuleList(EncoderLayer(width, config.heads) for _ in range(config.context_layers))
        self.smooth = nn.Sequential(
            LayerNorm2d(width), nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.to_language = nn.Sequential(nn.LayerNorm(width), Mlp(width, 2 * width, language_width))
        self.token_norm = nn.LayerNorm(language_width)
        self.token_scale = nn.Parameter(torch.tensor(0.1))
        self.token_position = nn.Parameter(torch.zeros(config.image_tokens, language_width))

    def forward(self, views: Views) -> ImageFeatures:
        """Views of B photos to their features."""
        grid = self.config.grid
        stride16 = views.detail_B3SS.shape[-1] // 16
        semantic_maps, detail_maps = self.towers(views)
        seen = self.classify(semantic_maps, len(views.sizes))
        fine8, fine4, coarse, middle = self._detail(detail_maps, views, stride16)
        fused = None
        if semantic_maps:
            semantic = self.semantic_in(semantic_maps[3])
            middle = middle + resized(self.semantic_mid(semantic_maps[2]), stride16)
            fused = semantic.flatten(2).transpose(1, 2)
            if self.config.use_detail_tower:
                fused = self.fusion(semantic, middle)
                if self.config.zero_fusion:
                    semantic, fused = self.coarse_gate(semantic), self.fused_gate(fused)
            coarse = coarse + resized(semantic, coarse.shape[-1])
        coarse = self._mix(coarse)
        middle = middle + resized(coarse, stride16)
        if fused is not None:
            fused_map = fused.transpose(1, 2).unflatten(2, (grid, grid))
            middle = middle + resized(fused_map, stride16)
        middle = middle + self.smooth(middle)
        pooled = F.adaptive_avg_pool2d(middle, grid).flatten(2).transpose(1, 2)
        tokens = pooled if fused is None else fused + pooled
        visual = self.token_norm(self.to_language(tokens)) * self.token_scale + self.token_position
        pooled = pool_maps(semantic_maps, detail_maps, seen)
        return ImageFeatures(visual, middle, fine8, fine4, pooled, seen, views.sizes)

    def look(self, views: Views) -> tuple[Tensor, Tensor]:
        """What the towers see over the whole photos (B, F), and the chances of the classes (B, K). Where there is a
        classifier, the semantic tower alone is asked: it takes a twelfth of the time of both."""
        semantic_maps, detail_maps = (self._semantic(views), []) if self.has_head else self.towers(views)
        seen = self.classify(semantic_maps, len(views.sizes))
        return pool_maps(semantic_maps, detail_maps, seen), seen.chance_BK

    def towers(self, views: Views) -> tuple[list[Tensor], list[Tensor]]:
        """The four maps of the semantic tower, then of the detail tower; none of a tower that is not used."""
        detail = tower_maps(self.detail_tower, views.detail_B3SS) if self.config.use_detail_tower else []
        return self._semantic(views), detail

    def _semantic(self, views: Views) -> list[Tensor]:
        """With its classifier the tower stays as it is."""
        if not self.config.use_semantic_tower:
            return []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.has_head):
            return tower_maps(self.semantic_tower, views.semantic_B3ss)

    @property
    def has_head(self) -> bool:
        """Whether the semantic tower is ImageNet's own, with its classifier."""
        return self.config.has_concepts

    @torch.no_grad()
    def classify(self, semantic_maps: list[Tensor], photos: int) -> Seen:
        """What the classifier sees in the last map of the semantic tower."""
        if not self.has_head:
            nothing = self.token_position.new_zeros(photos, 0)
            return Seen(nothing[..., None, None], nothing, nothing)
        cells = self.semantic_head(semantic_maps[3]).float()
        with torch.autocast(cells.device.type, enabled=False):
            every = torch.cat([cells.flatten(2), cells.mean((2, 3))[..., None]], 2).transpose(1, 2)
            logits = every @ self.semantic_head.rows_KF.T
            rivals = logits.logsumexp(-1)
            chance = (logits + self.semantic_head.bias_K).softmax(-1)
        cell = chance[:, :-1].topk(min(2, chance.shape[1] - 1), 1).values.mean(1)
        return Seen(cells, rivals, torch.maximum(chance[:, -1], CELL_TRUST * cell))

    @property
    def pooled_width(self) -> int:
        """F, the length of `pool_maps`."""
        if self.has_head:
            return 2 * self.semantic_head.features
        semantic = self.semantic_tower.channels[3] if self.config.use_semantic_tower else 0
        return semantic + (2 * self.detail_tower.channels[3] if self.config.use_detail_tower else 0)

    def _detail(self, maps: list[Tensor], views: Views, stride16: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if maps:
            return self.detail_8(maps[1]), self.detail_4(maps[0]), self.detail_32(maps[3]), self.detail_16(maps[2])
        batch, width = views.detail_B3SS.shape[0], self.config.width

        def zero(channels: int, side: int) -> Tensor:
            return views.detail_B3SS.new_zeros(batch, channels, side, side)

        return (
            zero(width // 4, 2 * stride16), zero(width // 8, 4 * stride16),
            zero(width, stride16 // 2), zero(width, stride16),
        )  # fmt: skip

    def _mix(self, coarse_BChw: Tensor) -> Tensor:
        height, width = coarse_BChw.shape[-2:]
        positions = sine_grid(height, width, coarse_BChw.shape[1], coarse_BChw.device).to(coarse_BChw.dtype)
        tokens = coarse_BChw.flatten(2).transpose(1, 2)
        for layer in self.context:
            tokens = layer(tokens, positions)
        return tokens.transpose(1, 2).unflatten(2, (height, width))


def tower_maps(tower: Tower, pixels_B3SS: Tensor) -> list[Tensor]:
    """What a tower sees in a view, its maps at the strides of `SCALES`."""
    maps = tower(as_trained(pixels_B3SS, tower.mean, tower.std))
    side = pixels_B3SS.shape[-1]
    return [resized(each, side // scale) for each, scale in zip(maps, SCALES, strict=True)]


def pool_maps(semantic_maps: list[Tensor], detail_maps: list[Tensor], seen: Seen) -> Tensor:
    """(B, F): mean and maximum of the classifier's features, where there is one; else the mean of the last semantic
    map, the mean and the maximum of the last detail map."""
    if seen.cells_BFhw.shape[1]:
        return torch.cat([seen.cells_BFhw.mean((2, 3)), seen.cells_BFhw.amax((2, 3))], 1)
    means = [maps[3].mean((2, 3)) for maps in (semantic_maps, detail_maps) if maps]
    return torch.cat([*means, *(maps[3].amax((2, 3)) for maps in [detail_maps] if maps)], 1)


def _zero(part: nn.Conv2d | nn.Linear) -> None:
    """Weights and bias from 0 (the zero convolution of ControlNet)."""
    nn.init.zeros_(part.weight)
    if part.bias is not None:
        nn.init.zeros_(part.bias)


def resized(x_BChw: Tensor, side: int) -> Tensor:
    """(B, C, side, side), bilinear."""
    if x_BChw.shape[-1] == side:
        return x_BChw
    return F.interpolate(x_BChw, (side, side), mode="bilinear", align_corners=False)


class MaskEncoder(nn.Module):
    """Binary masks to K mask tokens and a dense prompt."""

    def __init__(self, config: MirasConfig, language_width: int) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.appearance = nn.Sequential(nn.LayerNorm(width), Mlp(width, 2 * width, language_width))
        self.geometry = Mlp(GEOMETRY * 2 + 2, width, language_width)
        self.token_norm = nn.LayerNorm(language_width)
        self.kind = nn.Parameter(torch.randn(config.mask_tokens, language_width) * 0.02)
        self.token_scale = nn.Parameter(torch.tensor(0.1))
        self.no_mask = nn.Parameter(torch.zeros(width))
        self.down = nn.Sequential(
            nn.Conv2d(1, width // 8, 2, 2), LayerNorm2d(width // 8), nn.GELU(),
            nn.Conv2d(width // 8, width // 4, 2, 2), LayerNorm2d(width // 4), nn.GELU(),
            nn.Conv2d(width // 4, width, 1),
        )  # fmt: skip

    def tokens(self, pixels_RChw: Tensor, masks_R1ss: Tensor) -> Tensor:
        """(R, K, D): appearance (mask-pooled features) and geometry (box, area), then mixtures.

        masks: covered share of each cell at stride 4, 0..1. An empty mask gives finite tokens.
        """
        look = self.appearance(pool_by_mask(pixels_RChw, masks_R1ss))
        place = self.geometry(box_code(masks_R1ss).to(look.dtype))
        parts = torch.stack([(look, place, look + place)[min(k, 2)] for k in range(self.config.mask_tokens)], 1)
        return self.token_norm(parts + self.kind) * self.token_scale

    def dense(self, masks_R1ss: Tensor, present_R: Tensor) -> Tensor:
        """(R, C, s / 4, s / 4) dense prompt; where present is False, the learned "no mask"."""
        none = self.no_mask[None, :, None, None]
        if not self.config.use_mask_encoder:
            side = masks_R1ss.shape[-1] // 4
            return none.expand(masks_R1ss.shape[0], -1, side, side)
        prompt = self.down(masks_R1ss.to(none.dtype))
        return torch.where(present_R[:, None, None, None], prompt, none.to(prompt.dtype))


def pool_by_mask(pixels_RChw: Tensor, masks_R1ss: Tensor) -> Tensor:
    """Mean of the features under each mask, (R, C); zero for an empty mask."""
    weight = F.adaptive_avg_pool2d(masks_R1ss, pixels_RChw.shape[-1]).to(pixels_RChw.dtype)
    total = weight.sum((2, 3)).clamp_min(1e-4)
    return (pixels_RChw * weight).sum((2, 3)) / total


def box_code(masks_R1ss: Tensor) -> Tensor:
    """Sine code of centre and size of each mask's box, then area share and its square root."""
    masks = masks_R1ss[:, 0] > 0.5
    side = masks.shape[-1]
    steps = torch.arange(side, device=masks.device)

    def span(present_RS: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.where(present_RS, steps, side).amin(1)
        high = torch.where(present_RS, steps + 1, 0).amax(1)
        return low.clamp(max=side) / side, torch.maximum(high, low).clamp(max=side) / side

    x1, x2 = span(masks.any(1))
    y1, y2 = span(masks.any(2))
    centre = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2], -1)
    extent = torch.stack([x2 - x1, y2 - y1], -1)
    area = masks_R1ss.float().mean((1, 2, 3))
    return torch.cat(
        [sine_points(centre, GEOMETRY), sine_points(extent, GEOMETRY), torch.stack([area, area.sqrt()], -1)], -1
    )
