"""The graphs that ship with the package: an exported model without its weights, and the recipe for them.

In: a `Miras` in float32 that only answers, the files that its weights lie in. Out: `*.onnx` and `recipe.json`, 3 MB;
`runtime.shipped` makes an exported folder of them, without torch, byte by byte that of `export.folder`. Knows no
conversation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from miras.core.files import write_whole
from miras.model.export.folder import checked, language, said, save, traced
from miras.model.export.language import Where
from miras.model.export.origin import Finder
from miras.model.export.store import Kept, Store
from miras.model.miras import Miras
from miras.model.runtime.manifest import LANGUAGE, LANGUAGE_WEIGHTS, PRECISIONS, WEIGHTS
from miras.model.runtime.shipped.recipe import RECIPE, Piece, Recipe
from miras.model.runtime.shipped.sources import Sources, digest


def write_graphs(model: Miras, sources: Sources, out: Path) -> Recipe:
    """Write all graphs and the recipe into a folder; graphs that were there are taken away first."""
    checked(model)
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("*.onnx"), out / RECIPE]:
        old.unlink(missing_ok=True)
    files: dict[str, list[Piece]] = {}
    finder = Finder(sources)
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            with Store(Path(folder) / LANGUAGE_WEIGHTS) as store:
                graph = out / f"{precision}-{LANGUAGE}.onnx"
                where = language(model, store, graph, precision == "int8", sources)
                files[f"{precision}-{LANGUAGE_WEIGHTS}"] = _pieces(store, (where[kept.name] for kept in store))
        with Store(Path(folder) / WEIGHTS) as store:
            for name, traced_graph in traced(model):
                save(traced_graph, store, out / f"{name}.onnx", finder)
            files[WEIGHTS] = _pieces(store, (finder.where(kept.value) for kept in store))
    manifests = {precision: asdict(said(model, precision == "int8", {})) for precision in PRECISIONS}
    config = model.config
    recipe = Recipe(digest(sources.own), config.lora_alpha, config.lora_rank, manifests, files)
    write_whole(out / RECIPE, recipe.text().encode())
    return recipe


def _pieces(store: Iterable[Kept], where: Iterable[Where | None]) -> list[Piece]:
    """Of a file of weights; each has a source, for the others stay in the graph."""
    return [
        Piece(kept.offset, kept.value.nbytes, found.source, found.transposed, found.blocks)
        for kept, found in zip(store, where, strict=True)
        if found is not None
    ]
