"""Pictures of a turn: what is tinted, dimmed, outlined; where labels stand; every size and every script."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.render import heart, line_width, overlay, plain, shorten, shown
from miras.core.errors import InputError
from miras.core.palette import PALETTE
from miras.core.types import Mask, Operator, Region

GREY = 128


def photo(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GREY, np.uint8)


def disk(height: int, width: int, x: float, y: float, radius: float) -> Mask:
    rows, columns = np.mgrid[:height, :width]
    inside: Mask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside


def region(number: int, mask: Mask, phrase: str = "cup", operator: Operator = Operator.REPLACE) -> Region:
    return Region(number, phrase, mask, 1, operator, 0.8)


def near(pixel: NDArray[np.uint8], colour: tuple[int, int, int], within: int = 12) -> bool:
    return bool((np.abs(pixel.astype(int) - np.array(colour)) <= within).all())


def test_nothing_to_show_leaves_the_photo_as_it_is() -> None:
    picture = photo(40, 60)
    result = overlay(picture, [], np.zeros((40, 60), bool))
    assert np.array_equal(result, picture)
    assert result is not picture


def test_masks_of_other_types_are_drawn_alike_and_probabilities_are_refused() -> None:
    picture, mask = photo(40, 60), disk(40, 60, 30, 20, 9)
    expected = overlay(picture, [region(1, mask)], mask)
    numbers = mask * np.uint8(255)
    np.testing.assert_array_equal(overlay(picture, [region(1, numbers)], mask.astype(np.float32)), expected)
    for soft in (mask * 0.6, np.full((40, 60), np.nan)):
        with pytest.raises(InputError, match="threshold"):
            overlay(picture, [region(1, soft)])
        with pytest.raises(InputError, match="threshold"):
            overlay(picture, [region(1, mask)], soft)


def test_selected_is_tinted_edged_and_the_rest_is_darker() -> None:
    picture = photo(200, 300)
    before = picture.copy()
    mask = disk(200, 300, 150, 100, 60)
    result = overlay(picture, [region(1, mask)], labels=False)
    assert np.array_equal(picture, before)
    assert result.dtype == np.uint8
    assert result.shape == picture.shape
    inside, outside = result[100, 150], result[5, 5]
    assert inside[2] > inside[0], "the first colour is blue"
    assert (outside < GREY).all()
    assert near(result[100, 90], PALETTE[0], 40), "the line runs along the edge"


def test_the_union_is_tinted_region_by_region_and_cuts_are_not() -> None:
    left, right = disk(200, 300, 80, 100, 40), disk(200, 300, 220, 100, 40)
    hole = disk(200, 300, 80, 100, 15)
    regions = [region(1, left), region(2, right, operator=Operator.ADD), region(3, hole, operator=Operator.CUT)]
    result = overlay(photo(200, 300), regions, (left | right) & ~hole, labels=False)
    assert result[100, 108][2] > result[100, 108][0], "blue"
    assert result[100, 220][0] > result[100, 220][2], "orange"
    assert (result[100, 80] < GREY).all(), "what was cut is dimmed like the rest"


def test_a_selection_of_no_region_is_shown_too() -> None:
    mask = disk(100, 100, 50, 50, 30)
    assert overlay(photo(100, 100), [], mask)[50, 50][2] > GREY


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match="resize"):
        overlay(photo(40, 60), [region(1, np.ones((60, 40), bool))])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (64, 2000), (2000, 64), (900, 1300)])
@pytest.mark.parametrize("phrase", ["cup", "a very long phrase that fits into no small photo " * 5])
def test_every_size(height: int, width: int, phrase: str) -> None:
    mask = disk(height, width, width / 2, height / 2, min(height, width) / 4)
    result = overlay(photo(height, width), [region(1, mask, phrase)])
    assert result.shape == (height, width, 3)
    assert (result != GREY).any()


@pytest.mark.parametrize(
    "phrase", ["", " ", "茶杯", "كوب الشاي", "☕🫖👩‍👩‍👧", "a\nb\tc\x1b[31m", "\ud800", "[SEG]<image>", "e\u0301" * 50]
)
def test_every_script(phrase: str) -> None:
    mask = disk(120, 160, 80, 60, 30)
    assert overlay(photo(120, 160), [region(1, mask, phrase)]).shape == (120, 160, 3)


def test_masks_that_are_empty_full_or_one_pixel() -> None:
    one = np.zeros((60, 80), bool)
    one[30, 40] = True
    for mask in (np.zeros((60, 80), bool), np.ones((60, 80), bool), one):
        assert overlay(photo(60, 80), [region(1, mask), region(2, mask)]).shape == (60, 80, 3)


def test_labels_do_not_cover_each_other() -> None:
    """Four labels at one place: as many pixels of plate as the four have apart."""
    mask = disk(400, 600, 300, 200, 40)
    plates = []
    for count in (1, 4):
        regions = [region(number, mask, "tea cup") for number in range(1, count + 1)]
        bare, labelled = (overlay(photo(400, 600), regions, labels=labels) for labels in (False, True))
        plates.append(int((bare != labelled).any(axis=2).sum()))
    assert plates[1] >= 3.7 * plates[0]


def test_lines_and_letters_grow_with_the_photo() -> None:
    assert line_width((64, 64)) < line_width((600, 800)) < line_width((4000, 6000))


def test_shown_are_the_regions_of_the_expression_and_the_new_ones() -> None:
    masks = [disk(10, 10, 5, 5, radius) for radius in range(1, 5)]
    known = [region(number, mask) for number, mask in enumerate(masks, 1)]
    refined = replace(known[0], mask=masks[3])
    assert [r.id for r in shown(known, [], "(1 + 2) - 3")] == [1, 2, 3]
    assert [r.id for r in shown(known, [known[3]], "2")] == [2, 4]
    assert shown(known, [refined], "1") == [refined]
    assert shown(known, [], "") == []


def test_heart_is_a_selected_pixel() -> None:
    ring = disk(300, 300, 150, 150, 140) & ~disk(300, 300, 150, 150, 100)
    x, y = heart(ring)
    assert ring[int(y), int(x)]


def test_texts_are_made_fit() -> None:
    assert plain(" a\n\tb\x00\ud800 ") == "a b?"
    assert shorten("cup", 12, 1000) == "cup"
    assert shorten("a long phrase", 12, 40).endswith("...")
    assert shorten("cup", 12, 1) == ""


@pytest.mark.parametrize(
    ("operator", "expression", "told"),
    [
        (Operator.ADD, "(1 + 2) - 2", Operator.CUT),
        (Operator.REPLACE, "~2", Operator.CUT),
        (Operator.CUT, "(1 - 2) + 2", Operator.ADD),
        (Operator.CUT, "1 - 2", Operator.CUT),
        (Operator.REPLACE, "2", Operator.REPLACE),
        (Operator.CUT, "1", Operator.CUT),
    ],
)
def test_a_region_is_told_as_it_counts_now(operator: Operator, expression: str, told: Operator) -> None:
    mask = np.ones((4, 4), np.bool_)
    known = [Region(1, "cup", mask, 1), Region(2, "lid", mask, 3, operator)]
    (region,) = [one for one in shown(known, known[1:], expression) if one.id == 2]
    assert region.operator is told
