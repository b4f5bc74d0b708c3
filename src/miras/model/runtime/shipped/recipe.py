"""How the files of weights that a graph names are put together: which bytes come from which weight.

In: a recipe, as JSON beside the graphs. Out: its pieces, and the bytes of each. Knows no files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import WeightsError
from miras.model.numeric.halves import eight_bits
from miras.model.runtime.shipped.sources import Sources

FORMAT = 1
RECIPE = "recipe.json"
VALUES, SCALES = "values", "scales"
"""What a matrix in blocks of 8 bits is made of (`numeric.halves`)."""


@dataclass(frozen=True)
class Piece:
    """Bytes of a file. source: a weight, see `Sources`. transposed: its axes are turned round. blocks: "", or which
    half of it in 8 bits."""

    offset: int
    length: int
    source: str
    transposed: bool = False
    blocks: str = ""


@dataclass(frozen=True)
class Recipe:
    """weights: digest of the folder it was drawn from. alpha, rank: of its LoRA. manifests: by the precision of the
    language model, what the finished folder says of itself, without its files. files: by name, in their order; those of
    a precision begin with it and a dash."""

    weights: str
    alpha: float
    rank: int
    manifests: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, Sequence[Piece]]

    def text(self) -> str:
        """As JSON, a line for each piece."""
        files = {name: [list(astuple(piece)) for piece in pieces] for name, pieces in self.files.items()}
        head = {"format": FORMAT, "weights": self.weights, "alpha": self.alpha, "rank": self.rank}
        whole = json.dumps({**head, "manifests": self.manifests, "files": files}, ensure_ascii=False)
        return whole.replace("], [", "],\n[") + "\n"


def read_recipe(folder: Path) -> Recipe:
    """Raises WeightsError where it is missing or of another version."""
    try:
        values = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
        if (found := values.pop("format")) != FORMAT:
            raise ValueError(f"format {found!r}")
        files = {name: tuple(Piece(*piece) for piece in pieces) for name, pieces in values.pop("files").items()}
        return Recipe(files=files, **values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"graphs in {folder}", str(error)[:200], "install miras again, they ship with it") from error


class Kitchen:
    """Makes the bytes of pieces; what was last made stays, for its other half comes next."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._last: tuple[str, dict[str, NDArray[Any]]] = ("", {})

    def made(self, piece: Piece) -> NDArray[Any]:
        """Raises WeightsError where a weight is not as long as the recipe says."""
        found = self._array(piece)
        if found.nbytes != piece.length:
            expected = f"{piece.length} bytes of {piece.source}"
            raise WeightsError(expected, str(found.nbytes), "install miras again, weights and graphs ship together")
        return found

    def _array(self, piece: Piece) -> NDArray[Any]:
        if not piece.blocks:
            whole = self.sources.array(piece.source)
            return np.ascontiguousarray(whole.T if piece.transposed else whole)
        if self._last[0] != piece.source:
            values, scales = eight_bits(self.sources.array(piece.source))
            self._last = piece.source, {VALUES: values, SCALES: scales}
        return self._last[1][piece.blocks]
