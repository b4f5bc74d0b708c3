from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from miras.model.instances import InstanceSelector
from miras.model.numeric.pieces import FACTS, MOST, RANKS, chosen, cleaned, facts_of, pieces_of

WIDTH = 8


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A mask (32, 64) of boxes x0, y0, x1, y1."""
    mask = np.zeros((32, 64), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


@given(arrays(bool, (12, 15)))
def test_pieces_cover_the_mask_and_nothing_else(mask: np.ndarray) -> None:
    pieces, count = pieces_of(mask)
    assert count <= MOST and np.array_equal(pieces > 0, mask)
    assert set(np.unique(pieces)) - {0} == set(range(1, count + 1))
    if count > 1:
        facts = facts_of(pieces, count)
        assert facts.shape == (count, FACTS) and np.isfinite(facts).all()


def test_facts_know_order_and_size() -> None:
    pieces, count = pieces_of(drawn((40, 4, 60, 28), (2, 10, 8, 16), (20, 2, 30, 12)))
    facts = facts_of(pieces, count)
    ranks = facts[:, 11:].reshape(3, -1, RANKS).argmax(-1)
    assert ranks[:, 0].tolist() == [2, 1, 0]  # from the left; the largest piece comes first
    assert ranks[:, 1].tolist() == [0, 1, 2]  # from the right
    assert ranks[:, 4].tolist() == [0, 1, 2]  # largest first
    assert facts[0, :2].tolist() == [50 / 64, 16 / 32]
    assert ranks[:, 6].tolist() == [2, 2, 2]  # three pieces


def logits_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    return np.where(drawn(*boxes), np.float32(3.0), np.float32(-2.0))


class LeftWhenNegative(InstanceSelector):
    """Takes the left ones where the words' first value is negative, else all."""

    def forward(self, words_RSD: torch.Tensor, words_RS: torch.Tensor, facts_RNF: torch.Tensor) -> torch.Tensor:
        wanted = words_RSD[:, 0, 0] < 0
        return torch.where(wanted[:, None], 0.5 - facts_RNF[..., 0], torch.ones_like(facts_RNF[..., 0]))


def span(value: float) -> torch.Tensor:
    return torch.cat([torch.zeros(1, 2 * WIDTH), torch.full((1, 2 * WIDTH), value), torch.zeros(1, 2 * WIDTH)])


def test_pieces_that_are_not_meant_are_turned_to_outside() -> None:
    selector = LeftWhenNegative(torch.zeros(WIDTH))
    logits = logits_of((2, 4, 12, 20), (40, 4, 52, 20))
    left = chosen(logits, partial(selector.meant, span_SE=span(-1.0))) > 0
    assert np.array_equal(left, drawn((2, 4, 12, 20)))
    assert np.array_equal(chosen(logits, partial(selector.meant, span_SE=span(1.0))), logits)
    assert np.array_equal(chosen(logits, partial(selector.meant, span_SE=span(-1.0)[:2])), logits)  # no words


def test_one_piece_stays_whatever_is_said() -> None:
    selector = LeftWhenNegative(torch.zeros(WIDTH))
    logits = logits_of((40, 4, 44, 20), (50, 4, 60, 20))
    kept = chosen(logits, partial(selector.meant, span_SE=span(-1.0))) > 0  # both lie to the right: the likelier one
    assert np.array_equal(kept, drawn((40, 4, 44, 20)))
    alone = logits_of((40, 4, 44, 20))
    assert np.array_equal(chosen(alone, partial(selector.meant, span_SE=span(-1.0))), alone)


def test_without_words_specks_alone_are_removed() -> None:
    logits = logits_of((2, 4, 12, 20), (40, 4, 52, 20), (30, 30, 31, 31))[None]
    clean = cleaned(logits, None) > 0
    assert np.array_equal(clean[0], drawn((2, 4, 12, 20), (40, 4, 52, 20)))
