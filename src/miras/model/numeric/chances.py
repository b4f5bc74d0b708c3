"""Chances of logits, in numpy, float32 as they come: what the token loop and the calibrations need.

In: logits. Out: chances and their logarithms. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def logsumexp(logits: Floats) -> float:
    """Of a list; -inf for one of nothing but -inf."""
    most = float(logits.max())
    return most if most == -np.inf else most + float(np.log(np.exp(logits - most).sum()))


def log_softmax(logits: Floats) -> Floats:
    """Of a list, in its dtype."""
    less = logits - logits.max()
    result: Floats = less - np.log(np.exp(less).sum())
    return result


def softmax(logits: Floats) -> Floats:
    """Of a list, in its dtype."""
    shares = np.exp(logits - logits.max())
    result: Floats = shares / shares.sum()
    return result


def sigmoid(logit: float) -> float:
    """Of a number, however large."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))


def most(values: Floats, count: int) -> list[int]:
    """Places of the largest, largest first; at most `count`."""
    count = min(count, len(values))
    if not count:
        return []
    found = np.argpartition(-values, count - 1)[:count]
    return [int(place) for place in found[np.argsort(-values[found], kind="stable")]]


def verdict(weights: Sequence[float], presence: float, refusal: float) -> float:
    """Probability that a thing is to be selected, not refused.

    weights: bias, and those of the two. presence: its logit. refusal: log odds of `[REJ]` where the reply begins, by
    the language model.
    """
    bias, seen, said = weights
    return sigmoid(bias + seen * presence + said * refusal)
