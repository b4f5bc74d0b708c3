"""An answer as pieces of a reply: its text stays as it was said, its names are found in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.chat.composed.families import Grid
from miras.chat.composed.plan import Want, plan_of
from miras.core.types import Name, Turn
from tests.chat.composed.pairs import SIZE, new, step


def shown(text: str, *phrases: str) -> list[str]:
    value = {"text": text, "steps": [step("replace", *({**new("cup"), "phrase": phrase} for phrase in phrases))]}
    return [piece.shown for piece in plan_of(value, {}, Grid(), SIZE).pieces if isinstance(piece, Want)]


@pytest.mark.parametrize(
    ("text", "phrases", "found"),
    [
        ("Here is the cup.", ["cup"], ["cup"]),
        ("Here is the Red Cup!", ["red cup"], ["Red Cup"]),
        ("Here is the cupboard.", ["cup"], [""]),
        ("The cup's lid.", ["cup"], [""]),
        ("The cup (blue).", ["cup"], ["cup"]),
        ("A cup and a cup.", ["cup", "cup", "cup"], ["cup", "cup", ""]),
        ("The lid, then the cup.", ["cup", "lid"], ["cup", ""]),
        ("Done.", ["cup"], [""]),
        ("a.b", ["a.b"], ["a.b"]),
        ("C++ (1)", ["c++"], ["C++"]),
    ],
)
def test_names_in_the_text(text: str, phrases: list[str], found: list[str]) -> None:
    assert shown(text, *phrases) == found


@given(
    st.text(alphabet="ab .,!\n'", max_size=20), st.lists(st.text(alphabet="ab ", min_size=1, max_size=3), max_size=3)
)
def test_the_text_stays(text: str, phrases: list[str]) -> None:
    value = {"text": text, "steps": [step("replace", *({**new("cup"), "phrase": one} for one in phrases))]}
    pieces = plan_of(value, {}, Grid(), SIZE).pieces
    content = tuple(Name(piece.shown, 1) if isinstance(piece, Want) else piece for piece in pieces)
    plain = Turn("assistant", plan_of({"text": text, "steps": []}, {}, Grid(), SIZE).pieces)  # type: ignore[arg-type]
    assert Turn("assistant", content).text == plain.text  # type: ignore[arg-type]
