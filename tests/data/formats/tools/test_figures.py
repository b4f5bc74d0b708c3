"""Figures as masks: turned boxes, ellipses, pasted masks, numbers that are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.data.formats.tools import figures
from tests.data.made import drawn

SIZE = (24, 32)


def test_a_box_turned_by_a_right_angle_lies_across() -> None:
    corners = figures.corners_of(4, 6, 10, 8)
    about = figures.turned(corners, 90, (7, 7))
    assert np.array_equal(figures.polygon(about, SIZE), drawn("##", "##", "##", "##", "##", "##", at=(4, 6)))
    assert np.array_equal(figures.polygon(figures.turned(corners, 360, (0, 0)), SIZE), figures.polygon(corners, SIZE))


def test_degrees_go_clockwise_on_the_screen() -> None:
    ((x, y),) = figures.turned([(10.0, 5.0)], 90, (5.0, 5.0))
    assert (round(x, 9), round(y, 9)) == (5.0, 10.0)


@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_an_ellipse_is_all_pixels_within(degrees: float) -> None:
    mask = figures.ellipse((15.5, 12.0), (9.0, 4.0), degrees, SIZE)
    turn = math.radians(degrees)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            dx, dy = x + 0.5 - 15.5, y + 0.5 - 12.0
            along, across = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
            assert mask[y, x] == ((along / 9) ** 2 + (across / 4) ** 2 <= 1)
    assert abs(mask.sum() - math.pi * 36) < 6


def test_an_ellipse_of_the_pixel_grid() -> None:
    expected = drawn(".##.", "####", "####", ".##.", at=(3, 3))
    assert np.array_equal(figures.ellipse((5, 5), (1.6, 1.6), 45, SIZE), expected)


NUMBERS: list[tuple[Any, float | None]] = [
    ("3.5", 3.5), (-2, -2.0), (0, 0.0), (1e6, 1e6), (1e300, None), ("nan", None), (math.inf, None), (True, None),
    (None, None), ([1], None), ("", None), ("1,5", None), (10**400, None),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), NUMBERS, ids=[repr(given)[:20] for given, _ in NUMBERS])
def test_numbers(given: Any, expected: float | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match="a number for x"):
            figures.number(given, "x")
    else:
        assert figures.number(given, "x") == expected


@pytest.mark.parametrize("given", [-1, 1.5, "x", "-1"])
def test_no_whole_number(given: Any) -> None:
    with pytest.raises(InputError, match="number"):
        figures.whole(given, "x")


FAULTS: dict[str, tuple[Any, str]] = {
    "two points": (lambda: figures.ring([(1, 1), (2, 2)]), "at least 3 points, got 2"),
    "a point of three": (lambda: figures.ring([(1, 1, 1)]), r"points \(x, y\)"),
    "a point that is a number": (lambda: figures.ring([1]), r"points \(x, y\)"),
    "outside": (lambda: figures.polygon([(40, 1), (50, 1), (50, 9)], SIZE), "with pixels of the photo"),
    "no radius": (lambda: figures.ellipse((5, 5), (0, 2), 0, SIZE), "radii over 0"),
    "sticks out": (lambda: figures.pasted(drawn("##", size=(2, 2)), 31, 0, SIZE), "inside 32 x 24"),
    "before the corner": (lambda: figures.pasted(drawn("##", size=(2, 2)), -1, 0, SIZE), "inside 32 x 24"),
    "an empty one": (lambda: figures.pasted(drawn("..", size=(2, 2)), 0, 0, SIZE), "with pixels of the photo"),
}


@pytest.mark.parametrize(("draw", "said"), FAULTS.values(), ids=FAULTS)
def test_faults(draw: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw()
