"""A model as a folder that onnxruntime runs: its parts, its table of embeddings, what is said of it.

In: a `Miras` in float32 that only answers. Out: files, and `miras-onnx.json` last, so that a folder without it is not
whole. int8: the language model's matrices in 8 bits, in blocks of 32 (MatMulNBits). Knows no conversation.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.model.export.language import language_graph
from miras.model.export.parts import parts
from miras.model.language.llama import AnsweringLlama
from miras.model.language.tokenizers import HubTokenizer
from miras.model.miras import Miras
from miras.model.runtime.manifest import (
    CONTINUATIONS,
    LANGUAGE,
    MANIFEST,
    SETTINGS,
    SPECIAL,
    TABLE,
    TOKENIZER,
    Manifest,
)
from miras.model.runtime.networks import TorchRuntime
from miras.model.runtime.onnx import packed

BLOCK = 32
"""Values that share a scale in int8."""


def export(model: Miras, folder: Path, int8: bool = False) -> Manifest:
    """Write all parts. model: on the CPU, its language model answering in float32. Raises InputError for what cannot be
    exported, and where a package is missing."""
    _needed()
    if model.config.paper_bugs:
        raise InputError("a model without paper_bugs", "one that makes a new layer at every call", "use torch for it")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    language = language_graph(model.instruction)
    _save(_eight_bits(language) if int8 else language, folder, LANGUAGE)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # an operator of its own, which no other engine has
    try:
        for name, part in parts(model).items():
            _save(part.traced(), folder, name)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    np.save(folder / TABLE, packed(model.instruction.table.weight.detach().float().numpy()))
    np.save(folder / SPECIAL, model.instruction.special.detach().float().numpy())
    rows = sorted([list(context), following] for context, following in model.continuations.items())
    write_whole(folder / CONTINUATIONS, json.dumps(rows, separators=(",", ":")).encode())
    if isinstance(model.tokenizer, HubTokenizer):
        model.tokenizer.tokenizer.save(str(folder / TOKENIZER))
    manifest = _manifest(model, folder, int8)
    write_whole(folder / MANIFEST, manifest.text().encode())
    return manifest


def _manifest(model: Miras, folder: Path, int8: bool) -> Manifest:
    language = model.instruction.language
    assert isinstance(language, AnsweringLlama)
    decoder: Any = language.module.decoder
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    return Manifest(
        config={name: getattr(model.config, name) for name in SETTINGS}, facts=TorchRuntime(model).facts(),
        vocabulary=model.instruction.vocab_size, row=(len(decoder.layers), 2 * decoder.keys, decoder.width),
        verdict=tuple(model.alignment.verdict.tolist()),
        usual=0 if model.instances is None else len(model.instances.usual),
        language="int8" if int8 else "float32", files=files,
    )  # fmt: skip


def _save(graph: Any, folder: Path, name: str) -> None:
    """A graph, its weights beside it where they are large. What lay there is taken away first: weights are appended."""
    import onnx

    data = folder / f"{name}.bin"
    data.unlink(missing_ok=True)
    large = graph.ByteSize() > 2**27
    onnx.save_model(
        graph, folder / f"{name}.onnx", save_as_external_data=large, location=data.name, size_threshold=1024
    )
    if large:
        data.chmod(0o644)


def _eight_bits(graph: Any) -> Any:
    """The matrices of a graph in 8 bits."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    quantizer = MatMulNBitsQuantizer(graph, bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    return quantizer.model.model


def _needed() -> None:
    """Raises InputError without the packages that write graphs."""
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise InputError("the packages onnx and onnxscript", str(error), "pip install 'miras[export]'") from error
    assert onnx and onnxscript
