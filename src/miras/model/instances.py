"""Which of the separate pieces of a mask are meant: "the left shoe" of two shoes, all of "the shoes".

In: mask logits of one phrase, and its words. Out: the same logits, the pieces that are not meant turned to outside.
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

from miras.core.pieces import pieces
from miras.model.segmentation import without_specks

WIDTH = 64
LONGEST = 24
"""Words of a phrase that are read."""
MOST = 16
"""Pieces that are told apart, the largest; what is smaller goes with the nearest of them."""
RANKS = 4
ORDERS = 6
"""From the left, right, top and bottom, and by size, largest and smallest first."""
FACTS = 11 + (ORDERS + 1) * RANKS


def pieces_of(mask_hw: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """(h, w) numbers from 1 of the 4-connected pieces, the largest first, and how many there are, at most `MOST`."""
    found, count = pieces(mask_hw)
    if count < 2:
        return found, count
    order = np.argsort(-np.bincount(found.ravel())[1:], kind="stable")
    number = np.zeros(count + 1, np.int32)
    number[order[:MOST] + 1] = np.arange(1, min(count, MOST) + 1)
    large = number[found]
    if count > MOST:
        from scipy import ndimage

        nearest = ndimage.distance_transform_edt(large == 0, return_distances=False, return_indices=True)
        large = np.where(mask_hw, large[tuple(nearest)], 0).astype(np.int32)
    return large, min(count, MOST)


def facts_of(pieces_hw: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """(N, FACTS) what each piece is known by: centre, box, size, its distance from the middle of all, its rank in each
    order and the number of pieces, up to `RANKS`."""
    height, width = pieces_hw.shape
    areas = np.bincount(pieces_hw.ravel(), minlength=count + 1)[1:].astype(np.float32)
    places = [np.nonzero(pieces_hw == number) for number in range(1, count + 1)]
    boxes = np.array([(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places], np.float32)
    boxes /= (width, height, width, height)
    centre = np.array([((x.mean() + 0.5) / width, (y.mean() + 0.5) / height) for y, x in places], np.float32)
    size = np.stack([np.sqrt(areas / (height * width)), areas / areas.sum(), areas / areas.max()], 1)
    x, y = centre.T
    ranks = [np.argsort(np.argsort(key, kind="stable"), kind="stable") for key in (x, -x, y, -y, -areas, areas)]
    known = [np.eye(RANKS, dtype=np.float32)[np.minimum(rank, RANKS - 1)] for rank in ranks]
    number = np.tile(np.eye(RANKS, dtype=np.float32)[min(count, RANKS) - 1], (count, 1))
    return np.concatenate([centre, boxes, size, centre - centre.mean(0), *known, number], 1).astype(np.float32)


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
    def choose(self, logits_hw: Tensor, span_SE: Tensor) -> Tensor:
        """The mask logits with the sign of the pieces turned that are not meant; at least one stays.

        span_SE: states from `[OBJ]` to `[SEG]`.
        """
        numbers, count = pieces_of((logits_hw > 0).numpy())
        words = span_SE[1:-1, : len(self.usual)]
        if count < 2 or not len(words):
            return logits_hw
        facts = torch.from_numpy(facts_of(numbers, count)).to(words.device)
        real = torch.ones(1, len(words), dtype=torch.bool, device=words.device)
        meant = self(words[None], real, facts[None])[0].cpu()
        out = np.flatnonzero(((meant < 0) & (meant < meant.max())).numpy()) + 1
        return torch.where(torch.from_numpy(np.isin(numbers, out)), -logits_hw, logits_hw)


def cleaned(logits_Mhw: Tensor, selector: InstanceSelector | None, span_SE: Tensor | None) -> Tensor:
    """Candidates without specks, of each the pieces that the words mean. span_SE: None for no words."""
    clean = [without_specks(one) for one in logits_Mhw]
    if selector is not None and span_SE is not None:
        clean = [selector.choose(one, span_SE) for one in clean]
    return torch.stack(clean)
