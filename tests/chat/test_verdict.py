"""The model looks before it refuses, and before it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.session import ChatSession
from miras.core.grammar import OBJ, REJ
from miras.core.types import Operator, Region
from miras.model.miras import Miras


@pytest.fixture
def inclined(model: Miras, monkeypatch: pytest.MonkeyPatch) -> Miras:
    """A model that likes to open a region, and sometimes to refuse."""
    bias = model.instruction.special_bias.detach().clone()
    bias[model.grammar.id(OBJ) - model.instruction.vocab_size] += 6
    bias[model.grammar.id(REJ) - model.instruction.vocab_size] += 8
    monkeypatch.setattr(model.instruction.special_bias, "data", bias)
    return model


def session_of(model: Miras, photo: NDArray[np.uint8]) -> ChatSession:
    return ChatSession(model, photo, max_new_tokens=12)


def test_what_is_not_seen_is_refused(
    inclined: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inclined, "verdict", lambda presence, refusal: 0.1)
    session = session_of(inclined, photo)
    reply = session.ask("the dragon")
    assert reply.operators == (Operator.REJECT,)
    assert not reply.regions and not session.regions
    assert reply.certainty == pytest.approx(0.9)
    # Nothing of the attempt is left: the cache is what the same reply, dictated, leaves.
    twin = session_of(inclined, photo)
    twin.ask("the dragon", forced=reply.ids)
    assert twin._engine.ids == session._engine.ids
    for ours, theirs in zip(session._engine.cache.layers, twin._engine.cache.layers, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-5, rtol=1e-4)


def test_what_is_seen_is_not_refused(
    inclined: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inclined, "verdict", lambda presence, refusal: 0.8)
    session = session_of(inclined, photo)
    reply = session.ask("the cup")
    assert Operator.REJECT not in reply.operators
    assert reply.regions
    assert reply.certainty is not None and reply.certainty <= 0.8


def test_nothing_is_given_away_before_the_verdict(
    inclined: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inclined, "verdict", lambda presence, refusal: 0.0)
    *events, reply = session_of(inclined, photo).stream("the dragon")
    assert not any(isinstance(event, Region) for event in events)
    assert "".join(event for event in events if isinstance(event, str)) == reply.text


def test_the_verdict_weighs_pixels_and_words(
    inclined: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(inclined, photo)
    assert session.evidence is None
    reply = session.ask("the cup")
    evidence = session.evidence
    assert evidence is not None and evidence.presence is not None
    assert (inclined.verdict(evidence.presence, evidence.refusal) < 0.5) == (Operator.REJECT in reply.operators)
    monkeypatch.setattr(inclined.alignment.verdict, "data", torch.tensor([1.0, 0.0, -2.0]))
    assert inclined.verdict(5.0, 3.0) == pytest.approx(1 / (1 + np.exp(5.0)))
    assert inclined.verdict(5.0, -3.0) > 0.99
