"""A file of weights as torch wrote them before 2020 (`torch.save`, no zip), read without torch and without running it.

In: a path. Out: arrays by name. Its pickle may name nothing but tensors of numbers; whatever else is refused. Knows no
model.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_NUMBERS = {"FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Tensor:
    storage: tuple[str, np.dtype[Any]]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Numbers and tensors alone."""
        if module == "torch" and name in _NUMBERS:
            return _NUMBERS[name]
        known = {("collections", "OrderedDict"): OrderedDict, ("torch._utils", "_rebuild_tensor_v2"): _rebuilt}
        if (module, name) not in known:
            raise ValueError(f"a file that wants to run {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """A storage: what is in it comes after the pickle."""
        kind, numbers, key = pid[:3]
        if kind != "storage" or not isinstance(numbers, np.dtype):
            raise ValueError(f"a file with {kind!r} in it")
        return str(key), numbers


def _rebuilt(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def weights(path: Path) -> dict[str, NDArray[Any]]:
    """Raises OSError, and ValueError for a file that is none, or cut off."""
    try:
        with path.open("rb") as file:
            magic, version, _ = (_Reader(file).load() for _ in range(3))
            if (magic, version) != (_MAGIC, _VERSION):
                raise ValueError(f"no weights as torch wrote them: {path}")
            tensors, keys = _Reader(file).load(), _Reader(file).load()
            numbers = {tensor.storage[0]: tensor.storage[1] for tensor in tensors.values()}
            storages = {str(key): _storage(file, numbers[str(key)]) for key in keys}
        return {name: _array(tensor, storages[tensor.storage[0]]) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(f"no weights as torch wrote them: {path} ({error})") from error


def _storage(file: BinaryIO, numbers: np.dtype[Any]) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    content = file.read(count * numbers.itemsize)
    if len(content) < count * numbers.itemsize:
        raise ValueError("a file of weights that is cut off")
    return np.frombuffer(content, numbers)


def _array(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """In order. Raises ValueError for one that reaches past its storage."""
    last = tensor.offset + sum(
        (length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if min(tensor.offset, *tensor.strides, 0) < 0 or (0 not in tensor.shape and last >= len(storage)):
        raise ValueError("a tensor that reaches past what is there")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    found = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(found).reshape(tensor.shape)
