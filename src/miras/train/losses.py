"""The losses, each a pure function with its reduction.

In: logits and targets. Out: scalars (mean over regions unless said). Knows no model.
R regions, M candidates, B photos, N visual tokens, h w mask pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bce(logits_Rhw: Tensor, target_Rhw: Tensor) -> Tensor:
    """Binary cross-entropy per region, mean over its pixels, (R,). Targets may be soft (0..1)."""
    return F.binary_cross_entropy_with_logits(logits_Rhw, target_Rhw, reduction="none").mean((-2, -1))


def dice(logits_Rhw: Tensor, target_Rhw: Tensor) -> Tensor:
    """1 - soft dice per region, (R,); one pixel is added above and below."""
    probability = logits_Rhw.sigmoid()
    overlap = (probability * target_Rhw).sum((-2, -1))
    return 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + target_Rhw.sum((-2, -1)) + 1)


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
    mask_loss = each[:, 0].mean()
    if each.shape[1] > 1:
        mask_loss = mask_loss + 0.3 * each[:, 1:].amin(1).mean()
    iou_loss = F.mse_loss(iou_RM.float().sigmoid(), hard_iou(logits_RMhw, target).float())
    return mask_loss, iou_loss


def info_nce(words_RE: Tensor, pixels_RE: Tensor, scale: Tensor, same_RR: Tensor) -> Tensor:
    """Symmetric InfoNCE between phrases and mask-pooled features, both of unit length.

    same_RR: True where two regions carry the same phrase; such pairs are no negatives.
    """
    logits = scale.exp().clamp(max=100) * words_RE @ pixels_RE.T
    eye = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(same_RR & ~eye, float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def patches(logits_BRN: Tensor, cover_BRN: Tensor, known_BR: Tensor) -> Tensor:
    """Cross-entropy of visual tokens against the share of each patch that a phrase's mask covers.

    known_BR: True where it is known what of photo b phrase r covers; positives and negatives weigh
    the same in sum.
    """
    each = F.binary_cross_entropy_with_logits(logits_BRN, cover_BRN, reduction="none")
    weight = known_BR[..., None].float().expand_as(each)
    positive = weight * (cover_BRN > 0.05)
    negative = weight - positive
    return (
        (each * positive).sum() / positive.sum().clamp_min(1) + (each * negative).sum() / negative.sum().clamp_min(1)
    ) / 2


def prior(logits_Rhw: Tensor, target_Rss: Tensor, words_R: Tensor) -> Tensor:
    """BCE and dice of the spatial prior on its own grid, mean over the regions that have words."""
    target = F.adaptive_avg_pool2d(target_Rss[:, None], logits_Rhw.shape[-1])[:, 0]
    each = 2 * bce(logits_Rhw, target) + dice(logits_Rhw, target)
    return (each * words_R).sum() / words_R.sum().clamp_min(1)


def presence(logits_N: Tensor, there_N: Tensor) -> Tensor:
    """BCE of "the photo shows it", present and absent pairs weighing the same in sum."""
    each = F.binary_cross_entropy_with_logits(logits_N, there_N, reduction="none")
    absent_N = 1 - there_N
    shown = (each * there_N).sum() / there_N.sum().clamp_min(1)
    return (shown + (each * absent_N).sum() / absent_N.sum().clamp_min(1)) / 2
