"""The losses on masks, words and pixels, each a pure function with its reduction.

In: logits and targets of any float type: all is computed in float32 (float64 stays), also under autocast. Out: scalars
(mean over regions unless said); those of no regions are 0, with a gradient of 0. Knows no model.
R regions, M candidates, B photos, N visual tokens, E width of the match space, h w mask pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from miras.core.errors import InputError

MOST_SCALE = math.log(100)
"""Largest log-scale of an InfoNCE (that of CLIP, Radford et al. 2021)."""


def exact(value: Tensor) -> Tensor:
    """The same in float32, or in float64 if it is."""
    return value if value.dtype == torch.float64 else value.float()


def mean(values: Tensor) -> Tensor:
    """Mean of all values; 0 with a gradient of 0 when there are none (`Tensor.mean` gives NaN)."""
    return values.sum() / max(values.numel(), 1)


def bce(logits_Rhw: Tensor, target_Rhw: Tensor) -> Tensor:
    """Binary cross-entropy per region, mean over its pixels, (R,). Targets may be soft (0..1)."""
    return _bce(logits_Rhw, target_Rhw).mean((-2, -1))


def dice(logits_Rhw: Tensor, target_Rhw: Tensor) -> Tensor:
    """1 - soft dice per region, (R,); one pixel is added above and below."""
    probability, target = exact(logits_Rhw).sigmoid(), exact(target_Rhw)
    overlap = (probability * target).sum((-2, -1))
    return 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)


def boundary(logits_Rhw: Tensor, target_Rhw: Tensor, width: int = 2) -> Tensor:
    """Binary cross-entropy near the contour of the target, less its least value, mean over that band, (R,).

    The band reaches `width` pixels to both sides: soft dilation less soft erosion of the target (0..1). The edge of
    the photo is no contour; a target without contour (empty, or all of the photo) gives 0. The gradient of a pixel
    is (probability - target) * band / sum of the band: it does not vanish where the mask is surely wrong, however
    far it is shifted. It does not see contours predicted far from the target's: bce and dice do.
    Band as in Boundary IoU (Cheng et al. 2021). Dice and F1 of two soft bands made by max-pooling (Bokhovkin and
    Burnaev 2019) were tried instead, on a disc of radius 16 drawn aside, 128 x 128, 100 steps of Adam at 0.3. IoU at
    the start, then with this, dice, F1: 2 pixels off, logits +-20: 0.85, 1.00, 0.85, 0.85; 8 off, logits +-4: 0.52,
    0.71, 0.29, 0.65. A sure sigmoid, and ties of max-pooling where it is 0 or 1, stop their gradient.
    Raises InputError when width is not positive.
    """
    if width < 1:
        raise InputError("a band of at least 1 pixel", f"width {width}")
    target_R1hw = exact(target_Rhw).detach()[:, None]
    band = (_widest(target_R1hw, width) + _widest(-target_R1hw, width))[:, 0]
    target = target_R1hw[:, 0]
    least = torch.special.entr(target) + torch.special.entr(1 - target)
    return ((_bce(logits_Rhw, target) - least) * band).sum((-2, -1)) / band.sum((-2, -1)).clamp_min(1)


def hard_iou(logits_Rhw: Tensor, target_Rhw: Tensor) -> Tensor:
    """IoU of logits > 0 with target > 0.5, (R,), no gradient."""
    predicted, wanted = logits_Rhw.detach() > 0, target_Rhw > 0.5
    union = (predicted | wanted).sum((-2, -1))
    return (predicted & wanted).sum((-2, -1)) / union.clamp_min(1)


def candidates(
    logits_RMhw: Tensor, iou_RM: Tensor, target_Rhw: Tensor, bce_weight: float = 2.0, dice_weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mask loss and predicted-IoU loss over M candidates, each a mean over regions.

    Candidate 0 always learns; of the others only the best of each region does (segment-anything),
    at 0.3 of the weight. iou_RM are logits; their target is the IoU each candidate really has.
    """
    target = target_Rhw[:, None].expand_as(logits_RMhw)
    each = bce_weight * bce(logits_RMhw, target) + dice_weight * dice(logits_RMhw, target)
    mask_loss = mean(each[:, 0])
    if each.shape[1] > 1:
        mask_loss = mask_loss + 0.3 * mean(each[:, 1:].amin(1))
    iou_loss = mean((exact(iou_RM).sigmoid() - hard_iou(logits_RMhw, target)).square())
    return mask_loss, iou_loss


def info_nce(words_RE: Tensor, pixels_RE: Tensor, scale: Tensor, same_RR: Tensor) -> Tensor:
    """Symmetric InfoNCE between phrases and mask-pooled features, both of unit length; mean over regions.

    scale: logarithm of the inverse temperature, at most MOST_SCALE. same_RR: True where two regions carry
    the same phrase; such pairs are no negatives.
    """
    with torch.autocast(words_RE.device.type, enabled=False):
        factor = exact(scale).clamp(max=MOST_SCALE).exp()
        logits = factor * exact(words_RE) @ exact(pixels_RE).T
    eye = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(same_RR & ~eye, float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    both = torch.cat([logits, logits.T])
    return mean(F.cross_entropy(both, target.repeat(2), reduction="none")) if len(target) else logits.sum()


def patches(logits_BRN: Tensor, cover_BRN: Tensor, known_BR: Tensor) -> Tensor:
    """Cross-entropy of visual tokens against the share of each patch that a phrase's mask covers.

    known_BR: True where it is known what of photo b phrase r covers; positives and negatives weigh
    the same in sum.
    """
    each = _bce(logits_BRN, cover_BRN)
    weight = known_BR[..., None].to(each.dtype).expand_as(each)
    positive = weight * (cover_BRN > 0.05)
    negative = weight - positive
    return (
        (each * positive).sum() / positive.sum().clamp_min(1) + (each * negative).sum() / negative.sum().clamp_min(1)
    ) / 2


def prior(logits_Rhw: Tensor, target_Rss: Tensor, words_R: Tensor) -> Tensor:
    """BCE and dice of the spatial prior on its own grid, mean over the regions that have words."""
    target = F.adaptive_avg_pool2d(exact(target_Rss)[:, None], logits_Rhw.shape[-1])[:, 0]
    each = 2 * bce(logits_Rhw, target) + dice(logits_Rhw, target)
    return (each * words_R).sum() / words_R.sum().clamp_min(1)


def presence(logits_N: Tensor, there_N: Tensor) -> Tensor:
    """BCE of "the photo shows it", present and absent pairs weighing the same in sum."""
    each, there_N = _bce(logits_N, there_N), exact(there_N)
    absent_N = 1 - there_N
    shown = (each * there_N).sum() / there_N.sum().clamp_min(1)
    return (shown + (each * absent_N).sum() / absent_N.sum().clamp_min(1)) / 2


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    logits = exact(logits)
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")


def _widest(values_R1hw: Tensor, width: int) -> Tensor:
    """The largest value at most `width` pixels away along both axes; nothing comes from outside."""
    return F.max_pool2d(values_R1hw, 2 * width + 1, stride=1, padding=width)
