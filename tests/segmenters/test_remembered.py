"""A module that remembers: once a tensor, nothing shared, nothing kept."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from miras.segmenters.remembered import remember


class Tower(nn.Module):
    """Gives a list, as Grounding DINO's backbone does; `last` leads to what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.last: list[Any] = []

    def forward(self, pixels: Tensor, more: int = 0) -> list[Tensor]:
        self.count += 1
        return [pixels.bfloat16() + self.count, pixels > 0]


def test_it_runs_once_a_tensor() -> None:
    tower = Tower()
    remember(tower)
    first, second = torch.zeros(3), torch.zeros(3)
    values = [float(tower(pixels)[0][0]) for pixels in (first, second, first, second)]
    assert values == [1, 2, 1, 2] and tower.count == 2, "by the tensor itself, not by its values"
    assert float(tower(pixels=first)[0][0]) == 1
    assert [part.dtype for part in tower(first)] == [torch.float32, torch.bool]


def test_who_appends_appends_to_his_own_list() -> None:
    tower = Tower()
    remember(tower)
    pixels = torch.zeros(3)
    tower(pixels).append("more")
    assert len(tower(pixels)) == 2


def test_what_was_seen_is_forgotten_with_its_tensor() -> None:
    tower = Tower()
    remember(tower)
    pixels = torch.zeros(3)
    kept = weakref.ref(tower(pixels)[0])
    gc.collect()
    assert kept() is not None
    del pixels
    gc.collect()
    assert kept() is None
