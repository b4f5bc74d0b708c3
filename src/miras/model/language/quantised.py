"""A language model held in 8 or 4 bits through bitsandbytes, as QLoRA (Dettmers et al. 2023) trains.

In: a model of `transformers`, frozen. Out: the same with its layers' matrices quantised; embeddings and the output
layer stay. They are packed when they are moved to a GPU.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import nn

from miras.core.errors import InputError

PACKAGE = "bitsandbytes"


def quantised(module: Any, bits: int) -> Any:
    """bits: 16 leaves it as it is. Raises InputError where bitsandbytes is not installed."""
    if bits >= 16:
        return module
    if any(parameter.is_meta for parameter in module.parameters()):
        return module  # to be counted, not to be run
    if importlib.util.find_spec(PACKAGE) is None:
        raise InputError(f"bitsandbytes, for weights of {bits} bits", "no such package", "pip install 'miras[qlora]'")
    bnb: Any = importlib.import_module(PACKAGE)

    for part in list(module.model.modules()):
        for name, child in list(part.named_children()):
            if type(child) is nn.Linear:
                setattr(part, name, _packed(bnb, child, bits))
    return module


def _packed(bnb: Any, layer: nn.Linear, bits: int) -> nn.Module:
    has_bias = layer.bias is not None
    if bits == 8:
        made = bnb.nn.Linear8bitLt(layer.in_features, layer.out_features, has_bias, has_fp16_weights=False)
        made.weight = bnb.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        made = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, has_bias, compute_dtype=torch.bfloat16, quant_type="nf4"
        )
        made.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
    if has_bias:
        made.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    return made
