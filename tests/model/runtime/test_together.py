"""Conversations that are answered together say what each says alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from miras.chat.load import Loaded
from miras.cli.benches.script import OPENING, SCRIPT
from miras.core.errors import InputError
from miras.model.presets import build
from miras.model.runtime import together
from miras.model.runtime.together import Together

PHOTOS = [np.random.default_rng(seed).integers(0, 255, (40 + 8 * seed, 60, 3), np.uint8) for seed in range(4)]
LINES = [OPENING[0], *(text for text, _ in SCRIPT)]


@pytest.fixture(scope="module")
def model():
    made = build("miras-tiny", seed=3).eval()
    made.instruction.answer_fast(made.config.max_tokens, torch.float32)
    return made


def talk(loaded: Loaded, number: int):
    """Turns as many as its number says, so that they end one after the other."""
    session = loaded.chat(PHOTOS[number], max_new_tokens=24)
    said = []
    for text in LINES[: 1 + number]:
        reply = session.ask(text)
        said.append((reply.ids, reply.text, reply.selection.expression, int(reply.selection.mask.sum())))
    return said


@pytest.fixture
def patient(monkeypatch):
    """A pass waits for all who talk, however busy the machine is."""
    monkeypatch.setattr(together, "PATIENCE", 60.0)


def test_together_they_say_what_each_says_alone(model, patient):
    alone = [talk(Loaded(model, "tiny", 0.0), number) for number in range(4)]
    runtime = Together(model)
    loaded = Loaded(runtime, "tiny", 0.0)
    assert runtime.each([lambda number=number: talk(loaded, number) for number in range(4)]) == alone
    assert max(runtime.passes) >= 3 and sum(runtime.passes) > 1.5 * len(runtime.passes)


def test_no_more_in_a_pass_than_is_allowed(model, patient):
    runtime = Together(model, most=2)
    loaded = Loaded(runtime, "tiny", 0.0)
    runtime.each([lambda: talk(loaded, 1) for _ in range(3)])
    assert max(runtime.passes) == 2


def test_one_that_fails_costs_no_other(model, monkeypatch):
    runtime = Together(model)
    loaded = Loaded(runtime, "tiny", 0.0)
    done: list[object] = []

    def fails():
        with pytest.raises(InputError, match="a message"):
            loaded.chat(PHOTOS[0]).ask(" ")
        return "told"

    assert runtime.each([fails, lambda: talk(loaded, 1), fails]) == ["told", talk(Loaded(model, "", 0.0), 1), "told"]

    def broken(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(runtime, "_pass", broken)

    def told():
        with pytest.raises(RuntimeError, match="no memory"):
            talk(loaded, 0)
        done.append(threading.current_thread())

    runtime.each([told, told])
    assert len(done) == 2
