"""Tags: what a photo seems to show, by name, before anything is asked.

In: features of the towers, pooled over the photo. Out: the likeliest names. A logistic regression on each name (a
linear probe), fitted by `train.stages.tagging`. Source: image tags as guidance of a language model, Tag2Text
(Huang et al. 2023). B photos, F pooled features, T names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from miras.model.concepts import classes

MOST = 12
"""Tags of a photo."""
LEAST = 0.1
"""Probability below which a name is no tag."""
CLASS_MOST, CLASS_LEAST = 4, 0.15
"""The same for the classes of ImageNet."""


class Tagger(nn.Module):
    """Logits of names. Its weights are no parameters: they are fitted, not trained."""

    weight_TF: Tensor
    bias_T: Tensor

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("weight_TF", torch.zeros(len(self.names), width))
        self.register_buffer("bias_T", torch.zeros(len(self.names)))

    def forward(self, pooled_BF: Tensor) -> Tensor:
        """(B, T) float32."""
        with torch.autocast(pooled_BF.device.type, enabled=False):
            return pooled_BF.float() @ self.weight_TF.float().T + self.bias_T.float()

    def tags(self, pooled_F: Tensor) -> tuple[str, ...]:
        """The names of a photo that have a probability of LEAST or more, the likeliest first, at most MOST."""
        chances = self(pooled_F[None])[0].sigmoid()
        best = chances.topk(min(MOST, len(self.names)))
        return tuple(
            self.names[index]
            for chance, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if chance >= LEAST
        )


def tags(pooled_F: Tensor, chance_K: Tensor, tagger: Tagger | None) -> tuple[str, ...]:
    """Names by a tagger, then those of ImageNet's classes that are likely. chance_K: 0..1 for each; may be empty."""
    fitted = () if tagger is None else tagger.tags(pooled_F)
    known = classes().names
    likely = _likely(chance_K, known) if len(chance_K) == len(known) else ()
    return (*fitted, *(name for name in likely if name not in fitted))


def _likely(chance_K: Tensor, names: Sequence[str]) -> tuple[str, ...]:
    best = chance_K.topk(CLASS_MOST)
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return tuple(dict.fromkeys(names[index] for chance, index in pairs if chance >= CLASS_LEAST))
