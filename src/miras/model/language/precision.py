"""The precision that a device is fastest in.

In: a device. Out: a dtype. Knows no model.
"""

from __future__ import annotations

import torch


def fastest_dtype(device: torch.device | None = None) -> torch.dtype:
    """bfloat16 where the device (None: the CPU) multiplies it, float32 elsewhere."""
    if device is not None and device.type != "cpu":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return (
        torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else torch.float32
    )
