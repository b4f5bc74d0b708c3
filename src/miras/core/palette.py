"""The colours of regions and charts: one place, so that a region looks alike wherever it is drawn.

In: the number of a region. Out: RGB, 0..255; CSS colours. Knows no picture.
"""

from __future__ import annotations

Colour = tuple[int, int, int]
"""RGB, 0..255."""
PALETTE: tuple[Colour, ...] = (
    (64, 156, 255), (255, 149, 0), (0, 184, 132), (230, 96, 168), (240, 220, 50), (222, 82, 40), (150, 120, 240),
    (120, 205, 240),
)  # fmt: skip
"""After Okabe and Ito (told apart by people with any kind of colour vision), brightened for photos."""
ACCENT = "#2f6fb3"
"""What a chart shows first."""


def colour_of(region: int) -> Colour:
    """The colour of a region, counted from 1: the same in every picture of a conversation."""
    return PALETTE[(region - 1) % len(PALETTE)]
