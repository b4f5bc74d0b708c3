"""What a talker sees: the photo, its regions drawn and numbered on a small copy, and a crop with one mask.

In: a photo, masks. Out: pictures as uint8 (H, W, 3) RGB, and where a crop lies. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from miras.chat.render import font, heart, ink_on
from miras.core.masks import box_of
from miras.core.palette import colour_of
from miras.core.types import Mask, Region

Picture = NDArray[np.uint8]
TINT = 0.4
MARGIN = 0.25
"""Of the longer side of a mask's box, around it in a crop."""


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture at size (H, W)."""
    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def marked(photo: Picture, regions: Sequence[Region], size: tuple[int, int]) -> Picture:
    """A copy of the photo at size (H, W), each region tinted in its colour, its number in its heart; large ones are
    drawn first."""
    small = resized(photo, size).copy()
    masks = [_fit(region.mask, size) for region in regions]
    order = sorted(range(len(regions)), key=lambda index: -int(masks[index].sum()))
    for index in order:
        _tint(small, masks[index], colour_of(regions[index].id))
    image = Image.fromarray(small)
    draw, points = ImageDraw.Draw(image), max(10, min(size) // 18)
    for index in order:
        if masks[index].any():
            x, y = heart(masks[index])
            _number(draw, str(regions[index].id), (x, y), points, colour_of(regions[index].id))
    return np.asarray(image)


def crop(photo: Picture, mask: Mask) -> tuple[Picture, tuple[int, int, int, int]]:
    """The part of the photo around a mask, which is tinted and outlined in it; and its window x1, y1, x2, y2.

    mask: (H, W), not empty.
    """
    x1, y1, x2, y2 = (int(side) for side in box_of(mask) or (0, 0, 1, 1))
    margin = max(8, round(MARGIN * max(x2 - x1, y2 - y1)))
    height, width = mask.shape
    left, top, right, bottom = (
        max(0, x1 - margin),
        max(0, y1 - margin),
        min(width, x2 + margin),
        min(height, y2 + margin),
    )
    part, inside = photo[top:bottom, left:right].copy(), mask[top:bottom, left:right]
    colour = colour_of(1)
    _tint(part, inside, colour, 0.25)
    edge = inside & ~_eroded(inside, max(1, min(inside.shape) // 120))
    part[edge] = colour
    return part, (left, top, right, bottom)


def _tint(picture: Picture, mask: Mask, colour: tuple[int, int, int], share: float = TINT) -> None:
    inside = picture[mask].astype(np.float32) * (1 - share) + np.array(colour, np.float32) * share
    picture[mask] = inside.round().astype(np.uint8)


def _fit(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at another size; what is there stays there, however small."""
    if mask.shape == tuple(size):
        return mask
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize((size[1], size[0]), Image.Resampling.BOX)
    found = np.asarray(small) > 127
    return found if found.any() or not mask.any() else np.asarray(small) > 0


def _eroded(mask: Mask, width: int) -> Mask:
    padded = np.pad(mask, width)
    height, length = mask.shape
    moves = [(0, width), (2 * width, width), (width, 0), (width, 2 * width)]
    inner: Mask = np.logical_and.reduce([padded[dy : dy + height, dx : dx + length] for dy, dx in moves]) & mask
    return inner


def _number(
    draw: ImageDraw.ImageDraw, text: str, at: tuple[float, float], points: int, colour: tuple[int, int, int]
) -> None:
    letters = font(points)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=letters)
    width, height, pad = right - left, bottom - top, points // 4
    x, y = at[0] - width / 2, at[1] - height / 2
    draw.rectangle((x - pad, y - pad, x + width + pad, y + height + pad), fill=colour)
    draw.text((x - left, y - top), text, fill=ink_on(colour), font=letters)
