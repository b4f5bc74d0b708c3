"""Segmentation Output: prompts and image features become masks with a predicted IoU.

In: prompt embeddings, features of the photo (computed once), optional points, box and dense prompt.
Out: mask logits at stride 4 of the detail view and IoU logits, per candidate. Source: the
two-way decoder of segment-anything (Kirillov et al. 2023), small, with skip connections as in SAM 2.
R regions, P prompts, Q points, M candidates, C width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from miras.model.config import MirasConfig
from miras.model.layers import Attention, LayerNorm2d, Mlp, sine_grid, sine_points
from miras.model.numeric.prediction import PADDING


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves, to the pixels, and the pixels attend back."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = Attention(width, heads)
        self.to_pixels = Attention(width, heads, width // 2)
        self.mlp = Mlp(width, 2 * width, width)
        self.to_tokens = Attention(width, heads, width // 2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens_RTC: Tensor, pixels_RLC: Tensor, place_RTC: Tensor, place_LC: Tensor, mask_RT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both updated, same shapes."""
        q = tokens_RTC + place_RTC
        tokens_RTC = self.norms[0](tokens_RTC + self.own(q, q, tokens_RTC, mask_RT))
        keys = pixels_RLC + place_LC
        tokens_RTC = self.norms[1](tokens_RTC + self.to_pixels(tokens_RTC + place_RTC, keys, pixels_RLC))
        tokens_RTC = self.norms[2](tokens_RTC + self.mlp(tokens_RTC))
        back = self.to_tokens(keys, tokens_RTC + place_RTC, tokens_RTC, mask_RT)
        return tokens_RTC, self.norms[3](pixels_RLC + back)


class MaskDecoder(nn.Module):
    """The decoder. Candidate 0 answers unambiguous prompts, the others offer alternatives."""

    def __init__(self, config: MirasConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.output_tokens = nn.Parameter(torch.randn(config.candidates + 1, width) * 0.02)
        self.point_kind = nn.Embedding(PADDING + 1, width)
        self.prior_in = nn.Conv2d(4 if config.has_concepts else 2, width, 1)
        self.prior_gate = nn.Parameter(torch.full((config.candidates,), 0.3))
        self.blocks = nn.ModuleList(TwoWayBlock(width, config.heads) for _ in range(config.decoder_layers))
        self.final = Attention(width, config.heads, width // 2)
        self.final_norm = nn.LayerNorm(width)
        self.up8 = nn.ConvTranspose2d(width, width // 4, 2, 2)
        self.norm8 = LayerNorm2d(width // 4)
        self.mix8 = nn.Conv2d(width // 4, width // 4, 3, padding=1)
        self.up4 = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        self.norm4 = LayerNorm2d(width // 8)
        self.mix4 = nn.Conv2d(width // 8, width // 8, 3, padding=1)
        self.hyper = nn.ModuleList(Mlp(width, width, width // 8) for _ in range(config.candidates))
        self.iou = Mlp(width, width, config.candidates)

    def forward(
        self,
        prompts_RPC: Tensor,
        pixels_RChw: Tensor,
        fine8_RChw: Tensor,
        fine4_RChw: Tensor,
        dense_RChw: Tensor,
        prior_Rhw: Tensor,
        points_RQ3: Tensor | None = None,
        heat_Rhw: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mask logits (R, M, 4h, 4w) and IoU logits (R, M).

        prior: logits of where the words match (zero: nothing known). heat: the same by what ImageNet's classifier
        knows, at its own size (`model.concepts`). points: x, y in 0..1 and a label
        (`numeric.prediction`).
        """
        regions, width, height, breadth = pixels_RChw.shape
        output = self.output_tokens.to(prompts_RPC.dtype).expand(regions, -1, -1)
        tokens = torch.cat([output, prompts_RPC], 1)
        place = torch.zeros_like(tokens)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if points_RQ3 is not None and points_RQ3.shape[1]:
            kind = points_RQ3[..., 2].long()
            code = sine_points(points_RQ3[..., :2], width).to(tokens.dtype)
            tokens = torch.cat([tokens, self.point_kind(kind).to(tokens.dtype) + code], 1)
            place = torch.cat([place, code], 1)
            mask = torch.cat([mask, kind != PADDING], 1)
        prior = prior_Rhw[:, None].to(pixels_RChw.dtype)
        priors = [prior / 8, prior.sigmoid()]
        if heat_Rhw is not None:
            heat = nn.functional.interpolate(
                heat_Rhw[:, None].float(), (height, breadth), mode="bilinear", align_corners=False
            ).to(pixels_RChw.dtype)
            priors += [heat / 8, heat.sigmoid()]
        pixels_RChw = pixels_RChw + self.prior_in(torch.cat(priors, 1))
        pixels = (pixels_RChw + dense_RChw.to(pixels_RChw.dtype)).flatten(2).transpose(1, 2)
        grid = sine_grid(height, breadth, width, pixels.device).to(pixels.dtype)
        for block in self.blocks:
            tokens, pixels = block(tokens, pixels, place, grid, mask)
        tokens = self.final_norm(tokens + self.final(tokens + place, pixels + grid, pixels))
        maps = pixels.transpose(1, 2).unflatten(2, (height, breadth))
        maps = nn.functional.gelu(self.norm8(self.up8(maps) + fine8_RChw))
        maps = maps + self.mix8(maps)
        maps = nn.functional.gelu(self.norm4(self.up4(maps) + fine4_RChw))
        maps = maps + self.mix4(maps)
        weights = torch.stack([hyper(tokens[:, 1 + m]) for m, hyper in enumerate(self.hyper)], 1)
        logits = torch.einsum("rmc,rchw->rmhw", weights, maps)
        wide = nn.functional.interpolate(prior.float(), logits.shape[-2:], mode="bilinear", align_corners=False)
        return logits + self.prior_gate[:, None, None] * wide, self.iou(tokens[:, 0])


def draw(
    decoder: Any, mask_encoder: Any, prompts_RPC: Tensor, chosen: Any, shown_R1ss: Any, present_R: Any, prior_Rhw: Any,
    points_RQ3: Tensor | None, heat_Rhw: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mask logits (R, M, h, w) and IoU logits (R, M). chosen: features of the photo of each region. shown: the mask
    that is there, where present_R. See `MaskDecoder.forward` for the rest; a decoder of the hub takes no prior."""
    made: tuple[Tensor, Tensor]
    if chosen.drawn_from:
        made = decoder(chosen.drawn_from, prompts_RPC, shown_R1ss, present_R, points_RQ3, chosen.drawn_R)
    else:
        dense, maps = mask_encoder.dense(shown_R1ss, present_R), (chosen.pixels_BChw, chosen.fine8_BChw)
        made = decoder(prompts_RPC, *maps, chosen.fine4_BChw, dense, prior_Rhw, points_RQ3, heat_Rhw)
    return made
