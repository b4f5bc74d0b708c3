"""Our model as torch computes it, for conversations.

In and out: see `Runtime`. Numpy at this edge, tensors on the model's device within. Knows no conversation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from miras.core.types import Box, Mask
from miras.model.miras import Miras
from miras.model.numeric.prediction import MaskPrediction
from miras.model.numeric.views import Floats
from miras.model.runtime.base import FACTS, Cache, Runtime
from miras.model.saved import digest
from miras.model.visual_encoders import ImageFeatures


class TorchCache:
    """A cache of `transformers`, whose layers are never written in place."""

    def __init__(self, tensors: DynamicCache) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return int(self.tensors.get_seq_length())

    def fork(self) -> TorchCache:
        """Tensors are shared."""
        twin = copy.copy(self.tensors)
        twin.layers = [copy.copy(layer) for layer in self.tensors.layers]
        return TorchCache(twin)

    def crop(self, length: int) -> None:
        """Keep the first tokens."""
        if (more := len(self) - length) > 0:
            self.tensors.crop(-more)

    def keep(self, first: int, rows: Sequence[int]) -> None:
        """By index: new tensors."""
        kept = torch.tensor([*range(first), *(first + row for row in rows)])
        for layer in cast(list[DynamicLayer], self.tensors.layers):
            assert layer.keys is not None and layer.values is not None
            kept = kept.to(layer.keys.device)
            layer.keys, layer.values = layer.keys[:, :, kept], layer.values[:, :, kept]


class TorchRuntime(Runtime):
    """model: on its device. It may still learn: nothing of it is kept."""

    def __init__(self, model: Miras) -> None:
        self.model: Miras = model
        self.config, self.grammar = model.config, model.grammar
        self.recalls = bool(model.config.points)

    @property
    def continuations(self) -> Any:  # type: ignore[override]
        """Those of the model now."""
        return self.model.continuations

    def facts(self) -> dict[str, Any]:
        """The digest of a model that may still learn is made anew."""
        known = {name: getattr(self.config, name) for name in FACTS}
        return {**known, "weights": self.model.weights or digest(self.model.saved_state())}

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> ImageFeatures:
        """By both towers."""
        return self.model.encode_image([photo])

    @torch.inference_mode()
    def tags(self, features: ImageFeatures) -> tuple[str, ...]:
        """See `Miras.tags`."""
        return self.model.tags(features, 0)

    def cache(self) -> Any:
        """An empty one; one of fixed size is its own."""
        made: Any = self.model.instruction.language.cache()
        return TorchCache(made) if isinstance(made, DynamicCache) else made

    @torch.inference_mode()
    def read(
        self, ids: Sequence[int], cache: Cache, features: ImageFeatures | None = None, slots: Sequence[Floats] = (),
        predicted: int = 1, parents: Sequence[int] = (),
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """One pass."""
        tensors: Any = cache.tensors  # type: ignore[attr-defined]
        embeds = self.embedded(ids, features, slots)
        said = self.model.comprehend(embeds, tensors, predicted=predicted, parents=parents)
        return _array(said.logits_BLV[0]), _array(said.hidden_BLE[0])

    @torch.inference_mode()
    def embedded(self, ids: Sequence[int], features: ImageFeatures | None, slots: Sequence[Floats]) -> Tensor:
        """(1, L, D). See `read`."""
        ids_BL = torch.tensor([[*ids]], dtype=torch.long, device=self.model.device)
        filled = self._given(np.concatenate(slots)) if len(slots) else None
        return self.model.embed(ids_BL, None if features is None else features.visual_BND, filled)

    def misread(self, ids: Sequence[int]) -> int | None:
        """See `Miras.misread`."""
        return self.model.misread(ids)

    @torch.inference_mode()
    def mask_tokens(self, features: ImageFeatures, masks_RHW: NDArray[np.bool_]) -> Floats:
        """By the mask encoder."""
        return _array(self.model.mask_tokens(features, 0, masks_RHW))

    @torch.inference_mode()
    def point(
        self, words_SE: Floats, spans_NSE: Floats, real_NS: NDArray[np.bool_], slots_NE: Floats, tokens_NKD: Floats,
        first_N: Sequence[int], newest_N: Sequence[int],
    ) -> Floats:  # fmt: skip
        """By the pointer."""
        assert self.model.pointer is not None
        device = self.model.device
        scores_QN = self.model.pointer(
            self._given(words_SE)[None], torch.ones(1, len(words_SE), dtype=torch.bool, device=device),
            self._given(spans_NSE), torch.from_numpy(real_NS).to(device), self._given(slots_NE),
            self._given(tokens_NKD), torch.tensor([first_N], device=device), torch.tensor([newest_N], device=device),
        )  # fmt: skip
        return _array(scores_QN[0])

    @torch.inference_mode()
    def presence(self, features: ImageFeatures, span_SE: Floats) -> float:
        """See `Miras.presence`."""
        return self.model.presence(features, 0, self._given(span_SE))

    def verdict(self, presence: float, refusal: float) -> float:
        """See `Miras.verdict`."""
        return self.model.verdict(presence, refusal)

    @torch.inference_mode()
    def segment(
        self, features: ImageFeatures, span_SE: Floats | None, memory_MD: Floats | None = None,
        previous: Mask | None = None, points: Floats | None = None, box: Box | None = None, naming: float = 0.0,
    ) -> MaskPrediction:  # fmt: skip
        """See `Miras.segment`."""
        span = None if span_SE is None else self._given(span_SE)
        memory = None if memory_MD is None else self._given(memory_MD)
        return self.model.segment(features, 0, span, memory, previous, points, box, naming)

    def _given(self, value: Floats) -> Tensor:
        """Where the model is."""
        return torch.from_numpy(value).to(self.model.device)


def _array(value: Tensor) -> Floats:
    """As float32 on the CPU."""
    array: Floats = value.float().cpu().numpy()
    return array
