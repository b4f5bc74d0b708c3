"""What a conversation needs of our model, in numpy: `networks` is torch, `onnx` is onnxruntime.

In: photos, token ids, masks, states. Out: logits, states, masks, float32. What was computed of a photo and what was
read of a conversation is handed back as it came, whatever it is made of. Knows no conversation.
L new tokens, V ids, E = layers * D, S span tokens, R masks, K mask tokens, D language width, N mentions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from miras.core.grammar import Encoder
from miras.core.types import Box, Mask
from miras.model.numeric.prediction import MaskPrediction
from miras.model.numeric.views import Floats

FACTS = ("language", "template", "image_tokens", "mask_tokens", "max_tokens", "weights_version")
"""Of the configuration: what the ids and masks of a session depend on."""


class Settings(Protocol):
    """Of a configuration (`model.config`), what a conversation asks for."""

    template: str
    max_tokens: int
    mask_tokens: int
    reads: bool
    points: bool
    complements: bool
    least_score: float | None
    unsure_below: float


class Cache(Protocol):
    """What the language model has read, token by token."""

    def __len__(self) -> int:
        """Tokens."""
        ...

    def fork(self) -> Cache:
        """An independent one with the same content."""
        ...

    def crop(self, length: int) -> None:
        """Keep the first tokens."""
        ...

    def keep(self, first: int, rows: Sequence[int]) -> None:
        """Keep the first tokens, and of those after them only `rows`, counted from `first`, in order."""
        ...


class Runtime:
    """Our model, ready to answer.

    config: its settings. grammar: writes conversations as its ids. continuations: what follows what in its replies.
    recalls: whether it can point. model: what it was made of.
    """

    config: Any
    grammar: Encoder
    continuations: Mapping[tuple[int, ...], Sequence[tuple[int, float]]]
    recalls: bool
    model: Any

    def facts(self) -> dict[str, Any]:
        """What the ids and masks of a session depend on: `FACTS`, and a digest of the weights."""
        raise NotImplementedError

    def encode(self, photo: NDArray[np.uint8]) -> Any:
        """Features of a photo (H, W, 3) uint8 RGB."""
        raise NotImplementedError

    def tags(self, features: Any) -> tuple[str, ...]:
        """What the photo seems to show, by name, the likeliest first."""
        raise NotImplementedError

    def cache(self) -> Cache:
        """An empty one."""
        raise NotImplementedError

    def read(
        self, ids: Sequence[int], cache: Cache, features: Any = None, slots: Sequence[Floats] = (), predicted: int = 1,
        parents: Sequence[int] = (),
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Run new ids; the cache is extended. Returns logits (predicted, V) after the last ones and states (L, E) after
        each. features: where the photo's place is among the ids. slots: mask tokens (K, D) in reading order. parents:
        of the last ids, when they are a tree of guesses (`numeric.tree`). Raises InputError where slots do not fit."""
        raise NotImplementedError

    def misread(self, ids: Sequence[int]) -> int | None:
        """See `Miras.misread`."""
        return None

    def mask_tokens(self, features: Any, masks_RHW: NDArray[np.bool_]) -> Floats:
        """(R, K, D) of masks of the photo."""
        raise NotImplementedError

    def point(
        self, words_SE: Floats, spans_NSE: Floats, real_NS: NDArray[np.bool_], slots_NE: Floats, tokens_NKD: Floats,
        first_N: Sequence[int], newest_N: Sequence[int],
    ) -> Floats:  # fmt: skip
        """How well each mention fits what a name means again, (N,): `model.pointer`."""
        raise NotImplementedError

    def presence(self, features: Any, span_SE: Floats) -> float:
        """Logit that the photo shows what a span names."""
        raise NotImplementedError

    def verdict(self, presence: float, refusal: float) -> float:
        """Probability that a thing is to be selected, not refused (`numeric.chances`)."""
        raise NotImplementedError

    def segment(
        self, features: Any, span_SE: Floats | None, memory_MD: Floats | None = None, previous: Mask | None = None,
        points: Floats | None = None, box: Box | None = None, naming: float = 0.0,
    ) -> MaskPrediction:  # fmt: skip
        """The mask of one region: see `Miras.segment`."""
        raise NotImplementedError
