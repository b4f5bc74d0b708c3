"""The exported folder of a model whose graphs ship with the package, made once, without torch.

In: a name, a precision of the language model. Out: a folder in the cache that `OnnxRuntime` opens: the graphs, and
their weights put together by the recipe. It is made beside its place and moved there when it is whole: a second start,
or another process, finds all of it or nothing. Knows no conversation.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from miras.core.errors import WeightsError
from miras.core.files import cache_folder, cache_staging
from miras.model.numeric.halves import packed
from miras.model.runtime.manifest import (
    CONTINUATIONS,
    MANIFEST,
    PRECISIONS,
    SPECIAL,
    TABLE,
    TOKENIZER,
    Manifest,
    following,
    read_manifest,
    sizes,
)
from miras.model.runtime.shipped.recipe import RECIPE, Kitchen, Recipe, read_recipe
from miras.model.runtime.shipped.sources import Sources, digest

GRAPHS = Path(__file__).parents[1] / "graphs"
"""Where they ship, one folder a name."""
WEIGHTS_FOLDER = Path(__file__).parents[3] / "weights"
_SPARE = 20_000_000
"""Bytes of tables and tokenizer, beside the weights."""


def shipped() -> list[str]:
    """Names of the models whose graphs come with the package."""
    return sorted(folder.name for folder in GRAPHS.iterdir() if (folder / RECIPE).is_file())


def is_built(name: str, precision: str) -> bool:
    """Whether its folder was made."""
    return _is_whole(place_of(name, precision))


def place_of(name: str, precision: str, graphs: Path = GRAPHS) -> Path:
    """Where the finished folder lies: another recipe, another place."""
    text = (graphs / name / RECIPE).read_bytes()
    return cache_folder() / "onnx" / f"{name}-{precision}-{hashlib.blake2b(text, digest_size=6).hexdigest()}"


def built(name: str, precision: str, graphs: Path = GRAPHS, weights: Path = WEIGHTS_FOLDER) -> Path:
    """The folder, made now where it is not there or cut off. Raises WeightsError: weights that are not those the graphs
    were drawn from, no room, a package that is missing."""
    place = place_of(name, precision, graphs)
    if _is_whole(place):
        return place
    recipe = read_recipe(graphs / name)
    sources = Sources(weights / name, recipe.alpha, recipe.rank)
    _of_the_same(recipe, sources)
    needed = _SPARE + sum(
        pieces[-1].offset + pieces[-1].length for name, pieces in recipe.files.items() if _own(name, precision)
    )
    staging = cache_staging(place, needed, "a folder for the weights as onnxruntime reads them")
    try:
        print(f"miras: putting {name} together once, about 5 seconds", file=sys.stderr, flush=True)
        _write(staging, graphs / name, recipe, precision, sources)
        if not _is_whole(place):  # another process may have been faster
            shutil.rmtree(place, ignore_errors=True)
            os.replace(staging, place)
    except OSError as error:
        if not _is_whole(place):
            cure = "free some, or set MIRAS_CACHE to another folder"
            raise WeightsError(f"room to write {place}", error.strerror or str(error), cure) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return place


def _is_whole(place: Path) -> bool:
    try:
        read_manifest(place)
    except WeightsError:
        return False
    return True


def _of_the_same(recipe: Recipe, sources: Sources) -> None:
    if (found := digest(sources.own)) != recipe.weights:
        raise WeightsError(
            f"the weights that the graphs were drawn from ({recipe.weights[:12]})",
            f"others in {sources.folder} ({found[:12]})",
            "--runtime torch takes them as they are, make graphs draws anew",
        )  # fmt: skip


def _own(name: str, precision: str) -> str:
    """What a file of the package is called in the finished folder; "" where it belongs to another precision."""
    first, _, rest = name.partition("-")
    if first in PRECISIONS:
        return rest if first == precision else ""
    return name


def _write(out: Path, graphs: Path, recipe: Recipe, precision: str, sources: Sources) -> None:
    kitchen = Kitchen(sources)
    for name, pieces in recipe.files.items():
        if not (own := _own(name, precision)):
            continue
        with (out / own).open("wb") as file:
            for piece in pieces:
                file.write(bytes(piece.offset - file.tell()))
                file.write(kitchen.made(piece).data)
    for graph in graphs.glob("*.onnx"):
        if own := _own(graph.name, precision):
            shutil.copyfile(graph, out / own)
    np.save(out / TABLE, packed(sources.array("language:embed")))
    np.save(out / SPECIAL, sources.array("own:instruction.special"))
    (out / TOKENIZER).write_text(sources.language.tokenizer(), encoding="utf-8")
    rows = json.loads((sources.folder / CONTINUATIONS).read_text(encoding="utf-8"))
    (out / CONTINUATIONS).write_bytes(following({tuple(context): after for context, after in rows}))
    manifest = Manifest(**{**recipe.manifests[precision], "files": sizes(out)})
    (out / MANIFEST).write_text(manifest.text(), encoding="utf-8")
