"""SAM (Kirillov et al. 2023) as the mask decoder: `sam:REPO`, drawn from prompts that the language model's states give.

In: the decoder's own view. Out: see `base`. The photo fills the square, as every view does; SAM's own processor pads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import SamConfig, SamModel

from miras.model.decoders.base import HubDecoder
from miras.model.hub import checkpoint

KINDS = {"sam": "a checkpoint of SAM"}


class SamDecoder(HubDecoder):
    """name: "sam:REPO"."""

    first = 1

    def __init__(self, name: str) -> None:
        super().__init__()
        repo = name.partition(":")[2]
        config: Any = SamConfig(**checkpoint.kind(repo, KINDS, "sam:REPO"))
        config.prompt_encoder_config.image_size = config.vision_config.image_size
        self.model = checkpoint.made(SamModel, config, repo, torch.float32)
        self.model.vision_encoder.to(checkpoint.now().dtype)
        self.size, self.width = config.vision_config.image_size, config.mask_decoder_config.hidden_size

    def see(self, view_B3SS: Tensor) -> tuple[Tensor, ...]:
        """One map (B, C, S / 16, S / 16)."""
        encoder = self.model.vision_encoder
        return (encoder(view_B3SS.to(encoder.patch_embed.projection.weight.dtype)).last_hidden_state,)

    def kinds(self) -> Tensor:
        """(4, C)."""
        return torch.cat([one.weight for one in self.model.prompt_encoder.point_embed])
