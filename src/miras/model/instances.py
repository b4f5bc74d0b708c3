"""Which of the separate pieces of a mask are meant: "the left shoe" of two shoes, all of "the shoes".

In: what each piece of a mask is known by (`model.numeric.pieces`), and the words. Out: a logit that it is meant.
What a piece is known by is where it lies, how large it is and the order of the pieces in both; the words are those of
the language model's first layer, which are the same in every conversation. Fitted from masks alone, without a photo
(`train.calibrate.instances`). Knows no list of words. Two things that touch are one piece, and stay one.
N pieces, S words, F facts, D language width.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from miras.model.numeric.pieces import FACTS

WIDTH = 64
LONGEST = 24
"""Words of a phrase that are read."""


class InstanceSelector(nn.Module):
    """Logits that a piece is meant. `usual` (D,): the mean of the language model's embeddings."""

    usual: Tensor

    def __init__(self, usual_D: Tensor) -> None:
        super().__init__()
        width = len(usual_D)
        self.words_in = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WIDTH))
        self.place = nn.Parameter(torch.randn(LONGEST, WIDTH) * 0.02)
        self.read = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.1, F.gelu, batch_first=True, norm_first=True)
        self.facts_in = nn.Linear(FACTS, WIDTH)
        self.fit = nn.Sequential(nn.Linear(3 * WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.1), nn.Linear(WIDTH, 1))
        self.register_buffer("usual", usual_D.clone())

    def forward(self, words_RSD: Tensor, words_RS: Tensor, facts_RNF: Tensor) -> Tensor:
        """(R, N). words: of the first layer, right-padded, without `[OBJ]` and `[SEG]`; words_RS: True at real ones."""
        words_RSD, words_RS = words_RSD[:, :LONGEST].float(), words_RS[:, :LONGEST]
        read = self.words_in(words_RSD - self.usual.float()) + self.place[: words_RSD.shape[1]]
        read = self.read(read, src_key_padding_mask=~words_RS)
        weight = words_RS[..., None].float()
        said = (read * weight).sum(1) / weight.sum(1).clamp_min(1)
        seen = F.gelu(self.facts_in(facts_RNF))
        said = said[:, None].expand_as(seen)
        return self.fit(torch.cat([said, seen, said * seen], -1))[..., 0]

    @torch.no_grad()
    def meant(self, facts_NF: NDArray[np.float32], span_SE: Tensor) -> NDArray[np.float32]:
        """Logits (N,) that pieces are meant, by their facts (`numeric.pieces`), float32; without words all are.

        span_SE: states from `[OBJ]` to `[SEG]`.
        """
        words = span_SE[1:-1, : len(self.usual)]
        if not len(words):
            return np.zeros(len(facts_NF), np.float32)
        facts = torch.from_numpy(facts_NF).to(words.device)
        real = torch.ones(1, len(words), dtype=torch.bool, device=words.device)
        logits: NDArray[np.float32] = self(words[None], real, facts[None])[0].float().cpu().numpy()
        return logits
