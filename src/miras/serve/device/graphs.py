"""The graphs that a browser may have of our model, and the engine that runs them there.

In: a model that was loaded. Out: which files of its export a browser needs, or why there are none; the engine's files.
Knows no HTTP. The engine is onnxruntime-web (MIT), WebAssembly with SIMD; `deploy/engine.py` brings it into `engine/`.
"""

from __future__ import annotations

import gzip
import json
import lzma
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from miras.chat.load import Loaded, exported
from miras.chat.native.backend import Native
from miras.core.errors import MirasError
from miras.model.runtime.manifest import FORMAT, Manifest, read_manifest

PARTS = ("image", "region", "mask_tokens")
"""What a refinement by hand runs: the towers once a photo, the decoder once a click, the memory of other regions."""
CONFIG = ("detail_size", "semantic_size", "score_calibration")
"""Of the configuration: what surrounds those parts."""
PACKED = ".xz"
ENGINE = Path(str(files("miras"))) / "serve" / "device" / "engine"


@dataclass(frozen=True)
class Graphs:
    """folder: of the export. weights: digest of what was exported. parts: names of the files of each, the graph first.
    config: what a browser has to know of the model."""

    folder: Path
    weights: str
    parts: dict[str, list[str]]
    config: dict[str, Any]

    def path(self, weights: str, name: str) -> Path | None:
        """A file of these weights; None for any other."""
        known = weights == self.weights and any(name in names for names in self.parts.values())
        return self.folder / name if known else None


def graphs_of(loaded: Loaded) -> Graphs:
    """Those of the model that answers here. Raises MirasError with the command that makes them: none were exported, or
    those of other weights."""
    name, model = loaded.name, loaded.model
    manifest = getattr(model, "manifest", None)
    if isinstance(manifest, Manifest):  # it runs on them itself
        return _offered(Path(model.parts.folder), manifest)
    cure = f"where the server runs: miras export onnx --model {name}"
    if model is None:
        raise MirasError("a model in the server's own process", "workers", "its clicks stay on the server")
    if hasattr(model, "open"):
        raise MirasError("a model of ours", "a pair of others", "its clicks stay on the server")
    try:
        folder = exported(name, "onnx")  # of `miras-mini` put together now, where that was not done yet
        assert folder is not None
        manifest = read_manifest(folder)
    except MirasError as error:
        raise MirasError("an exported model", "none on this server", cure) from error
    if manifest.facts.get("weights") != Native(model).facts()["weights"]:
        raise MirasError("an export of the model that answers", "one of other weights", cure)
    return _offered(folder, manifest)


def _offered(folder: Path, manifest: Manifest) -> Graphs:
    """Every part with its graph, and the files of weights that the graph names."""
    beside = [path.name for path in sorted(folder.glob("*.bin"))]
    parts = {}
    for part in PARTS:
        graph = (folder / f"{part}.onnx").read_bytes()
        parts[part] = [f"{part}.onnx", *(name for name in beside if name.encode() in graph)]
    config = {name: manifest.config[name] for name in CONFIG}
    return Graphs(folder, str(manifest.facts["weights"]), parts, {**config, "format": FORMAT})


# The engine


@cache
def engine() -> dict[str, Any]:
    """`engine.json`: version, and the SHA-256 of each file as it is unpacked; empty where no engine is installed."""
    file = ENGINE / "engine.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"version": "", "files": {}}


@cache
def engine_file(name: str, squeezed: bool) -> bytes:
    """A file of the engine, as it is or by gzip. Raises KeyError for another name."""
    _ = engine()["files"][name]
    packed = ENGINE / f"{name}{PACKED}"
    content = lzma.decompress(packed.read_bytes()) if packed.is_file() else (ENGINE / name).read_bytes()
    return gzip.compress(content, 6, mtime=0) if squeezed else content
