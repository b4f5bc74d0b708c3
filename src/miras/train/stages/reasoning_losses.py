"""The losses on what a reply decides: whether it refuses, what it does to the selection, and that words and mask agree.

In: logits where replies begin, or phrases with the masks drawn for them. Out: scalars, computed in float32 (float64
stays), also under autocast; those of no replies or regions are 0, with a gradient of 0. Knows of the grammar that
operators stand first in a reply; knows no model and no tokenizer. The table of all parts: docs/training.md.
C conversations, L tokens, N replies, V vocabulary, R regions, E match width, h w pixels of a map, s side of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from miras.core.grammar import ADD, CUT, IGNORE, NOT, REJ, UNDO, Encoder
from miras.train.stages.losses import exact, info_nce, mean

DECIDED = (ADD, CUT, UNDO, REJ)
"""The operators a reply may begin with: operator_N is 0 for none of them, else one more than the index here."""
REFUSES = DECIDED.index(REJ) + 1
"""Value of operator_N where a reply begins with `[REJ]`."""
SMALLEST = 1e-4
"""Pooled mask, in pixels of the map, below which a mask counts as empty and its gradient fades."""


def operator_ids(grammar: Encoder) -> tuple[int, ...]:
    """Ids of `DECIDED`, in its order; then `[NOT]`, for a model that knows it."""
    return tuple(grammar.id(token) for token in (*DECIDED, NOT) if token not in grammar.unknown)


def decisions(labels_CL: Tensor, ends: int | Sequence[int], ids: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Where each supervised reply decides: rows (N,), columns (N,) and operator_N (N,), long, in reading order.

    The logits at (row, column) are those of the reply's first token, which is `labels_CL[row, column + 1]`. ends: ids
    of `[SEG]` and `[REF]`: the mask slots after them carry no label, and what follows them is still the same reply.
    ids: see `operator_ids`. An operator further on in a reply is none of its first token.
    """
    length = labels_CL.shape[1]
    if not labels_CL.numel():
        nothing = labels_CL.new_zeros(0, dtype=torch.long)
        return nothing, nothing, nothing
    following = labels_CL[:, 1:]
    steps = torch.arange(length, device=labels_CL.device)
    newest = torch.where(labels_CL != IGNORE, steps, -1).cummax(1).values[:, :-1]
    before = torch.where(newest < 0, IGNORE, labels_CL.gather(1, newest.clamp_min(0)))
    named = torch.isin(before, before.new_tensor([ends] if isinstance(ends, int) else list(ends)))
    begins = (following != IGNORE) & (labels_CL[:, :-1] == IGNORE) & ~named
    rows, columns = begins.nonzero().unbind(1)
    first = following[rows, columns]
    return rows, columns, ((first[:, None] == first.new_tensor(ids)) * torch.arange(1, len(ids) + 1).to(first)).sum(1)


def refusal(logits_NV: Tensor, refuse_N: Tensor, rej: int, weight: float = 1.0) -> Tensor:
    """BCE of the log odds of `[REJ]` against all other tokens, where replies begin.

    refuse_N: whether what was asked for is absent. Mean over the replies that select and mean over those that refuse;
    the first weighs `weight` times the second, the two together 1, so that ln 2 is chance. A batch with
    one sort only has only its share. The log odds are those that chat decides by, but for the ids that may not
    begin a reply, which chat leaves out.
    """
    logits_NV, refuse_N = exact(logits_NV), refuse_N.bool()
    odds_N = logits_NV[:, rej] - _without(logits_NV, [rej]).logsumexp(1)
    refusing, selecting = F.softplus(-odds_N[refuse_N]), F.softplus(odds_N[~refuse_N])
    return (weight * mean(selecting) + mean(refusing)) / (1 + weight)


def operators(logits_NV: Tensor, operator_N: Tensor, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Cross-entropy over what a reply may do: no operator (all other tokens together), or one of `ids`.

    operator_N: 0 for none, else one more than the index in ids (see `decisions`). Mean over the replies of each kind,
    then over the kinds that are in the batch. Also hits (N,) float, no gradient: whether the likeliest token, which
    is what a reply begins with at temperature 0, is the operator wanted, or none.
    """
    logits_NV = exact(logits_NV)
    at = torch.as_tensor(ids, device=logits_NV.device)
    none = _without(logits_NV, ids).logsumexp(1, keepdim=True)
    each = F.cross_entropy(torch.cat([none, logits_NV[:, at]], 1), operator_N, reduction="none")
    count = torch.bincount(operator_N, minlength=len(ids) + 1)
    weight = 1 / (count[operator_N] * (count > 0).sum()).to(each.dtype)
    likeliest = logits_NV.detach().argmax(1)
    said = ((likeliest[:, None] == at) * torch.arange(1, len(ids) + 1, device=at.device)).sum(1)
    return (each * weight).sum(), (said == operator_N).to(each.dtype)


def consistency(
    words_RE: Tensor, map_REhw: Tensor, logits_Rss: Tensor, same_RR: Tensor, scale: Tensor,
    named_R: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The phrase a reply names fits the mask it draws: InfoNCE of words with what the predicted soft mask covers.

    words_RE, map_REhw: phrases and pixels in the match space, of unit length; map_REhw is the photo of each region.
    The mask is averaged onto the map's grid and pools it. same_RR: pairs that are no negatives: the same phrase,
    or gold masks that overlap much on the same photo. scale: as in `losses.info_nce`. named_R: regions that have
    words; the others are left out. Mean over regions, both directions.

    The gradient reaches the mask logits and the words, not the map: else a wrong mask would teach the pixels its own
    mistake. A mask can please this loss by keeping its most telling part alone; bce and dice hold against it.
    An empty mask gets next to no gradient from here. Source: ours, after the paper's alignment loss.
    """
    if named_R is not None:
        words_RE, map_REhw, logits_Rss = words_RE[named_R], map_REhw[named_R], logits_Rss[named_R]
        same_RR = same_RR[named_R][:, named_R]
    with torch.autocast(words_RE.device.type, enabled=False):
        soft_Rss = exact(logits_Rss).sigmoid()
        soft_Rhw = F.adaptive_avg_pool2d(soft_Rss[:, None], (map_REhw.shape[-2], map_REhw.shape[-1]))[:, 0]
        pooled = torch.einsum("rehw,rhw->re", exact(map_REhw.detach()), soft_Rhw)
        return info_nce(words_RE, F.normalize(pooled, dim=-1, eps=SMALLEST), scale, same_RR)


def _without(logits_NV: Tensor, ids: Sequence[int]) -> Tensor:
    """The logits with -inf at ids."""
    return logits_NV.index_fill(1, torch.as_tensor(ids, device=logits_NV.device), -torch.inf)
