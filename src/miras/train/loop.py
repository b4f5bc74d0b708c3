"""The training loop: sources, optimiser, schedule, moving average, checkpoints.

In: a model, photos, and a function from samples to loss parts. Out: trained weights on disk.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto
from miras.train.augment import Sample, shrink

SHARES = {"instructpart": 0.45, "ccp": 0.18, "car-parts": 0.14, "coco128": 0.16, "camvid": 0.07}
"""How often each source is drawn."""


@dataclass
class Plan:
    """Sizes of a run. minutes: a limit in time besides `steps`; the schedule follows whichever is
    further on: warm-up, then cosine decay to zero. rates: learning rate by part of a parameter's name,
    the first that occurs in it; `lr` for the others."""

    steps: int
    photos: int = 8
    regions: int = 4
    lr: float = 6e-4
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.02
    warmup: float = 0.04
    clip: float = 1.0
    ema: float = 0.995
    minutes: float = math.inf
    seed: int = 0
    longest: int = 640
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))


class Photos:
    """Annotated photos in memory, drawn by the shares of their sources."""

    def __init__(self, photos: list[AnnotatedPhoto], plan: Plan) -> None:
        self.by_source: dict[str, list[Sample]] = {}
        for photo in photos:
            sample = shrink(read_photo(photo.path), photo, plan.longest)
            if sample.photo.annotations:
                self.by_source.setdefault(photo.source, []).append(sample)
        self.names = sorted(self.by_source)
        shares = np.array([plan.shares.get(name, 0.1) for name in self.names])
        self.shares = shares / shares.sum()
        self.queues: dict[str, list[int]] = {name: [] for name in self.names}

    def draw(self, count: int, rng: np.random.Generator) -> list[Sample]:
        """`count` samples; within a source every photo once before any comes again."""
        drawn = []
        for name in rng.choice(self.names, count, p=self.shares):
            if not self.queues[name]:
                self.queues[name] = list(rng.permutation(len(self.by_source[name])))
            drawn.append(self.by_source[name][self.queues[name].pop()])
        return drawn


class MovingAverage:
    """Exponential moving average of the trained parameters."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay, self.count = decay, 0
        self.mean = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, parameters: dict[str, nn.Parameter]) -> None:
        """After each step; the decay is smaller at first."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, p in parameters.items():
            self.mean[name].lerp_(p.detach(), 1 - decay)

    def swap(self, parameters: dict[str, nn.Parameter]) -> None:
        """Exchange the averages and the parameters, in place."""
        for name, p in parameters.items():
            current = p.detach().clone()
            p.data.copy_(self.mean[name])
            self.mean[name].copy_(current)


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that take gradients, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def optimiser(parameters: dict[str, nn.Parameter], plan: Plan) -> torch.optim.AdamW:
    """AdamW with the rates of the plan, no decay on vectors."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, p in parameters.items():
        rate = next((rate for part, rate in plan.rates.items() if part in name), plan.lr)
        groups.setdefault((rate, p.ndim > 1), []).append(p)
    return torch.optim.AdamW(
        [
            {"params": members, "lr": rate, "base": rate, "weight_decay": plan.weight_decay if decays else 0.0}
            for (rate, decays), members in groups.items()
        ],
        betas=(0.9, 0.98),
    )


def factor(progress: float, warmup: float) -> float:
    """Share of the base rate at a progress of 0..1: linear warm-up, cosine to zero."""
    if progress < warmup:
        return max(progress / warmup, 0.02)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def run(
    model: nn.Module,
    plan: Plan,
    step: Callable[[int, float, np.random.Generator], dict[str, Tensor]],
    log: Path,
    save: Callable[[str], None],
    save_every: float = 600.0,
) -> Iterator[tuple[int, float]]:
    """Train; yields (step, progress) after each step. `step` gives the loss parts of a new batch.

    save(tag) is called with the moving average in place: "last" every `save_every` seconds and at
    the end. A loss that is not finite is skipped once, and stops the run the third time in a row.
    """
    parameters = trained(model)
    adam = optimiser(parameters, plan)
    average = MovingAverage(parameters, plan.ema)
    rng = np.random.default_rng(plan.seed)
    start = saved = time.monotonic()
    bad = 0
    sums: dict[str, float] = {}
    for index in range(plan.steps):
        progress = max(index / plan.steps, (time.monotonic() - start) / (60 * plan.minutes))
        if progress >= 1:
            break
        rate = factor(progress, plan.warmup)
        for group in adam.param_groups:
            group["lr"] = group["base"] * rate
        parts = step(index, progress, rng)
        bad = 0 if torch.isfinite(parts["loss"]) else bad + 1
        if bad >= 3:
            raise FloatingPointError(
                f"loss not finite in three batches up to step {index}; the last checkpoint is kept"
            )
        adam.zero_grad(set_to_none=True)
        if not bad:
            parts["loss"].backward()
            nn.utils.clip_grad_norm_(parameters.values(), plan.clip)
            adam.step()
            average.update(parameters)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if (index + 1) % 10 == 0:
            line = {name: round(value / 10, 4) for name, value in sums.items()}
            line |= {"step": index + 1, "progress": round(progress, 4), "seconds": round(time.monotonic() - start, 1)}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            sums = {}
        if time.monotonic() - saved > save_every:
            saved = time.monotonic()
            _save(average, parameters, save)
        yield index + 1, progress
    _save(average, parameters, save)


def _save(average: MovingAverage, parameters: dict[str, nn.Parameter], save: Callable[[str], None]) -> None:
    average.swap(parameters)
    save("last")
    average.swap(parameters)
