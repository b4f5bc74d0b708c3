"""Colours of regions: told apart, and the same wherever a region is drawn."""

from __future__ import annotations

from miras.chat import render
from miras.core.palette import PALETTE, colour_of
from miras.data.inspect import sheet


def test_colours_go_round() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    assert [colour_of(number) for number in (1, 2, len(PALETTE) + 1)] == [PALETTE[0], PALETTE[1], PALETTE[0]]


def test_pictures_and_sheets_draw_with_the_same() -> None:
    assert render.colour_of is sheet.colour_of is colour_of
