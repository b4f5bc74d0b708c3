"""Several processes under `torchrun`: what the first does alone, and FSDP2 for the language model.

In: a `TrainingModule` in a process group. Out: the same with the layers of its language model shared out by torch's own
`fully_shard` (`accelerate` drops its FSDP2 plugin silently on the CPU), and its state whole for checkpoints. Every
function that says "all processes" must be called by all of them, in the same order. Knows no recipe.

Each pass through a sharded layer is a collective, in both directions. Processes whose batches need more passes than
those of others (own history, probes, new phrases) would wait for ever; here the others pass along, their gradient 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from miras.core.errors import InputError
from miras.train.data.dialogue_batch import DialogueBatch
from miras.train.stages.stage1 import PhraseBatch
from miras.train.stages.training_module import TrainingModule

OPTIMISER = "optimizer.pt"
GRACE = 10.0
"""Seconds in which the first process can say what is wrong; `torchrun` ends all when one ends."""
T = TypeVar("T")


def is_first() -> bool:
    """True in the process that writes and prints; known before the processes have met."""
    return os.environ.get("RANK", "0") == "0"


def are_several() -> bool:
    """True in a process group of more than one."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def agreed(decide: Callable[[], T]) -> T:
    """What `decide` gives or raises in the first process, in all processes (which call this)."""
    if not are_several():
        return decide()
    told: list[Any] = [None, None]
    if is_first():
        try:
            told[0] = decide()
        except InputError as error:
            told[1] = error
    dist.broadcast_object_list(told)
    with said_once():
        if told[1] is not None:
            raise told[1]
    value: T = told[0]
    return value


@contextmanager
def said_once() -> Iterator[None]:
    """Around what fails in all processes alike: an InputError of others than the first becomes a silent end."""
    try:
        yield
    except InputError:
        if is_first():
            raise
        time.sleep(GRACE)
        raise SystemExit(2) from None


@contextmanager
def first_alone() -> Iterator[None]:
    """One process of each machine before the others: what is cached on its disk is written once. All processes."""
    is_one = os.environ.get("LOCAL_RANK", "0") == "0"
    if not is_one:
        wait()
    yield
    if is_one:
        wait()


def wait() -> None:
    """Until all processes are here."""
    if are_several():
        dist.barrier()


def leave() -> None:
    """The process group ends."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def shard(module: TrainingModule, device: torch.device, offload: bool = False) -> None:
    """The layers of the language model are shared out, everything moves to `device`. All processes.

    offload: the shares, their gradients and their optimiser's state stay in the machine's memory; a layer is on the
    device while it computes. Where products are bfloat16, layers are fetched in it and gradients summed in float32.
    Over several machines each machine holds all shards (HSDP). What is not a layer stays whole: most of it is used
    without the `forward` of its module. The layers have a common root, so that each is fetched while the one before
    computes; it is not the language model, whose hidden states `transformers` records by the name of its class, which
    `fully_shard` changes. Raises InputError for a language model without a list of layers.
    """
    instruction = module.model.instruction
    mesh = _mesh(device.type)
    half = torch.bfloat16 if module.is_half else None
    how: dict[str, Any] = {
        "mesh": mesh, "reshard_after_forward": True,
        "mp_policy": MixedPrecisionPolicy(half, torch.float32 if half else None, cast_forward_inputs=False),
        "offload_policy": CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy(),
    }  # fmt: skip
    for layer in _layers(instruction.language_model):
        fully_shard(layer, **how)
    others = {p for p in instruction.parameters() if not isinstance(p.data, DTensor)}
    fully_shard(instruction, mesh=mesh, ignored_params=others)
    _move_whole(module, device)
    with torch.no_grad():
        for value in [*module.parameters(), *module.buffers()]:
            if not isinstance(value.data, DTensor):
                sent = value.data.contiguous()
                dist.broadcast(sent, 0)
                value.data.copy_(sent)
    # Autocast would keep half copies of all layers until the end of a step, and hand on the gradients of several passes
    # as one: then processes with more passes than others wait for ever.
    torch.set_autocast_cache_enabled(False)
    _InStep(module)


def _move_whole(module: nn.Module, device: torch.device) -> None:
    """All but shares, which are where they are to be: `Module.to` would fetch those that are kept in memory."""
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None and not isinstance(parameter.data, DTensor):
                parameter.data = parameter.data.to(device)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)


def is_sharded(module: nn.Module) -> bool:
    """True after `shard`."""
    return any(isinstance(module, FSDPModule) for module in module.modules())


def _layers(language: nn.Module) -> nn.ModuleList:
    layers = getattr(getattr(language, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise InputError("a language model with `model.layers`", type(language).__name__, "parallel=ddp")
    return layers


def _mesh(kind: str) -> DeviceMesh:
    world = dist.get_world_size()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if 1 < here < world and world % here == 0:
        return init_device_mesh(kind, (world // here, here), mesh_dim_names=("machines", "devices"))
    return init_device_mesh(kind, (world,))


class _InStep:
    """Hooks around `TrainingModule.forward` that give every process the same passes through the language model."""

    def __init__(self, module: TrainingModule) -> None:
        self.module = module
        self.is_owing = False
        """Whether another process reads probes and this one does not."""
        module.register_forward_pre_hook(self.before, with_kwargs=True)
        module.register_forward_hook(self.after)

    def before(self, module: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        """Phrases that any process does not know yet are read by all; a drawing of own history is joined."""
        batch: PhraseBatch | DialogueBatch = named["batch"] if "batch" in named else inputs[0]
        with torch.no_grad(), self._precision():
            if isinstance(batch, PhraseBatch):
                known = self.module.states.known
                unknown = [phrase for phrase in batch.phrases + batch.questions if phrase not in known]
                gathered: list[list[str]] = [[] for _ in range(dist.get_world_size())]
                dist.all_gather_object(gathered, unknown)
                if phrases := sorted({phrase for own in gathered for phrase in own}):
                    self.module.states(phrases)
                return
            own = bool(batch.own_C.any()) and len(batch.row_R) > 0
            needed = torch.tensor([own, len(batch.probes.photo_P) > 0], device=_device(self.module)).int()
            anywhere = needed.clone()
            dist.all_reduce(anywhere, dist.ReduceOp.MAX)
            owes_own, self.is_owing = (anywhere > needed).tolist()
            if owes_own:
                self._pass()

    def after(self, module: nn.Module, inputs: Any, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probes come last in a step, and so does what stands for them."""
        if self.is_owing:
            with self._precision():
                parts = parts | {"loss": parts["loss"] + 0.0 * self._pass().sum()}
            self.is_owing = False
        return parts

    def _pass(self) -> Tensor:
        """One token through the language model, with a gradient where real tokens have one."""
        model = self.module.model
        learns = any(
            p.requires_grad for p in [model.instruction.special, *model.image_encoder.parameters()]
        )  # fmt: skip
        embeds_BLD = torch.zeros(1, 1, model.instruction.width, device=_device(self.module))
        last, states = model.instruction(embeds_BLD.requires_grad_(learns and torch.is_grad_enabled()))
        return torch.cat([last, states], -1)

    def _precision(self) -> torch.autocast:
        return torch.autocast(_device(self.module).type, torch.bfloat16, enabled=self.module.is_half)


def _device(module: TrainingModule) -> torch.device:
    return module.model.instruction.special.device


def average_gradients(module: nn.Module) -> None:
    """The mean over processes of the gradients that `fully_shard` does not manage; those that no process has stay None.
    All processes, after the last backward of a step."""
    plain = [p for p in module.parameters() if p.requires_grad and not isinstance(p.data, DTensor)]
    if not plain:
        return
    used = torch.tensor([p.grad is not None for p in plain], device=plain[0].device).int()
    dist.all_reduce(used, dist.ReduceOp.MAX)
    grads = []
    for parameter, is_used in zip(plain, used.tolist(), strict=True):
        if is_used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
    if grads:
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view(grad.shape))


def added(sums: Mapping[str, float]) -> dict[str, float]:
    """Sums over processes; a name that one of them lacks is 0 there. All processes."""
    if not are_several():
        return dict(sums)
    told: list[Mapping[str, float]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(told, dict(sums))
    names = dict.fromkeys(name for one in told for name in one)
    return {name: sum(one.get(name, 0.0) for one in told) for name in names}


def apart(groups: Iterable[dict[str, Any]], module: TrainingModule) -> Iterator[dict[str, Any]]:
    """Parameter groups with what `shard` shares out and what it leaves whole in different ones, whether it is shared
    out here or not: fused steps cannot mix them, and one process can go on with what several began."""
    layers = {id(parameter) for parameter in _layers(module.model.instruction.language_model).parameters()}
    for group in groups:
        for is_shared in (False, True):
            members = [p for p in group["params"] if (id(p) in layers) == is_shared]
            if members:
                yield group | {"params": members}


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Inside, every process holds all layers, and one may read alone. All processes; nothing when not sharded."""
    held = [module for module in module.modules() if isinstance(module, FSDPModule)]
    for module in held:
        module.unshard()
        module.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for module in held:
            module.set_reshard_after_forward(True, recurse=False)
            module.reshard()


def whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """Every tensor whole, on the CPU of the first process; nothing in the others. All processes."""
    found = {}
    for name, value in state.items():
        full = _fetched(value).full_tensor() if isinstance(value, DTensor) else value
        if is_first():
            found[name] = full.detach().cpu() if isinstance(full, Tensor) else full
    return found


def _fetched(value: DTensor) -> DTensor:
    """On the device of its mesh, where its shares lie in memory: NCCL moves nothing else."""
    local, kind = value.to_local(), value.device_mesh.device_type
    return value if local.device.type == kind else _of_shares(local.to(kind), value)


def _of_shares(local: Tensor, other: DTensor) -> DTensor:
    return DTensor.from_local(
        local, other.device_mesh, other.placements, run_check=False, shape=other.shape, stride=other.stride()
    )


def like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor shared out as `other` is; itself where that is whole."""
    if not isinstance(other, DTensor):
        return value
    mesh, device = other.device_mesh, other.to_local().device
    made = distribute_tensor(value.to(mesh.device_type), mesh, other.placements, src_data_rank=None)
    return made if device.type == mesh.device_type else _of_shares(made.to_local().to(device), made)


def load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Whole tensors, the same in all processes, into a model, sharded or not."""
    own = model.state_dict()
    model.load_state_dict(
        {name: like(value, own[name]) if name in own else value for name, value in state.items()}, strict=False
    )


def save_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """The whole state, written by the first process. All processes."""
    state = optimizer.state_dict()
    state["state"] = {number: whole(values) for number, values in state["state"].items()}
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / OPTIMISER)


def load_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """What `save_optimizer` wrote. All processes read it."""
    saved = torch.load(folder / OPTIMISER, map_location="cpu", weights_only=True, mmap=True)
    members = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in saved["state"].items():
        parameter = members[number].data
        saved["state"][number] = {
            name: like(value, parameter) if value.shape == parameter.shape else value
            for name, value in values.items()
        }  # fmt: skip
    getattr(optimizer, "optimizer", optimizer).load_state_dict(saved)


def save_pretrained(module: TrainingModule, folder: Path) -> None:
    """`Miras.save_pretrained` of a sharded model, written by the first process. All processes."""
    state = whole(module.model.own_state_dict())
    if is_first():
        module.model.own_state_dict = lambda: state  # type: ignore[method-assign]
        try:
            module.model.save_pretrained(folder)
        finally:
            del module.model.own_state_dict
