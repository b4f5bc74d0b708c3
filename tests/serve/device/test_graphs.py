"""Which files a browser gets, and what is said where there are none; the engine is that of the page's packages."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from miras.chat.load import Loaded
from miras.chat.native.backend import Native
from miras.core.errors import MirasError
from miras.model.miras import Miras
from miras.model.runtime import manifest
from miras.model.runtime.manifest import Manifest
from miras.serve.device.graphs import engine, engine_file, graphs_of

WEB = Path(__file__).resolve().parents[3] / "web"


def exported(folder: Path, weights: str) -> Manifest:
    """A folder as an export leaves it, its graphs a few bytes; one has its weights beside it."""
    folder.mkdir(parents=True)
    content = {"image.onnx": b"graph image.bin", "image.bin": b"weights", "language.onnx": b"language.bin",
               "language.bin": b"words", "region.onnx": b"graph", "mask_tokens.onnx": b"graph"}  # fmt: skip
    for name, value in content.items():
        (folder / name).write_bytes(value)
    config: dict[str, Any] = dict.fromkeys(manifest.SETTINGS)
    files = {name: len(value) for name, value in content.items()}
    made = Manifest(config, {"weights": weights}, 10, (1, 2, 3), (0.0,), 0, "float32", files)
    (folder / manifest.MANIFEST).write_text(made.text())
    return made


@pytest.mark.parametrize("mine", [True, False])
def test_an_export_of_the_model_that_answers(
    model: Miras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: bool
) -> None:
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path))
    loaded = Loaded(model, "small", 0.0)
    with pytest.raises(
        MirasError, match="got none on this server; where the server runs: miras export onnx --model small"
    ):
        graphs_of(loaded)
    weights = Native(model).facts()["weights"] if mine else "other"
    exported(manifest.default_folder("small"), weights)
    if not mine:
        with pytest.raises(MirasError, match=r"got one of other weights; .* miras export onnx --model small"):
            graphs_of(loaded)
        return
    found = graphs_of(loaded)
    assert found.parts == {
        "image": ["image.onnx", "image.bin"], "region": ["region.onnx"], "mask_tokens": ["mask_tokens.onnx"]
    }  # fmt: skip
    image = found.path(weights, "image.bin")
    assert image is not None and image.read_bytes() == b"weights"
    for other in ((weights, "language.onnx"), ("other", "image.onnx"), (weights, "../secret")):
        assert found.path(*other) is None


def test_a_model_that_runs_on_its_graphs(tmp_path: Path) -> None:
    made = exported(tmp_path / "here", "mine")
    runs = SimpleNamespace(manifest=made, parts=SimpleNamespace(folder=tmp_path / "here"))
    assert graphs_of(Loaded(runs, "any", 0.0)).weights == "mine"
    with pytest.raises(MirasError, match="a pair of others"):
        graphs_of(Loaded(SimpleNamespace(open=print), "composed", 0.0))


def test_the_engine_is_that_of_the_lock() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text())
    assert engine()["version"] == lock["packages"]["node_modules/onnxruntime-web"]["version"]
    for file, told in (
        ("deploy/sbom.py", "onnxruntime-web@{}"),
        ("src/miras/assets/LICENSES.md", "onnxruntime-web {}"),
    ):
        assert told.format(engine()["version"]) in (WEB.parent / file).read_text(encoding="utf-8")
    for name, digest in engine()["files"].items():
        plain, squeezed = (engine_file(name, squeezed) for squeezed in (False, True))
        assert hashlib.sha256(plain).hexdigest() == digest
        assert gzip.decompress(squeezed) == plain
