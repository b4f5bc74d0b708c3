"""Small layers shared by the boxes: attention, MLP, sine positions. Know nothing of images or words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention; the inner width may be smaller than the outer one (SAM's downsampling)."""

    def __init__(self, width: int, heads: int, inner: int | None = None, source: int | None = None) -> None:
        super().__init__()
        inner = inner or width
        self.heads = heads
        self.q = nn.Linear(width, inner)
        self.k = nn.Linear(source or width, inner)
        self.v = nn.Linear(source or width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query_BQC: Tensor, key_BKC: Tensor, value_BKC: Tensor, mask_BK: Tensor | None = None) -> Tensor:
        """(B, Q, C). mask_BK bool, True = may be attended to; every row needs at least one True."""
        q, k, v = (self._split(t) for t in (self.q(query_BQC), self.k(key_BKC), self.v(value_BKC)))
        mask = None if mask_BK is None else mask_BK[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x_BLC: Tensor) -> Tensor:
        return x_BLC.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Mlp(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, h, w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Same shape."""
        return self.norm(x_BChw.movedim(1, -1)).movedim(-1, 1)


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = Mlp(width, 2 * width, width)

    def forward(self, x_BLC: Tensor, positions_LC: Tensor) -> Tensor:
        """Same shape."""
        y = self.norm1(x_BLC)
        x_BLC = x_BLC + self.attention(y + positions_LC, y + positions_LC, y)
        return x_BLC + self.mlp(self.norm2(x_BLC))


def sine_points(xy_P2: Tensor, width: int) -> Tensor:
    """Sine-cosine code of points in 0..1, (..., 2) -> (..., width); width a multiple of 4."""
    bands = width // 4
    frequency = torch.pi * 2.0 ** torch.linspace(0, 7, bands, device=xy_P2.device, dtype=torch.float32)
    angle = xy_P2.float()[..., None] * frequency
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)


def sine_grid(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Codes of the pixel centres of a grid, (h * w, channels), row by row."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1)
    return sine_points(grid.reshape(-1, 2), channels)
