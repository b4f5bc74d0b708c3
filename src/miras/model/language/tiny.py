"""A random Llama of a few thousand parameters that reads bytes: for tests and `miras-tiny`.

In: nothing. Out: a `Language`.
"""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from miras.model.language.base import Source
from miras.model.language.causal import CausalLanguage
from miras.model.language.tokenizers import ByteTokenizer


class Tiny(Source):
    """Other weights at each load, by torch's generator."""

    published = False

    def load(self, dtype: torch.dtype = torch.float32) -> CausalLanguage:
        """In float32, whatever is asked for."""
        return CausalLanguage(random_llama(), ByteTokenizer())


def random_llama() -> PreTrainedModel:
    """Two layers of width 32."""
    config = LlamaConfig(
        vocab_size=ByteTokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config)
