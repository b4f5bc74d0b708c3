"""What the new tokens of a Llama see: their positions, their masks, attention with fewer keys than queries.

In: queries, keys and values of one conversation. Out: what they see. Knows no weights and keeps nothing.
L new tokens, T tokens in all, D width, H query heads, N key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from miras.model.numeric.tree import tree_attention

if TYPE_CHECKING:
    from transformers import DynamicCache

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Layer (from 0), queries (L, H, d), keys and values (L, N, d) of new rows -> what they see (L, H * d)."""


@dataclass(frozen=True)
class Part:
    """New tokens of one conversation. cache: its own, extended in place. parents: see `tree_attention`."""

    embeds_LD: Tensor
    cache: DynamicCache | Any
    parents: Sequence[int] = ()


def view(part: Part, groups: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Positions of a part's rows, and the mask of what they see of its cache; None for a single row, which sees it
    all."""
    length, device = len(part.embeds_LD), part.embeds_LD.device
    rows = tree_attention(part.cache.get_seq_length(), length, part.parents)
    positions, visible = (torch.from_numpy(each).to(device) for each in rows)
    return positions, None if length == 1 else mask(visible, groups, dtype)


def mask(visible_LT: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """0 where something is seen, -inf elsewhere. groups: query heads of one key head are rows of one product, so each
    row repeats."""
    zeros = torch.zeros(visible_LT.shape, dtype=dtype, device=visible_LT.device)
    return zeros.masked_fill_(~visible_LT, -torch.inf).repeat(groups, 1)


def seen(query_LHd: Tensor, key_BNTd: Tensor, value_BNTd: Tensor, rows: Tensor | None) -> Tensor:
    """(L, H * d). rows: of `mask`."""
    length, keys = len(query_LHd), key_BNTd.shape[1]
    grouped = query_LHd.view(length, keys, -1, query_LHd.shape[-1]).permute(1, 2, 0, 3).flatten(1, 2)[None]
    found = F.scaled_dot_product_attention(grouped, key_BNTd, value_BNTd, rows)
    return found[0].unflatten(1, (-1, length)).permute(2, 0, 1, 3).reshape(length, -1)


def rotate(x_LHd: Tensor, cos_Ld: Tensor, sin_Ld: Tensor) -> Tensor:
    """By the angles of their positions."""
    first, second = x_LHd.chunk(2, -1)
    return x_LHd * cos_Ld[:, None] + torch.cat([-second, first], -1) * sin_Ld[:, None]
