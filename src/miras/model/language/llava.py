"""The language model of LLaVA-1.5 (Liu et al. 2023), which is Vicuna: `llava:REPO`.

In: a checkpoint as the hub has it (`llava-hf/llava-1.5-7b-hf`: sharded, of the whole LLaVA). Out: a `Language` of its
Llama, and the projector that brings CLIP's features to the language model. Its vision tower is CLIP's as published.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration

from miras.core.errors import WeightsError
from miras.core.grammar import TextTokenizer
from miras.model.hub import checkpoint
from miras.model.hub.folders import fetched, first_line
from miras.model.language.base import Language, Source
from miras.model.language.causal import CausalLanguage
from miras.model.language.quantised import quantised
from miras.model.language.tokenizers import HubTokenizer, StandInTokenizer

KINDS = {"llava": "a checkpoint of LLaVA-1.5", "llama": "its language model alone"}
LORA = ("q_proj", "v_proj")
"""Layers that LoRA is put on, as LISA and the paper's code do."""
PROJECTOR = {
    f"multi_modal_projector.linear_{number}.{what}": f"{place}.{what}"
    for number, place in ((1, 0), (2, 2)) for what in ("weight", "bias")
}  # fmt: skip


class Llava(Source):
    """name: "llava:REPO"."""

    @property
    def repo(self) -> str:
        """What stands behind the colon."""
        return self.name.partition(":")[2]

    def load(self, dtype: torch.dtype = torch.float32) -> Language:
        """Its Llama, frozen. Raises WeightsError, InputError with the cure."""
        values = checkpoint.kind(self.repo, KINDS, "llava:REPO")
        if values["model_type"] == "llama":
            module = checkpoint.made(LlamaForCausalLM, LlamaConfig(**values), self.repo, dtype)
        elif checkpoint.now().weights == "published":
            whole = checkpoint.made(LlavaForConditionalGeneration, LlavaConfig(**values), self.repo, dtype)
            module = _language_of(whole)
        else:
            text: Any = LlavaConfig(**values).text_config
            module = checkpoint.made(LlamaForCausalLM, LlamaConfig(**text.to_dict()), self.repo, dtype)
        return CausalLanguage(quantised(module, checkpoint.now().bits), tokenizer_of(self.repo), LORA)

    def projector(self) -> dict[str, Tensor] | None:
        """Weights of its two linear layers ("0.weight", ...); None where it has none, or they are not read."""
        if checkpoint.kind(self.repo, KINDS, "llava:REPO")["model_type"] == "llama":
            return None
        return checkpoint.tensors(self.repo, PROJECTOR)


def _language_of(whole: Any) -> LlamaForCausalLM:
    """The Llama inside a LLaVA: the same weights, no copy."""
    with checkpoint.origin("shapes"):
        module = checkpoint.made(LlamaForCausalLM, LlamaConfig(**whole.config.text_config.to_dict()), "")
    module.model, module.lm_head = whole.model.language_model, whole.lm_head
    return module.eval().requires_grad_(False)


def tokenizer_of(repo: str) -> TextTokenizer:
    """Its tokenizer; a stand-in that reads bytes where weights are not its own and it is not on this machine."""
    if checkpoint.now().weights != "published" and not Path(repo).expanduser().is_dir():
        return StandInTokenizer()
    try:
        content = json.loads((fetched(repo) / "tokenizer.json").read_text(encoding="utf-8"))
        return HubTokenizer(Tokenizer.from_str(json.dumps(without_dummy(content))))
    except Exception as error:  # the only class that `tokenizers` raises
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"a tokenizer.json in {repo}", first_line(error), "give the whole folder") from error


def without_dummy(content: dict[str, Any]) -> dict[str, Any]:
    """A Llama tokenizer that neither puts a space before a text nor takes one away: a conversation is written piece by
    piece, and a piece is not the beginning of a text."""
    normalizer, decoder, before = (content.get(key) or {} for key in ("normalizer", "decoder", "pre_tokenizer"))
    if normalizer.get("type") == "Sequence":
        normalizer["normalizers"] = [one for one in normalizer["normalizers"] if one["type"] != "Prepend"]
    if decoder.get("type") == "Sequence":
        decoder["decoders"] = [one for one in decoder["decoders"] if one["type"] != "Strip"]
    for one in (before, *(decoder.get("decoders") or [decoder])):
        if one.get("type") == "Metaspace":
            one["prepend_scheme"] = "never"
    return content
