"""Where guesses stand, and what they see."""

from __future__ import annotations

from miras.model.numeric.tree import tree_attention


def test_a_tree_right_after_the_past():
    positions, visible = tree_attention(3, 3, [-1, 0, -1])
    assert positions.tolist() == [3, 4, 3]
    assert visible.astype(int).tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 1]]
