"""What is to be printed: rows of text, an emblem, a board, inks. `art` sets it in type.

Knows no letter's shape and no pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Colour = tuple[int, int, int]
"""RGB, 0..255."""
EMBLEMS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "sun": (*(("spoke", str(45 * n), 1) for n in range(8)), ("ellipse", "24 24 76 76", 1)),
    "mountain": (("polygon", "0 90 38 10 58 50 70 30 100 90", 1), ("polygon", "38 10 29 30 38 38 49 32", 0)),
    "drop": (("polygon", "50 0 86 60 14 60", 1), ("ellipse", "10 30 90 100", 1), ("ellipse", "26 56 46 76", 0)),
    "star": (("polygon", "50 0 62 36 100 36 70 58 81 95 50 73 19 95 30 58 0 36 38 36", 1),),
    "shield": (("polygon", "8 2 92 2 92 50 50 100 8 50", 1), ("polygon", "20 34 50 60 80 34 80 50 50 77 20 50", 0)),
    "ring": (("ellipse", "0 0 100 100", 1), ("ellipse", "16 16 84 84", 0), ("ellipse", "34 34 66 66", 1)),
    "arrow": (("polygon", "50 0 100 55 70 55 70 100 30 100 30 55 0 55", 1),),
    "leaf": (
        ("polygon", "50 0 82 28 88 55 70 82 50 90 30 82 12 55 18 28", 1),
        ("polygon", "47 25 53 25 53 90 47 90", 0), ("polygon", "46 90 54 90 54 100 46 100", 1),
    ),
    "diamond": (("polygon", "50 0 100 50 50 100 0 50", 1), ("polygon", "50 25 75 50 50 75 25 50", 0)),
    "bolt": (("ellipse", "0 0 100 100", 1), ("polygon", "58 10 26 56 46 56 40 90 74 42 53 42", 0)),
    "moon": (("ellipse", "2 2 98 98", 1), ("ellipse", "32 0 102 70", 0)),
    "hexagon": (
        ("polygon", "25 5 75 5 100 50 75 95 25 95 0 50", 1), ("polygon", "33 20 67 20 84 50 67 80 33 80 16 50", 0),
        ("ellipse", "38 38 62 62", 1),
    ),
}  # fmt: skip
"""Emblems in a square of 100: (shape, its numbers, 1 draws and 0 cuts). A spoke is a ray at so many degrees."""


@dataclass(frozen=True)
class Row:
    """A line to be set. size: relative to LETTER. narrow: horizontal scale. gap: above it, relative to LETTER."""

    text: str
    kind: str
    size: float = 1.0
    face: str = "DejaVuSans-Bold"
    narrow: float = 1.0
    gap: float = 0.25
    track: float = 0.0


@dataclass(frozen=True)
class Sheet:
    """What a design decides. board: None for ink on the surface. frame: width of a border line, of LETTER."""

    rows: tuple[Row, ...]
    ink: Colour
    board: Colour | None = None
    carrier: str = ""
    emblem: str = ""
    beside: bool = False
    frame: float = 0.0
    pad: tuple[float, float] = (0.35, 0.3)
    corner: float = 0.0
    arc: float = 0.0


def luminance(colour: Sequence[float]) -> float:
    """Brightness as Pillow's mode L has it, 0..255."""
    red, green, blue = (float(value) for value in colour)
    return (299 * red + 587 * green + 114 * blue) / 1000
