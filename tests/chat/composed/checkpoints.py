"""Tiny random vision-language models in exactly the hub's formats: config, sharded weights, preprocessor, tokenizer.

In: a folder. Out: the same folder, as `Qwen/Qwen3-VL-4B-Instruct` and its like lie there, chat template and all. The
tokenizer knows every byte, so that any text goes through it and back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

TEXT = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 8192,
}  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(image: str, named: dict[str, str]) -> PreTrainedTokenizerFast:
    """Every byte is a token. image: what stands for a picture in the chat template. named: further special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", *named.values()]
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in dict.fromkeys(special)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>", extra_special_tokens=named,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    made.chat_template = TEMPLATE.replace("IMAGE", image)
    return made


def _saved(
    folder: Path, kind: Any, config: Any, pictures: Any, words: PreTrainedTokenizerFast, **processor: Any
) -> Path:
    torch.manual_seed(5)
    model = kind(config).eval()
    model.generation_config.eos_token_id = words.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = model.generation_config.eos_token_id
    model.save_pretrained(folder, max_shard_size="60KB")
    pictures.save_pretrained(folder)
    words.save_pretrained(folder)
    if processor:
        (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def llava(folder: Path) -> Path:
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    words = tokenizer("<image>", {"image_token": "<image>"})
    vision = {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config={"model_type": "llama", **TEXT},
        image_token_index=words.convert_tokens_to_ids("<image>"), vision_feature_layer=-1,
    )  # fmt: skip
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    saved = _saved(folder, LlavaForConditionalGeneration, config, pictures, words)
    LlavaProcessor(
        pictures, words, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=words.chat_template,
    ).save_pretrained(saved)  # fmt: skip
    return saved


def _qwen(folder: Path, kind: Any, config: Any, patch: int, vision: dict[str, Any], text: dict[str, Any]) -> Path:
    from transformers import Qwen2VLImageProcessorPil

    named = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "vision_bos_token": "<|vision_start|>",
             "vision_eos_token": "<|vision_end|>"}  # fmt: skip
    words = tokenizer("<|vision_start|><|image_pad|><|vision_end|>", named)
    ids = {name: words.convert_tokens_to_ids(token) for name, token in named.items()}
    made = config(
        vision_config=vision, text_config=text, image_token_id=ids["image_token"], video_token_id=ids["video_token"],
        vision_start_token_id=ids["vision_bos_token"], vision_end_token_id=ids["vision_eos_token"],
    )  # fmt: skip
    pictures = Qwen2VLImageProcessorPil(patch_size=patch, min_pixels=patch * patch * 4, max_pixels=64 * 64)
    return _saved(folder, kind, made, pictures, words)


ROPE = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}


def qwen25(folder: Path) -> Path:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 14,
              "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1]}  # fmt: skip
    return _qwen(folder, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, 14, vision,
                 {**TEXT, "rope_parameters": ROPE})  # fmt: skip


def qwen3(folder: Path) -> Path:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 16,
              "out_hidden_size": 32, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}  # fmt: skip
    return _qwen(folder, Qwen3VLForConditionalGeneration, Qwen3VLConfig, 16, vision,
                 {**TEXT, "head_dim": 8, "rope_parameters": ROPE})  # fmt: skip


def internvl(folder: Path) -> Path:
    from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLForConditionalGeneration

    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
             "video_token": "<video>"}  # fmt: skip
    words = tokenizer("<IMG_CONTEXT>", named)
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": [28, 28], "patch_size": [7, 7]}  # fmt: skip
    config = InternVLConfig(
        vision_config=vision, text_config={"model_type": "qwen2", **TEXT}, image_seq_length=4, downsample_ratio=0.5,
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )  # fmt: skip
    pictures = GotOcr2ImageProcessorPil(crop_to_patches=True, max_patches=2, size={"height": 28, "width": 28})
    about = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    return _saved(folder, InternVLForConditionalGeneration, config, pictures, words, **about)


def onevision(folder: Path) -> Path:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessorPil,
    )

    named = {"image_token": "<image>", "video_token": "<video>"}
    words = tokenizer("<image>", named)
    vision = {"model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "vision_use_head": False}  # fmt: skip
    pinpoints = [[28, 28], [28, 56], [56, 28]]
    config = LlavaOnevisionConfig(
        vision_config=vision, text_config={"model_type": "qwen2", **TEXT}, image_grid_pinpoints=pinpoints,
        image_token_index=words.convert_tokens_to_ids("<image>"), vision_feature_layer=-1,
        video_token_index=words.convert_tokens_to_ids("<video>"), vision_feature_select_strategy="full",
    )  # fmt: skip
    pictures = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=pinpoints)
    about = {"processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 4,
             "vision_feature_select_strategy": "full"}  # fmt: skip
    return _saved(folder, LlavaOnevisionForConditionalGeneration, config, pictures, words, **about)


def smolvlm(folder: Path) -> Path:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil

    named = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>",
             "global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>"}  # fmt: skip
    words = tokenizer("<image>", named)
    config = SmolVLMConfig(
        vision_config={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 28, "patch_size": 7},
        text_config={"model_type": "llama", **TEXT}, scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    pictures = SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    about = {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}
    return _saved(folder, SmolVLMForConditionalGeneration, config, pictures, words, **about)


MODELS: dict[str, Callable[[Path], Path]] = {
    "llava": llava, "qwen2.5-vl": qwen25, "qwen3-vl": qwen3, "internvl": internvl, "llava-onevision": onevision,
    "smolvlm": smolvlm,
}  # fmt: skip
