"""What this machine must be able to do for a recipe, and how many processes may go on with a run.

In: a recipe, a checkpoint. Out: nothing, or an InputError with the cure. Knows no trainer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from miras.core.errors import InputError
from miras.train.recipe.schema import Recipe

PROCESSES = "processes.json"
"""In a checkpoint: how many processes wrote it."""


def with_bf16() -> None:
    """Raises InputError where the GPU multiplies no bfloat16."""
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(
            "a GPU with bfloat16 (precision: bf16), from compute capability 8.0 on",
            f"{torch.cuda.get_device_name()} of {'.'.join(map(str, torch.cuda.get_device_capability()))}",
            "--set precision=float32 frozen=float32 with twice the memory for weights (--dry-run counts it)",
        )


def same_step(recipe: Recipe, former: Recipe, checkpoint: Path) -> bool:
    """Whether as many photos make a step as in the run that wrote a checkpoint, so that another number of processes
    goes on with the same batches. Raises InputError where the number of processes changes that; True where it did not
    say how many they were."""
    file = checkpoint / PROCESSES
    if not file.is_file():
        return False
    then, here = int(json.loads(file.read_text())["processes"]), int(os.environ.get("WORLD_SIZE", "1"))
    if then == here or then * former.batch.accumulate == here * recipe.batch.accumulate:
        return then != here
    whole, rest = divmod(then * former.batch.accumulate, here)
    cure = f"start {then} processes"
    if not rest and recipe.batch.accumulate == former.batch.accumulate:
        cure = f"--set batch.accumulate={whole}, or {cure}"
    raise InputError(
        f"steps of {then * former.batch.accumulate * former.batch.photos} photos, as {checkpoint} was written "
        f"({then} processes)", f"{here * recipe.batch.accumulate * recipe.batch.photos} ({here} processes)", cure,
    )  # fmt: skip
