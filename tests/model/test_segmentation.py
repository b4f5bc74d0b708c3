from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from miras.model.numeric.prediction import INSIDE, PADDING, without_specks
from miras.model.segmentation import MaskDecoder
from tests.model.test_visual_encoders import tiny


def call(decoder, points=None, prior=None):
    torch.manual_seed(0)
    prompts, pixels = torch.randn(2, 2, 32), torch.randn(2, 32, 8, 8)
    fine8, fine4 = torch.randn(2, 8, 16, 16), torch.randn(2, 4, 32, 32)
    prior = torch.zeros(2, 8, 8) if prior is None else prior
    return decoder(prompts, pixels, fine8, fine4, torch.zeros(2, 32, 8, 8), prior, points)


def test_shapes():
    logits, iou = call(MaskDecoder(tiny()))
    assert logits.shape == (2, 3, 32, 32)
    assert iou.shape == (2, 3)


def test_padding_points_are_ignored_and_real_ones_are_not():
    decoder = MaskDecoder(tiny()).eval()
    padding = torch.tensor([[[0.3, 0.3, float(PADDING)]]]).expand(2, -1, -1)
    real = torch.tensor([[[0.3, 0.3, float(INSIDE)]]]).expand(2, -1, -1)
    torch.testing.assert_close(call(decoder)[0], call(decoder, padding)[0], atol=1e-5, rtol=1e-4)
    assert (call(decoder)[0] - call(decoder, real)[0]).abs().max() > 1e-4


def test_prior_moves_the_mask_towards_it():
    decoder = MaskDecoder(tiny()).eval()
    decoder.prior_in.weight.data.zero_()
    prior = torch.zeros(2, 8, 8)
    prior[:, :4] = 5.0
    difference = call(decoder, prior=prior)[0] - call(decoder)[0]
    assert difference[:, :, :10].min() > 1.0
    assert difference[:, :, -10:].abs().max() < 1e-4


def test_specks_are_taken_out_and_weighty_pieces_stay():
    logits = np.full((12, 20), -1.0, np.float32)
    logits[1:5, 1:5] = 2.0  # 32
    logits[7:9, 8:12] = 1.0  # 8: a quarter
    logits[10, 18] = 3.0  # 3: a tenth
    kept = without_specks(logits) > 0
    assert kept[1:5, 1:5].all() and kept[7:9, 8:12].all() and kept.sum() == 24
    assert (without_specks(logits)[10, 18], without_specks(logits)[0, 0]) == (-3.0, -1.0)


@given(arrays(np.float32, (9, 9), elements=st.floats(-4, 4, width=16)))
def test_taking_specks_out_never_adds_and_leaves_the_strongest_piece(values):
    logits = values
    kept = without_specks(logits)
    assert not ((kept > 0) & (logits <= 0)).any()
    assert (kept > 0).any() == (logits > 0).any()
    assert np.array_equal(np.abs(kept), np.abs(logits))
    assert np.array_equal(without_specks(kept), kept)
