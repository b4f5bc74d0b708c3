from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.data.language import phrasing, remarks
from miras.data.language.normalise import lexicon, normalised

COMMON = lexicon() | {"zebra", "sow"}


def read(text: str) -> str:
    return normalised(text, COMMON.__contains__)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("WHERE IS THE CUP?", "Where is the cup?"),
        ("Where Is The Left Shoe?", "Where is the left shoe?"),
        ("NOW, I NEED THE HANDLE", "Now, I need the handle"),
        ("Wheer is the cup?", "Where is the cup?"),
        ("Selct the bicyle.", "Select the bicycle."),
        ("WHERE IS TEH ZBERA", "Where is the zebra"),
        ("without the hadle", "without the handle"),
        ("the lft shoe", "the left shoe"),
        ("bicylce", "bicycle"),
    ],
)
def test_capitals_and_slips_are_taken_back(typed: str, meant: str) -> None:
    assert read(typed) == meant


@pytest.mark.parametrize(
    "text",
    ["Where does it say 'OPNE'?", 'Select "EXIT"', "Où est le chien ?", "犬", "👀", "Hola", "Donde esta el arbol?",
     "asdf qwer", "TV", "the TV", "a", "?!", "12 + 30", "Select the calathea."],
)  # fmt: skip
def test_what_is_no_slip_stays(text: str) -> None:
    assert read(text) == text


def test_our_own_wordings_stay() -> None:
    """What training and evaluation say is read as it is written."""
    texts = [t for side in (phrasing.load().train, phrasing.load().heldout) for ts in side.values() for t in ts]
    told = [t for name, kind in remarks.load().topics.items() if name not in ("tasks", "orders") for t in kind.train]
    assert [text for text in (*texts, *told) if read(text) != text] == []


@given(st.text(max_size=60))
def test_any_text_is_read_and_once_is_enough(text: str) -> None:
    once = read(text)
    assert read(once) == once
    assert len(once.split()) == len(text.split())


def test_a_word_without_end_costs_nothing() -> None:
    """Its slips alone would be a hundred thousand words of as many letters: minutes."""
    text = "where is the " + "x" * 100_000
    assert normalised(text, lambda word: word in ("where", "is", "the")) == text
    assert normalised("x" * 100_000, lambda word: False) == "x" * 100_000
