"""Where an artwork lies in a photo: a quadrilateral, perhaps bent, and the way from the photo's pixels to its own.

In: corners. Out: places in the artwork. Knows no artwork and no pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """A place in the photo. quad: corners (x, y), top left first, clockwise. scale: pixels of the photo for one of
    the artwork, at the middle."""

    quad: tuple[tuple[float, float], ...]
    bend: float
    sag: float
    scale: float

    def flat(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The place in the artwork, (0..1 across, 0..1 down) inside it, of points of the photo."""
        (a, b, c), (d, e, f), (g, h, i) = _adjugate(_square_to_quad(self.quad))
        depth = g * x + h * y + i
        across, down = (a * x + b * y + c) / depth, (d * x + e * y + f) / depth
        middle = across * 2 - 1
        curved = (middle + self.bend * middle * middle * middle) / (1 + self.bend)
        return (curved + 1) / 2, down - self.sag * (1 - middle * middle)

    def bounds(self, size: tuple[int, int], margin: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the pixels it may touch, inside a photo of (H, W)."""
        height, width = size
        xs, ys = zip(*self.quad, strict=True)
        hang = abs(self.sag) * (max(ys) - min(ys))
        return (
            max(0, int(min(xs)) - margin), max(0, int(min(ys) - hang) - margin),
            min(width, int(max(xs)) + 1 + margin), min(height, int(max(ys) + hang) + 1 + margin),
        )  # fmt: skip


def _square_to_quad(quad: tuple[tuple[float, float], ...]) -> tuple[tuple[float, ...], ...]:
    """The homography from the unit square to a quadrilateral (Heckbert 1989, Texture Mapping, 2.2.3)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    dx1, dx2, dx3 = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, dy3 = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    whole = dx1 * dy2 - dx2 * dy1
    g, h = (dx3 * dy2 - dx2 * dy3) / whole, (dx1 * dy3 - dx3 * dy1) / whole
    return (x1 - x0 + g * x1, x3 - x0 + h * x3, x0), (y1 - y0 + g * y1, y3 - y0 + h * y3, y0), (g, h, 1.0)


def _adjugate(m: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """The inverse of a 3 x 3 matrix, up to its scale."""
    (a, b, c), (d, e, f), (g, h, i) = m
    return (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
