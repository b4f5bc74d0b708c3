"""What a recipe may say about reinforcement (stage 3): every key with its default, and which values make no sense.

In: nothing. Out: `Reinforce`, faults of its values. Names are those of `trl`'s `GRPOConfig` where that has the same
thing (epsilon, beta). Knows no model and no reward but by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

PARTS = ("mask", "operator", "refusal", "reference", "format")
"""The parts of the reward; what each is: `train.grpo.rewards`."""


@dataclass(frozen=True)
class Reinforce:
    """GRPO. group: replies sampled for each message. temperature: of their words, above 0. updates: optimiser steps on
    the same replies; the first is on-policy, in the others the ratio is clipped to 1 - epsilon .. 1 + epsilon. beta:
    weight of the KL divergence from the weights that the run began with. scale: "group", advantages are divided by the
    standard deviation of their group's rewards; "none", they are not. rewards: weight of each of `PARTS`. tokens: ids
    of a reply at most. patience: rounds with no reward above 0 after which the run stops."""

    group: int = 6
    temperature: float = 1.0
    updates: int = 1
    epsilon: float = 0.2
    beta: float = 0.04
    scale: str = "group"
    rewards: Mapping[str, float] = field(
        default_factory=lambda: {"mask": 1.0, "operator": 0.5, "refusal": 0.5, "reference": 0.5, "format": 0.2}
    )
    tokens: int = 48
    patience: int = 20


def faults(told: Reinforce, checkpoint_every: int, parallel: str) -> Iterator[str]:
    """What of a recipe of stage 3 makes no sense, one line each. checkpoint_every, parallel: of the recipe."""
    if told.group < 2:
        yield f"reinforce.group: at least 2, a reply is compared with the others of its group (got {told.group})"
    if not told.temperature > 0:
        yield f"reinforce.temperature: above 0, at 0 nothing is sampled (got {told.temperature:g})"
    if unknown := sorted(told.rewards.keys() - set(PARTS)):
        yield f"unknown key reinforce.rewards.{unknown[0]} (known: {', '.join(PARTS)})"
    if any(weight < 0 for weight in told.rewards.values()):
        yield "reinforce.rewards: at least 0 each"
    elif not any(told.rewards.values()):
        yield "reinforce.rewards: one above 0 (all are 0, no reply is better than another)"
    if told.scale not in ("group", "none"):
        yield f"reinforce.scale: group or none (got {told.scale!r})"
    for key in ("updates", "tokens", "patience"):
        if getattr(told, key) < 1:
            yield f"reinforce.{key}: at least 1 (got {getattr(told, key)})"
    if not 0 < told.epsilon < 1:
        yield f"reinforce.epsilon: above 0 and below 1 (got {told.epsilon:g})"
    if told.beta < 0:
        yield f"reinforce.beta: at least 0 (got {told.beta:g})"
    if told.updates > 1 and checkpoint_every % told.updates:
        yield f"checkpoint_every: a multiple of reinforce.updates, {told.updates} (got {checkpoint_every})"
    if parallel != "ddp":
        yield "parallel: ddp for stage 3, processes write replies of different lengths (got fsdp2)"
