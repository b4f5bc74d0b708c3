"""A tiny random checkpoint of Qwen3-VL in the hub's format, and `miras-qwen`'s shape made of it and a SAM 2.

In: a folder. Out: a sharded checkpoint with a tokenizer of bytes; a configuration that names it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from tests import checkpoints

TEXT: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_interleaved": True,
                        "mrope_section": [2, 1, 1]},
}  # fmt: skip
VISION: dict[str, Any] = {
    "model_type": "qwen3_vl", "depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 16,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 36,
    "deepstack_visual_indexes": [0, 1],
}  # fmt: skip
CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
PHOTO = 272
"""Id of <|image_pad|>."""


def tokenizer(folder: Path) -> None:
    """A tokenizer.json as Qwen's: bytes, a few pieces, control tokens behind; the embeddings are padded past them."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = {letter: at for at, letter in enumerate(letters)}, []
    for word in ("Ġcup", "Ġspoon", "Ġthe"):
        for end in range(2, len(word) + 1):
            if (pair := (word[: end - 1], word[end - 1])) not in merges:
                merges.append(pair)
            vocab.setdefault(word[:end], len(vocab))
    made = Tokenizer(models.BPE(vocab, merges))
    made.normalizer, made.decoder = normalizers.NFC(), decoders.ByteLevel()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROLS])
    made.save(str(folder / "tokenizer.json"))


def qwen3vl(folder: Path, seed: int = 8, tied: bool = True, **text: Any) -> Path:
    """As `Qwen/Qwen3-VL-4B-Instruct` (tied) and the 8B (not): several shards and an index."""
    torch.manual_seed(seed)
    config = Qwen3VLConfig(
        text_config=TEXT | text, vision_config=dict(VISION), tie_word_embeddings=tied, image_token_id=PHOTO
    )
    model = Qwen3VLForConditionalGeneration(config)
    for parameter in model.model.visual.parameters():  # what DeepStack adds is seen in what is said
        parameter.data += 0.05 * torch.randn(parameter.shape)
    model.save_pretrained(folder, max_shard_size="30KB")
    as_published(folder / "config.json")
    tokenizer(folder)
    return folder


def as_published(file: Path) -> None:
    """The configuration by the names that the hub's have: of before `rope_parameters`."""
    values = json.loads(file.read_text())
    rope = values["text_config"].pop("rope_parameters")
    values["text_config"] |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    values["vision_config"]["model_type"] = "qwen3_vl"
    file.write_text(json.dumps(values))


def miras_qwen(folder: Path) -> dict[str, Any]:
    """Values of a configuration of the shape of `miras-qwen`, of tiny checkpoints in this folder."""
    whole, sam2 = qwen3vl(folder / "qwen"), checkpoints.sam2(folder / "sam2", video=True)
    return {
        "language": f"qwen3vl:{whole}", "semantic_tower": f"qwen3vl:{whole}", "template": "qwen3vl",
        "semantic_size": 128, "semantic_stride": 32, "detail_tower": "", "detail_size": 32, "fusion": "tokens",
        "mask_decoder": f"sam2:{sam2}", "decoder_size": checkpoints.SIDE, "width": 32, "heads": 2, "candidates": 4,
        "alignment_width": 16, "alignment_blocks": 1, "alignment_layers": [0, 1, 3], "prompts": 2, "dense_prompt": True,
        "lora_rank": 2, "max_tokens": 1024,
    }  # fmt: skip
