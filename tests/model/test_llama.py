"""The lean decoder against `transformers`, pass by pass."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from miras.model.llama import LlamaDecoder, tree_attention
from miras.model.presets import build


def spoken(steps: list[int], fast: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Last states, alignment states and cache length of one sequence, run in pieces."""
    model = build("miras-tiny", seed=3)
    torch.manual_seed(5)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data.normal_(0, 0.1)
    if fast is not None:
        model.instruction.answer_fast(64, fast)
        model.instruction.answer_fast(64, fast)  # twice is once
        assert isinstance(model.instruction.decoder, LlamaDecoder)
    embeds = torch.randn(1, sum(steps), model.instruction.width)
    cache, parts = DynamicCache(), []
    with torch.no_grad():
        for piece in embeds.split(steps, 1):
            parts.append(model.instruction(piece, cache))
    last, states = (torch.cat(rows, 1) for rows in zip(*parts, strict=True))
    return last, states, cache.get_seq_length()


@pytest.mark.parametrize("steps", [[12], [5, 1, 4, 2], [1] * 12])
def test_the_same_states_as_transformers(steps):
    wanted, got = spoken([12], None), spoken(steps, torch.float32)
    torch.testing.assert_close(got[0], wanted[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[1], wanted[1], atol=1e-5, rtol=1e-4)
    assert got[2] == 12


def test_bfloat16_is_close_and_states_stay_float32():
    wanted, got = spoken([12], None), spoken([7, 5], torch.bfloat16)
    assert got[0].dtype == got[1].dtype == torch.float32
    assert (got[0] - wanted[0]).abs().mean() < 0.02 * wanted[0].abs().mean()


def test_the_layers_move():
    model = build("miras-tiny")
    model.instruction.answer_fast(64)
    assert len(model.instruction.language_model.model.layers) == 0


@pytest.mark.parametrize("fast", [True, False])
def test_a_tree_of_guesses_is_what_each_of_its_paths_would_be_alone(fast):
    model = build("miras-tiny", seed=3).eval()
    if fast:
        model.instruction.answer_fast(64, torch.float32)
    torch.manual_seed(6)
    past, new, tree = (torch.randn(1, n, model.instruction.width) for n in (6, 2, 5))
    parents = [-1, 0, -1, 2, 0]
    with torch.no_grad():
        cache = DynamicCache()
        model.instruction(past, cache)
        _, got = model.instruction(torch.cat([new, tree], 1), cache, parents=parents)
        assert cache.get_seq_length() == 13
        for path in ([0, 1], [0, 4], [2, 3]):
            _, wanted = model.instruction(torch.cat([past, new, tree[:, path]], 1), DynamicCache())
            rows = got[:, [0, 1, *(2 + n for n in path)]]
            torch.testing.assert_close(rows, wanted[:, 6:], atol=1e-5, rtol=1e-4)


def test_a_tree_right_after_the_past():
    positions, visible = tree_attention(3, 3, [-1, 0, -1])
    assert positions.tolist() == [3, 4, 3]
    assert visible.int().tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 1]]
