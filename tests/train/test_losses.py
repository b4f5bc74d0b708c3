from __future__ import annotations

import pytest
import torch

from miras.train import losses

TARGET = torch.zeros(1, 8, 8)
TARGET[:, 2:6, 2:6] = 1
RIGHT = (TARGET * 2 - 1) * 20


def test_perfect_masks_cost_nothing():
    assert losses.bce(RIGHT, TARGET).item() < 1e-6
    assert losses.dice(RIGHT, TARGET).item() < 1e-5
    assert losses.hard_iou(RIGHT, TARGET).item() == 1.0


@pytest.mark.parametrize("loss", [losses.bce, losses.dice])
def test_gradients_pull_towards_the_target(loss):
    logits = torch.zeros(1, 8, 8, requires_grad=True)
    loss(logits, TARGET).sum().backward()
    assert (logits.grad[TARGET > 0] < 0).all()
    assert (logits.grad[TARGET == 0] > 0).all()


def test_only_the_first_and_the_best_candidate_learn():
    logits = torch.zeros(1, 3, 8, 8)
    logits[:, 1] = RIGHT * 0.5
    logits.requires_grad_(True)
    mask_loss, _ = losses.candidates(logits, torch.zeros(1, 3), TARGET)
    mask_loss.backward()
    moved = logits.grad.abs().sum((0, 2, 3)) > 0
    assert moved.tolist() == [True, True, False]


def test_predicted_iou_learns_the_iou_each_candidate_has():
    logits = torch.stack([RIGHT, -RIGHT], 1)
    sure = torch.tensor([[20.0, -20.0]])
    assert losses.candidates(logits, sure, TARGET)[1].item() < 1e-6
    assert losses.candidates(logits, -sure, TARGET)[1].item() > 0.9


def test_info_nce_is_log_n_at_chance_and_ignores_equal_phrases():
    words = torch.nn.functional.normalize(torch.ones(4, 3), dim=-1)
    scale = torch.tensor(0.0)
    different = torch.eye(4, dtype=torch.bool)
    assert losses.info_nce(words, words, scale, different).item() == pytest.approx(torch.log(torch.tensor(4.0)).item())
    assert losses.info_nce(words, words, scale, torch.ones(4, 4, dtype=torch.bool)).item() == pytest.approx(0.0)


def test_patches_count_only_what_is_known():
    logits = torch.zeros(1, 2, 4)
    cover = torch.zeros(1, 2, 4)
    cover[0, 0, 0] = 1
    known = torch.tensor([[True, False]])
    changed = logits.clone()
    changed[0, 1] = 9.0
    assert losses.patches(logits, cover, known) == losses.patches(changed, cover, known)
    changed[0, 0, 0] = 9.0
    assert losses.patches(changed, cover, known) < losses.patches(logits, cover, known)


def test_prior_counts_only_regions_with_words():
    logits = torch.stack([RIGHT[0], -RIGHT[0]])
    target = TARGET.expand(2, -1, -1)
    assert losses.prior(logits, target, torch.tensor([True, False])).item() < 1e-4
    assert losses.prior(logits, target, torch.tensor([True, True])).item() > 1


def test_presence_weighs_both_sides_the_same():
    logits = torch.tensor([2.0, -1.0, -1.0, -1.0])
    once = losses.presence(logits[:2], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(losses.presence(logits, torch.tensor([1.0, 0.0, 0.0, 0.0])), once)
    assert losses.presence(torch.tensor([9.0, -9.0]), torch.tensor([1.0, 0.0])) < 1e-3
