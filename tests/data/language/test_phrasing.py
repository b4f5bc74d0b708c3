from __future__ import annotations

import string
from itertools import pairwise

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.types import Name, Words
from miras.data.language import phrasing
from miras.data.language.phrasing import Phrasing, lower_first, parse, pick, vary

LEAST = {
    "ask": 25,
    "two": 15,
    "add": 15,
    "cut": 15,
    "undo": 15,
    "exist": 15,
    "other": 15,
    "thanks": 15,
    "next": 15,
    "again": 15,
}
SLOTS = {
    "the", "bare", "a", "none", "is", "was", "it", "this", "that", "this_lower", "is_answer", "there", "there_lower",
    "name", "second", "first", "use", "question", "lower", "noun", "is_there", "ordinal",
}  # fmt: skip


@pytest.fixture(scope="module")
def wordings() -> Phrasing:
    return phrasing.load()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("move", "least"), LEAST.items())
def test_there_is_variety(wordings: Phrasing, move: str, least: int) -> None:
    assert len(set(wordings.train[move])) >= least


def test_a_share_is_held_out_and_never_trained_on(wordings: Phrasing) -> None:
    for move, held in wordings.heldout.items():
        trained = {text.lower().strip(" .?!") for text in wordings.train[move]}
        assert held and not trained & {text.lower().strip(" .?!") for text in held}, move
        assert 0.08 <= len(held) / (len(held) + len(trained)) <= 0.35, move


def test_replies_have_eight_forms_and_every_slot_is_known(wordings: Phrasing) -> None:
    for move, replies in wordings.replies.items():
        assert len(set(replies)) >= 8, move
    everything = [*wordings.train.values(), *wordings.heldout.values(), *wordings.replies.values()]
    fields = {f for texts in everything for text in texts for _, f, _, _ in string.Formatter().parse(text) if f}
    assert fields <= SLOTS


def test_a_reply_s_words_end_without_space_before_a_name(wordings: Phrasing) -> None:
    for seed in range(200):
        pieces = wordings.answer("two", rng(seed), [("cup", 4), ("shoes", 5)])
        names = [piece for piece in pieces if isinstance(piece, Name)]
        assert names == [Name("cup", 4), Name("shoes", 5)]
        for piece, after in pairwise(pieces):
            if isinstance(after, Name):
                assert isinstance(piece, Words) and not piece.text.endswith(" ")
        assert all(piece.text for piece in pieces if isinstance(piece, Words))


@pytest.mark.parametrize(("phrase", "forms"), [("shoes", {"are"}), ("cup", {"is"})])
def test_number_agrees(wordings: Phrasing, phrase: str, forms: set[str]) -> None:
    texts = [wordings.say("ask", rng(seed), phrase=phrase).lower() for seed in range(300)]
    asked = [text.split() for text in texts if text.startswith("where")]
    assert asked and {words[1] for words in asked} == forms


def test_held_out_wordings_are_said_only_then(wordings: Phrasing) -> None:
    held = {wordings.say("undo", rng(seed), heldout=True).lower().strip(" .") for seed in range(100)}
    said = {wordings.say("undo", rng(seed)).lower().strip(" .") for seed in range(300)}
    assert held and not held & said


@pytest.mark.parametrize(
    ("text", "lowered"),
    [("Which part?", "which part?"), ("I want it", "I want it"), ("I'd like it", "I'd like it"), ("", "")],
)
def test_lower_first(text: str, lowered: str) -> None:
    assert lower_first(text) == lowered


def test_vary_changes_only_case_and_marks() -> None:
    text = "Where is the Cup?"
    shown = {vary(text, rng(seed)) for seed in range(300)}
    assert text in shown and len(shown) >= 4
    assert {t.lower().rstrip("?") for t in shown} == {"where is the cup"}


def test_pick_follows_the_weights() -> None:
    source = rng()
    assert {pick(source, "ab", [0, 3]) for _ in range(20)} == {"b"}


def test_faults_are_named_together() -> None:
    raw = {"ask": {"train": ["Show it."], "heldout": ["show it"]}, "cut": {"train": ["Cut."]}, "reply": {}}
    with pytest.raises(InputError, match=r"ask: 'show it' is both.*cut: lists"):
        parse(raw)
