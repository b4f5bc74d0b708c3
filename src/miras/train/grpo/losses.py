"""The two formulas of GRPO.

In: rewards by group; log probabilities of sampled ids by three sets of weights. Out: advantages; the loss and what is
told of it. Knows no model. Source: DeepSeekMath (Shao et al. 2024), eq. 3 and 4; the estimator of the divergence is k3
of Schulman's note, as there. The same sums as `trl`'s `GRPOTrainer` with loss_type "grpo"
(docs/decisions/0045-reinforcement.md).
R replies, T sampled ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-4
"""Added to the standard deviation of a group, as `trl` does."""


def advantages(reward_R: Tensor, group_R: Tensor, scale: str = "group") -> Tensor:
    """How much better each reply is than its group on average, (R,); in standard deviations of the group (n - 1), or
    with scale "none" as it is. A group whose replies are all as good gives zeros."""
    result_R = torch.zeros_like(reward_R)
    for group in group_R.unique():
        here_R = group_R == group
        rewards = reward_R[here_R]
        apart = rewards - rewards.mean()
        if scale == "group" and len(rewards) > 1:
            apart = apart / (rewards.std() + TINY)
        result_R[here_R] = apart
    return result_R


def flat(reward_R: Tensor, group_R: Tensor) -> Tensor:
    """Share of the groups whose replies are all as good: they teach nothing."""
    spread = [reward_R[group_R == group] for group in group_R.unique()]
    return torch.stack([(one.max() - one.min() < 1e-9).float() for one in spread]).mean()


def grpo(
    now_T: Tensor, old_T: Tensor, reference_T: Tensor | None, reply_T: Tensor, advantage_R: Tensor, epsilon: float,
    beta: float,
) -> dict[str, Tensor]:  # fmt: skip
    """Loss parts. now, old, reference: log probabilities of the ids by the weights that learn, those that sampled and
    those of the start (None: no divergence). reply: which reply an id stands in. Each reply weighs the same, however
    long it is; one without any id adds nothing."""
    count = len(advantage_R)
    ratio_T = torch.exp(now_T - old_T)
    gain_T = advantage_R[reply_T]
    clipped_T = ratio_T.clamp(1 - epsilon, 1 + epsilon)
    each_T = -torch.minimum(ratio_T * gain_T, clipped_T * gain_T)
    parts = {"policy": _by_reply(each_T, reply_T, count)}
    if reference_T is not None:
        behind_T = reference_T - now_T
        parts["kl"] = _by_reply(torch.exp(behind_T) - behind_T - 1, reply_T, count)
    loss = parts["policy"] + beta * parts["kl"] if "kl" in parts else parts["policy"]
    outside_T = ((ratio_T < 1 - epsilon) & (gain_T < 0)) | ((ratio_T > 1 + epsilon) & (gain_T > 0))
    parts["clipped"] = outside_T.float().mean()
    return {name: value.detach() for name, value in parts.items()} | {"loss": loss}


def _by_reply(value_T: Tensor, reply_T: Tensor, count: int) -> Tensor:
    """Mean over the ids of each reply, then over the replies."""
    sums_R = value_T.new_zeros(count).index_add(0, reply_T, value_T)
    ids_R = value_T.new_zeros(count).index_add(0, reply_T, torch.ones_like(value_T))
    return (sums_R / ids_R.clamp_min(1)).mean()
