from __future__ import annotations

import numpy as np
import torch

from miras.model.numeric.views import box_to_view, logits_to_photo, points_to_view
from miras.model.visual_parsing import VisualParsing, mask_to_view, normalise


def test_views_have_their_own_sizes():
    photos = [np.zeros((40, 90, 3), np.uint8), np.full((64, 32, 3), 255, np.uint8)]
    views = VisualParsing(64, 32)(photos)
    assert views.detail_B3SS.shape == (2, 3, 64, 64)
    assert views.semantic_B3ss.shape == (2, 3, 32, 32)
    assert views.sizes == ((40, 90), (64, 32))
    torch.testing.assert_close(views.detail_B3SS[1], torch.full((3, 64, 64), 1.0))


def test_normalise_is_that_of_the_weights():
    assert normalise(torch.tensor([127.0, 255.0])).tolist() == [0.0, 1.0]


def test_mask_goes_to_the_view_and_back():
    mask = np.zeros((120, 200), bool)
    mask[30:90, 50:150] = True
    grid = mask_to_view(mask[None], 40)
    back = logits_to_photo(grid[0, 0].numpy() - 0.5, (120, 200))
    union = (mask | back).sum()
    assert (mask & back).sum() / union > 0.97


def test_area_is_kept_when_shrinking():
    mask = np.zeros((64, 64), bool)
    mask[:10, :7] = True
    assert abs(mask_to_view(mask[None], 16).mean().item() - mask.mean()) < 1e-6


def test_points_and_boxes_scale_by_axis():
    points = points_to_view(np.array([[50, 10, 1]], np.float32), (20, 100))
    assert points.tolist() == [[0.5, 0.5, 1.0]]
    assert box_to_view((0, 5, 50, 20), (20, 100)).tolist() == [0.0, 0.25, 0.5, 1.0]
