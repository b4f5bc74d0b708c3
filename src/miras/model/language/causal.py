"""Any causal language model of `transformers`, trained with LoRA and answering with a cache.

In: a model as `AutoModelForCausalLM` gives it, and its tokenizer. Out: a `Language`. Needs nothing of the architecture
but what `transformers` promises: embeddings, a base model with hidden states, an output layer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel

from miras.core.grammar import TextTokenizer
from miras.model.language.base import Language, States
from miras.model.language.llama import LLAMA_LORA, of_model
from miras.model.numeric.tree import tree_attention


class CausalLanguage:
    """`module` is the model itself, so that weights keep the names that `transformers` gives them.

    lora_targets: names of its linear layers, by default a Llama's (Qwen, Mistral and many others have the same).
    """

    head_dtype: torch.dtype | None = None

    def __init__(
        self, module: PreTrainedModel, tokenizer: TextTokenizer, lora_targets: Sequence[str] = LLAMA_LORA
    ) -> None:
        self.module: Any = module
        self.tokenizer = tokenizer
        self.lora_targets = lora_targets
        config: Any = module.config
        self.rows = int(self.table.num_embeddings)
        self.width, self.layers = int(config.hidden_size), int(config.num_hidden_layers)

    @property
    def table(self) -> nn.Embedding:
        """Its embeddings (V, D)."""
        table = self.module.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table

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
        """See `Language.hidden`. parents: for one sequence."""
        mask = None if padding_BL is None else padding_BL.long()
        positions = None
        if parents:
            past = 0 if cache is None else cache.get_seq_length()
            places, sees = tree_attention(past, embeds_BLD.shape[1], parents)
            positions, visible = torch.from_numpy(places)[None].to(embeds_BLD.device), torch.from_numpy(sees)
            mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[None, None]
            mask = mask.to(embeds_BLD.device)
        output = self.module.base_model(
            inputs_embeds=embeds_BLD, past_key_values=cache, use_cache=cache is not None,
            attention_mask=mask, position_ids=positions, output_hidden_states=True,
        )  # fmt: skip
        return output.last_hidden_state, {number: output.hidden_states[number] for number in kept}

    def packed(self, embeds_BLD: Tensor, kept: Collection[int], positions_BL: Tensor) -> tuple[Tensor, States]:
        """See `Packs.packed`: `transformers` masks by the positions, for whatever attention the model has."""
        output = self.module.base_model(
            inputs_embeds=embeds_BLD, use_cache=False, position_ids=positions_BL, output_hidden_states=True
        )
        return output.last_hidden_state, {number: output.hidden_states[number] for number in kept}

    def logits(self, last_BLD: Tensor) -> Tensor:
        """(B, L, V) of the last states."""
        head: Any = self.module.get_output_embeddings()
        return head(last_BLD)

    def cache(self) -> DynamicCache:
        """An empty key-value cache that can be cropped, whatever attention the layers have."""
        return DynamicCache()

    def add_lora(self, rank: int, alpha: int) -> None:
        """New LoRA layers on `lora_targets`, all else frozen."""
        self.module.requires_grad_(False)
        if not rank:
            return
        lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(self.lora_targets))
        inject_adapter_in_model(lora, self.module)

    def merge(self) -> None:
        """Fold LoRA into the weights: same answers, faster. For inference only."""
        for module in self.module.modules():
            if isinstance(module, LoraLayer) and not module.merged:
                module.merge()

    def answering(self, length: int, dtype: torch.dtype | None) -> Language:
        """A Llama with fewer and larger steps; of any other LoRA is merged."""
        if isinstance(self.module, LlamaForCausalLM):
            return of_model(self.module, self.tokenizer, length, dtype)
        self.merge()
        return self
