"""Tiny random checkpoints of segmenters in exactly the hub's formats: config, weights, preprocessor, tokenizer.

In: a folder. Out: the same folder, as `facebook/sam2.1-hiera-tiny` and its like lie there, a few hundred kB. What makes
a random model useful to tests: biases that leave about half of a mask inside, scores on both sides of thresholds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = ["the", "a", "cup", "spoon", "dog", "cat", "handle", "of", "left", "table", ".", "?", "and", "cups"]
SIDE = 64
"""Of the square that the tiny models read."""


CENTRED = {"presence_head.layer3.bias": 5.0, "iou_prediction_head.proj_out.bias": 0.5}
"""Biases of last layers, whose weights are made small."""


def sam(folder: Path, seed: int = 4) -> Path:
    """As `facebook/sam-vit-base`."""
    from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor

    config = SamConfig(
        vision_config={"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
                       "patch_size": 8, "mlp_dim": 32, "output_channels": 16, "num_pos_feats": 8, "window_size": 4,
                       "global_attn_indexes": [1]},
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "image_embedding_size": 8,
                               "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    _model(SamModel, config, folder, seed)
    SamProcessor(SamImageProcessorPil(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}, mask_size={"longest_edge": 32},
        mask_pad_size={"height": 32, "width": 32},
    )).save_pretrained(folder)  # fmt: skip
    return folder


SAM2_VISION: dict[str, Any] = {
    "backbone_config": {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 4, 8, 4],
        "window_positional_embedding_background_size": [4, 4], "global_attention_blocks": [3],
    },
    "backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    "fpn_hidden_size": 32,
}  # fmt: skip
PROMPTS = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
DECODER = {"hidden_size": 32, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def sam2(folder: Path, video: bool = False, seed: int = 7) -> Path:
    """As `facebook/sam2.1-hiera-tiny`. video: with the video model's further weights, as the hub has them."""
    from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel

    parts = {"vision_config": SAM2_VISION, "prompt_encoder_config": PROMPTS, "mask_decoder_config": DECODER}
    if video:
        more = {
            "image_size": SIDE, "memory_attention_hidden_size": 32, "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 32, "memory_attention_rope_feat_sizes": [4, 4],
            "memory_encoder_hidden_size": 32, "memory_encoder_output_channels": 16, "mask_downsampler_embed_dim": 32,
            "memory_fuser_embed_dim": 32, "memory_fuser_intermediate_dim": 32,
        }  # fmt: skip
        _model(Sam2VideoModel, Sam2VideoConfig(**parts, **more), folder, seed)
    else:
        _model(Sam2Model, Sam2Config(**parts), folder, seed)
    _square(folder, "Sam2", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return folder


def sam3(folder: Path, kind: str = "sam3_video", seed: int = 4) -> Path:
    """As `facebook/sam3`, which holds both models. kind: `sam3` or `sam3_tracker` for one of them alone."""
    from transformers import (
        Sam3Config,
        Sam3Model,
        Sam3TrackerConfig,
        Sam3TrackerModel,
        Sam3VideoConfig,
        Sam3VideoModel,
    )  # fmt: skip

    side = 56
    vision = {
        "backbone_config": {"model_type": "sam3_vit_model", "hidden_size": 16, "intermediate_size": 32,
                            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": side, "patch_size": 14,
                            "window_size": 2, "global_attn_indexes": [1], "pretrain_image_size": 28},
        "fpn_hidden_size": 32, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    small = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    finder = {
        "vision_config": vision,
        "text_config": {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                        "num_attention_heads": 2, "max_position_embeddings": 32, "projection_dim": 16,
                        "eos_token_id": 1, "bos_token_id": 0},
        "geometry_encoder_config": small, "detr_encoder_config": small,
        "detr_decoder_config": small | {"num_queries": 6}, "mask_decoder_config": {"hidden_size": 32,
                                                                                  "num_attention_heads": 2},
    }  # fmt: skip
    clicker = {
        "vision_config": vision, "mask_decoder_config": DECODER,
        "prompt_encoder_config": PROMPTS | {"image_size": side, "patch_size": 14},
    }  # fmt: skip
    if kind == "sam3":
        _model(Sam3Model, Sam3Config(**finder), folder, seed)
    elif kind == "sam3_tracker":
        _model(Sam3TrackerModel, Sam3TrackerConfig(**clicker), folder, seed)
    else:
        memory = {
            "image_size": side, "memory_attention_hidden_size": 32, "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 32, "memory_attention_rope_feat_sizes": [4, 4],
            "memory_encoder_hidden_size": 32, "memory_encoder_output_channels": 16, "mask_downsampler_embed_dim": 32,
            "memory_fuser_embed_dim": 32, "memory_fuser_intermediate_dim": 32,
        }  # fmt: skip
        both = Sam3VideoConfig(detector_config=finder, tracker_config=clicker | memory, low_res_mask_size=16)
        _model(Sam3VideoModel, both, folder, seed)
    _square(folder, "Sam3", [0.5] * 3, [0.5] * 3, side)
    clip_tokenizer(folder)
    return folder


def clipseg(folder: Path, seed: int = 7) -> Path:
    """As `CIDAS/clipseg-rd64-refined`."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessorPil

    config = CLIPSegConfig(
        text_config={"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                     "num_attention_heads": 2, "max_position_embeddings": 20, "eos_token_id": 1, "bos_token_id": 0,
                     "pad_token_id": 1},
        vision_config={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
                       "image_size": 32, "patch_size": 8},
        projection_dim=16, reduce_dim=8, extract_layers=[0, 1, 2], decoder_num_attention_heads=2,
        decoder_intermediate_size=16, conditional_layer=0,
    )  # fmt: skip
    _model(CLIPSegForImageSegmentation, config, folder, seed)
    ViTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    ).save_pretrained(folder)
    clip_tokenizer(folder)
    return folder


def gdino(folder: Path, seed: int = 4) -> Path:
    """As `IDEA-Research/grounding-dino-tiny`, the words of `WORDS` alone."""
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
    )  # fmt: skip

    config = GroundingDinoConfig(
        backbone_config={"model_type": "swin", "image_size": 32, "patch_size": 4, "embed_dim": 8,
                         "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "out_indices": [2, 3, 4]},
        text_config={"model_type": "bert", "vocab_size": 1100, "hidden_size": 16, "num_hidden_layers": 1,
                     "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64},
        num_queries=8, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, d_model=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_feature_levels=4, encoder_n_points=2,
        decoder_n_points=2, max_text_len=16,
    )  # fmt: skip
    _model(GroundingDinoForObjectDetection, config, folder, seed)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 48, "longest_edge": 80}).save_pretrained(folder)
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    vocabulary |= {word: 200 + at for at, word in enumerate(WORDS) if word not in vocabulary}
    BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    return folder


def clip_tokenizer(folder: Path) -> None:
    """A tokenizer of whole words that begins and ends as CLIP's does, padded with the end."""
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "<unk>": 2} | {w: at + 3 for at, w in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 0), ("<|endoftext|>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<unk>",
        pad_token="<|endoftext|>", model_max_length=32,
    ).save_pretrained(folder)  # fmt: skip


def _model(cls: Any, config: Any, folder: Path, seed: int = 7) -> None:
    """A random model of a class, the same at every call, its weights large enough that prompts matter; in shards.

    Presence is made likely, so that some instances count and some do not; predicted IoU lies within 0..1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.15 * torch.randn(weight.shape))
            for end, bias in CENTRED.items():
                for name, weight in model.named_parameters():
                    if name.endswith(end):
                        weight.fill_(bias)
                    elif name.endswith(end.replace("bias", "weight")):
                        weight.mul_(0.2)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size="60KB")
    for shard in folder.glob("*.safetensors"):  # the library saves this prefix twice; the hub has it once
        state = {
            name.replace("tracker_model." * 2, "tracker_model."): value for name, value in load_file(shard).items()
        }
        save_file(state, shard, metadata={"format": "pt"})
    if (index := folder / "model.safetensors.index.json").exists():
        index.write_text(index.read_text().replace("tracker_model." * 2, "tracker_model."))


def _square(folder: Path, family: str, mean: list[float], std: list[float], side: int = SIDE) -> None:
    """`preprocessor_config.json` as the hub has it; the processor itself needs torchvision."""
    written = {
        "image_processor_type": f"{family}ImageProcessorFast", "processor_class": f"{family}Processor",
        "size": {"height": side, "width": side}, "mask_size": {"height": side // 4, "width": side // 4},
        "do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 2,
        "rescale_factor": 1 / 255, "image_mean": mean, "image_std": std,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(written), encoding="utf-8")
