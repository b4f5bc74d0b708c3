"""Checkpoints that are missing, broken, of another architecture: one clear line each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.errors as hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SamModel

from miras.core.errors import InputError, MirasError, WeightsError
from miras.model.hub import folders
from miras.model.hub.folders import fetched
from miras.segmenters.registry import segmenter_of
from miras.segmenters.source import Place, digest, model_at
from tests.segmenters.conftest import Make


def broken(folder: Path, out: Path, fault: str) -> Path:
    """A copy of a checkpoint with a fault."""
    shutil.copytree(folder, out)
    shard = sorted(out.glob("*.safetensors"))[0]
    if fault == "no config":
        (out / "config.json").unlink()
    elif fault == "config is no JSON":
        (out / "config.json").write_text("{")
    elif fault == "no weights":
        for path in out.glob("*.safetensors*"):
            path.unlink()
    elif fault == "a shard cut off":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif fault == "a shard missing":
        shard.unlink()
    elif fault == "a weight missing":
        state = load_file(shard)
        save_file(dict(list(state.items())[1:]), shard, metadata={"format": "pt"})
    elif fault == "another size":
        config = json.loads((out / "config.json").read_text())
        config["mask_decoder_config"]["mlp_dim"] *= 2
        (out / "config.json").write_text(json.dumps(config))
    elif fault == "no preprocessor":
        for path in out.glob("*processor_config.json"):
            path.unlink()
    return out


@pytest.mark.parametrize("family", ["sam", "sam2"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no config", "a config.json with a model_type"),
        ("config is no JSON", "a config.json with a model_type"),
        ("no weights", "as safetensors, got none; load it once"),
        ("a shard cut off", "weights of Sam"),
        ("a shard missing", "weights of Sam"),
        ("a weight missing", "all weights of Sam"),
        ("another size", "weights of Sam"),
        ("no preprocessor", "a preprocessor_config.json in"),
    ],
)
def test_a_broken_checkpoint(checkpoint: Make, tmp_path: Path, family: str, fault: str, says: str) -> None:
    folder = broken(checkpoint(family), tmp_path / "copy", fault)
    with pytest.raises(WeightsError) as caught:
        segmenter_of(f"{family}:{folder}")
    told = str(caught.value)
    assert says in told and str(folder) in told and "\n" not in told and len(told) < 500


@pytest.mark.parametrize(
    ("spec", "family", "cure"),
    [
        ("sam", "sam2", "it is read by sam2:"), ("sam2", "sam", "it is read by sam:"),
        ("sam3", "sam2", "it is read by sam2:"), ("clipseg", "gdino", "it is read by gdino:"),
        ("sam2", "sam3", "it is read by sam3:"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_family(checkpoint: Make, spec: str, family: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        segmenter_of(f"{spec}:{checkpoint(family)}")
    assert str(caught.value).endswith(cure) and f"behind {spec}:REPO" in str(caught.value)


def test_of_an_architecture_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match=r"got model_type llama in .*; give a checkpoint of that architecture"):
        segmenter_of(f"sam2:{tmp_path}")


def _error(kind: type[Exception]) -> Exception:
    """An error as the hub's library raises it."""
    made = kind.__new__(kind)
    Exception.__init__(made, "the reason\nand more")
    return made


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        (hub.HFValidationError, InputError, "a local folder or a name on the hub"),
        (hub.GatedRepoError, WeightsError, "accept its licence on its page, then log in"),
        (hub.RepositoryNotFoundError, WeightsError, "check the name"),
        (hub.LocalEntryNotFoundError, WeightsError, "the hub is not reached (the reason)"),
        (OSError, WeightsError, "the hub is not reached (the reason)"),
    ],
)
def test_what_the_hub_refuses(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], error: type[MirasError], says: str
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise _error(kind)

    monkeypatch.setattr(folders, "snapshot_download", refuse)
    with pytest.raises(error) as caught:
        fetched("somebody/something")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_network_a_repository_of_the_hub_is_told_in_a_line() -> None:
    """As it really is: tests have no network."""
    with pytest.raises(WeightsError, match="no such folder, and the hub is not reached"):
        segmenter_of("sam2:facebook/sam2.1-hiera-tiny-that-nobody-fetched")


def test_a_repository_of_the_hub_is_read_from_its_cache(
    checkpoint: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the hub's library gives is a folder; pickles are not asked for. The commit stands for the weights."""
    commit = tmp_path / "snapshots" / "0123abcd"
    shutil.copytree(checkpoint("sam2"), commit)
    asked: list[Any] = []

    def give(repo: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo, allow_patterns))
        return str(commit)

    monkeypatch.setattr(folders, "snapshot_download", give)
    segmenter = segmenter_of("sam2:facebook/sam2.1-hiera-tiny")
    assert asked[0][0] == "facebook/sam2.1-hiera-tiny"
    assert not any("bin" in pattern or pattern in ("*", "*.pt") for pattern in asked[0][1])
    assert segmenter.facts() == {
        "segmenter": "sam2:facebook/sam2.1-hiera-tiny", "weights": "0123abcd", "dtype": "torch.float32",
    }  # fmt: skip


def test_weights_are_told_apart(checkpoint: Make, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint("sam"), copy)
    assert digest(copy) == digest(checkpoint("sam"))
    shard = sorted(copy.glob("*.safetensors"))[0]
    state = load_file(shard)
    next(iter(state.values())).view(-1)[0] += 1e-3
    save_file(state, shard, metadata={"format": "pt"})
    assert digest(copy) != digest(checkpoint("sam"))


def test_without_room_it_says_how_much_and_what_to_take(checkpoint: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(SamModel, "to", full)
    with pytest.raises(InputError, match=r"0\.0 GB on cuda for SamModel, got less; choose a smaller checkpoint"):
        model_at(SamModel, checkpoint("sam"), "it", Place(torch.device("cuda")))
