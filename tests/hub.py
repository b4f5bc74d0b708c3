"""Tiny random checkpoints of whole models in the hub's formats, and `miras-7b`'s shape made of them.

In: a folder. Out: checkpoints of LLaVA (sharded), CLIP, ConvNeXt as `transformers` and as open_clip save it; a
configuration that names them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextForImageClassification,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from tests import checkpoints

CLIP: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56,
    "patch_size": 14, "projection_dim": 8,
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 384, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
}  # fmt: skip


def llama_tokenizer(folder: Path) -> None:
    """A tokenizer.json as Llama's: pieces of text and bytes, a space before every text."""
    words = ["▁cup", "▁the", "▁spoon", "▁I", "▁selected", "▁have"]
    letters = ["▁", *map(chr, range(33, 127))]
    vocab = {
        name: i for i, name in enumerate(["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *letters])
    }
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            pair = (word[: end - 1], word[end - 1])
            if pair not in merges:
                merges.append(pair)
            vocab.setdefault(word[:end], len(vocab))
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    made.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    made.save(str(folder / "tokenizer.json"))


def llava(folder: Path, seed: int = 3) -> Path:
    """As `llava-hf/llava-1.5-7b-hf`: several shards and an index."""
    torch.manual_seed(seed)
    config = LlavaConfig(text_config=LLAMA, vision_config={"model_type": "clip_vision_model", **CLIP})
    LlavaForConditionalGeneration(config).save_pretrained(folder, max_shard_size="30KB")
    llama_tokenizer(folder)
    return folder


def clip(folder: Path, seed: int = 5) -> Path:
    """As `openai/clip-vit-large-patch14-336`: both of its towers."""
    torch.manual_seed(seed)
    text = {"vocab_size": 64, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 8}  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=CLIP, projection_dim=8)).save_pretrained(folder)
    return folder


def convnext(folder: Path, seed: int = 6) -> Path:
    """As `facebook/convnext-large-384-22k-1k`: with its classifier."""
    torch.manual_seed(seed)
    config = ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 2, 1], layer_scale_init_value=0.5)
    ConvNextForImageClassification(config).save_pretrained(folder)
    return folder


def open_clip(folder: Path, source: Path) -> Path:
    """A ConvNeXt as open_clip saves its own: the weights of another folder under the names of timm."""
    folder.mkdir(parents=True)
    model = ConvNextForImageClassification.from_pretrained(source)
    names = (
        ("embeddings.patch_embeddings.", "stem.0."), ("embeddings.layernorm.", "stem.1."), ("encoder.", ""),
        (".downsampling_layer.", ".downsample."), (".layers.", ".blocks."), (".dwconv.", ".conv_dw."),
        (".layernorm.", ".norm."), (".pwconv", ".mlp.fc"), (".layer_scale_parameter", ".gamma"),
    )  # fmt: skip
    state = {}
    for name, value in model.convnext.state_dict().items():
        if name.startswith("layernorm."):
            continue
        for theirs, timm in names:
            name = name.replace(theirs, timm)
        state[f"visual.trunk.{name}"] = value.clone()
    state["logit_scale"] = torch.ones(())
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}}))
    return folder


def miras_7b(folder: Path) -> dict[str, Any]:
    """Values of a configuration of the shape of `miras-7b`, of tiny checkpoints in this folder."""
    parts = {
        "language": ("llava", llava), "semantic_tower": ("clip", clip), "detail_tower": ("convnext", convnext),
        "mask_decoder": ("sam", checkpoints.sam),
    }  # fmt: skip
    named = {key: f"{name}:{make(folder / name)}" for key, (name, make) in parts.items()}
    return {
        **named, "template": "llava", "semantic_size": 56, "semantic_stride": 14, "detail_size": 128,
        "fusion": "patches", "decoder_size": checkpoints.SIDE, "width": 16, "heads": 2, "candidates": 4,
        "alignment_width": 16, "alignment_blocks": 1, "alignment_layers": [0, 2], "prompts": 1, "lora_rank": 2,
        "max_tokens": 1024,
    }  # fmt: skip
