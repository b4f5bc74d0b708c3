"""What a phrase quotes, and which of the lines that were read it means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core.text_regions import LEAST, TextRegion, find, is_about_writing, quoted


def line(text: str, x: float = 0, y: float = 0, width: float = 100, height: float = 10) -> TextRegion:
    return TextRegion(text, ((x, y), (x + width, y), (x + width, y + height), (x, y + height)), 0.9)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=LEAST, max_size=9)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("brand name 'Noxby'", "Noxby"), ('word "OPEN"', "OPEN"), ("sign that says \u201cWET PAINT\u201d", "WET PAINT"),
        ("the driver's door", None), ("slogan 'don't stop'", "don't stop"), ("buttons of the driver's 'X'", "X"),
        ("cup", None), ("''", None),
    ],
)  # fmt: skip
def test_quotations(phrase: str, text: str | None) -> None:
    assert quoted(phrase) == text
    assert is_about_writing(phrase) == (text is not None)


def test_writing_needs_no_quotation() -> None:
    assert is_about_writing("text on the door") and is_about_writing("the lettering") and is_about_writing("Words")
    assert not is_about_writing("textile") and not is_about_writing("door with text")


def test_case_spaces_and_punctuation_do_not_count() -> None:
    lines = [line("Tall Fox"), line("040-64 82", y=20)]
    assert find("TALL FOX!", lines) == (lines[0],)
    assert find("040 64 82", lines) == (lines[1],)


def test_one_mistaken_letter_in_a_long_word_is_forgiven_and_none_in_a_short_one() -> None:
    assert find("Yonder Oak", [line("Yonder Ouk")]) and not find("33", [line("38")]) and find("33", [line("33")])


def test_a_word_of_a_line_is_its_part_of_the_line() -> None:
    (part,) = find("keep", [line("keep it odd", width=110)])
    assert part.text == "keep" and part.quad == ((0, 0), (40, 0), (40, 10), (0, 10))
    assert part.mask((20, 120))[5, :38].all() and not part.mask((20, 120))[5, 42:].any()


def test_a_text_over_several_lines_is_all_of_them() -> None:
    lines = [line("MIND"), line("THE", y=12), line("GAP", y=24)]
    assert find("Mind the gap", lines) == tuple(lines)
    assert find("the gap", lines) == (lines[1], lines[2])


def test_of_the_same_text_twice_the_larger_is_meant() -> None:
    small, large = line("OPEN", height=5), line("OPEN", y=30, height=20)
    assert find("open", [small, large]) == find("open", [large, small]) == (large,)


@given(st.lists(WORDS, min_size=1, max_size=6, unique=True), st.data())
def test_what_was_read_is_found_and_best_matches_win(words: list[str], data: st.DataObject) -> None:
    lines = [line(word, y=20.0 * number) for number, word in enumerate(words)]
    wanted = data.draw(st.sampled_from(words))
    (found,) = find(wanted.upper(), lines)
    assert found.text == wanted


@given(WORDS, st.lists(WORDS, max_size=5))
def test_what_shares_no_letter_is_not_found(word: str, others: list[str]) -> None:
    strange = [line("".join(c for c in other if c not in word) or "0", y=20.0 * n) for n, other in enumerate(others)]
    assert find(word, strange) == () and find("", strange) == () and find("!?", strange) == ()


@given(st.floats(0, 3.1), st.integers(0, 3), st.integers(4, 8))
def test_parts_of_turned_lines_lie_within_them(angle: float, start: int, end: int) -> None:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [80, 0], [80, 10], [0, 10]]) @ turn + 100
    quad = tuple((float(x), float(y)) for x, y in corners)
    whole = TextRegion("abcdefgh", quad, 1.0)  # type: ignore[arg-type]
    part = whole.part(start, end)
    assert part.area == pytest.approx(whole.area * (end - start) / 8, rel=1e-6)
    assert part.height == pytest.approx(whole.height) == pytest.approx(10)
    inside, outside = part.mask((220, 220)), ~whole.mask((220, 220))
    assert np.count_nonzero(inside & outside) <= 0.1 * inside.sum() + 4
