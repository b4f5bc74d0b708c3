from __future__ import annotations

import pytest
import torch

from miras.core.errors import InputError
from miras.model import presets


def test_names_are_the_files():
    assert presets.names() == [
        "miras-7b", "miras-mini", "miras-qwen", "miras-qwen-2b", "miras-qwen-8b", "miras-tiny",
    ]  # fmt: skip


def test_unknown_preset_names_the_nearest():
    with pytest.raises(InputError, match="miras-mini"):
        presets.configuration("miras-min")


def test_same_seed_same_weights():
    first, second = presets.build("miras-tiny", 3), presets.build("miras-tiny", 3)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    presets.build("miras-tiny")
    assert torch.equal(torch.rand(1), expected)
