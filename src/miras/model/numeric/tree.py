"""Guesses of what comes next as a tree: where each stands, and what it sees.

In: the length of the past and the parent of each guess. Out: positions and a mask. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def tree_attention(past: int, length: int, parents: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions (L,) of new tokens and what each may see (L, T), bool, of the past and the new ones.

    The last len(parents) of them are a tree: number n follows number parents[n] of it (before it in order), or
    with -1 the token before the tree. Without a tree: causal.
    """
    chain = length - len(parents)
    positions = np.arange(past, past + length)
    visible = np.tri(length, past + length, past, dtype=np.bool_)
    for number, parent in enumerate(parents):
        row, root = chain + number, chain + parent if parent >= 0 else chain - 1
        positions[row] = (positions[root] if root >= 0 else past - 1) + 1
        visible[row, past + chain :] = visible[root, past + chain :] if parent >= 0 else False
        visible[row, past + row] = True
    return positions, visible
