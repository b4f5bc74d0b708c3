"""As torch has them, and at the ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.model.numeric.chances import log_softmax, logsumexp, most, sigmoid, softmax, verdict

LOGITS = np.array([1.5, -2.0, 30.0, -np.inf, 29.0], np.float32)


def test_as_torch_has_them() -> None:
    tensor = torch.from_numpy(LOGITS)
    np.testing.assert_allclose(softmax(LOGITS), tensor.softmax(0), atol=1e-6)
    np.testing.assert_allclose(log_softmax(LOGITS), tensor.log_softmax(0), atol=1e-5)
    assert logsumexp(LOGITS) == pytest.approx(float(tensor.logsumexp(0)), abs=1e-5)
    assert logsumexp(np.full(3, -np.inf)) == -np.inf


@pytest.mark.parametrize(("logit", "chance"), [(0.0, 0.5), (1000.0, 1.0), (-1000.0, 0.0), (2.0, 0.8807970779)])
def test_sigmoid(logit: float, chance: float) -> None:
    assert sigmoid(logit) == pytest.approx(chance)


@pytest.mark.parametrize(("count", "places"), [(2, [2, 4]), (9, [2, 4, 0, 1, 3]), (0, [])])
def test_the_largest_first(count: int, places: list[int]) -> None:
    assert most(LOGITS, count) == places


def test_the_verdict() -> None:
    assert verdict((1.0, 0.0, -2.0), 5.0, 3.0) == pytest.approx(1 / (1 + np.exp(5.0)))
