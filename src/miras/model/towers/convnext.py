"""ConvNeXt (Liu et al. 2022) through `transformers`: `convnext:REPO`.

In: pixels of the detail view. Out: what its four stages give, strides 4, 8, 16, 32. Frozen. A checkpoint of open_clip
(CLIP's ConvNeXt, which Mini-Gemini and with it the paper's code use) is read by its names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import ConvNextConfig, ConvNextModel

from miras.core.errors import WeightsError
from miras.model.hub import checkpoint
from miras.model.hub.folders import fetched
from miras.model.towers.base import Tower

KINDS = {"convnext": "a checkpoint of ConvNeXt"}
OPEN_CLIP = "open_clip_model.safetensors"
TRUNK = "visual.trunk."
RENAMED = (
    (r"^stem\.0\.", "embeddings.patch_embeddings."),
    (r"^stem\.1\.", "embeddings.layernorm."),
    (r"^stages\.(\d+)\.downsample\.", r"encoder.stages.\1.downsampling_layer."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.conv_dw\.", r"encoder.stages.\1.layers.\2.dwconv."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.norm\.", r"encoder.stages.\1.layers.\2.layernorm."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.mlp\.fc(\d)\.", r"encoder.stages.\1.layers.\2.pwconv\3."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.gamma$", r"encoder.stages.\1.layers.\2.layer_scale_parameter"),
)
"""From the names of timm to those of `transformers`."""


class ConvNextTower(Tower):
    """name: "convnext:REPO"."""

    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    is_still = True

    def __init__(self, name: str) -> None:
        super().__init__()
        repo = name.partition(":")[2]
        if checkpoint.now().weights == "published" and (file := fetched(repo) / OPEN_CLIP).is_file():
            self.model = _of_open_clip(file, repo)
            self.mean, self.std = (122.7709383, 116.7460125, 104.0937362), (68.5005327, 66.6321579, 70.3231630)
        else:
            config = ConvNextConfig(**checkpoint.kind(repo, KINDS, "convnext:REPO"))
            self.model = checkpoint.made(ConvNextModel, config, repo)
        shape: Any = self.model.config
        self.channels = list(shape.hidden_sizes)

    @torch.no_grad()
    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four maps (B, channels[i], H / stride, W / stride)."""
        states = self.model.embeddings(pixels_B3HW.to(self.model.dtype))
        maps = []
        for stage in self.model.encoder.stages:
            states = stage(states)
            maps.append(states)
        return maps


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ConvNeXt of timm by the names of `transformers`; what is not of its trunk is left out."""
    found = {}
    for name, value in state.items():
        for pattern, mine in RENAMED:
            if re.match(pattern, name):
                found[re.sub(pattern, mine, name)] = value
    return found


def _of_open_clip(file: Any, repo: str) -> ConvNextModel:
    """The trunk of open_clip's model; sizes follow from its weights."""
    with safe_open(file, "pt") as held:
        state = renamed({
            name.removeprefix(TRUNK): held.get_tensor(name) for name in list(held.keys()) if name.startswith(TRUNK)
        })  # fmt: skip
    stages = sorted({int(name.split(".")[2]) for name in state if name.startswith("encoder.stages.")})
    if not stages:
        raise WeightsError(f"a ConvNeXt in {repo}", f"no {TRUNK}stages in {OPEN_CLIP}", "use one with a ConvNeXt trunk")
    layers = [len({name.split(".")[4] for name in state if f"encoder.stages.{n}.layers." in name}) for n in stages]
    widths = [state[f"encoder.stages.{n}.layers.0.layernorm.weight"].shape[0] for n in stages]
    config = ConvNextConfig(hidden_sizes=widths, depths=layers, layer_norm_eps=1e-6)
    with checkpoint.origin("shapes"):
        model = checkpoint.made(ConvNextModel, config, repo)
    here = checkpoint.now()
    state = {name: value.to(here.device, here.dtype) for name, value in state.items()}
    missing = model.load_state_dict(state, strict=False, assign=True).missing_keys
    if wrong := [name for name in missing if not name.startswith("layernorm.")]:
        raise WeightsError(f"all weights of a ConvNeXt in {repo}", f"no {wrong[0]}", "fetch them again")
    del model.layernorm  # of the pooled features, which nothing reads
    return model.eval().requires_grad_(False)
