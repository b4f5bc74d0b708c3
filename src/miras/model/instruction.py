"""Instruction Comprehension: the language model with visual and mask tokens in their slots.

In: token ids, visual tokens, mask tokens. Out: logits and the hidden states the alignment reads.
Special tokens are ids past the vocabulary, embedded and predicted by a small table of their own,
so that the language model's own weights stay as they were published (LoRA through `peft`).
B batch, L length, D width, V vocabulary plus special tokens, E = layers * D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel

from miras.core.errors import InputError
from miras.core.grammar import IMAGE, MASK, SPECIAL_TOKENS, special_rows
from miras.model.config import MirasConfig
from miras.model.llama import LlamaDecoder, fastest_dtype, tree_attention

LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GUESSES = 16
"""Tokens that may stand past the end of a conversation for a moment, as guesses."""


@dataclass(frozen=True)
class Comprehension:
    """logits_BLV: of the last positions that were asked for. hidden_BLE: every position."""

    logits_BLV: Tensor
    hidden_BLE: Tensor
    cache: DynamicCache | None


class InstructionComprehension(nn.Module):
    """A causal language model from `transformers`, frozen but for LoRA, and the special tokens."""

    def __init__(self, config: MirasConfig, language_model: PreTrainedModel) -> None:
        super().__init__()
        self.layers = list(config.alignment_layers)
        language_model.requires_grad_(False)
        if config.lora_rank:
            lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=LORA_TARGETS)
            inject_adapter_in_model(lora, language_model)
        self.language_model = language_model
        self.vocab_size = int(self.table.num_embeddings)
        self.width = int(language_model.config.hidden_size)
        self.decoder: LlamaDecoder | None = None
        rows = special_rows(config.points, config.complements)
        self.special = nn.Parameter(self.table.weight.mean(0) + 0.02 * torch.randn(rows, self.width))
        self.special_bias = nn.Parameter(torch.zeros(rows))

    @property
    def table(self) -> nn.Embedding:
        """The language model's own embeddings."""
        table = self.language_model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table

    def embed(self, ids_BL: Tensor, visual_BND: Tensor | None, mask_slots_MD: Tensor | None) -> Tensor:
        """Embeddings (B, L, D); visual and mask tokens go into their slots in reading order.

        Raises InputError when slots and tokens differ in number.
        """
        table = self.table
        special = (ids_BL - self.vocab_size).clamp_min(0)
        embeds = torch.where(
            (ids_BL >= self.vocab_size)[..., None], self.special[special],
            table(ids_BL.clamp_max(self.vocab_size - 1)).to(self.special.dtype),
        )  # fmt: skip
        visual = None if visual_BND is None else visual_BND.flatten(0, 1)
        for token, rows in ((IMAGE, visual), (MASK, mask_slots_MD)):
            slots = ids_BL == self.vocab_size + SPECIAL_TOKENS.index(token)
            wanted, given = int(slots.sum()), 0 if rows is None else rows.shape[0]
            if wanted != given:
                raise InputError(
                    f"{wanted} tokens for the {token} slots", str(given), "encode and fill one by the other"
                )
            if rows is not None and wanted:
                embeds = embeds.masked_scatter(slots[..., None], rows.to(embeds.dtype))
        return embeds

    def forward(
        self,
        embeds_BLD: Tensor,
        cache: DynamicCache | None = None,
        padding_BL: Tensor | None = None,
        parents: Sequence[int] = (),
    ) -> tuple[Tensor, Tensor]:
        """Last hidden state (B, L, D), normed, and the alignment's states (B, L, E).

        cache is extended in place; positions go on from its length. padding: True at real tokens.
        parents: the last tokens are a tree, number n of them follows number parents[n] of them, or (-1) the
        token before the tree; it sees nothing of its siblings. For one sequence with a cache.
        """
        if self.decoder is not None and cache is not None and padding_BL is None and embeds_BLD.shape[0] == 1:
            kept = self.decoder(embeds_BLD, cache, self.layers, parents)
            return kept[len(self.decoder.layers)], torch.cat([kept[i] for i in self.layers], -1)
        mask = None if padding_BL is None else padding_BL.long()
        positions = None
        if parents and cache is not None:
            positions, visible = tree_attention(cache.get_seq_length(), embeds_BLD.shape[1], parents)
            positions = positions[None].to(embeds_BLD.device)
            mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[None, None]
            mask = mask.to(embeds_BLD.device)
        output = self.language_model.model(
            inputs_embeds=embeds_BLD, past_key_values=cache, use_cache=cache is not None,
            attention_mask=mask, position_ids=positions, output_hidden_states=True,
        )  # fmt: skip
        states = torch.cat([output.hidden_states[i] for i in self.layers], -1)
        return output.last_hidden_state, states

    def logits(self, last_BLD: Tensor) -> Tensor:
        """(B, L, V): the vocabulary, then the special tokens."""
        if self.decoder is not None:  # a copy: with the strides of a slice the product takes ten times as long
            last_BLD = last_BLD.to(self.decoder.dtype, copy=True, memory_format=torch.contiguous_format)
        words = self.language_model.lm_head(last_BLD)
        special = last_BLD @ self.special.to(last_BLD.dtype).T + self.special_bias.to(last_BLD.dtype)
        return torch.cat([words, special], -1)

    def merge(self) -> None:
        """Fold LoRA into the weights: same answers, faster. For inference only."""
        for module in self.language_model.modules():
            if isinstance(module, LoraLayer) and not module.merged:
                module.merge()

    def answer_fast(self, length: int, dtype: torch.dtype | None = None) -> None:
        """Merge LoRA and keep nothing but `LlamaDecoder`: for inference with a cache, and for good.

        length: most tokens of a conversation. dtype: None for what the model's device is fastest in. Other
        language models than Llama are only merged.
        """
        if not isinstance(self.language_model, LlamaForCausalLM):
            self.merge()
        elif self.decoder is None:
            dtype = fastest_dtype(self.special.device) if dtype is None else dtype
            self.decoder = LlamaDecoder(self.language_model.model, dtype, length + GUESSES)
            self.language_model.to(dtype)  # type: ignore[arg-type]

    @torch.no_grad()
    def extend(self, rows_ND: Tensor) -> None:
        """More special tokens, after those that there are; they begin as these embeddings (N, D)."""
        self.special = nn.Parameter(torch.cat([self.special, rows_ND.to(self.special)]))
        self.special_bias = nn.Parameter(torch.cat([self.special_bias, self.special_bias.new_zeros(len(rows_ND))]))

    def own_state(self) -> dict[str, Any]:
        """Names of what is trained here: the special tokens and LoRA."""
        return {name: p for name, p in self.named_parameters() if "lora_" in name or name.startswith("special")}
