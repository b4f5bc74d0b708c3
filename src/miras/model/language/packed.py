"""The weights of a Llama that answers in 8 or 4 bits, through torchao.

In: a decoder at its place. Out: the same with its layers' matrices packed; norms, embeddings and the output layer stay
as they are. What a matrix is multiplied with stays in the decoder's precision. Only what answers is packed: training
has bitsandbytes (`quantised`).
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from miras.core.errors import InputError

PACKAGE, CURE = "torchao", "pip install 'miras[bits]'"
BITS = (8, 4)
MATRICES = ("qkv", "out", "gate_up", "down")
GROUPS = (128, 64, 32)
"""Weights that share a scale in 4 bits: the most that a row can be divided into."""


def pack(decoder: Any, bits: int) -> None:
    """In place. decoder: a `LlamaDecoder`. Raises InputError for other bits, without torchao, and where torchao has no
    kernel for this device."""
    if bits not in BITS:
        raise InputError(f"weights of {' or '.join(map(str, BITS))} bits", str(bits))
    if importlib.util.find_spec(PACKAGE) is None:
        raise InputError(f"{PACKAGE}, for weights of {bits} bits", "no such package", CURE)
    device = decoder.norm_D.device
    try:
        for number, layer in enumerate(decoder.layers):
            packed = {name: _packed(getattr(layer, name), bits, device) for name in MATRICES}
            decoder.layers[number] = replace(layer, **packed)
    except (ImportError, NotImplementedError, RuntimeError, AssertionError) as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"weights of {bits} bits on {device} by {PACKAGE}", line, "leave --bits out") from error


@torch.no_grad()
def _packed(weight: Tensor, bits: int, device: torch.device) -> Tensor:
    """A tensor that a linear layer takes as its weight."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    holder = nn.Sequential(linear)
    importlib.import_module("torchao.quantization").quantize_(holder, _how(bits, weight.shape[1], device))
    made: Any = holder[0].weight
    return made.data


def _how(bits: int, width: int, device: torch.device) -> Any:
    """torchao's configuration: in 4 bits, a GPU and a processor have kernels with layouts of their own."""
    ao = importlib.import_module("torchao.quantization")
    if bits == 8:
        return ao.Int8WeightOnlyConfig(set_inductor_config=False)
    group = next((size for size in GROUPS if width % size == 0), None)
    if group is None:
        raise InputError(f"rows that can be divided by {GROUPS[-1]}", f"{width}", "use 8 bits")
    if device.type == "cpu":
        prototype = importlib.import_module("torchao.prototype.quantization.int4")
        return prototype.PrototypeInt4WeightOnlyConfig(group_size=group, set_inductor_config=False)
    return ao.Int4WeightOnlyConfig(group_size=group, int4_packing_format="tile_packed_to_4d", set_inductor_config=False)
