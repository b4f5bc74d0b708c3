"""A Llama decoder for answering: the same sums as `transformers`, with fewer and larger steps.

In: embeddings and a cache of `transformers`. Out: hidden states. No gradients, one sequence at a time.
Products with the same input are one product, weights lie in the precision the processor is fastest in,
the residual stream stays in float32. Reference: `transformers` `LlamaModel`, see the parity test.
B = 1, L new tokens, T tokens in all, D width, H query heads, N key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear
from torch import Tensor, nn
from transformers import DynamicCache, LlamaModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer


@dataclass(frozen=True)
class Layer:
    """Weights of one layer: queries, keys and values in one matrix, gate and up in another."""

    norm_D: Tensor
    qkv: Tensor
    out: Tensor
    norm_mlp_D: Tensor
    gate_up: Tensor
    down: Tensor


class LlamaDecoder(nn.Module):
    """Built from a `LlamaModel`; LoRA is merged. Its layers are taken out of it one by one, so that memory
    never holds both.

    dtype: of the weights and the cache (float32 or bfloat16), fixed: `to` moves everything to another device and
    leaves its precision. length: most tokens of a sequence. Nothing of it is in `state_dict`.
    """

    def __init__(self, model: LlamaModel, dtype: torch.dtype, length: int) -> None:
        super().__init__()
        config = model.config
        self.dtype = dtype
        self.heads = int(config.num_attention_heads)
        self.keys = int(config.num_key_value_heads or self.heads)
        self.width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self.epsilon = float(config.rms_norm_eps)
        self.norm_D = model.norm.weight.detach().float()
        self.layers: list[Layer] = []
        while len(model.layers):
            self.layers.append(self._layer(cast(LlamaDecoderLayer, model.layers[0])))
            del model.layers[0]
        device = self.norm_D.device
        cos, sin = model.rotary_emb(torch.zeros(1, device=device), torch.arange(length, device=device)[None])
        self.cos_Ld, self.sin_Ld = cos[0], sin[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LlamaDecoder:
        """What `to`, `cuda` and `cpu` do to each tensor: to these, which are no parameters and nothing to save."""
        super()._apply(fn, recurse)

        def moved(value: Tensor) -> Tensor:
            return value.to(fn(value).device)

        self.norm_D, self.cos_Ld, self.sin_Ld = moved(self.norm_D), moved(self.cos_Ld), moved(self.sin_Ld)
        self.layers = [Layer(*(moved(getattr(layer, field.name)) for field in fields(Layer))) for layer in self.layers]
        return self

    def _layer(self, layer: LlamaDecoderLayer) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp

        def joined(*parts: torch.nn.Module) -> Tensor:
            return torch.cat([_weight(part) for part in parts]).to(self.dtype)

        return Layer(
            layer.input_layernorm.weight.detach().float(),
            joined(attention.q_proj, attention.k_proj, attention.v_proj),
            joined(attention.o_proj),
            layer.post_attention_layernorm.weight.detach().float(),
            joined(mlp.gate_proj, mlp.up_proj),
            joined(mlp.down_proj),
        )  # fmt: skip

    def forward(
        self, embeds_BLD: Tensor, cache: DynamicCache, kept: Collection[int], parents: Sequence[int] = ()
    ) -> dict[int, Tensor]:
        """Hidden states (1, L, D) float32 by number, as `transformers` counts them: 0 the embeddings, i what
        layer i gives, the last one normed (always kept). The cache is extended in place. parents: the last
        tokens are a tree (`tree_attention`)."""
        past, length = cache.get_seq_length(), embeds_BLD.shape[1]
        x_LD = embeds_BLD[0].float()
        positions, visible = (rows.to(x_LD.device) for rows in tree_attention(past, length, parents))
        cos_Ld, sin_Ld = self.cos_Ld[positions], self.sin_Ld[positions]
        # All query heads of one key head are rows of one product, so each row of the mask repeats.
        mask = None if length == 1 else torch.zeros(visible.shape, dtype=self.dtype, device=x_LD.device)
        if mask is not None:
            mask = mask.masked_fill_(~visible, -torch.inf).repeat(self.heads // self.keys, 1)
        states = {0: x_LD[None]} if 0 in kept else {}
        for number, layer in enumerate(self.layers, 1):
            qkv = F.linear(self._normed(x_LD, layer.norm_D), layer.qkv).view(length, -1, self.width).float()
            query_LHd, key_LNd, value_LNd = qkv.split([self.heads, self.keys, self.keys], 1)
            rotated = _rotate(torch.cat([query_LHd, key_LNd], 1), cos_Ld, sin_Ld).to(self.dtype)
            query_LHd, key_LNd = rotated.split([self.heads, self.keys], 1)
            new_key, new_value = key_LNd.transpose(0, 1)[None], value_LNd.to(self.dtype).transpose(0, 1)[None]
            key_BNTd, value_BNTd = cache.update(new_key, new_value, number - 1)
            grouped = query_LHd.view(length, self.keys, -1, self.width).permute(1, 2, 0, 3).flatten(1, 2)[None]
            seen = F.scaled_dot_product_attention(grouped, key_BNTd, value_BNTd, mask)
            seen = seen[0].unflatten(1, (-1, length)).permute(2, 0, 1, 3).reshape(length, -1)
            x_LD = x_LD + F.linear(seen, layer.out)
            gate, up = F.linear(self._normed(x_LD, layer.norm_mlp_D), layer.gate_up).chunk(2, -1)
            x_LD = x_LD + F.linear(F.silu(gate) * up, layer.down)
            if number in kept and number < len(self.layers):
                states[number] = x_LD[None]
        states[len(self.layers)] = F.rms_norm(x_LD, x_LD.shape[-1:], self.norm_D, self.epsilon)[None]
        return states

    def _normed(self, x_LD: Tensor, weight_D: Tensor) -> Tensor:
        return F.rms_norm(x_LD, x_LD.shape[-1:], weight_D, self.epsilon).to(self.dtype)


def fastest_dtype(device: torch.device | None = None) -> torch.dtype:
    """bfloat16 where the device (None: the CPU) multiplies it, float32 elsewhere."""
    if device is not None and device.type != "cpu":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return (
        torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else torch.float32
    )


def _weight(part: torch.nn.Module) -> Tensor:
    if getattr(part, "bias", None) is not None:
        raise ValueError("a Llama without biases")
    weight: Tensor = part.weight.detach()  # type: ignore[operator]
    if isinstance(part, Linear) and not part.merged:  # a new tensor: the file that the weight maps stays unwritten
        for adapter in part.active_adapters:
            weight = weight.float() + part.get_delta_weight(adapter).detach().float()
    return weight


def _rotate(x_LHd: Tensor, cos_Ld: Tensor, sin_Ld: Tensor) -> Tensor:
    first, second = x_LHd.chunk(2, -1)
    return x_LHd * cos_Ld[:, None] + torch.cat([-second, first], -1) * sin_Ld[:, None]


def tree_attention(past: int, length: int, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions (L,) of new tokens and what each may see (L, T), bool, of the past and the new ones.

    The last len(parents) of them are a tree: number n follows number parents[n] of it (before it in order), or
    with -1 the token before the tree. Without a tree: causal.
    """
    chain = length - len(parents)
    positions = torch.arange(past, past + length)
    visible = torch.ones(length, past + length, dtype=torch.bool).tril(past)
    for number, parent in enumerate(parents):
        row, root = chain + number, chain + parent if parent >= 0 else chain - 1
        positions[row] = (positions[root] if root >= 0 else past - 1) + 1
        visible[row, past + chain :] = visible[root, past + chain :] if parent >= 0 else False
        visible[row, past + row] = True
    return positions, visible
