"""Our model as onnxruntime computes it, for conversations: without torch.

In: a folder that `miras export onnx` wrote. In and out: see `Runtime`. Knows no conversation.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError, WeightsError
from miras.core.grammar import IMAGE, MASK, Encoder, TextTokenizer
from miras.core.types import Box, Mask
from miras.model.language.bpe import BpeTokenizer
from miras.model.language.tokenizers import ByteTokenizer, HubTokenizer
from miras.model.numeric.chances import verdict
from miras.model.numeric.drawn import drawn
from miras.model.numeric.halves import float32
from miras.model.numeric.prediction import MaskPrediction, prompt_points
from miras.model.numeric.tags import named
from miras.model.numeric.tree import tree_attention
from miras.model.numeric.views import Floats, cells, view
from miras.model.runtime.base import Cache, Runtime
from miras.model.runtime.manifest import (
    CONTINUATIONS,
    EXPORT,
    LANGUAGE,
    SPECIAL,
    TABLE,
    TOKENIZER,
    Manifest,
    read_manifest,
)
from miras.model.runtime.rows import RowCache

Features = Mapping[str, Any]


class Parts:
    """The graphs of a folder, each opened when it is first run. threads: None for onnxruntime's choice."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.folder, self.threads = folder, threads
        self._open: dict[str, Any] = {}
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """Whether there is such a part."""
        return (self.folder / f"{name}.onnx").is_file()

    def opened(self, name: str) -> Any:
        """An `InferenceSession`. Raises WeightsError for a file that is none."""
        with self._lock:
            if name not in self._open:
                self._open[name] = self._session(self.folder / f"{name}.onnx")
            return self._open[name]

    def run(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a part gives, by name; of what is given it takes what it knows."""
        session = self.opened(name)
        taken = {one.name: given[one.name] for one in session.get_inputs()}
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, taken), strict=True))

    def _session(self, file: Path) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        try:
            return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has classes of its own for each reason
            line = " ".join(str(error).split())[:200]
            raise WeightsError(f"a graph that onnxruntime runs in {file}", line, EXPORT.format(file.parent)) from error


class OnnxRuntime(Runtime):
    """Raises WeightsError for a folder of another version, or one that was cut off."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.manifest: Manifest = read_manifest(folder)
        self.model = self
        self.parts = Parts(folder, threads)
        self.config = SimpleNamespace(**self.manifest.config)
        self.grammar = Encoder(
            _tokenizer(folder), self.config.image_tokens, self.config.mask_tokens, self.config.points,
            self.config.complements, self.manifest.vocabulary,
        )  # fmt: skip
        rows = json.loads((folder / CONTINUATIONS).read_text(encoding="utf-8"))
        self.continuations = {tuple(context): tuple(map(tuple, following)) for context, following in rows}
        self.recalls = self.parts.has("point")
        self._table = np.load(folder / TABLE, mmap_mode="r")
        self._special: Floats = np.load(folder / SPECIAL)

    def facts(self) -> dict[str, Any]:
        """Those of the model that was exported."""
        return dict(self.manifest.facts)

    def encode(self, photo: NDArray[np.uint8]) -> Features:
        """By both towers."""
        views = {name: view(photo, getattr(self.config, f"{name}_size"))[None] for name in ("detail", "semantic")}
        return {**self.parts.run("image", views), "size": (photo.shape[0], photo.shape[1])}

    def tags(self, features: Features) -> tuple[str, ...]:
        """By what the towers saw."""
        none = np.zeros(0, np.float32)
        return named(features.get("tags", none), self.config.tags, features.get("chance", none))

    def cache(self) -> RowCache:
        """An empty one."""
        return RowCache(tuple(self.manifest.row))

    def read(
        self, ids: Sequence[int], cache: Cache, features: Features | None = None, slots: Sequence[Floats] = (),
        predicted: int = 1, parents: Sequence[int] = (),
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """One pass."""
        assert isinstance(cache, RowCache)
        positions, visible = tree_attention(len(cache), len(ids), parents)
        made = self.parts.run(LANGUAGE, {
            "embeds": self._embeds(ids, features, slots), "past": cache.rows, "positions": positions[None],
            "bias": np.where(visible, np.float32(0), np.float32(-np.inf)), "predicted": np.array([predicted], np.int64),
        })  # fmt: skip
        cache.append(made["new"])
        return made["logits"], made["states"]

    def mask_tokens(self, features: Features, masks_RHW: NDArray[np.bool_]) -> Floats:
        """By the mask encoder."""
        shown = cells(masks_RHW, self.config.detail_size // 4)
        tokens: Floats = self.parts.run("mask_tokens", {**features, "masks": shown})["tokens"]
        return tokens

    def point(
        self, words_SE: Floats, spans_NSE: Floats, real_NS: NDArray[np.bool_], slots_NE: Floats, tokens_NKD: Floats,
        first_N: Sequence[int], newest_N: Sequence[int],
    ) -> Floats:  # fmt: skip
        """By the pointer."""
        given = {
            "words": words_SE, "spans": spans_NSE, "real": real_NS, "slots": slots_NE, "tokens": tokens_NKD,
            "first": np.array(first_N, np.int64), "newest": np.array(newest_N, np.int64),
        }  # fmt: skip
        scores: Floats = self.parts.run("point", given)["scores"]
        return scores

    def presence(self, features: Features, span_SE: Floats) -> float:
        """By the words and the pixels."""
        return float(self.parts.run("presence", {**features, "span": span_SE})["presence"][0])

    def verdict(self, presence: float, refusal: float) -> float:
        """By the refusal calibration."""
        return verdict(self.manifest.verdict, presence, refusal)

    def segment(
        self, features: Features, span_SE: Floats | None, memory_MD: Floats | None = None,
        previous: Mask | None = None, points: Floats | None = None, box: Box | None = None, naming: float = 0.0,
    ) -> MaskPrediction:  # fmt: skip
        """One pass of alignment and decoder."""
        side, shape = self.config.detail_size // 4, self._special.shape[1]
        span = np.zeros((1, self._states), np.float32) if span_SE is None else span_SE
        shown = np.zeros((1, 1, side, side), np.float32) if previous is None else cells(previous[None], side)
        made = self.parts.run("region", {
            **features, "span": span, "words": np.full(len(span), span_SE is not None),
            "memory": np.zeros((0, shape), np.float32) if memory_MD is None else memory_MD, "shown": shown,
            "has_mask": np.array([previous is not None and bool(previous.any())]),
            "points": prompt_points(points, box, features["size"]),
        })  # fmt: skip
        meant = None
        if span_SE is not None and self.parts.has("meant"):
            words = np.ascontiguousarray(span_SE[1:-1, : self.manifest.usual])

            def meant(facts: Floats) -> Floats:
                none = np.zeros(len(facts), np.float32)
                return self.parts.run("meant", {"words": words, "facts": facts})["logits"] if len(words) else none

        calibration = self.config.score_calibration
        return drawn(made["logits"], made["iou"], calibration, naming, points, box, meant)

    # Within

    @property
    def _states(self) -> int:
        return int(self.parts.opened(LANGUAGE).get_outputs()[1].shape[1])

    def _embeds(self, ids: Sequence[int], features: Features | None, slots: Sequence[Floats]) -> Floats:
        """(L, D), slots filled in reading order. Raises InputError where they differ in number."""
        numbers, first = np.asarray(ids, np.int64), self.manifest.vocabulary
        plain = numbers < first
        embeds = np.empty((len(numbers), self._special.shape[1]), np.float32)
        embeds[plain] = float32(self._table[numbers[plain]])
        embeds[~plain] = self._special[numbers[~plain] - first]
        for token, rows in ((IMAGE, [] if features is None else [features["visual"]]), (MASK, list(slots))):
            places = np.flatnonzero(numbers == self.grammar.id(token))
            given = sum(len(one) for one in rows)
            if len(places) != given:
                cure = "encode and fill one by the other"
                raise InputError(f"{len(places)} tokens for the {token} slots", str(given), cure)
            if given:
                embeds[places] = np.concatenate(rows)
        return embeds


def _tokenizer(folder: Path) -> TextTokenizer:
    """That of the folder; bytes without one."""
    if not (folder / TOKENIZER).is_file():
        return ByteTokenizer()
    try:
        text = (folder / TOKENIZER).read_text(encoding="utf-8")
        return BpeTokenizer.of(text) or _of_library(text)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"a tokenizer in {folder}", str(error)[:200], EXPORT.format(folder)) from error


def _of_library(text: str) -> TextTokenizer:
    """A tokenizer of another form, by the library, which a plain install lacks. Raises ValueError."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise InputError("the package tokenizers for this tokenizer", "none", "pip install tokenizers") from error
    try:
        return HubTokenizer(Tokenizer.from_str(text))
    except Exception as error:  # the only class that `tokenizers` raises
        raise ValueError(str(error)) from error
