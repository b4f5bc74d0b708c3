"""What was named before and is meant again: a pointer over the regions of a conversation.

In: the language model's states where a thing is meant again (`[OBJ] ... [REF]`) and where regions were mentioned
(`[OBJ] ... [SEG]` and the last mask slot after it), and mask tokens. Out: for each region how well it fits. A scaled
dot product of query and key, plus the likeness of the words with a weight of its own: at first that alone counts, so
the same words point to the same region before anything is learnt. Source: pointer networks (Vinyals et al. 2015); the
words are compared as in BERTScore (Zhang et al. 2020). Knows no session and no list of words.
Q places that point, N mentions, S tokens of a span, E = layers * D, K mask tokens, P pointer width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 128
RANKS = 8
"""How many regions are told apart by their order, from the first and from the newest; further ones are alike."""
LIKENESS = 12.0
"""What the likeness of the words, 0..1, weighs at first."""


class Pointer(nn.Module):
    """Scores of mentions. `usual` (D,): the mean of the language model's embeddings, which no word is known by."""

    usual: Tensor

    def __init__(self, language_width: int, layers: int, usual_D: Tensor) -> None:
        super().__init__()
        self.language_width = language_width
        self.layer_norms = nn.ModuleList(nn.LayerNorm(language_width) for _ in range(layers))
        self.layer_weight = nn.Parameter(torch.zeros(layers))
        self.mask_norm = nn.LayerNorm(language_width)
        self.query = nn.Linear(2 * language_width, WIDTH)
        self.key = nn.Linear(3 * language_width, WIDTH)
        self.first = nn.Embedding(RANKS, WIDTH)
        self.newest = nn.Embedding(RANKS, WIDTH)
        self.likeness = nn.Parameter(torch.tensor(LIKENESS))
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)
        self.register_buffer("usual", usual_D.clone())

    def forward(
        self,
        asked_QSE: Tensor, asked_QS: Tensor,
        span_NSE: Tensor, span_NS: Tensor, slot_NE: Tensor, tokens_NKD: Tensor,
        first_QN: Tensor, newest_QN: Tensor,
    ) -> Tensor:  # fmt: skip
        """Scores (Q, N).

        asked, span: states from `[OBJ]` to the token that ends the name, right-padded; their masks are True at real
        tokens. slot: states at the last mask slot of each mention; tokens: its mask tokens. first, newest: the place
        of the mention's region among those that can be pointed at, from 0, in the order they were first named, and
        from the one mentioned last.
        """
        query_QP = self.query(torch.cat(self._named(asked_QSE, asked_QS), -1))
        mean_ND, _ = self._named(span_NSE, span_NS)
        tokens_ND = self.mask_norm(tokens_NKD.mean(1).to(mean_ND.dtype))
        key_NP = self.key(torch.cat([mean_ND, self._mix(slot_NE), tokens_ND], -1))
        scale = WIDTH**-0.5
        fit_QN = query_QP @ key_NP.T
        for table, rank_QN in ((self.first, first_QN), (self.newest, newest_QN)):
            fit_QN = fit_QN + (query_QP @ table.weight.T).gather(1, rank_QN.clamp_max(RANKS - 1))
        return scale * fit_QN.float() + self.likeness * self.alike(asked_QSE, asked_QS, span_NSE, span_NS)

    def alike(self, asked_QSE: Tensor, asked_QS: Tensor, span_NSE: Tensor, span_NS: Tensor) -> Tensor:
        """How alike the words are (Q, N), up to 1 for the same words in any order."""
        words_QSD, inside_QS = self._words(asked_QSE, asked_QS)
        words_NSD, inside_NS = self._words(span_NSE, span_NS)
        cosine = torch.einsum("qsd,ntd->qnst", words_QSD, words_NSD)
        there = inside_QS[:, None, :, None] & inside_NS[None, :, None, :]
        cosine = cosine.masked_fill(~there, -1.0)
        found_QN = _mean(cosine.amax(3), inside_QS[:, None])
        covered_QN = _mean(cosine.amax(2), inside_NS[None])
        return (found_QN + covered_QN) / 2

    def _named(self, span_NSE: Tensor, span_NS: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of a span's mixed states, and the state of its last token; (N, D) each."""
        mixed = self._mix(span_NSE)
        rows = torch.arange(len(mixed), device=mixed.device)
        weight = span_NS[..., None].to(mixed.dtype)
        mean = (mixed * weight).sum(1) / weight.sum(1).clamp_min(1)
        return mean, mixed[rows, span_NS.sum(1).sub(1).clamp_min(0)]

    def _mix(self, states: Tensor) -> Tensor:
        """Learned mixture of the hidden layers, (..., E) -> (..., D)."""
        layers = states.unflatten(-1, (-1, self.language_width)).unbind(-2)
        weight = self.layer_weight.softmax(0)
        return torch.stack(
            [norm(layer) * weight[i] for i, (norm, layer) in enumerate(zip(self.layer_norms, layers, strict=True))]
        ).sum(0)

    def _words(self, span_NSE: Tensor, span_NS: Tensor) -> tuple[Tensor, Tensor]:
        """Words by the first layer that is read, of unit length (N, S, D), and which are real: neither `[OBJ]` nor the
        token that ends the name."""
        words = span_NSE[..., : self.language_width].float() - self.usual.float()
        place = torch.arange(span_NS.shape[1], device=span_NS.device)
        inside = span_NS & (place > 0) & (place < span_NS.sum(1, keepdim=True) - 1)
        return F.normalize(words, dim=-1), inside


def by_region(scores_QN: Tensor, may_QN: Tensor, region_N: Tensor, wanted_Q: Tensor) -> Tensor:
    """Log probability (Q,) of pointing at region wanted_Q; a region's mentions add up. may_QN: which count."""
    scores_QN = scores_QN.float().masked_fill(~may_QN, -torch.inf)
    right_QN = scores_QN.masked_fill(region_N[None] != wanted_Q[:, None], -torch.inf)
    return right_QN.logsumexp(1) - scores_QN.logsumexp(1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    mask = mask.to(values.dtype)
    return (values * mask).sum(-1) / mask.sum(-1).clamp_min(1)
