"""Exponential moving average of the weights: what is validated and saved.

In: a model after each step. Out: averaged weights, put in place for a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages of the parameters that learn. decay 0: the weights themselves."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.mean: dict[str, Tensor] = {name: p.detach().clone() for name, p in _learning(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """After each step; the decay is smaller at first: (1 + n) / (10 + n) at most."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, p in _learning(model):
            if self.mean[name].device != p.device or type(self.mean[name]) is not type(p.data):
                self.mean[name] = p.detach().clone()
            self.mean[name].lerp_(p.detach(), 1 - decay)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The averages stand in the model inside the `with`, the weights again after it."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, p in _learning(model):
            current = p.detach().clone()
            p.copy_(self.mean[name])
            self.mean[name] = current

    @torch.no_grad()
    def load(self, mean: Mapping[str, Tensor], count: int) -> None:
        """As saved after `count` steps."""
        self.count = count
        for name, value in mean.items():
            self.mean[name] = value.to(self.mean[name].device)


def _learning(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)
