"""Bit by bit what torch gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from miras.model.numeric.views import cells, logits_to_photo

SIZES = [(32, 32), (64, 96), (61, 83), (20, 90), (20, 17), (32, 31), (129, 400)]


@pytest.mark.parametrize("size", SIZES)
def test_shares_of_cells(size: tuple[int, int]) -> None:
    masks = np.random.default_rng(size[1]).random((3, *size)) > 0.6
    masks[1], masks[2] = True, False
    given = torch.from_numpy(masks).float()[:, None]
    if min(size) >= 32:
        wanted = F.interpolate(given, (32, 32), mode="area")
    else:
        wanted = F.interpolate(given, (32, 32), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(cells(masks, 32), wanted.numpy(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_masks_at_the_photos_size(size: tuple[int, int]) -> None:
    logits = np.random.default_rng(size[0]).normal(size=(24, 24)).astype(np.float32)
    wanted = F.interpolate(torch.from_numpy(logits)[None, None], size, mode="bilinear", align_corners=False)[0, 0] > 0
    assert (logits_to_photo(logits, size) != wanted.numpy()).sum() <= size[0] * size[1] // 10_000
