"""FSDP2: the language model's layers shared out over processes with torch's own `fully_shard`.

In: a `Student` in a process group. Out: the same, sharded; its whole state for checkpoints. `accelerate` drops its
FSDP2 plugin silently on the CPU, so it is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def shard(student: nn.Module) -> None:
    """Shard in place."""
    raise NotImplementedError


def is_sharded(student: nn.Module) -> bool:
    """True after `shard`."""
    return bool(getattr(student, "is_distributed_loading_by_transformers", False))


def whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor whole, on the CPU (a collective when some are sharded)."""
    return {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().cpu()
        for name, value in state.items()
    }


def load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Whole tensors into a model, sharded or not."""
    model.load_state_dict(dict(state), strict=False)


def save_optimizer(student: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Every process its part."""
    raise NotImplementedError


def load_optimizer(student: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """What `save_optimizer` wrote."""
    raise NotImplementedError


def save_pretrained(model: nn.Module, folder: Path, write: bool) -> None:
    """Whole weights as a model."""
    raise NotImplementedError
