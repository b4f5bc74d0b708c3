"""CLIP's vision transformer (Radford et al. 2021) through `transformers`: `clip:REPO`.

In: pixels of the semantic view. Out: four maps at the patches' stride; the last is the layer before the last, without
the class token, which LLaVA reads. Frozen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from miras.model.hub import checkpoint
from miras.model.towers.base import Tower

KINDS = {"clip": "a checkpoint of CLIP", "clip_vision_model": "its vision part"}


class ClipTower(Tower):
    """name: "clip:REPO". The side of the view must be the checkpoint's."""

    mean, std = (122.7709383, 116.7460125, 104.0937362), (68.5005327, 66.6321579, 70.3231630)
    is_still = True

    def __init__(self, name: str) -> None:
        super().__init__()
        repo = name.partition(":")[2]
        values = checkpoint.kind(repo, KINDS, "clip:REPO")
        config: Any = CLIPVisionConfig(**values.get("vision_config", values))
        self.model = checkpoint.made(CLIPVisionModel, config, repo)
        self.side, stride = config.image_size, config.patch_size
        self.strides = (stride, stride, stride, stride)
        self.channels = [config.hidden_size] * 4
        last = config.num_hidden_layers - 1
        self.read = [max(1, round(last * share)) for share in (0.25, 0.5, 0.75)] + [last]

    @torch.no_grad()
    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four maps (B, D, H / p, W / p)."""
        states = self.model(pixels_B3HW.to(self.model.dtype), output_hidden_states=True).hidden_states
        side = pixels_B3HW.shape[-1] // self.strides[0]
        return [states[layer][:, 1:].transpose(1, 2).unflatten(2, (side, side)) for layer in self.read]
