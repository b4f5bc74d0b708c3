"""The weights of graphs in files beside them, one after the other, equal ones once.

In: `onnx` models. Out: models that name places in files, and what lies there. Small weights stay in the graph. Knows no
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

LEAST = 1024
"""Bytes from which a weight lies in a file."""
STEP = 64
"""Each begins at a multiple of this."""


@dataclass(frozen=True)
class Kept:
    """A weight's place. name: of the first that was equal."""

    name: str
    offset: int
    value: NDArray[Any]


class Store:
    """A file of weights, open while graphs are put into it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.kept: dict[str, Kept] = {}
        self._out: BinaryIO = file.open("wb")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def take(self, graph: Any, inline: frozenset[str] = frozenset()) -> None:
        """Move a model's large weights here, but those that are named. What else is in it that no engine asks for is
        taken away."""
        from onnx import TensorProto, numpy_helper

        del graph.graph.value_info[:]
        for node in graph.graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for weight in graph.graph.initializer:
            del weight.metadata_props[:]
            value = numpy_helper.to_array(weight)
            if value.nbytes < LEAST or weight.name in inline:
                continue
            place = self._placed(weight.name, value)
            weight.ClearField("raw_data")
            weight.ClearField("float_data")
            weight.ClearField("int64_data")
            weight.data_location = TensorProto.EXTERNAL
            del weight.external_data[:]
            said = (("location", self.file.name), ("offset", place.offset), ("length", value.nbytes))
            for key, told in said:
                entry = weight.external_data.add()
                entry.key, entry.value = key, str(told)

    def _placed(self, name: str, value: NDArray[Any]) -> Kept:
        whole = np.ascontiguousarray(value)
        key = hashlib.blake2b(str(value.dtype).encode() + whole.reshape(-1).view(np.uint8).data).hexdigest()
        if key not in self.kept:
            self._out.write(bytes(-self._out.tell() % STEP))
            self.kept[key] = Kept(name, self._out.tell(), whole)
            self._out.write(whole.data)
        return self.kept[key]

    def __iter__(self) -> Iterator[Kept]:
        return iter(self.kept.values())
