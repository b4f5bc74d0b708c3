"""The cache changes nothing but the time: same tokens, same masks, only new tokens are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.inputs import Recompute
from miras.chat.session import ChatSession
from miras.core.grammar import ADD, CUT, OBJ, REJ, SEG, UNDO
from miras.core.types import Operator, Region
from miras.model.miras import Miras
from miras.model.presets import configuration

Says = Callable[..., tuple[int, ...]]

SCRIPT = [
    ("the cup and its lid", ("Here: ", OBJ, " cup", SEG, " and ", OBJ, " lid", SEG, ".")),
    ("also the pan", (ADD, "With ", OBJ, " pan", SEG)),
    ("without the handle", (CUT, OBJ, " handle", SEG)),
    ("go back", (UNDO, "Back.")),
    ("and the dragon?", (REJ, "No dragon here.")),
]
TOLERANCE = 1e-4
"""Of mask logits, float32: one pass over the whole sums in another order than many passes."""


def talk(session: ChatSession, says: Says, monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """Run the script. Returns the mask logits of every region."""
    seen: list[NDArray[np.float32]] = []
    segment = Miras.segment

    def spy(self: Miras, *args: object, **kwargs: object) -> object:
        prediction = segment(self, *args, **kwargs)  # type: ignore[arg-type]
        seen.append(prediction.logits_Mhw)
        return prediction

    with monkeypatch.context() as patch:
        patch.setattr(Miras, "segment", spy)
        for text, pieces in SCRIPT:
            session.ask(text, forced=says(*pieces))
    return seen


@pytest.mark.parametrize("recompute", ["turn", "token"])
def test_same_replies_with_and_without_cache(
    model: Miras, photo: NDArray[np.uint8], says: Says, monkeypatch: pytest.MonkeyPatch, recompute: Recompute
) -> None:
    kept, anew = ChatSession(model, photo), ChatSession(model, photo, recompute=recompute)
    logits, logits_anew = talk(kept, says, monkeypatch), talk(anew, says, monkeypatch)
    assert len(logits) == len(logits_anew) == 4
    for ours, theirs in zip(logits, logits_anew, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)
    for reply, other in zip(kept.history, anew.history, strict=True):
        assert (reply.text, reply.ids, reply.operators) == (other.text, other.ids, other.operators)
        assert reply.selection.expression == other.selection.expression
        assert (reply.selection.mask != other.selection.mask).mean() < 0.001
        assert reply.certainty == pytest.approx(other.certainty, abs=TOLERANCE)


def test_unforced_replies_are_the_same_too(model: Miras, photo: NDArray[np.uint8]) -> None:
    kept, turn, token = (
        ChatSession(model, photo, max_new_tokens=10, temperature=1.0, recompute=recompute)
        for recompute in get_args(Recompute)
    )
    for text in ("one", "two", "three"):
        assert kept.ask(text).ids == turn.ask(text).ids == token.ask(text).ids


def test_the_photo_is_encoded_once(
    session: ChatSession, model: Miras, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model.encoded_photos
    talk(session, says, monkeypatch)
    session.refine(points=[(5, 5, 1)])
    session.undo()
    session.fork().ask("again", forced=says("Yes."))
    assert model.encoded_photos == before
    anew = ChatSession(model, session.photo, recompute="turn")
    anew.ask("one", forced=says("Yes."))
    anew.ask("two", forced=says("Yes."))
    assert model.encoded_photos == before + 3


def test_a_turn_costs_its_new_tokens(
    session: ChatSession, model: Miras, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(session, says, monkeypatch)
    prompt, closing = session.backend.context.prompt, len(session.backend.context.closing)
    for turn, (reply, (text, pieces)) in enumerate(zip(session.history, SCRIPT, strict=True)):
        slots = model.grammar.mask_tokens * pieces.count(SEG)
        before = len(session.backend.context.prefix) if turn == 0 else closing
        assert reply.new_tokens == before + len(prompt(text)) + len(reply.ids) + slots
    assert sum(reply.new_tokens for reply in session.history) == len(session.backend.engine.past.ids)


def test_the_cache_holds_what_is_written_down(
    session: ChatSession, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(session, says, monkeypatch)
    engine = session.backend.engine
    assert tuple(engine.past.ids) == session.backend.context.run(session._state).ids
    assert len(engine.past.cache) == len(engine.past.ids)


def test_the_selection_follows_the_operators(session: ChatSession, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(session, says, monkeypatch)
    cup, lid, pan, handle = (region.mask for region in session.regions)
    whole = cup | lid | pan
    expected = [cup | lid, whole, whole & ~handle, whole, whole]
    for reply, mask in zip(session.history, expected, strict=True):
        np.testing.assert_array_equal(reply.selection.mask, mask)
    assert session.selection.expression == "1 + 2 + 3"
    assert [reply.operators for reply in session.history] == [
        (), (Operator.ADD,), (Operator.CUT,), (Operator.UNDO,), (Operator.REJECT,),
    ]  # fmt: skip
    assert [region.operator for region in session.regions] == [Operator.REPLACE] * 2 + [Operator.ADD, Operator.CUT]
    assert [region.turn for region in session.regions] == [1, 1, 3, 5]


def test_a_full_context_drops_the_oldest_exchanges(model: Miras, photo: NDArray[np.uint8], says: Says) -> None:
    session = ChatSession(model, photo, max_new_tokens=24)
    words = "x" * 300
    for turn in range(5):
        session.ask(f"{turn} {words}", forced=says("See ", OBJ, f" cup{turn}", SEG))
        assert len(session.backend.engine.past.ids) <= model.config.max_tokens
    assert session._state.window == 2
    assert tuple(session.backend.engine.past.ids) == session.backend.context.run(session._state).ids
    assert [slot.region.id for slot in session.backend.engine.past.slots] == [3, 4, 5]
    assert len(session.regions) == 5
    assert len(session.turns) == 10
    session.undo()
    assert session._state.window == 1
    assert tuple(session.backend.engine.past.ids) == session.backend.context.run(session._state).ids
    old = session.regions[0]
    new = session.refine(points=[(3, 3, 1)], region=1).regions[0]
    assert (new.id, new.phrase) == (old.id, old.phrase)


# Looking before refusing


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
    assert twin.backend.engine.past.ids == session.backend.engine.past.ids
    for ours, theirs in zip(
        session.backend.engine.past.cache.tensors.layers, twin.backend.engine.past.cache.tensors.layers, strict=True
    ):
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


@pytest.mark.parametrize(
    ("below", "passed", "refused"),
    [
        (None, 0.45, True),
        (None, 0.55, False),
        (0.4, 0.45, False),
        (0.6, 0.55, True),
        (0.0, 0.0, False),
        (1.0, 0.99, True),
    ],
)
def test_the_threshold_of_refusals_is_the_sessions(
    inclined: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, below: float | None, passed: float,
    refused: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(inclined, "verdict", lambda presence, refusal: passed)
    options = {} if below is None else {"refuse_below": below}
    session = ChatSession(inclined, photo, max_new_tokens=12, **options)
    reply = session.ask("the dragon")
    assert (reply.operators == (Operator.REJECT,)) == refused
    assert reply.certainty is not None and (reply.certainty == pytest.approx(1 - passed)) >= refused
    again = ChatSession.from_json(inclined, session.to_json(), photo)
    assert again.options == session.options and again.options.refuse_below == (0.5 if below is None else below)
    assert again.ask("and the lid").operators == session.ask("and the lid").operators


def test_what_has_no_pixels_is_refused_whatever_the_threshold(
    inclined: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inclined.config, "least_score", 2.0)  # nothing reaches it
    session = ChatSession(inclined, photo, max_new_tokens=12, refuse_below=0.0)
    assert session.ask("the dragon").operators == (Operator.REJECT,) and not session.regions


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


def test_with_the_faults_of_the_official_code_no_word_reaches_the_mask(
    photo: NDArray[np.uint8], says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = configuration("miras-tiny")
    fixed = Miras(config)
    config.paper_bugs = True
    faulty = Miras(config)
    faulty.load_state_dict(fixed.state_dict())
    spans = {}
    for model, name in ((fixed, "fixed"), (faulty, "faulty")):
        model.config.paper_bugs = name == "faulty"
        for phrase in (" cup", " lid of it"):
            session = ChatSession(model, photo)
            (region,) = session.ask("Which?", forced=says(OBJ, phrase, SEG)).regions
            spans[name, phrase] = session.backend.engine.past.span(region.id)
    np.testing.assert_allclose(spans["faulty", " cup"], spans["faulty", " lid of it"], atol=1e-5, rtol=1e-5)
    assert spans["fixed", " cup"].shape != spans["fixed", " lid of it"].shape


def test_with_the_faults_of_the_official_code_the_alignment_is_new_at_every_call(photo: NDArray[np.uint8]) -> None:
    config = configuration("miras-tiny")
    config.paper_bugs = True
    model = Miras(config)
    span, words = torch.randn(1, 1, model.instruction.width * len(config.alignment_layers)), torch.ones(1, 1).bool()
    assert not torch.allclose(model.alignment(span, words)[0], model.alignment(span, words)[0], atol=1e-4)
