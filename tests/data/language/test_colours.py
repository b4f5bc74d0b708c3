from __future__ import annotations

import numpy as np
import pytest

from miras.data.language import colours

COLOURS = {
    "black": (12, 12, 14), "white": (245, 245, 242), "grey": (128, 128, 130), "red": (200, 20, 25),
    "orange": (245, 130, 15), "yellow": (250, 220, 30), "green": (30, 140, 50), "blue": (20, 70, 190),
    "purple": (120, 40, 150), "pink": (250, 150, 180), "brown": (110, 70, 40),
}  # fmt: skip


def patch(*rgb: tuple[int, int, int], each: int = 50) -> np.ndarray:
    return np.repeat(np.array(rgb, np.uint8), each, axis=0)


@pytest.mark.parametrize(("name", "rgb"), COLOURS.items())
def test_what_anybody_calls_so(name: str, rgb: tuple[int, int, int]) -> None:
    found = colours.shares(patch(rgb))
    assert found[name] == 1.0 and sum(found.values()) == 1.0


@pytest.mark.parametrize(
    "rgb", [(205, 205, 207), (150, 190, 200), (190, 120, 110)], ids=["light grey", "teal", "dusty"]
)
def test_between_two_names_there_is_none(rgb: tuple[int, int, int]) -> None:
    assert max(colours.shares(patch(rgb)).values()) < 0.5


def test_lab_of_known_points() -> None:
    """White, black and the sRGB primary red as published (CIE D65)."""
    got = colours.lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8))
    assert np.allclose(got, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.05)


def test_shares_count_pixels() -> None:
    found = colours.shares(patch(COLOURS["red"], COLOURS["red"], COLOURS["red"], COLOURS["blue"]))
    assert (found["red"], found["blue"]) == (0.75, 0.25)
    assert colours.shares(np.zeros((0, 3), np.uint8)) == {}


@pytest.mark.parametrize(
    ("own", "others", "name"),
    [
        ("red", ["blue", "white"], "red"),
        ("red", ["red", "white"], ""),
        ("red", ["orange"], ""),  # one says orange, another red
        ("grey", ["white"], ""),
        ("white", ["black"], "white"),
    ],
)
def test_a_colour_tells_apart_what_is_clearly_unlike(own: str, others: list[str], name: str) -> None:
    shares = [colours.shares(patch(COLOURS[one])) for one in (own, *others)]
    assert colours.clear(shares[0], list(shares[1:])) == name
