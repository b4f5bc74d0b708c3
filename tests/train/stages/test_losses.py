"""Values on hand-made cases, gradients, float32 whatever comes in, and nothing from nothing."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from miras.core.errors import InputError
from miras.train.stages import losses

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


# --- boundary


def square(at: int = 8, size: int = 12, side: int = 32) -> torch.Tensor:
    """A filled square (1, side, side) whose left edge is at column `at`, rows 10 to 10 + size."""
    mask = torch.zeros(1, side, side)
    mask[:, 10 : 10 + size, at : at + size] = 1
    return mask


def sure(mask: torch.Tensor, logit: float = 12.0) -> torch.Tensor:
    return (mask * 2 - 1) * logit


def test_boundary_counts_only_the_band():
    """One wrong pixel costs its logit over the band's size (square of 12: 16 x 16 less 8 x 8), none beyond."""
    target = square()
    for row, column, cost in ((10, 8, 20.0), (11, 9, 20.0), (12, 10, 0.0), (9, 8, 20.0), (8, 6, 20.0), (7, 8, 0.0)):
        logits = sure(target, 20.0)
        logits[:, row, column] *= -1
        assert losses.boundary(logits, target).item() == pytest.approx(cost / 192, abs=1e-6)
    narrow = sure(target, 20.0)
    narrow[:, 11, 9] *= -1
    assert losses.boundary(narrow, target, width=1).item() == pytest.approx(0, abs=1e-6)


def test_boundary_of_the_best_mask_is_nothing_though_targets_are_soft():
    target = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(0.01, 0.99)
    assert losses.boundary(target.logit(), target).abs().max() < 1e-6
    assert (losses.boundary(target.logit() + 0.5, target) > 1e-3).all()


@pytest.mark.parametrize("target", [torch.zeros(1, 8, 8), torch.ones(1, 8, 8)], ids=["empty", "all"])
def test_a_target_without_contour_costs_nothing(target):
    logits = torch.full((1, 8, 8), 3.0, requires_grad=True)
    loss = losses.boundary(logits, target)
    loss.sum().backward()
    assert loss.tolist() == [0.0]
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize("off", [-6, -3, -1, 1, 3, 6, 14])
def test_boundary_pulls_a_shifted_mask_back(off):
    """The gradient by a shift of a sure mask points home, also where the two no longer touch."""
    columns = torch.arange(48) + 0.5
    rows = ((columns - 24).abs() < 6).float()[:, None] * 2 - 1
    shift = torch.tensor(float(off), requires_grad=True)
    logits = torch.minimum(10 * rows, (10 * (6 - (columns - 24 - shift).abs()))[None])[None]
    target = ((rows > 0) & ((columns - 24).abs() < 6)).float()[None]
    losses.boundary(logits, target).sum().backward()
    assert shift.grad.item() * off > 0
    assert abs(shift.grad.item()) > 0.1


def test_boundary_mends_a_sure_mask_that_is_shifted():
    target, logits = square(8), sure(square(10), 20.0).requires_grad_(True)
    before = losses.hard_iou(logits, target).item()
    adam = torch.optim.Adam([logits], lr=1.0)
    for _ in range(40):
        adam.zero_grad()
        losses.boundary(logits, target).sum().backward()
        adam.step()
    assert before < 0.75
    assert losses.hard_iou(logits, target).item() == 1.0


def test_the_gradient_of_boundary_is_the_error_in_the_band():
    target, band = square(), square(6, 16).roll(-2, 1) - square(10, 8).roll(2, 1)
    logits = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(1)).mul(9).requires_grad_(True)
    losses.boundary(logits, target).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.detach().sigmoid() - target) * band / 192)


def test_a_band_needs_a_width():
    with pytest.raises(InputError, match="width 0"):
        losses.boundary(RIGHT, TARGET, width=0)


# --- all of them

SOFT = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2))
LOGITS = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(3)) * 4
UNIT = torch.nn.functional.normalize(torch.randn(3, 64, generator=torch.Generator().manual_seed(4)), dim=-1)
UNIT = UNIT.bfloat16().float()  # bf16 holds it exactly
OTHERS = torch.eye(3, dtype=torch.bool)
KNOWN = torch.ones(3, 8, dtype=torch.bool)
CALLS = {
    "bce": (lambda x: losses.bce(x, SOFT), LOGITS),
    "dice": (lambda x: losses.dice(x, SOFT), LOGITS),
    "boundary": (lambda x: losses.boundary(x, SOFT), LOGITS),
    "mask": (lambda x: losses.candidates(x[:, None], x[:, :1, 0], SOFT)[0], LOGITS),
    "iou": (lambda x: losses.candidates(LOGITS[:, None], x[:, :1, 0], SOFT)[1], LOGITS),
    "align": (lambda x: losses.info_nce(x, UNIT.to(x).roll(1, 0), torch.tensor(3.0), OTHERS), UNIT),
    "patch": (lambda x: losses.patches(x, SOFT, KNOWN), LOGITS),
    "prior": (lambda x: losses.prior(x, SOFT, torch.tensor([True, True, False])), LOGITS),
    "presence": (lambda x: losses.presence(x[:, 0, 0], torch.tensor([1.0, 0.0, 1.0])), LOGITS),
}


@pytest.mark.parametrize("name", CALLS)
def test_half_precision_in_is_float32_inside(name):
    """bf16 logits, under autocast as in training, cost what the same numbers cost in float32."""
    call, given = CALLS[name]
    half = given.bfloat16()
    plain = call(half.float())
    with torch.autocast("cpu", torch.bfloat16):
        inside = call(half)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_right(name):
    """Against finite differences in float64; of dice and IoU too, since no pixel is near logit 0."""
    call, given = CALLS[name]
    assert torch.autograd.gradcheck(call, (given.double().requires_grad_(True),), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("size", [1e4, -1e4, 0.0])
def test_extremes_are_finite(name, size):
    call, given = CALLS[name]
    logits = torch.full_like(given, size if name != "align" else size / 1e4).requires_grad_(True)
    loss = call(logits).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_a_huge_scale_has_a_gradient_that_is_a_number():
    scale = torch.tensor(1000.0, requires_grad=True)
    losses.info_nce(UNIT, UNIT.flip(0), scale, OTHERS).backward()
    assert scale.grad == 0


NONE = torch.zeros(0, 8, 8)
EMPTY = {
    "bce": lambda x: losses.mean(losses.bce(x, NONE)),
    "dice": lambda x: losses.mean(losses.dice(x, NONE)),
    "boundary": lambda x: losses.mean(losses.boundary(x, NONE)),
    "mask": lambda x: losses.candidates(x[:, None].expand(-1, 3, -1, -1), x[:, :3, 0], NONE)[0],
    "iou": lambda x: losses.candidates(x[:, None].expand(-1, 3, -1, -1), x[:, :3, 0], NONE)[1],
    "align": lambda x: losses.info_nce(x[:, 0], x[:, 1], torch.tensor(1.0), torch.zeros(0, 0, dtype=torch.bool)),
    "patch": lambda x: losses.patches(x, NONE, torch.zeros(0, 8, dtype=torch.bool)),
    "prior": lambda x: losses.prior(x, NONE, torch.zeros(0, dtype=torch.bool)),
    "presence": lambda x: losses.presence(x[:, 0, 0], torch.zeros(0)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_costs_nothing_and_can_be_learnt_from(name):
    logits = torch.zeros(0, 8, 8, requires_grad=True)
    loss = EMPTY[name](logits)
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0.0


def test_the_table_lists_every_part():
    from miras.train.stages import stage1, stage2

    page = Path(__file__).resolve().parents[3] / "docs" / "training.md"
    rows = re.findall(r"(?m)^\| (`[^|]*) \|", page.read_text("utf-8").partition("## Losses")[2])
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for stage in (stage1, stage2):
        assert {f.name for f in fields(stage.Weights)} - {"special", "names"} <= listed
