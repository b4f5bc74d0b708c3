"""A step of stage 3: replies are sampled, compared within their group, and made likelier or less likely.

In: photos with conversations (`AskedBatch`). Out: loss parts, as the other stages give them. Keeps the weights of the
start, for the divergence, and the replies of a round, which further updates use again. Everything but the language
model stays as it is. R replies, T drawn ids.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from miras.core.errors import InputError
from miras.model.language.precision import fastest_dtype
from miras.model.miras import Miras
from miras.train.grpo import losses, rewards
from miras.train.grpo.batch import AskedBatch
from miras.train.grpo.policy import log_chances
from miras.train.grpo.rollout import Rollout, rollouts
from miras.train.recipe.schema import Recipe


@dataclass(eq=False)
class _Kept:
    """The replies to a micro-batch and what is known of them. old, reference: log probabilities (T,) of each rollout by
    the weights that wrote it and those of the start."""

    made: list[Rollout]
    reference: list[Tensor | None]
    old: list[Tensor]
    advantage: list[Tensor]
    parts: dict[str, Tensor]


class Reinforcement:
    """model: with the weights of the start. half: products in bfloat16."""

    def __init__(self, model: Miras, recipe: Recipe, half: bool) -> None:
        self.model, self.told, self.seed, self.half = model, recipe.reinforce, recipe.seed, half
        self.start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        self._round: dict[int, _Kept] = {}
        self._voice: tuple[list[float], Miras] | None = None
        self._uses: dict[int, int] = {}
        self._barren = 0

    def __call__(self, batch: AskedBatch) -> dict[str, Tensor]:
        """Loss parts. Raises InputError when no reply of the first `patience` rounds was worth anything."""
        self.model.eval()  # statistics and tokens of photos stay
        self.model.image_dtype = torch.bfloat16 if self.half else torch.float32
        kept = self._round.get(batch.first)
        if kept is None:
            kept = self._round[batch.first] = self._sampled(batch)
        self.model.instruction.train()  # for checkpoints of activations; there is no dropout
        found = [self._learnt(kept, number) for number in range(len(kept.made))]
        self._forget(batch.first)
        if not found:
            nothing = torch.stack([p.float().sum() for p in self.model.parameters() if p.requires_grad]).sum() * 0
            return kept.parts | {"loss": nothing}
        replies = [len(made.group) / sum(len(one.group) for one in kept.made) for made in kept.made]
        return kept.parts | {
            name: torch.stack([share * one[name] for share, one in zip(replies, found, strict=True)]).sum()
            for name in found[0]
        }  # fmt: skip

    def _learnt(self, kept: _Kept, number: int) -> dict[str, Tensor]:
        """Loss parts of one conversation."""
        made, told = kept.made[number], self.told
        now_T = log_chances(self.model, made, told.temperature, self.half)
        if number == len(kept.old):  # the first update: these weights wrote the replies
            kept.old.append(now_T.detach())
        reply_T = torch.tensor(made.reply, device=now_T.device)
        old_T, reference_T = kept.old[number], kept.reference[number]
        return losses.grpo(now_T, old_T, reference_T, reply_T, kept.advantage[number], told.epsilon, told.beta)

    # Within

    def _sampled(self, batch: AskedBatch) -> _Kept:
        speaker, device = self._speaker(), self.model.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.half and device.type != "cpu"):
            made = [one for asked in batch.asked for one in rollouts(speaker, asked, self.told, self.seed)]
        reference: list[Tensor | None] = [None] * len(made)
        if self.told.beta:
            with torch.no_grad(), self._as_at_the_start():
                reference = [log_chances(self.model, one, self.told.temperature, self.half) for one in made]
        gained = []
        rows: list[rewards.Parts] = [parts for one in made for parts in one.parts]
        worth = [[rewards.total(parts, self.told.rewards) for parts in one.parts] for one in made]
        for one, values in zip(made, worth, strict=True):
            reward_R, group_R = torch.tensor(values, device=device), torch.tensor(one.group, device=device)
            gained.append((losses.advantages(reward_R, group_R, self.told.scale), losses.flat(reward_R, group_R)))
        self._check(worth)
        told = self._figures(rows, worth, [share for _, share in gained], made)
        return _Kept(made, reference, [], [advantage for advantage, _ in gained], told)

    def _speaker(self) -> Miras:
        """What writes replies: on a CPU a fast copy of the language model as it is now, elsewhere the model."""
        if self.model.device.type != "cpu":
            return self.model
        stamp = [float(p.detach().double().sum()) for p in self.model.parameters() if p.requires_grad]
        if self._voice is None or self._voice[0] != stamp:
            self._voice = stamp, answering(self.model, torch.bfloat16 if self.half else torch.float32)
        return self._voice[1]

    def _forget(self, first: int) -> None:
        """After the last update on a micro-batch its replies go; the next round is written by other weights."""
        self._uses[first] = self._uses.get(first, 0) + 1
        if self._uses[first] >= self.told.updates:
            del self._uses[first], self._round[first]

    @contextmanager
    def _as_at_the_start(self) -> Iterator[None]:
        learning = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        now = {name: p.data for name, p in learning.items()}
        try:
            for name, p in learning.items():
                p.data = self.start[name].to(p.device)
            yield
        finally:
            for name, p in learning.items():
                p.data = now[name]

    def _check(self, worth: list[list[float]]) -> None:
        """No reward at all, from the first round on, is a mistake in the recipe or the data."""
        if self._barren < 0 or any(value > 0 for values in worth for value in values):
            self._barren = -1
            return
        self._barren += 1
        if self._barren >= self.told.patience:
            counted = ", ".join(f"{name}: {weight:g}" for name, weight in self.told.rewards.items() if weight)
            raise InputError(
                "a reply that is worth something", f"0 for each of the first {self._barren} rounds ({counted})",
                "give weight to another part of reinforce.rewards, or start from weights that can talk",
            )  # fmt: skip

    def _figures(
        self, rows: list[rewards.Parts], worth: list[list[float]], flat: list[Tensor], made: list[Rollout]
    ) -> dict[str, Tensor]:
        """reward: mean. reward_X, asked_X: sum of part X, and number of replies that it counts for, by all replies."""
        count = max(len(rows), 1)
        told = {"reward": sum(value for values in worth for value in values) / count}
        for name in rewards.REWARDS:
            values = [value for row in rows if (value := row[name]) is not None]
            told[f"reward_{name}"], told[f"asked_{name}"] = sum(values) / count, len(values) / count
        told["train_iou"] = told["reward_mask"] / told["asked_mask"] if told["asked_mask"] else 0.0
        told["flat"] = float(torch.stack(flat).mean()) if flat else 1.0
        told["ids"] = sum(len(one.choices) for one in made) / count
        return {name: torch.tensor(value, device=self.model.device) for name, value in told.items()}


def answering(model: Miras, dtype: torch.dtype | None = None) -> Miras:
    """The model with a copy of its language model that answers fast; the rest is shared, and the model stays."""
    twin = copy.copy(model)
    twin._modules = dict(model._modules)
    shared = {id(model.tokenizer): model.tokenizer}
    twin.instruction = copy.deepcopy(model.instruction, shared).requires_grad_(False).eval()
    twin.instruction.answer_fast(model.config.max_tokens, fastest_dtype() if dtype is None else dtype)
    return twin
