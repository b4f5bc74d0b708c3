"""Instruction Comprehension: the language model with visual and mask tokens in their slots.

In: token ids, visual tokens, mask tokens. Out: logits and the hidden states the alignment reads.
Special tokens are ids past the vocabulary, embedded and predicted by a small table of their own,
so that the language model's own weights stay as they were published but for LoRA.
B batch, L length, D width, V vocabulary plus special tokens, E = layers * D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from miras.core.errors import InputError
from miras.core.grammar import IMAGE, MASK, SPECIAL_TOKENS, special_rows
from miras.model.config import MirasConfig
from miras.model.language.base import Language, Packs, widened

GUESSES = 16
"""Tokens that may stand past the end of a conversation for a moment, as guesses."""


@dataclass(frozen=True)
class Comprehension:
    """logits_BLV: of the last positions that were asked for. hidden_BLE: every position."""

    logits_BLV: Tensor
    hidden_BLE: Tensor
    cache: DynamicCache | None


class InstructionComprehension(nn.Module):
    """A causal language model, frozen but for LoRA, and the special tokens.

    language: frozen, and with LoRA, already; `language_model` is its module. blank: the special tokens are to be
    filled.
    """

    def __init__(self, config: MirasConfig, language: Language, blank: bool = False) -> None:
        super().__init__()
        self.states = list(config.alignment_layers)
        self.language, self.language_model = language, language.module
        self.vocab_size, self.width = language.rows, language.width
        rows = special_rows(config.points, config.complements)
        noise = torch.zeros(rows, self.width) if blank else 0.02 * torch.randn(rows, self.width)
        self.special = nn.Parameter(noise if blank else self.table.weight.mean(0) + noise)
        self.special_bias = nn.Parameter(torch.zeros(rows))

    @property
    def table(self) -> nn.Embedding:
        """The language model's own embeddings."""
        return self.language.table

    def embed(self, ids_BL: Tensor, visual_BND: Tensor | None, mask_slots_MD: Tensor | None) -> Tensor:
        """Embeddings (B, L, D); visual and mask tokens go into their slots in reading order. Where visual tokens are
        wider than D, so is every row, with zeros.

        Raises InputError when slots and tokens differ in number.
        """
        special = (ids_BL - self.vocab_size).clamp_min(0)
        embeds = torch.where(
            (ids_BL >= self.vocab_size)[..., None], self.special[special],
            self.language.embed(ids_BL.clamp_max(self.vocab_size - 1)).to(self.special.dtype),
        )  # fmt: skip
        visual = None if visual_BND is None else visual_BND.flatten(0, 1)
        embeds = embeds if visual is None else widened(embeds, visual.shape[-1])
        for token, rows in ((IMAGE, visual), (MASK, mask_slots_MD)):
            slots = ids_BL == self.vocab_size + SPECIAL_TOKENS.index(token)
            wanted, given = int(slots.sum()), 0 if rows is None else rows.shape[0]
            if wanted != given:
                raise InputError(
                    f"{wanted} tokens for the {token} slots", str(given), "encode and fill one by the other"
                )
            if rows is not None and wanted:
                embeds = embeds.masked_scatter(slots[..., None], widened(rows, embeds.shape[-1]).to(embeds.dtype))
        return embeds

    def forward(
        self,
        embeds_BLD: Tensor,
        cache: DynamicCache | None = None,
        padding_BL: Tensor | None = None,
        parents: Sequence[int] = (),
        positions_BL: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Last hidden state (B, L, D), normed, and the alignment's states (B, L, E).

        cache is extended in place; positions go on from its length. padding: True at real tokens.
        parents: the last tokens are a tree, number n of them follows number parents[n] of them, or (-1) the
        token before the tree; it sees nothing of its siblings. For one sequence with a cache.
        positions: rows of several sequences, for a language model that reads such (`Packs`); without a cache.
        """
        if positions_BL is not None:
            assert isinstance(self.language, Packs)
            last, states = self.language.packed(embeds_BLD, self.states, positions_BL)
            return last, torch.cat([states[number] for number in self.states], -1)
        last, states = self.language.hidden(embeds_BLD, self.states, cache, padding_BL, parents)
        return last, torch.cat([states[number] for number in self.states], -1)

    def logits(self, last_BLD: Tensor) -> Tensor:
        """(B, L, V): the vocabulary, then the special tokens."""
        if self.language.head_dtype is not None:  # a copy: with the strides of a slice it takes ten times as long
            last_BLD = last_BLD.to(self.language.head_dtype, copy=True, memory_format=torch.contiguous_format)
        words = self.language.logits(last_BLD)
        special = last_BLD @ self.special.to(last_BLD.dtype).T + self.special_bias.to(last_BLD.dtype)
        return torch.cat([words, special], -1)

    def answer_fast(self, length: int, dtype: torch.dtype | None = None) -> None:
        """From now on it only answers, for good: LoRA is merged, and a Llama takes fewer and larger steps.

        length: most tokens of a conversation. dtype: None for what the model's device is fastest in.
        """
        self.language = self.language.answering(length + GUESSES, dtype)
        self.language_model = self.language.module

    @torch.no_grad()
    def extend(self, rows_ND: Tensor) -> None:
        """More special tokens, after those that there are; they begin as these embeddings (N, D)."""
        self.special = nn.Parameter(torch.cat([self.special, rows_ND.to(self.special)]))
        self.special_bias = nn.Parameter(torch.cat([self.special_bias, self.special_bias.new_zeros(len(rows_ND))]))
