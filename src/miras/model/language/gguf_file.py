"""A GGUF file, read without a library: its values, and its tensors as float32.

In: a path. Out: values by key, tensors by name. Format: version 3 of GGUF, little endian; numbers as F32, F16, Q8_0 and
Q4_1 (blocks of 32 values). The package `gguf` takes six seconds to open the same file. Knows no model.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9
_KINDS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}
"""Number of a kind -> its name, values in a block, bytes of a block."""


@dataclass(frozen=True)
class _Place:
    kind: int
    shape: tuple[int, ...]
    offset: int


class GgufFile:
    """Raises OSError for a file that is not there, ValueError for one that is none, is cut off or of another kind."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0
        self.values: dict[str, Any] = {}
        self._places: dict[str, _Place] = {}
        try:
            magic, version, tensors, values = (self._scalar(form) for form in ("<I", "<I", "<Q", "<Q"))
            if (magic, version) != (0x46554747, 3):
                raise ValueError(f"no GGUF of version 3: {path}")
            for _ in range(values):
                key = self._text()
                self.values[key] = self._value(self._scalar("<I"))
            for _ in range(tensors):
                name = self._text()
                shape = tuple(self._scalar("<Q") for _ in range(self._scalar("<I")))[::-1]
                self._places[name] = _Place(self._scalar("<I"), shape, self._scalar("<Q"))
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise ValueError(f"a GGUF that is cut off or damaged: {path}") from error
        step = int(self.values.get("general.alignment", 32))
        self._first = -(-self._at // step) * step

    @property
    def names(self) -> tuple[str, ...]:
        """Of its tensors."""
        return tuple(self._places)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Rows first. Raises KeyError for an unknown name."""
        place = self._places[name]
        if place.kind not in _KINDS:
            raise ValueError(f"a tensor of kind {place.kind}: {name}")
        kind, values, size = _KINDS[place.kind]
        count = prod(place.shape) // values
        start = self._first + place.offset
        if start + count * size > len(self._data):
            raise ValueError(f"a GGUF that is cut off at {name}")
        raw = np.frombuffer(self._data, np.uint8, count * size, start).reshape(count, size)
        return _floats(kind, raw).reshape(place.shape)

    def _scalar(self, form: str) -> Any:
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _text(self) -> str:
        length = self._scalar("<Q")
        start, self._at = self._at, self._at + length
        return self._data[start : self._at].decode()

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            inner, count = self._scalar("<I"), self._scalar("<Q")
            return [self._value(inner) for _ in range(count)]
        return self._scalar(_SCALARS[kind])


def _floats(kind: str, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Blocks (n, bytes) as values: scale * number, for Q4_1 plus the least value of the block."""
    if kind in ("F32", "F16"):
        return raw.view(np.float32 if kind == "F32" else np.float16).astype(np.float32)
    scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return scale * raw[:, 2:].view(np.int8).astype(np.float32)
    least = raw[:, 2:4].copy().view(np.float16).astype(np.float32)
    halves = raw[:, 4:]
    return scale * np.concatenate([halves & 15, halves >> 4], 1).astype(np.float32) + least
