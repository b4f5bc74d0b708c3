"""Which region is meant: by the likeness of the words at first, over regions and not over mentions."""

from __future__ import annotations

import numpy as np
import torch

from miras.model.pointer import Pointer, by_region

WIDTH, LAYERS = 8, 2


def spans(*words: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Spans of letters, each with a state of its own, between an opening and an end."""
    source = torch.Generator().manual_seed(0)
    table = torch.randn(128, WIDTH * LAYERS, generator=source)
    longest = max(map(len, words)) + 2
    states = torch.stack([torch.stack([table[ord(c)] for c in f"[{word}]".ljust(longest, "#")]) for word in words])
    return states, torch.tensor([[place < len(word) + 2 for place in range(longest)] for word in words])


def scores(asked: list[str], mentioned: list[str]) -> torch.Tensor:
    torch.manual_seed(1)
    pointer = Pointer(WIDTH, LAYERS, torch.zeros(WIDTH))
    count = len(mentioned)
    zero = torch.zeros(len(asked), count, dtype=torch.long)
    result: torch.Tensor = pointer(
        *spans(*asked), *spans(*mentioned), torch.randn(count, WIDTH * LAYERS), torch.randn(count, 2, WIDTH), zero, zero
    )
    return result


def test_the_same_words_fit_best_in_any_order_and_beside_padding() -> None:
    found = scores(["ab", "cde", "ba"], ["ab", "cde", "xyzuvw"])
    assert found.argmax(1).tolist() == [0, 1, 0]
    torch.testing.assert_close(found[0, 0], torch.tensor(12.0))
    torch.testing.assert_close(found[2, 0], torch.tensor(12.0))
    alone = scores(["ab"], ["ab", "cde"])
    torch.testing.assert_close(alone[0], found[0, :2])


def test_probabilities_are_over_regions():
    scores = torch.tensor([[1.0, 2.0, 0.5, 9.0]])
    may = torch.tensor([[True, True, True, False]])
    region = torch.tensor([4, 7, 4, 8])
    logs = [float(by_region(scores, may, region, torch.tensor([wanted]))) for wanted in (4, 7, 8)]
    np.testing.assert_allclose(np.exp(logs), [0.3715, 0.6285, 0.0], atol=1e-3)
