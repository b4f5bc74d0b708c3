"""The graph of the language model: what torch gives, chunk by chunk, trees of guesses too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.model.export.language import language_graph
from miras.model.numeric.tree import tree_attention
from miras.model.presets import build

pytest.importorskip("onnx")
CHUNKS = [(9, ()), (1, ()), (5, (-1, 0, -1, 2)), (7, (-1, -1, 0, 1, 0, 2, 2))]


def test_as_torch_step_by_step() -> None:
    import onnxruntime

    model = build("miras-tiny")
    model.instruction.answer_fast(64, torch.float32)
    graph, _ = language_graph(model.instruction)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = torch.tensor([np.random.default_rng(1).integers(0, model.instruction.vocab_size, 22)])
    cache, at = model.instruction.language.cache(), 0
    row = next(one.shape[1:] for one in session.get_inputs() if one.name == "past")
    past = np.zeros((0, *row), np.float32)
    with torch.inference_mode():
        embeds = model.embed(ids)
        for length, parents in CHUNKS:
            positions, visible = tree_attention(at, length, parents)
            given = {
                "embeds": embeds[0, at : at + length].numpy(), "past": past, "positions": positions[None],
                "bias": np.where(visible, 0, -np.inf).astype(np.float32), "predicted": np.array([1 + len(parents)]),
            }  # fmt: skip
            logits, states, new = session.run(None, given)
            wanted = model.comprehend(
                embeds[:, at : at + length], cache, predicted=1 + len(parents), parents=list(parents)
            )
            np.testing.assert_allclose(logits, wanted.logits_BLV[0], atol=1e-5)
            np.testing.assert_allclose(states, wanted.hidden_BLE[0], atol=1e-5)
            past, at = np.concatenate([past, new]), at + length
