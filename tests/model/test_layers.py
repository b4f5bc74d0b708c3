from __future__ import annotations

import torch

from miras.model.layers import Attention, sine_grid, sine_points


def test_masked_keys_do_not_count():
    attention = Attention(16, 2)
    query, key = torch.randn(1, 3, 16), torch.randn(1, 5, 16)
    mask = torch.tensor([[True, True, True, False, False]])
    torch.testing.assert_close(attention(query, key, key, mask), attention(query, key[:, :3], key[:, :3]))


def test_sine_codes_tell_points_apart():
    codes = sine_grid(4, 6, 32, torch.device("cpu"))
    assert codes.shape == (24, 32)
    distance = torch.cdist(codes, codes) + torch.eye(24)
    assert distance.min() > 0.05


def test_grid_is_row_by_row_in_xy():
    codes = sine_grid(2, 4, 16, torch.device("cpu"))
    torch.testing.assert_close(codes[5], sine_points(torch.tensor([1.5 / 4, 1.5 / 2]), 16))
