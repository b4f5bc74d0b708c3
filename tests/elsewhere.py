"""A device that is not there: tensors that say they lie on a GPU, and refuse to meet those on the CPU, as CUDA's do.

In: a block of code under `elsewhere()`. What `.to("cuda")` or `device="cuda"` gives in it computes on the CPU, to the
same bit, but is marked as the other device's; an operation on marked and unmarked tensors raises what CUDA raises.
As there, a CPU tensor may be an index, a single number, or the source of a copy, and nothing else. It needs no GPU and
no build of torch for one. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda", 0)
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
Own = torch.Tensor
MOVES = {Own.to, Own.type_as}
COPIES = {Own.copy_, Own.__setitem__, Own.__getitem__, Own.index_put_, torch.Tensor.set_}
"""Where a tensor of the CPU may stand beside one of the other device: as an index, or to be copied from."""
NUMPY = {Own.numpy, Own.__array__}
AS_IT_IS = {
    Own.requires_grad_, Own.requires_grad.__get__, Own.requires_grad.__set__, Own.grad.__get__, Own.is_leaf.__get__,
    torch._has_compatible_shallow_copy_type,
}  # fmt: skip
"""What asks or changes the tensor itself, not its values."""


class There(torch.Tensor):
    """A tensor that says it lies on `CUDA`."""

    device = CUDA
    is_cuda, is_cpu = True, False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Only `Elsewhere` knows what to do: without it, a marked tensor has left its block."""
        raise RuntimeError(f"{getattr(func, '__name__', func)} of a tensor of elsewhere() outside of it")


class Elsewhere(TorchFunctionMode):
    """Sees every call of torch. met: how many had marked tensors."""

    met = 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            if func in AS_IT_IS:
                return func(*args, **kwargs)
            there, here = _split(args, kwargs)
            self.met += bool(there)
            if there and func in NUMPY:
                raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
            if there and kwargs.get("generator") is not None:
                raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
            if there and here and func not in COPIES | MOVES:
                raise RuntimeError(f"{MIXED} ({getattr(func, '__name__', func)})")
            marked = _goes(func, args, kwargs, bool(there))
            if func in (Own.cuda, Own.cpu):
                func, args, kwargs = Own.clone if bool(there) != marked else Own.detach, args[:1], {}
            if "device" in kwargs or func is Own.to:
                args, kwargs = tree_map(_at_home, (args, kwargs))
            out = func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
            return tree_map(_marked, out) if marked else out


def _split(args: Any, kwargs: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The tensors that lie there, and those of the CPU that are no single number."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    return (
        [one for one in tensors if isinstance(one, There)],
        [one for one in tensors if not isinstance(one, There) and one.dim()],
    )


def _goes(func: Any, args: Any, kwargs: Any, there: bool) -> bool:
    """Whether what comes out lies there."""
    if func is Own.cpu or func is Own.cuda:
        return func is Own.cuda
    if func in MOVES and any(isinstance(one, torch.Tensor) for one in args[1:]):
        return isinstance(args[1], There)
    if func is Own.copy_ or func is Own.__getitem__:
        return isinstance(args[0], There)
    named = [kwargs.get("device"), *(args[1:] if func is Own.to else ())]
    for one in named:
        if isinstance(one, (str, torch.device)):
            return torch.device(one).type == CUDA.type
    return there


def _plain(leaf: Any) -> Any:
    return leaf.as_subclass(torch.Tensor) if isinstance(leaf, There) else leaf


def _at_home(leaf: Any) -> Any:
    if isinstance(leaf, str) and leaf.partition(":")[0] == CUDA.type:
        return "cpu"
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == CUDA.type else leaf


def _marked(leaf: Any) -> Any:
    return leaf.as_subclass(There) if type(leaf) is torch.Tensor or isinstance(leaf, torch.nn.Parameter) else leaf


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """The block in which there is another device."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with Elsewhere() as mode:
            yield mode
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
