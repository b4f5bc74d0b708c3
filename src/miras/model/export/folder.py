"""A model as a folder that onnxruntime runs: its parts, its table of embeddings, what is said of it.

In: a `Miras` in float32 that only answers. Out: files, and `miras-onnx.json` last, so that a folder without it is not
whole. int8: the language model's matrices in 8 bits, in blocks of 32 (MatMulNBits). Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.model.export.language import Where, language_graph
from miras.model.export.origin import Finder
from miras.model.export.parts import parts
from miras.model.export.store import Store
from miras.model.language.llama import AnsweringLlama
from miras.model.language.tokenizers import HubTokenizer
from miras.model.miras import Miras
from miras.model.numeric.halves import packed
from miras.model.runtime.manifest import (
    CONTINUATIONS,
    LANGUAGE,
    LANGUAGE_WEIGHTS,
    MANIFEST,
    SETTINGS,
    SPECIAL,
    TABLE,
    TOKENIZER,
    WEIGHTS,
    Manifest,
    following,
    sizes,
)
from miras.model.runtime.networks import TorchRuntime
from miras.model.runtime.shipped.sources import Sources


def export(model: Miras, folder: Path, int8: bool = False, sources: Sources | None = None) -> Manifest:
    """Write all parts. model: on the CPU, its language model answering in float32. sources: the files that its weights
    lie in, where they are such as ship (`runtime.shipped`): the same bytes come out of both ways. Raises InputError for
    what cannot be exported, and where a package is missing."""
    checked(model)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    with Store(folder / LANGUAGE_WEIGHTS) as store:
        language(model, store, folder / f"{LANGUAGE}.onnx", int8, sources)
    finder = None if sources is None else Finder(sources)
    with Store(folder / WEIGHTS) as store:
        for name, graph in traced(model):
            save(graph, store, folder / f"{name}.onnx", finder)
    np.save(folder / TABLE, packed(model.instruction.table.weight.detach().float().numpy()))
    np.save(folder / SPECIAL, model.instruction.special.detach().float().numpy())
    write_whole(folder / CONTINUATIONS, following(model.continuations))
    if sources is not None:
        write_whole(folder / TOKENIZER, sources.language.tokenizer().encode())
    elif isinstance(model.tokenizer, HubTokenizer):
        model.tokenizer.tokenizer.save(str(folder / TOKENIZER))
    manifest = said(model, int8, sizes(folder))
    write_whole(folder / MANIFEST, manifest.text().encode())
    return manifest


def checked(model: Miras) -> None:
    """Raises InputError for a model that cannot be exported, and without the packages that write graphs."""
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise InputError("the packages onnx and onnxscript", str(error), "pip install 'miras[export]'") from error
    assert onnx and onnxscript
    if model.config.paper_bugs:
        raise InputError("a model without paper_bugs", "one that makes a new layer at every call", "use torch for it")


def language(model: Miras, store: Store, file: Path, int8: bool, sources: Sources | None) -> dict[str, Where]:
    """Write the language model's graph; sources of its weights, by the names of the store."""
    graph, where = language_graph(model.instruction, int8, None if sources is None else sources.array)
    inline = frozenset() if sources is None else frozenset(one.name for one in graph.graph.initializer) - where.keys()
    store.take(graph, inline)
    file.write_bytes(graph.SerializeToString(deterministic=True))
    return where


def traced(model: Miras) -> Iterator[tuple[str, Any]]:
    """The graphs of the other parts, by name."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # an operator of its own, which no other engine has
    try:
        for name, part in parts(model).items():
            yield name, part.traced()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def save(graph: Any, store: Store, file: Path, finder: Finder | None) -> None:
    """Write a graph, its large weights into the store; where there is a finder only those that it finds."""
    store.take(graph, frozenset() if finder is None else finder.strangers(graph))
    file.write_bytes(graph.SerializeToString(deterministic=True))


def said(model: Miras, int8: bool, files: dict[str, int]) -> Manifest:
    """What an exported model says of itself."""
    language = model.instruction.language
    assert isinstance(language, AnsweringLlama)
    decoder: Any = language.module.decoder
    return Manifest(
        config={name: getattr(model.config, name) for name in SETTINGS}, facts=TorchRuntime(model).facts(),
        vocabulary=model.instruction.vocab_size, row=(len(decoder.layers), 2 * decoder.keys, decoder.width),
        verdict=tuple(model.alignment.verdict.tolist()),
        usual=0 if model.instances is None else len(model.instances.usual),
        language="int8" if int8 else "float32", files=files,
    )  # fmt: skip
