"""Checkpoints that each process writes its own share of, and gradients whose norm goes over all shares.

In: tensors, sharded or whole, by name; a folder that all machines see. Out: the same in any number of processes, one
included, through `torch.distributed.checkpoint`, which shares them out anew. No process holds all of a shared tensor.
"All processes" in a docstring: see `sharding`. Knows no recipe and no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import filesystem, state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from miras.core.errors import InputError

SHARDS = "shards"
"""The folder inside a checkpoint."""
MODEL, AVERAGE, OPTIMISER = "model", "average", "optimiser"
"""How the names of the parts begin."""


def state_of(
    model: Mapping[str, Tensor], average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """All that a checkpoint holds, by flat names; of the optimiser what it has, by the number of the parameter."""
    found = {f"{MODEL}.{name}": value for name, value in model.items()}
    found |= {f"{AVERAGE}.{name}": value for name, value in average.items()}
    for number, parameter in enumerate(members(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"{OPTIMISER}.{number}.{key}"] = value
    return {name: value.detach() for name, value in found.items()}


def save(state: Mapping[str, Tensor], folder: Path) -> None:
    """Into FOLDER/shards. All processes."""
    state_dict_saver.save(dict(state), checkpoint_id=folder / SHARDS, no_dist=not _are_several())


def load(
    folder: Path, model: Mapping[str, Tensor], average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None
) -> dict[str, Tensor]:
    """What `save` wrote, shared out as the tensors given are. All processes. Raises InputError for shards that are not
    whole, or of other parameters."""
    known = sizes(folder)
    wanted = {f"{MODEL}.{name}": torch.empty_like(value) for name, value in model.items()}
    wanted |= {f"{AVERAGE}.{name}": torch.empty_like(value) for name, value in average.items()}
    for number, parameter in enumerate(members(optimizer)) if optimizer is not None else ():
        begin = f"{OPTIMISER}.{number}."
        for name in (name for name in known if name.startswith(begin)):
            is_like = known[name] == parameter.shape
            wanted[name] = torch.empty_like(parameter.data) if is_like else torch.empty(known[name])
    unlike = [name for name, value in wanted.items() if known.get(name) != value.shape]
    if unlike:
        got = f"{len(unlike)} others ({', '.join(unlike[:2])})"
        raise InputError(
            f"the weights of this recipe in {folder / SHARDS}", got, "resume with the recipe it began with"
        )
    _read(wanted, folder)
    return wanted


def whole_state(folder: Path, part: str = MODEL) -> dict[str, Tensor]:
    """Whole tensors of a part of a checkpoint, read by this process alone."""
    begin = f"{part}."
    found = {name: torch.empty(size) for name, size in sizes(folder).items() if name.startswith(begin)}
    _read(found, folder, alone=True)
    return {name.removeprefix(begin): value for name, value in found.items()}


def part_of(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Of what `load` gave, by the names that were given to it."""
    begin = f"{part}."
    return {name.removeprefix(begin): value for name, value in state.items() if name.startswith(begin)}


def fill(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """The state of the optimiser as `load` gave it; learning rates are the scheduler's."""
    for number, parameter in enumerate(members(optimizer)):
        begin = f"{OPTIMISER}.{number}."
        held = {name.removeprefix(begin): value for name, value in state.items() if name.startswith(begin)}
        if held:
            optimizer.state[parameter] = held


def sizes(folder: Path) -> dict[str, torch.Size]:
    """Name -> shape of the tensors of a checkpoint. Raises InputError where it is not whole."""
    try:
        metadata = filesystem.FileSystemReader(folder / SHARDS).read_metadata().state_dict_metadata
    except (OSError, EOFError, ValueError) as error:
        cure = "go on from an earlier checkpoint: take this one away"
        raise InputError(f"whole shards in {folder / SHARDS}", str(error).splitlines()[0], cure) from error
    return {name: value.size for name, value in metadata.items() if isinstance(value, TensorStorageMetadata)}


def members(optimizer: torch.optim.Optimizer) -> Iterator[torch.nn.Parameter]:
    """Its parameters, in order."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def clip(parameters: Iterable[torch.nn.Parameter], most: float, device: torch.device) -> Tensor:
    """Scale gradients so that their norm is at most `most`; returns the norm before. Shares may lie in the machine's
    memory, whole gradients on `device`: of a share only its sum of squares travels. All processes."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    shares = [grad for grad in grads if isinstance(grad, DTensor)]
    total = _squares([grad for grad in grads if not isinstance(grad, DTensor)], device)
    if shares:
        ours = _squares([grad.to_local() for grad in shares], device)
        mesh = shares[0].device_mesh
        dist.all_reduce(ours, group=mesh.get_group(mesh.ndim - 1))  # the machines of HSDP hold the same
        total = total + ours
    norm = total.sqrt()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for grad in grads:
        held = grad.to_local() if isinstance(grad, DTensor) else grad
        held.mul_(scale.to(held.device))
    return norm


def _squares(grads: list[Tensor], device: torch.device) -> Tensor:
    sums = [grad.float().square().sum().to(device) for grad in grads]
    return torch.stack(sums).sum() if sums else torch.zeros((), device=device)


def _read(wanted: dict[str, Tensor], folder: Path, *, alone: bool = False) -> None:
    try:
        state_dict_loader.load(wanted, checkpoint_id=folder / SHARDS, no_dist=alone or not _are_several())
    except (OSError, EOFError, RuntimeError, CheckpointException) as error:
        said = str(error).strip().splitlines()[-1]
        cure = "go on from an earlier checkpoint: take this one away"
        raise InputError(f"whole shards in {folder / SHARDS}", said, cure) from error


def _are_several() -> bool:
    return dist.is_available() and dist.is_initialized()
