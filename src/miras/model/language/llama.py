"""A Llama for answering: the same sums as `transformers`, with fewer and larger steps.

In: weights, from a model of `transformers` or from its file; then embeddings and a cache. Out: hidden states. No
gradients, one sequence at a time. Products with the same input are one product, weights lie in the precision the
processor is fastest in, the residual stream stays in float32. Read from a file, neither the model's classes nor
`peft` are loaded: that is half of the time until a first answer. Reference: `LlamaModel`, see the parity test.
B = 1, L new tokens, T tokens in all, D width, H query heads, N key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from miras.core.errors import InputError
from miras.core.grammar import TextTokenizer
from miras.model.language.attention import Attend, Part, rotate, seen, view
from miras.model.language.base import Language, States, Tuned, refuse
from miras.model.language.precision import fastest_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
LLAMA_LORA = tuple(name.partition(".")[2] for name in (*ATTENTION, *MLP))
"""Layers that LoRA is put on."""
Weights = Callable[[str], Tensor]
"""A weight of a layer, by its name, LoRA merged."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama. turns: cosines and sines (L, d) of the positions."""

    heads: int
    keys: int
    width: int
    epsilon: float
    turns: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, config: Mapping[str, Any], turns: tuple[Tensor, Tensor]) -> Shape:
        """From the values of a `LlamaConfig`."""
        heads = int(config["num_attention_heads"])
        return cls(
            heads, int(config.get("num_key_value_heads") or heads),
            int(config.get("head_dim") or config["hidden_size"] // heads), float(config["rms_norm_eps"]), turns,
        )  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """Weights of one layer: queries, keys and values in one matrix, gate and up in another."""

    norm_D: Tensor
    qkv: Tensor
    out: Tensor
    norm_mlp_D: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, weight: Weights, dtype: torch.dtype) -> Layer:
        """Joined from a Llama's own."""

        def joined(*names: str) -> Tensor:
            return torch.cat([weight(name) for name in names]).to(dtype)

        return cls(
            weight("input_layernorm").float(), joined(*ATTENTION[:3]), joined(ATTENTION[3]),
            weight("post_attention_layernorm").float(), joined(*MLP[:2]), joined(MLP[2]),
        )  # fmt: skip


class LlamaDecoder(nn.Module):
    """layers: the weights of each, taken one by one, so that memory need not hold both.

    dtype: of the weights and the cache (float32 or bfloat16), fixed: `to` moves everything to another device and
    leaves its precision. Nothing of it is in `state_dict`.
    """

    def __init__(self, shape: Shape, layers: Iterable[Weights], norm_D: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.heads, self.keys, self.width, self.epsilon = shape.heads, shape.keys, shape.width, shape.epsilon
        self.norm_D = norm_D.float()
        self.layers = [Layer.of(weight, dtype) for weight in layers]
        self.cos_Ld, self.sin_Ld = shape.turns

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LlamaDecoder:
        """What `to`, `cuda` and `cpu` do to each tensor: to these, which are no parameters and nothing to save."""
        super()._apply(fn, recurse)

        def moved(value: Tensor) -> Tensor:
            return value.to(fn(value).device)

        self.norm_D, self.cos_Ld, self.sin_Ld = moved(self.norm_D), moved(self.cos_Ld), moved(self.sin_Ld)
        self.layers = [Layer(*(moved(getattr(layer, field.name)) for field in fields(Layer))) for layer in self.layers]
        return self

    def forward(
        self, embeds_BLD: Tensor, cache: DynamicCache, kept: Collection[int], parents: Sequence[int] = ()
    ) -> dict[int, Tensor]:
        """Hidden states (1, L, D) float32 by number, as `transformers` counts them: 0 the embeddings, i what
        layer i gives, the last one normed (always kept). The cache is extended in place. parents: the last
        tokens are a tree (`tree_attention`)."""
        return self.together([Part(embeds_BLD[0], cache, parents)], kept)[0]

    def together(self, parts: Sequence[Part], kept: Collection[int]) -> list[dict[int, Tensor]]:
        """The same of several conversations in one pass: every weight is read once for all of them, and each part of
        the rows sees its own cache alone."""
        lengths = [len(part.embeds_LD) for part in parts]
        x_LD = torch.cat([part.embeds_LD.float() for part in parts]) if len(parts) > 1 else parts[0].embeds_LD.float()
        groups = self.heads // self.keys
        views = [view(part, groups, self.dtype) for part in parts]
        positions = torch.cat([positions for positions, _ in views])
        turns = self.cos_Ld[positions], self.sin_Ld[positions]

        def attend(number: int, query_LHd: Tensor, key_LNd: Tensor, value_LNd: Tensor) -> Tensor:
            rows = zip(*(each.split(lengths) for each in (query_LHd, key_LNd, value_LNd)), strict=True)
            found = []
            for part, (query, key, value), (_, mask) in zip(parts, rows, views, strict=True):
                keys, values = part.cache.update(key.transpose(0, 1)[None], value.transpose(0, 1)[None], number)
                found.append(seen(query, keys, values, mask))
            return found[0] if len(found) == 1 else torch.cat(found)

        states = self.layered(x_LD, turns, attend, kept)
        split = {number: rows.split(lengths) for number, rows in states.items()}
        return [{number: rows[index][None] for number, rows in split.items()} for index in range(len(parts))]

    def layered(
        self, x_LD: Tensor, turns: tuple[Tensor, Tensor], attend: Attend, kept: Collection[int]
    ) -> dict[int, Tensor]:
        """States (L, D) by number, of rows at positions with these cosines and sines. attend: see `Attend`."""
        states = {0: x_LD} if 0 in kept else {}
        length = len(x_LD)
        for number, layer in enumerate(self.layers, 1):
            qkv = F.linear(self._normed(x_LD, layer.norm_D), layer.qkv).view(length, -1, self.width).float()
            query_LHd, key_LNd, value_LNd = qkv.split([self.heads, self.keys, self.keys], 1)
            rotated = rotate(torch.cat([query_LHd, key_LNd], 1), *turns).to(self.dtype)
            query_LHd, key_LNd = rotated.split([self.heads, self.keys], 1)
            x_LD = x_LD + F.linear(attend(number - 1, query_LHd, key_LNd, value_LNd.to(self.dtype)), layer.out)
            gate, up = F.linear(self._normed(x_LD, layer.norm_mlp_D), layer.gate_up).chunk(2, -1)
            x_LD = x_LD + F.linear(F.silu(gate) * up, layer.down)
            if number in kept and number < len(self.layers):
                states[number] = x_LD
        states[len(self.layers)] = F.rms_norm(x_LD, x_LD.shape[-1:], self.norm_D, self.epsilon)
        return states

    def _normed(self, x_LD: Tensor, weight_D: Tensor) -> Tensor:
        return F.rms_norm(x_LD, x_LD.shape[-1:], weight_D, self.epsilon).to(self.dtype)


class Head(nn.Module):
    """An output layer of weights (V, D) that are there already."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)

    def forward(self, last_BLD: Tensor) -> Tensor:
        """(B, L, V)."""
        return F.linear(last_BLD, self.weight)


class LlamaModule(nn.Module):
    """What moves of a Llama that answers: its embeddings, its layers, its output layer."""

    def __init__(self, table: nn.Embedding, decoder: LlamaDecoder, head: Tensor | None) -> None:
        super().__init__()
        self.embed_tokens, self.decoder = table, decoder
        self.lm_head = Head(table.weight if head is None else head)


class AnsweringLlama:
    """A `Language` for inference. head_dtype: what the last states are cast to before `logits`. held: caches of fixed
    size (`static.Held`); None for caches that grow."""

    held: Any = None
    lora_targets: Sequence[str] = ()

    def __init__(self, module: LlamaModule, tokenizer: TextTokenizer) -> None:
        self.module: nn.Module = module
        self._llama, self.tokenizer = module, tokenizer
        self.rows, self.width = module.embed_tokens.weight.shape
        self.layers = len(module.decoder.layers)
        self.head_dtype: torch.dtype | None = module.decoder.dtype

    @property
    def table(self) -> nn.Embedding:
        """Its embeddings (V, D)."""
        return self._llama.embed_tokens

    def embed(self, ids_BL: Tensor) -> Tensor:
        """(B, L, D)."""
        return self.table(ids_BL)

    def hidden(
        self,
        embeds_BLD: Tensor,
        kept: Collection[int],
        cache: DynamicCache | None = None,
        padding_BL: Tensor | None = None,
        parents: Sequence[int] = (),
    ) -> tuple[Tensor, States]:
        """See `Language.hidden`; for one sequence. Raises InputError for several."""
        if embeds_BLD.shape[0] != 1 or padding_BL is not None:
            raise InputError("one sequence for a model that answers", f"{len(embeds_BLD)}", "load it to be trained")
        part = Part(embeds_BLD[0], self.cache() if cache is None else cache, parents)
        states = self.together([part], kept)[0] if self.held is None else self.held(part, kept)
        return states[self.layers], states

    def together(self, parts: Sequence[Part], kept: Collection[int]) -> list[States]:
        """States of several conversations in one pass; see `LlamaDecoder.together`."""
        return self._llama.decoder.together(parts, kept)

    def logits(self, last_BLD: Tensor) -> Tensor:
        """(B, L, V) of the last states."""
        return self._llama.lm_head(last_BLD)

    def cache(self) -> DynamicCache:
        """An empty key-value cache, or what stands for one."""
        return DynamicCache() if self.held is None else self.held.cache()

    def add_lora(self, rank: int, alpha: int) -> None:
        """Raises InputError: it only answers."""
        raise InputError("a language model that can be trained", "one that only answers", "load it again")

    def answering(self, length: int, dtype: torch.dtype | None) -> Language:
        """Itself."""
        return self


def of_model(
    model: PreTrainedModel, tokenizer: TextTokenizer, length: int, dtype: torch.dtype | None
) -> AnsweringLlama:
    """From a `LlamaForCausalLM`, whose layers are taken out of it; LoRA is merged. dtype: None for what its device is
    fastest in."""
    llama: Any = model.base_model
    device = llama.norm.weight.device
    dtype = fastest_dtype(device) if dtype is None else dtype
    cos, sin = llama.rotary_emb(torch.zeros(1, device=device), torch.arange(length, device=device)[None])

    def layers() -> Iterator[Weights]:
        while len(llama.layers):
            layer = llama.layers[0]
            yield lambda name, layer=layer: _merged(layer.get_submodule(name))  # type: ignore[misc]
            del llama.layers[0]

    shape = Shape.of(model.config.to_dict(), (cos[0], sin[0]))
    decoder = LlamaDecoder(shape, layers(), llama.norm.weight.detach(), dtype)
    model.to(dtype)  # type: ignore[arg-type]
    head: Any = model.get_output_embeddings()
    own = None if head.weight is llama.embed_tokens.weight else head.weight
    return AnsweringLlama(LlamaModule(llama.embed_tokens, decoder, own), tokenizer)


def _merged(part: Any) -> Tensor:
    """The weight of a layer of a model, with LoRA."""
    if getattr(part, "bias", None) is not None:
        raise ValueError("a Llama without biases")
    weight: Tensor = part.weight.detach()
    if hasattr(part, "lora_A") and not part.merged:  # a new tensor: the file that the weight maps stays unwritten
        for adapter in part.active_adapters:
            weight = weight.float() + part.get_delta_weight(adapter).detach().float()
    return weight


def of_file(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], tuned: Tuned, tokenizer: TextTokenizer, length: int,
    dtype: torch.dtype,
) -> AnsweringLlama:  # fmt: skip
    """From the values of a `LlamaConfig` and the weights of a `LlamaForCausalLM` in one file, as they are named there,
    with what was tuned merged: the same values as `of_model` of the model that was tuned so. Raises WeightsError."""
    merged = _Merged(weights, tuned, dtype)
    numbers = range(int(config["num_hidden_layers"]))
    side = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    turns = rotations(float(config["rope_parameters"]["rope_theta"]), side, length)
    table = nn.Embedding.from_pretrained(merged(TABLE))  # frozen
    layers = [lambda name, number=number: merged(f"model.layers.{number}.{name}") for number in numbers]
    decoder = LlamaDecoder(Shape.of(config, turns), layers, merged("model.norm"), dtype)
    head = None if config["tie_word_embeddings"] else merged("lm_head")
    refuse(sorted(tuned.weights.keys() - merged.taken))
    return AnsweringLlama(LlamaModule(table, decoder, head), tokenizer)


TABLE = "model.embed_tokens"


class _Merged:
    """Weights by the name of their layer. taken: names in `tuned` that were used."""

    def __init__(self, weights: Mapping[str, Tensor], tuned: Tuned, dtype: torch.dtype) -> None:
        self.weights, self.tuned, self.dtype, self.taken = weights, tuned, dtype, set[str]()

    def __call__(self, name: str) -> Tensor:
        """In `dtype`, or float32 where LoRA was added."""
        published = self.weights.get(f"{name}.weight")
        whole = [self._tuned(f"{name}.{kind}") for kind in ("base_layer.weight", "weight")]
        weight = next((each for each in whole if each is not None), published)
        if weight is None or (published is not None and weight.shape != published.shape):
            refuse([f"{name}.weight"])
            raise AssertionError
        weight = weight.to(self.dtype)
        down, up = (self._tuned(f"{name}.lora_{kind}.default.weight") for kind in "AB")
        if down is None or up is None:
            return weight
        if (up.shape[0], down.shape[1]) != weight.shape or up.shape[1] != down.shape[0]:
            refuse([f"{name}.lora_A.default.weight"])
        # The product in float32, the sum of what is in `dtype`: as `peft` merges.
        delta = (up.to(self.dtype).float() @ down.to(self.dtype).float()) * (self.tuned.alpha / self.tuned.rank)
        return weight.float() + delta.to(self.dtype).float()

    def _tuned(self, name: str) -> Tensor | None:
        self.taken.add(name)
        return self.tuned.weights.get(name)


def rotations(theta: float, width: int, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (L, d) of RoPE."""
    frequency_d = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.int64).float() / width)
    angle_Ld = torch.arange(length).float()[:, None] * frequency_d
    doubled = torch.cat([angle_Ld, angle_Ld], -1)
    return doubled.cos(), doubled.sin()
