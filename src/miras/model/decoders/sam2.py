"""SAM 2 and 2.1 (Ravi et al. 2024) as the mask decoder: `sam2:REPO`.

In: the decoder's own view. Out: see `base`; finer maps of the photo are added while a mask grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2Config, Sam2Model

from miras.model.decoders.base import HubDecoder
from miras.model.hub import checkpoint

KINDS = {"sam2": "a checkpoint of SAM 2", "sam2_video": "one that holds its video model too"}
PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


class Sam2Decoder(HubDecoder):
    """name: "sam2:REPO"."""

    first = 2

    def __init__(self, name: str) -> None:
        super().__init__()
        repo = name.partition(":")[2]
        values = checkpoint.kind(repo, KINDS, "sam2:REPO")
        config: Any = Sam2Config(**{part: values[part] for part in PARTS if part in values})
        self.model = checkpoint.made(Sam2Model, config, repo, torch.float32)
        self.model.vision_encoder.to(checkpoint.now().dtype)
        self.size, self.width = config.prompt_encoder_config.image_size, config.mask_decoder_config.hidden_size

    def see(self, view_B3SS: Tensor) -> tuple[Tensor, ...]:
        """Three maps (B, C, h, w) at strides 4, 8, 16."""
        encoder = self.model.vision_encoder
        maps = encoder(view_B3SS.to(next(encoder.parameters()).dtype)).fpn_hidden_states
        return tuple(maps[:3])

    def fine(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The two finer maps, thin."""
        decoder = self.model.mask_decoder
        return decoder.conv_s0(maps[0].to(decoder.conv_s0.weight.dtype)), decoder.conv_s1(
            maps[1].to(decoder.conv_s1.weight.dtype)
        )

    def kinds(self) -> Tensor:
        """(4, C)."""
        weight: Tensor = self.model.prompt_encoder.point_embed.weight
        return weight

    def drawn(
        self, photo_RChw: Tensor, sparse_RPC: Tensor, dense_RChw: Tensor, fine: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """The photo as one without a past: SAM 2 remembers earlier frames of a film."""
        memory = self.model.no_memory_embedding.reshape(1, -1, 1, 1)
        return super().drawn(photo_RChw + memory.to(photo_RChw.dtype), sparse_RPC, dense_RChw, fine)
