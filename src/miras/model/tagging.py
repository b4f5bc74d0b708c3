"""Tags: what a photo seems to show, by name, before anything is asked.

In: features of the towers, pooled over the photo. Out: the likeliest names. A logistic regression on each name (a
linear probe), fitted by `train.stages.tagging`. Source: image tags as guidance of a language model, Tag2Text
(Huang et al. 2023). B photos, F pooled features, T names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from miras.model.numeric.tags import named


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

    def chances(self, pooled_F: Tensor) -> NDArray[np.float32]:
        """Of each name, for one photo, (T,) in 0..1."""
        found: NDArray[np.float32] = self(pooled_F[None])[0].sigmoid().detach().cpu().numpy()
        return found

    def tags(self, pooled_F: Tensor) -> tuple[str, ...]:
        """The names of a photo that are likely, the likeliest first."""
        return named(self.chances(pooled_F), self.names, np.zeros(0, np.float32))


def tags(pooled_F: Tensor, chance_K: Tensor, tagger: Tagger | None) -> tuple[str, ...]:
    """Names by a tagger, then those of ImageNet's classes that are likely. chance_K: 0..1 for each; may be empty."""
    fitted = np.zeros(0, np.float32) if tagger is None else tagger.chances(pooled_F)
    return named(fitted, () if tagger is None else tagger.names, chance_K.detach().float().cpu().numpy())
