from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.data.language.words import compound, definite, has_words, indefinite, is_plural, mirror, plural


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("back left door of the car", "back right door of the car"),
        ("Left or RIGHT", "Right or LEFT"),
        ("the leftmost cup", "the rightmost cup"),
        ("a right-hand glove", "a left-hand glove"),
        ("do it right now, right away", "do it right now, right away"),
        ("bright lights, leftovers", "bright lights, leftovers"),
        ("left mirror and right mirror", "right mirror and left mirror"),
        *(
            pair
            for one, other in (
                ("left_eye", "right_eye"),
                ("eye-left", "eye-right"),
                ("LeftEye", "RightEye"),
                ("eyeRight", "eyeLeft"),
                ("left.eye", "right.eye"),
                ("EYE_LEFT", "EYE_RIGHT"),
                ("left/eye", "right/eye"),
                ("left1", "right1"),
                ("UpperLeftArm", "UpperRightArm"),
                ("l_eye", "r_eye"),
                ("Hand_R", "Hand_L"),
                ("leftmost_cup", "rightmost_cup"),
            )
            for pair in ((one, other), (other, one))
        ),
        ("bright_eye, upright, copyright, cleft, lefty", "bright_eye, upright, copyright, cleft, lefty"),
        ("right_angle, leftover_soup, BrightEye", "right_angle, leftover_soup, BrightEye"),
        ("a_l_a", "a_r_a"),
        ("X-ray of an L shape", "X-ray of an L shape"),
    ],
)
def test_mirror(text: str, swapped: str) -> None:
    assert mirror(text) == swapped


@given(
    st.lists(
        st.sampled_from(
            [
                "left",
                "Right",
                "LEFTMOST",
                "cup",
                "right-hand",
                "now",
                "bright",
                "left_eye",
                "RightEye",
                "eyeLeft",
                "r_brow",
            ]
        )
    )
)
def test_mirror_twice_is_the_same_text(words: list[str]) -> None:
    text = " ".join(words)
    assert mirror(mirror(text)) == text


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("person", "people"), ("knife", "knives"), ("sheep", "sheep"), ("bus", "buses"), ("wine glass", "wine glasses"),
        ("couch", "couches"), ("shoes", "shoes"), ("bakery", "bakeries"), ("toy", "toys"),
        ("computer mouse", "computer mice"),
        ("wheel of the car", "wheels of the car"), ("pants", "pants"), ("vegetation", "vegetation"),
        ("tomato", "tomatoes"), ("bread", "pieces of bread"), ("tiger lily", "tiger lilies"), ("iris", "irises"),
        ("lily-of-the-valley", "lilies-of-the-valley"), ("needle-nose pliers", "needle-nose pliers"),
        ("rhinoceros", "rhinoceroses"), ("bell pepper", "bell peppers"), ("black pepper", "black pepper"),
    ],
)  # fmt: skip
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("shoes", True), ("wine glass", False), ("bus", False), ("tines of the fork", True),
     ("handle of the scissors", False), ("people", True), ("wheel on the left", False), ("lens of the glasses", False),
     ("person who wears the glasses", False), ("people next to the bus", True)],
)  # fmt: skip
def test_number(phrase: str, expected: bool) -> None:
    assert is_plural(phrase) is expected


def test_articles() -> None:
    assert [indefinite(p) for p in ("dog", "umbrella", "shoes", "sand")] == [
        "a dog",
        "an umbrella",
        "any shoes",
        "any sand",
    ]
    assert definite("cup") == "the cup"
    assert definite("all cups") == "all the cups"
    assert compound("handle of the cup") == "cup handle"
    assert compound("hood of the car") == "hood on the car"
    assert compound("bed frame of the bed") == "bed frame"
    assert compound("board of the cutting board") == "cutting board"


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("Where are the shoes?", "shoes", True), ("one shoe only", "shoes", True), ("two cats", "cat", True),
        ("a category", "cat", False), ("the t-shirt", "shirt", False), ("TRAFFIC  sign", "traffic sign", True),
    ],
)  # fmt: skip
def test_has_words(text: str, phrase: str, found: bool) -> None:
    assert has_words(text, phrase) is found
