"""What lies of a checkpoint on this machine: counted from heads of files, compared with the loaded model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, DynamicCache

from miras.chat.composed.checkpoint import activation_bytes, cache_bytes, checkpoint_of
from tests.chat.composed.checkpoints import qwen3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen3(tmp_path_factory.mktemp("qwen3"))


def test_a_whole_checkpoint_is_counted_as_it_is_loaded(folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder)
    found = checkpoint_of(str(folder))
    count = sum(weight.numel() for weight in model.parameters())
    assert found.missing == () and found.parameters == count and dict(found.stored) == {"F32": count}
    assert (found.weights(None), found.weights("bfloat16"), found.weights("float32")) == (
        4 * count,
        2 * count,
        4 * count,
    )
    config = model.config.text_config
    cache = DynamicCache(config=config)
    states = torch.zeros(1, config.num_key_value_heads, 7, config.head_dim)
    for layer in range(config.num_hidden_layers):
        cache.update(states, states, layer)
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(found.config, 4, tokens=7) == kept
    assert activation_bytes(found.config, 4, tokens=7) == 7 * (6 * 32 + 3 * 48) * 4


@pytest.mark.parametrize(
    ("harm", "missing"),
    [
        (lambda folder: (folder / "config.json").unlink(), ["config.json"]),
        (lambda folder: next(folder.glob("model-00002*")).unlink(), ["(absent or cut off)"]),
        (lambda folder: _cut(next(folder.glob("model-00001*")), 9), ["(absent or cut off)"]),
        (lambda folder: _cut(next(folder.glob("model-00001*")), 10**9), ["(absent or cut off)"]),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), ["preprocessor_config.json or"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["a tokenizer"]),
        (lambda folder: [file.unlink() for file in folder.glob("model*")], ["weights (safetensors)"]),
    ],
)
def test_what_is_missing_is_named(folder: Path, tmp_path: Path, harm, missing: list[str]) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    harm(copy)
    found = checkpoint_of(str(copy))
    assert len(found.missing) == len(missing) and all(a in b for a, b in zip(missing, found.missing, strict=True))


def _cut(file: Path, count: int) -> None:
    file.write_bytes(file.read_bytes()[:-count])


@pytest.mark.parametrize(
    ("repo", "parameters"),
    [("facebook/sam2.1-hiera-large", 224_000_000), ("someone/unknown", None), ("./nowhere", None), ("nowhere", None)],
)
def test_what_is_not_here(repo: str, parameters: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = checkpoint_of(repo)
    assert found.folder is None and found.parameters == parameters and found.config == {}
    assert found.weights("float32") == (None if parameters is None else 4 * parameters)


def test_a_configuration_that_does_not_say() -> None:
    assert cache_bytes({}, 2) is None and activation_bytes({"hidden_size": 8}, 2) is None
