"""Where the weights of a traced graph come from: found by their values among those of the files they lie in.

In: graphs, `Sources`. Out: for each large weight of a graph the weight of a file that has the same bytes, as it is,
with its axes turned round, or with a batch norm folded in. What is in no file (grids, sums of weights) stays in
the graph. Knows no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.model.export.language import Where
from miras.model.runtime.shipped.sources import NORMED, NORMS, Sources


class Finder:
    """An index of all weights of the sources but the language model's."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known: dict[str, Where] = {}
        for source in self._names():
            value = sources.array(source)
            self._known.setdefault(_key(value), Where(source))
            if value.ndim == 2:
                self._known.setdefault(_key(value.T), Where(source, transposed=True))

    def where(self, value: NDArray[Any]) -> Where | None:
        """The weight of a file with these bytes."""
        return self._known.get(_key(value))

    def strangers(self, graph: Any) -> frozenset[str]:
        """Names of a graph's weights that are in no file."""
        from onnx import numpy_helper

        return frozenset(
            weight.name for weight in graph.graph.initializer if self.where(numpy_helper.to_array(weight)) is None
        )

    def _names(self) -> Iterator[str]:
        for kind, known in (("own", self._sources.own), ("published", self._sources.published)):
            for name, value in known.items():
                if not np.issubdtype(value.dtype, np.floating) or "lora_" in name:
                    continue
                yield f"{kind}:{name}"
                convolution, _, part = name.rpartition(".")
                if part == "weight" and convolution.rpartition(".")[2] in NORMS:
                    yield f"{kind}:{name}{NORMED}"
                    yield f"{kind}:{convolution}.bias{NORMED}"


def _key(value: NDArray[Any]) -> str:
    """Of values in their order, whatever the shape."""
    whole = np.ascontiguousarray(value)
    return hashlib.blake2b(str(whole.dtype).encode() + whole.reshape(-1).view(np.uint8).data).hexdigest()
