"""Advantages and the loss, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from miras.train.grpo import losses


def test_advantages_are_of_the_group_alone():
    reward, group = torch.tensor([1.0, 0.0, 5.0, 5.0, 0.0, 3.0]), torch.tensor([0, 0, 1, 1, 2, 2])
    spread = math.sqrt(0.5)
    expected = [
        0.5 / (spread + 1e-4),
        -0.5 / (spread + 1e-4),
        0,
        0,
        -1.5 / (3 * spread + 1e-4),
        1.5 / (3 * spread + 1e-4),
    ]
    torch.testing.assert_close(losses.advantages(reward, group), torch.tensor(expected))
    torch.testing.assert_close(losses.advantages(reward, group, "none"), torch.tensor([0.5, -0.5, 0, 0, -1.5, 1.5]))
    assert float(losses.flat(reward, group)) == pytest.approx(1 / 3)


ROWS = [
    # log ratio, advantage -> term of the loss (epsilon 0.2), and whether it has a gradient
    ("on policy", 0.0, 1.0, -1.0, True),
    ("likelier and better, within", math.log(1.1), 1.0, -1.1, True),
    ("likelier and better, outside", math.log(1.5), 1.0, -1.2, False),
    ("likelier and worse, outside", math.log(1.5), -1.0, 1.5, True),
    ("rarer and worse, outside", math.log(0.5), -1.0, 0.8, False),
    ("rarer and better, outside", math.log(0.5), 1.0, -0.5, True),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_ratio_is_clipped(row):
    _, ratio, gain, expected, learns = row
    now = torch.tensor([ratio], requires_grad=True)
    parts = losses.grpo(now, torch.zeros(1), None, torch.tensor([0]), torch.tensor([gain]), 0.2, 0.0)
    parts["loss"].backward()
    assert float(parts["loss"].detach()) == pytest.approx(expected) and (float(now.grad) != 0) == learns
    assert float(parts["clipped"]) == (not learns) and "kl" not in parts


def test_replies_weigh_the_same_however_long_and_the_divergence_is_added():
    now = torch.log(torch.tensor([0.5, 0.5, 0.5, 0.25]))
    start = torch.log(torch.tensor([0.5, 0.25, 0.5, 0.5]))
    reply, gain = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, -2.0, 7.0])  # the third reply has no id: no choice
    parts = losses.grpo(now, now, start, reply, gain, 0.2, 0.1)
    half, double = 0.5 + math.log(2) - 1, 2 - math.log(2) - 1
    assert float(parts["policy"]) == pytest.approx((-1 + 2 + 0) / 3)
    assert float(parts["kl"]) == pytest.approx((half / 3 + double) / 3, abs=1e-6)
    assert float(parts["loss"]) == pytest.approx(float(parts["policy"]) + 0.1 * float(parts["kl"]))
