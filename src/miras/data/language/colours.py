"""The names of colours, told from pixels.

In: pixels of a thing. Out: which share of them anybody would call red, blue, white ... Pixels between two names have
none. Knows no photo and no mask. Source of the space: CIE 1976 L*a*b* of sRGB (IEC 61966-2-1), white point D65.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

NAMES = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
"""The basic terms of English (Berlin and Kay 1969)."""
NEAR: Mapping[str, frozenset[str]] = {
    "black": frozenset({"grey", "brown"}), "white": frozenset({"grey"}), "grey": frozenset({"black", "white", "blue"}),
    "red": frozenset({"orange", "pink", "brown"}), "orange": frozenset({"red", "yellow", "brown"}),
    "yellow": frozenset({"orange", "green"}), "green": frozenset({"yellow"}), "blue": frozenset({"purple", "grey"}),
    "purple": frozenset({"blue", "pink"}), "pink": frozenset({"red", "purple"}),
    "brown": frozenset({"red", "orange", "black"}),
}  # fmt: skip
"""Names that one person uses and another does not."""
_MOST = 4000
"""Pixels that are looked at, spread evenly."""
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(..., 3) sRGB in 0..255 -> L* 0..100, a*, b*."""
    value = rgb.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def shares(rgb: NDArray[np.uint8]) -> dict[str, float]:
    """Share of each of NAMES among the pixels (N, 3) uint8 RGB; they sum to 1 or less. Empty for no pixels."""
    if not len(rgb):
        return {}
    rgb = rgb[:: -(-len(rgb) // _MOST)]
    light, a, b = np.moveaxis(lab(rgb), -1, 0)
    strong, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    found = {name: float(np.mean(is_so)) for name, is_so in _named(light, strong, hue).items()}
    return {name: found[name] for name in NAMES}


def _named(
    light: NDArray[np.float64], strong: NDArray[np.float64], hue: NDArray[np.float64]
) -> dict[str, NDArray[np.bool_]]:
    """Which pixels have which name. strong: chroma; hue in degrees."""

    def between(low: float, high: float) -> NDArray[np.bool_]:
        return (hue >= low) & (hue < high) if low < high else (hue >= low) | (hue < high)

    dull, vivid = strong < 9, strong > 24
    warm = between(30, 85)
    return {
        "black": (light < 22) & (strong < 12),
        "white": (light > 84) & (strong < 9),
        "grey": (light > 34) & (light < 74) & dull,
        "red": (strong > 38) & between(15, 44) & (light > 22) & (light < 62),
        "orange": (strong > 48) & between(48, 74) & (light > 52),
        "yellow": (strong > 36) & between(80, 107) & (light > 66),
        "green": (strong > 18) & between(112, 190) & (light > 18),
        "blue": vivid & between(235, 300) & (light > 15),
        "purple": vivid & between(306, 340) & (light > 15) & (light < 65),
        "pink": (strong > 20) & between(338, 18) & (light > 60),
        "brown": warm & (light > 20) & (light < 48) & (strong > 14) & (strong < 46),
    }  # fmt: skip


def clear(
    own: Mapping[str, float], others: Sequence[Mapping[str, float]], least: float = 0.55, most: float = 0.15
) -> str:
    """The name of a thing's colour that tells it apart from the others, "" where there is none.

    own, others: `shares`. least: share of its pixels that have the name. most: of those of any other, near names
    at half weight.
    """
    if not own:
        return ""
    name = max(own, key=lambda n: own[n])
    if own[name] < least:
        return ""
    for other in others:
        near = sum(other.get(n, 0.0) for n in NEAR[name])
        if not other or other.get(name, 0.0) + 0.5 * near > most:
            return ""
    return name
