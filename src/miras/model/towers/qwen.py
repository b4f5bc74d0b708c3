"""Qwen3-VL's vision transformer (Bai et al. 2025) through `transformers`: `qwen3vl:REPO`.

In: pixels of views whose sides are multiples of 32, of any grid: its position codes are resampled. Out: visual tokens,
one for 2 x 2 patches of 16 pixels, with what DeepStack brings along; and maps at the patches' stride. Of the checkpoint
the vision part alone is read. Frozen.
B photos, h w rows and columns of tokens, N = h * w, D language width, S layers of DeepStack, C width of the tower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from miras.model.hub import checkpoint
from miras.model.towers.base import Tower

KINDS = {"qwen3_vl": "a checkpoint of Qwen3-VL (dense)"}
VISION = {r"^model\.visual\.": ""}
"""Where a checkpoint keeps the vision part."""


class _Flat(nn.Module):
    """A convolution in three dimensions over its own kernel alone is one product: the same sums, and no weight that
    cannot lie channels last."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        held: Any = conv
        self.weight = nn.Parameter(held.weight.detach().flatten(1), requires_grad=False)
        self.bias = nn.Parameter(held.bias.detach(), requires_grad=False)

    def forward(self, patches: Tensor) -> Tensor:
        """(P, C)."""
        return nn.functional.linear(patches.flatten(1), self.weight, self.bias)


class QwenTower(Tower):
    """name: "qwen3vl:REPO". merge: patches of a token's row. language_width: D."""

    mean = std = 127.5
    is_still = True

    def __init__(self, name: str) -> None:
        super().__init__()
        repo = name.partition(":")[2]
        config: Any = Qwen3VLConfig(**checkpoint.kind(repo, KINDS, "qwen3vl:REPO")).vision_config
        self.model = checkpoint.made(Qwen3VLVisionModel, config, repo, renamed=VISION)
        self.model.patch_embed.proj = _Flat(self.model.patch_embed.proj)
        self.patch, self.merge, self.frames = config.patch_size, config.spatial_merge_size, config.temporal_patch_size
        self.strides = (self.patch, self.patch, self.patch, self.patch)
        self.channels = [config.hidden_size] * 4
        self.language_width = config.out_hidden_size
        self.read = [max(1, round(config.depth * share)) for share in (0.25, 0.5, 0.75)] + [config.depth]

    @torch.no_grad()
    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four maps (B, C, H / 16, W / 16), of layers at a quarter, a half, three quarters and the end."""
        grid = self._grid(pixels_B3HW)
        said = self._run([pixels_B3HW], output_hidden_states=True)
        return [self._map(said.hidden_states[layer], grid, len(pixels_B3HW)) for layer in self.read]

    @torch.no_grad()
    def tokens(self, photos: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Tokens (B, N, D); S times (B, N, D) for DeepStack; the last map (1, C, 2 h, 2 w) of each photo. photos:
        (1, 3, H, W) each, of one number of tokens; row by row."""
        said = self._run(photos)
        count = len(photos)
        grids = [self._grid(photo) for photo in photos]
        states = said.last_hidden_state.chunk(count)
        maps = [self._map(own, grid, 1) for own, grid in zip(states, grids, strict=True)]
        deep = [each.unflatten(0, (count, -1)) for each in said.deepstack_features]
        return said.pooler_output.unflatten(0, (count, -1)), deep, maps

    def patches(self, pixels_B3HW: Tensor) -> Tensor:
        """As Qwen's image processor lays them out (B * 4 N, 3 * T * 16 * 16): the four of a token follow each other, a
        photo is T equal frames."""
        batch, (height, width) = len(pixels_B3HW), self._grid(pixels_B3HW)
        cut = pixels_B3HW.reshape(batch, 3, height, self.merge, self.patch, width, self.merge, self.patch)
        cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)[..., None, :, :].expand(*[-1] * 6, self.frames, -1, -1)
        return cut.reshape(batch * height * width * self.merge**2, -1)

    def _grid(self, pixels_B3HW: Tensor) -> tuple[int, int]:
        """Rows and columns of tokens."""
        side = self.patch * self.merge
        return pixels_B3HW.shape[-2] // side, pixels_B3HW.shape[-1] // side

    def _run(self, photos: Sequence[Tensor], **how: Any) -> Any:
        grids = [self._grid(each) for each in photos for _ in range(len(each))]
        sides = torch.tensor([[1, h * self.merge, w * self.merge] for h, w in grids], device=photos[0].device)
        pixels = torch.cat([self.patches(each) for each in photos]).to(self.model.dtype)
        return self.model(pixels, grid_thw=sides, return_dict=True, **how)

    def _map(self, states: Tensor, grid: tuple[int, int], batch: int) -> Tensor:
        """(B, C, 2 h, 2 w) of states in the order of `patches`."""
        cells = states.reshape(batch, *grid, self.merge, self.merge, -1).permute(0, 5, 1, 3, 2, 4)
        return cells.reshape(batch, -1, grid[0] * self.merge, grid[1] * self.merge)
