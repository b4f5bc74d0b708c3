"""The least time is what bytes or operations take, product by product, whichever is more."""

from __future__ import annotations

import pytest
import torch

from miras.cli.benches.machine import Rates, fastest
from miras.cli.benches.roofline import Least, least, weights
from miras.model import presets

RATES = Rates(bandwidth=1e3, float32=1e3, bfloat16=1e4)
ONE, OTHER, IMAGE = torch.zeros(3, 5), torch.zeros(5, 7), torch.zeros(1, 2, 6, 6)
QUERY, KEY = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 9, 4)


class Held(torch.nn.Module):
    """Weights that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.conv = torch.nn.Linear(5, 7), torch.nn.Conv2d(2, 3, 3)


HELD = Held().requires_grad_(False)


@pytest.mark.parametrize(
    ("work", "model", "operations", "size", "seconds"),
    [
        (lambda: ONE @ OTHER, None, 210, 0, 0.21),
        (lambda: ONE.bfloat16() @ OTHER.bfloat16(), None, 210, 0, 0.021),
        (lambda: HELD.linear(ONE), HELD, 210, 4 * (35 + 7), 0.21),
        (lambda: HELD.linear(ONE[:1]), HELD, 70, 168, 0.168),  # one row: the weights take longer than the product
        (lambda: [HELD.linear(ONE[:1]), ONE @ OTHER], HELD, 280, 168, 0.168 + 0.21),  # product by product
        (lambda: HELD.conv(IMAGE), HELD, 2 * 16 * 3 * 18, 4 * (54 + 3), 1.728),
        (lambda: torch.nn.functional.scaled_dot_product_attention(QUERY, KEY, KEY), None, 4 * 24 * 9, 576, 0.864),
        (lambda: ONE + 1, HELD, 0, 0, 0),
    ],
)
def test_the_least_is_counted_product_by_product(work, model, operations, size, seconds):
    with torch.inference_mode():
        found = least(work, RATES, model)
    assert (found.operations, found.size) == (operations, size)
    assert found.seconds == pytest.approx(seconds)


def test_a_backward_is_three_forwards_of_which_the_input_needs_none():
    layer = torch.nn.Linear(5, 7, bias=False)
    found = least(lambda: layer(ONE).sum().backward(), RATES, layer)
    assert found.operations == 2 * 210


def test_beside_says_both_and_of_how_many_it_was():
    row = Least(operations=8e9, size=4e6, seconds=0.4).beside(0.2, share=4)
    assert row == {
        "seconds": 0.2,
        "megabytes": 4.0,
        "giga_operations": 2.0,
        "limit_seconds": 0.1,
        "times_the_limit": 2.0,
    }


def test_what_answers_shows_the_weights_that_are_no_parameters():
    model = presets.build("miras-tiny")
    before = sum(one.nbytes for one in weights(model))
    model.instruction.answer_fast(64, torch.float32)
    assert sum(one.nbytes for one in weights(model)) == pytest.approx(before, rel=0.1)


def test_the_first_time_is_not_counted(monkeypatch: pytest.MonkeyPatch):
    now = iter([0.0, 9.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr("miras.cli.benches.machine.clock_now", lambda: lambda: next(now))
    called: list[int] = []
    assert fastest(lambda: called.append(1), 3) == 2.0
    assert len(called) == 4
