"""What a mask decoder of the hub is: it looks at the photo itself, and draws from prompts.

In: its own view of photos; prompt embeddings, clicks, the current mask. Out: mask logits at a quarter of that view and
IoU logits. Its image encoder stays as it was published, prompt encoder and mask decoder are trained. What the SAM
families share is here. R regions, P prompts, Q points, M candidates, C width, S side of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SURE = 10.0
"""Logit of a pixel that is inside for certain."""
PADDING = 4
"""Label of a point that is none (`model.segmentation`)."""
STILL = ("model.vision_encoder.", "model.shared_image_embedding.", "model.prompt_encoder.shared_embedding.")
"""What is neither trained nor saved; codes of places are numbers that were drawn once."""


class HubDecoder(nn.Module):
    """model: SAM's or SAM 2's of `transformers`. size: S. width: C. mean, std: of R, G, B in 0..255. first: output
    tokens before those of the masks. has_bias: the last prompt is no token, it is added to every cell of the photo (the
    dense prompt of ConverSeg-Net)."""

    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    model: Any
    size: int
    width: int
    first: int
    has_bias: bool = False

    def see(self, view_B3SS: Tensor) -> tuple[Tensor, ...]:
        """What the image encoder gives of photos, pixels as it was trained on: maps (B, ...), the coarsest last. To be
        called without gradients."""
        raise NotImplementedError

    def kinds(self) -> Tensor:
        """Embeddings (4, C) of what a point is: outside, inside, upper left, lower right corner."""
        raise NotImplementedError

    def fine(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
        """What is added to the masks while they grow, at strides 4 and 8; None for nothing."""
        return None

    def forward(
        self, maps: Sequence[Tensor], prompts_RPC: Tensor, shown_R1ss: Tensor, present_R: Tensor,
        points_RQ3: Tensor | None = None, photo_R: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Mask logits (R, M, S / 4, S / 4) and IoU logits (R, M): candidate 0 for clear prompts, then alternatives.

        maps: of photos. photo_R: which of them each region is in; None for one each. shown: the mask that is there, the
        covered share of each cell; present_R: is there one. points: x, y in 0..1 and a label, as for
        `segmentation.MaskDecoder`.
        """
        encoder, photo, fine = self.model.prompt_encoder, maps[-1], self.fine(maps)
        if photo_R is not None:  # finer maps are made thin before there is one for each region
            photo = photo[photo_R]
            fine = None if fine is None else (fine[0][photo_R], fine[1][photo_R])
        sparse = prompts_RPC[:, :-1] if self.has_bias else prompts_RPC
        if points_RQ3 is not None and points_RQ3.shape[1]:
            sparse = torch.cat([sparse, self.points(points_RQ3).to(sparse.dtype)], 1)
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(photo)
        if bool(present_R.any()):
            given = _resized(shown_R1ss.to(dense.dtype), 4 * photo.shape[-1])
            drawn = encoder.mask_embed((2 * given - 1) * SURE)
            dense = torch.where(present_R[:, None, None, None], drawn, dense)
        if self.has_bias:
            dense = dense + prompts_RPC[:, -1, :, None, None].to(dense.dtype)
        logits, iou = self.drawn(photo, sparse, dense, fine)
        return _resized(logits, shown_R1ss.shape[-1]), iou

    def points(self, points_RQ3: Tensor) -> Tensor:
        """Embeddings (R, Q, C) of clicks and corners of boxes."""
        kind = points_RQ3[..., 2].long()
        place = self.model.prompt_encoder.shared_embedding(
            points_RQ3[:, None, :, :2] * self.size + 0.5, (self.size, self.size)
        )[:, 0]
        coded = place + self.kinds()[kind.clamp_max(PADDING - 1)]
        none = self.model.prompt_encoder.not_a_point_embed.weight.to(coded.dtype)
        return torch.where((kind == PADDING)[..., None], none, coded)

    def drawn(
        self, photo_RChw: Tensor, sparse_RPC: Tensor, dense_RChw: Tensor, fine: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """What `SamMaskDecoder.forward` does, for all its masks at once: it gives either the first or the others."""
        decoder = self.model.mask_decoder
        output = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        if self.first == 2:
            output = [decoder.obj_score_token.weight, *output]
        tokens = torch.cat(output).expand(len(sparse_RPC), -1, -1)
        tokens = torch.cat([tokens, sparse_RPC.to(tokens.dtype)], 1)
        place = self.model.get_image_wide_positional_embeddings().expand(len(sparse_RPC), -1, -1, -1)
        tokens, pixels = decoder.transformer(
            point_embeddings=tokens[:, None], image_embeddings=photo_RChw.to(tokens.dtype) + dense_RChw,
            image_positional_embeddings=place.to(tokens.dtype), attention_similarity=None, target_embedding=None,
        )[:2]  # fmt: skip
        tokens = tokens[:, 0]
        maps = pixels[:, 0].transpose(1, 2).unflatten(2, photo_RChw.shape[-2:])
        coarse = decoder.upscale_conv1(maps)
        maps = decoder.activation(decoder.upscale_layer_norm(coarse if fine is None else coarse + fine[1]))
        wide = decoder.upscale_conv2(maps)
        maps = decoder.activation(wide if fine is None else wide + fine[0])
        made = tokens[:, self.first : self.first + decoder.num_mask_tokens].unbind(1)
        weights = torch.stack([one(t) for one, t in zip(decoder.output_hypernetworks_mlps, made, strict=True)], 1)
        logits = torch.einsum("rmc,rchw->rmhw", weights, maps)
        iou = decoder.iou_prediction_head(tokens[:, self.first - 1])
        return logits, torch.logit(iou.float().clamp(1e-4, 1 - 1e-4))


def _resized(x_RChw: Tensor, side: int) -> Tensor:
    """A checkpoint whose patches are not 16 pixels draws on another grid."""
    if x_RChw.shape[-1] == side:
        return x_RChw
    return F.interpolate(x_RChw, (side, side), mode="bilinear", align_corners=False)
