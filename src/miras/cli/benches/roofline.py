"""The least time that a piece of work can take on a machine: its roofline.

In: work in torch, the machine's rates, the weights. Out: operations, bytes and seconds. Each product or convolution
takes at least its operations by the rate of its precision, or the weights (and, in attention, keys and values) that it
reads by the bandwidth, whichever is more; all else counts as nothing. What onnxruntime runs is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from miras.cli.benches.machine import Rates
from miras.model.language.llama import LlamaDecoder

ATTENTION = "_scaled_dot_product"
"""What operators of attention are called."""


@dataclass
class Least:
    """What was counted. seconds: the least for it all."""

    operations: float = 0.0
    size: float = 0.0
    seconds: float = 0.0
    by_dtype: dict[str, float] = field(default_factory=dict)

    def beside(self, seconds: float, share: int = 1) -> dict[str, Any]:
        """A measured time with the least that it could be. share: of so many things this was, when one is meant."""
        limit = self.seconds / share
        return {
            "seconds": round(seconds, 4), "megabytes": round(self.size / 1e6, 1),
            "giga_operations": round(self.operations / share / 1e9, 2), "limit_seconds": round(limit, 5),
            "times_the_limit": round(seconds / limit, 2) if limit else None,
        }  # fmt: skip


class _Counter(TorchDispatchMode):
    """Sees every operator of torch while it is entered."""

    def __init__(self, rates: Rates, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found, self._rates = Least(), rates
        self._weights = {weight.untyped_storage().data_ptr() for weight in weights}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", None)
        if packet is None:  # an operator of a higher order
            return func(*args, **kwargs)
        name = packet.__name__
        if packet not in flop_registry and not name.startswith(ATTENTION):
            with self:  # a linear layer is the product that it is made of
                made = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if made is NotImplemented else made
        out = func(*args, **kwargs)
        if name.startswith(ATTENTION) and not name.endswith("backward"):
            query, key, value = args[:3]
            operations, size = 4.0 * query.numel() * key.shape[-2], key.nbytes + value.nbytes
        else:
            counted = flop_registry.get(packet)
            operations = float(counted(*args, **kwargs, out_val=out)) if counted else 0.0
            size = sum(one.nbytes for one in args if self._is_weight(one))
        self._add(operations, size, str(args[0].dtype).removeprefix("torch."))
        return out

    def _is_weight(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self._weights

    def _add(self, operations: float, size: float, dtype: str) -> None:
        self.found.operations += operations
        self.found.size += size
        self.found.seconds += max(operations / self._rates.of(dtype), size / self._rates.bandwidth)
        self.found.by_dtype[dtype] = self.found.by_dtype.get(dtype, 0.0) + operations


def least(work: Callable[[], object], rates: Rates, model: Any = None) -> Least:
    """Of `work`, which is run once. model: whose weights count as bytes that are read."""
    counter = _Counter(rates, () if model is None else weights(model))
    with counter:
        work()
    return counter.found


def weights(model: Any) -> Iterator[Tensor]:
    """Parameters and buffers, and what a Llama that answers holds beside them."""
    yield from model.parameters()
    yield from model.buffers()
    for part in model.modules():
        if isinstance(part, LlamaDecoder):
            yield from (value for layer in part.layers for value in vars(layer).values())


def size(model: Any) -> int:
    """Bytes of all weights, each once."""
    return sum({weight.data_ptr(): weight.nbytes for weight in weights(model)}.values())
