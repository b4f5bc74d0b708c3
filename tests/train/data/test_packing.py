"""Several conversations in a row: every token once, none sees another conversation, the loss is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from miras.core.errors import InputError
from miras.train import run
from miras.train.data.packing import packing_of, padding, rows_of
from miras.train.stages import training_module
from miras.train.stages.training_module import build
from tests.train.tiny import corpus, recipe


@pytest.mark.parametrize(
    ("lengths", "most", "rows"),
    [
        ([3, 5, 2, 4], 7, [[1, 2], [3, 0]]),
        ([3, 5, 2, 4], 14, [[1, 2], [3, 0]]),  # as many tokens as in one row, with less attention
        ([6, 5, 4, 3], 11, [[0, 3], [1, 2]]),  # first fit would fill rows of 11 and 7
        ([6, 5, 4, 2], 20, [[0, 1, 2, 3]]),
        ([9, 1, 1], 4, [[0], [1, 2]]),  # longer than a row
        ([4, 4], 4, [[0], [1]]),
        ([1], 4, [[0]]),
    ],
)
def test_rows_have_the_fewest_tokens(lengths, most, rows):
    assert rows_of(lengths, most) == rows
    padded = torch.arange(len(lengths) * max(lengths), dtype=torch.float32).reshape(len(lengths), -1, 1)
    packing = packing_of(lengths, most)
    if len(rows) == len(lengths):
        assert packing is None
        return
    back = packing.unpacked(packing.packed(padded))
    assert all(torch.equal(back[n, :length], padded[n, :length]) for n, length in enumerate(lengths))
    starts = [sum(lengths[m] for m in row[:k]) for row in rows for k in range(len(row))]
    assert sorted(map(int, (packing.positions_RP == 0).nonzero()[:, 1])) >= sorted(starts)
    assert padding(lengths, most)[0] == packing.taken_RP.numel()
    assert padding(lengths, 0) == (len(lengths) * max(lengths), len(lengths) * max(lengths) - sum(lengths))


def test_nothing_is_packed_without_a_limit():
    assert packing_of([3, 2], 0) is None


def test_loss_and_gradients_are_those_of_a_row_each(tmp_path):
    """With LoRA, its matrices not zero; conversations of several lengths, a memory, and probes."""
    one = recipe("stage2", "batch.photos=2", "batch.conversations=3", "history.mode=own", "gradient_checkpointing=true")
    packed = replace(one, batch=replace(one.batch, pack=2048))
    module = build(packed)
    with torch.no_grad():
        torch.manual_seed(0)
        for name, value in module.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.3)
    items = run.items(one, replace(corpus(tmp_path), held_out=[]), module.model)
    losses, grads = [], []
    for chosen in (one, packed):
        batch = run.Collate(module.model, chosen)([items[0], items[1]])["batch"]
        rows = batch.ids_CL.shape if batch.packing is None else batch.packing.taken_RP.shape
        torch.manual_seed(1)
        parts = module(batch)
        module.zero_grad()
        parts["loss"].backward()
        losses.append({key: float(value.detach()) for key, value in parts.items()} | {"tokens": np.prod(rows)})
        grads.append({name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None})
    (first, second), (tokens, fewer) = losses, (one.pop("tokens") for one in losses)
    assert fewer < 0.95 * tokens and second == pytest.approx(first, rel=1e-5, abs=1e-6)
    assert any("lora_A" in name and bool(grad.any()) for name, grad in grads[0].items())
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-3, atol=2e-6, msg=name)


def test_a_language_model_that_cannot_is_refused(monkeypatch):
    monkeypatch.setattr(training_module, "Packs", type(None))
    with pytest.raises(InputError, match=r"a language model that reads packed rows, got .*; batch\.pack=0"):
        build(recipe("stage2", "batch.pack=512"))
