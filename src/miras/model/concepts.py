"""Words in the space of an ImageNet classifier: where a photo shows what a phrase names, by what the classifier knows.

In: the language model's states of a phrase, the classifier's features of a photo. Out: a vector for the phrase, which
stands beside the rows of the classifier's last layer, its map over the photo, and facts about whether it is there. A
linear map of low rank, fitted to the names of the classes (`train.stages.imagenet`), then trained. Sources: DeViSE
(Frome et al. 2013) for the map from words, CAM (Zhou et al. 2016) for the map over the photo.
R phrases, S span tokens, E = layers * D, F features of the classifier, h w cells, N = h * w + 1 (the whole photo last).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RANK = 128
"""Of the map: 98 of 100 parts of the AUC of the full one."""
STRONGEST = 3
"""Cells whose mean counts as the strongest evidence."""
FACTS = 3
"""What `Concepts.facts` gives for each phrase."""


class Concepts(nn.Module):
    """From the states of a phrase to the classifier's space. centre_E: mean of the states it was fitted on."""

    centre_E: Tensor

    def __init__(self, states: int, layers: int, features: int) -> None:
        """states: E. layers: how many hidden layers they hold. features: F."""
        super().__init__()
        self.layers = layers
        self.register_buffer("centre_E", torch.zeros(states))
        self.down = nn.Linear(states, RANK, bias=False)
        self.up = nn.Linear(RANK, features, bias=False)
        self.mix = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.shift = nn.Parameter(torch.tensor(-2.0))

    def read(self, span_RSE: Tensor, words_RS: Tensor) -> Tensor:
        """Phrases as points (R, E): of each layer the mean over the words, of the last one the last word's state, each
        of unit length. words_RS: True from `[OBJ]` to `[SEG]`, which do not count; a row without any gives zeros."""
        count = words_RS.sum(1, keepdim=True)
        at = torch.arange(words_RS.shape[1], device=words_RS.device)[None]
        inner = words_RS & ((count < 3) | ((at > 0) & (at < count - 1)))
        weight = inner.float() / inner.sum(1, keepdim=True).clamp_min(1)
        states = span_RSE.float().unflatten(-1, (self.layers, -1))
        means = torch.einsum("rsld,rs->rld", states[:, :, :-1], weight)
        last = torch.where(inner, at, -1).amax(1).clamp_min(0)
        end = states[torch.arange(len(states), device=states.device), last, -1]
        parts = F.normalize(torch.cat([means, end[:, None]], 1), dim=-1)
        return (parts.flatten(1) - self.centre_E) * words_RS.any(1, keepdim=True)

    def forward(self, span_RSE: Tensor, words_RS: Tensor) -> Tensor:
        """(R, F) float32: the phrases in the classifier's space."""
        with torch.autocast(span_RSE.device.type, enabled=False):
            return self.up(self.down(self.read(span_RSE, words_RS)))

    def logits(self, vector_RF: Tensor, cells_RFhw: Tensor, rivals_RN: Tensor) -> Tensor:
        """(R, h, w): whether a cell shows what the phrase names. rivals: what all classes together reach there."""
        with torch.autocast(vector_RF.device.type, enabled=False):
            heat = torch.einsum("rfhw,rf->rhw", cells_RFhw.float(), vector_RF)
            standing = heat - rivals_RN[:, :-1].float().view_as(heat)
            return self.mix[0] * heat + self.mix[1] * standing + self.shift

    def facts(self, vector_RF: Tensor, cells_BFhw: Tensor, rivals_BN: Tensor, photo_R: Tensor) -> Tensor:
        """(R, FACTS) about phrase r on photo photo_R: the strongest cells, the mean, the standing among the classes."""
        with torch.autocast(vector_RF.device.type, enabled=False):
            every = torch.einsum("bfn,rf->brn", cells_BFhw.float().flatten(2), vector_RF)
            heat = every[photo_R, torch.arange(len(photo_R), device=photo_R.device)]
            best = heat.topk(min(STRONGEST, heat.shape[1]), -1).values.mean(-1)
            mean = heat.mean(-1)
            return torch.stack([best, mean, mean - rivals_BN[photo_R, -1].float()], 1) / 8
