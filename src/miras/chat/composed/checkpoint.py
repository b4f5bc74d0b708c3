"""What lies on this machine of a checkpoint of the hub, and how much memory it takes: read, never loaded nor fetched.

In: a folder or a name on the hub. Out: its folder, its parameters by number format (from the heads of its safetensors),
what is missing of it, an estimate of what computing takes beside the weights. Knows no talker and no segmenter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PUBLISHED = {
    "Qwen/Qwen3-VL-2B-Instruct": 2.1e9, "Qwen/Qwen3-VL-4B-Instruct": 4.4e9, "Qwen/Qwen3-VL-8B-Instruct": 8.8e9,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.8e9, "Qwen/Qwen2.5-VL-7B-Instruct": 8.3e9,
    "OpenGVLab/InternVL3_5-4B-HF": 4.7e9, "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": 0.51e9,
    "facebook/sam-vit-base": 94e6, "facebook/sam-vit-large": 312e6, "facebook/sam-vit-huge": 641e6,
    "facebook/sam2.1-hiera-tiny": 39e6, "facebook/sam2.1-hiera-small": 46e6, "facebook/sam2.1-hiera-base-plus": 81e6,
    "facebook/sam2.1-hiera-large": 224e6, "facebook/sam3": 852e6, "IDEA-Research/grounding-dino-tiny": 172e6,
    "IDEA-Research/grounding-dino-base": 232e6, "CIDAS/clipseg-rd64-refined": 152e6,
}  # fmt: skip
"""Parameters, as published or counted from the configuration; for checkpoints that are not here yet."""
FORMATS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1,
           "F8_E5M2": 1}  # fmt: skip
"""Bytes of a number, by the name that safetensors give its format."""
WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
CONTEXT = 4096
"""Tokens for which the cache of keys and values is counted: rules, a photo of 1024 pixels, the last turns, a picture of
the regions and an answer are 3000 to 4000 with most models."""
TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model", "vocab.txt")
PICTURES = ("preprocessor_config.json", "processor_config.json")
_CONFIG = "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """folder: None where it is not on this machine. parameters: None where nobody knows. stored: their share by number
    format. missing: files that it lacks, in words."""

    repo: str
    folder: Path | None
    parameters: int | None
    stored: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json; empty where that cannot be read."""
        return {} if self.folder is None else _read(self.folder / _CONFIG)

    def weights(self, dtype: str | None) -> int | None:
        """Bytes of the weights once they are loaded; dtype None: as they are stored (unknown: bfloat16)."""
        if self.parameters is None:
            return None
        if dtype is not None:
            return self.parameters * WIDTHS[dtype]
        return sum(FORMATS[name] * count for name, count in self.stored.items()) or 2 * self.parameters


def checkpoint_of(repo: str, *, words: bool = True) -> Checkpoint:
    """What is here of a folder or a repository on the hub. words: it needs a tokenizer."""
    folder = _here(repo)
    if folder is None:
        known = PUBLISHED.get(repo)
        return Checkpoint(repo, None, None if known is None else int(known))
    missing = [] if (folder / _CONFIG).is_file() else [_CONFIG]
    stored, faults = _weights(folder)
    missing += faults
    if not any((folder / name).is_file() for name in PICTURES):
        missing.append(" or ".join(PICTURES))
    if words and not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append("a tokenizer")
    return Checkpoint(repo, folder, sum(stored.values()) or None, stored, tuple(missing))


def cache_bytes(config: Mapping[str, Any], width: int, tokens: int = CONTEXT) -> int | None:
    """Of the keys and values of so many tokens in a decoder; None for a configuration that does not say."""
    text = _text(config)
    layers, heads = text.get("num_hidden_layers"), text.get("num_attention_heads")
    if not layers or not heads or not text.get("hidden_size"):
        return None
    size = text.get("head_dim") or text["hidden_size"] // heads
    kept = text.get("num_key_value_heads") or heads
    return int(2 * layers * kept * size * tokens * width)


def activation_bytes(config: Mapping[str, Any], width: int, tokens: int = CONTEXT) -> int | None:
    """What a decoder holds at once while it reads so many tokens: of one layer its input, what is added to it, queries,
    keys and values (six widths), and the three of the feed-forward; an estimate, since kernels differ."""
    text = _text(config)
    if not text.get("hidden_size") or not text.get("intermediate_size"):
        return None
    return int(tokens * (6 * text["hidden_size"] + 3 * text["intermediate_size"]) * width)


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part about the language model."""
    found = config.get("text_config")
    return found if isinstance(found, dict) else config


def _here(repo: str) -> Path | None:
    """The folder of a repository, if it is one or is in the hub's cache."""
    if (folder := Path(repo).expanduser()).is_dir():
        return folder
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, _CONFIG)
    return Path(found).parent if isinstance(found, str) else None


def _weights(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Parameters by format, and what is wrong with the files."""
    index = folder / "model.safetensors.index.json"
    listed: Any = _read(index).get("weight_map", {})
    shards = sorted(set(listed.values())) if listed else sorted(path.name for path in folder.glob("*.safetensors"))
    if not shards:
        return {}, ["weights (safetensors)"]
    stored: dict[str, int] = {}
    faults = []
    for name in shards:
        head = _head(folder / name)
        if head is None:
            faults.append(f"{name} (absent or cut off)")
        for told in (head or {}).values():
            stored[told["dtype"]] = stored.get(told["dtype"], 0) + math.prod(told["shape"])
    return {name: count for name, count in stored.items() if name in FORMATS}, faults


def _head(file: Path) -> dict[str, Any] | None:
    """Name to dtype and shape of each tensor; None for a file that is not whole."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length < 1 << 30:
                return None
            told = json.loads(opened.read(length))
        told.pop("__metadata__", None)
        ends = max((tensor["data_offsets"][1] for tensor in told.values()), default=0)
        return dict(told) if file.stat().st_size == 8 + length + ends else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
