"""Pictures of a turn: outlines, tints and labels over the photo.

In: a photo, regions, the selection. Out: (H, W, 3) uint8 RGB of the photo's own size. numpy and
pillow only; knows no session and no model. Lines and letters grow with the photo.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from miras.core.errors import InputError
from miras.core.masks import as_mask, box_of
from miras.core.palette import PALETTE, Colour, colour_of
from miras.core.selection import signs
from miras.core.types import Mask, Operator, Region

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Window = tuple[int, int, int, int]
"""XYXY in whole pixels, half-open."""
WHITE: Colour = (255, 255, 255)
INK: Colour = (18, 20, 24)
TINT = 0.42
DIM = 0.66
"""What is left of the light where nothing is selected."""


def overlay(
    photo: Picture, regions: Sequence[Region], selection: Mask | None = None, *, labels: bool = True
) -> Picture:
    """The photo with its regions: what is selected tinted and outlined strongly, the rest dimmed.

    regions: those to show, in order of id. One that lies wholly outside of the selection is outlined
    thinly; the label of one that was cut away says "without". selection: (H, W); None = the regions
    together. Raises InputError when a mask is not of the photo's size.
    """
    size = (photo.shape[0], photo.shape[1])
    regions = [replace(region, mask=as_mask(region.mask)) for region in regions]
    selection = None if selection is None else as_mask(selection)
    for mask in [region.mask for region in regions] + ([] if selection is None else [selection]):
        if mask.shape != size:
            raise InputError(f"masks of the photo's size {size}", str(mask.shape), "resize them to the photo")
    together = _union(size, regions)
    selected = together if selection is None else selection
    if not regions and not selected.any():
        return photo.copy()
    picture, line = Image.fromarray(photo), line_width(size)
    _dim(picture, selected)
    parts = [(region.mask & selected, colour_of(region.id)) for region in regions]
    parts.append((selected & ~together, PALETTE[0]))
    for part, colour in parts:
        _tint(picture, part, colour)
    for region, (part, colour) in zip(regions, parts, strict=False):
        if not part.any():
            _outline(picture, region.mask, line * 0.55, colour, casing=0.5)
    for part, colour in reversed(parts):
        _outline(picture, part, line, colour, casing=0.8)
    if labels:
        _label(picture, regions, selected)
    return np.array(picture)


def line_width(size: tuple[int, int]) -> float:
    """Width of a strong outline in pixels for a photo of (H, W)."""
    return float(np.clip(0.0042 * (size[0] * size[1]) ** 0.5, 1.2, 40.0))


def _union(size: tuple[int, int], regions: Sequence[Region]) -> Mask:
    whole = np.zeros(size, np.bool_)
    for region in regions:
        whole |= region.mask
    return whole


# Pixels


def _dim(picture: Image.Image, selected: Mask) -> None:
    """Darken what is not selected and take some of its colour."""
    faded = Image.blend(picture, picture.convert("L").convert("RGB"), 0.3).point(lambda value: value * DIM)
    picture.paste(faded, mask=_stencil(~selected))


def _tint(picture: Image.Image, mask: Mask, colour: Colour) -> None:
    window = _window(mask, 0)
    if window is not None:
        x1, y1, x2, y2 = window
        picture.paste(colour, window, _stencil(mask[y1:y2, x1:x2], round(255 * TINT)))


def _outline(picture: Image.Image, mask: Mask, width: float, colour: Colour, casing: float) -> None:
    """A smooth line along the mask's edge; casing: opacity of the dark line under it, about twice as wide."""
    window = _window(mask, int(3 * width) + 2)
    if window is None:
        return
    x1, y1, x2, y2 = window
    stencil = _stencil(mask[y1:y2, x1:x2])
    for line, ink, opacity in ((1.9 * width, INK, casing), (width, colour, 1.0)):
        blurred = stencil.filter(ImageFilter.GaussianBlur(line / 2))
        picture.paste(ink, window, blurred.point(_ring(line / 2, opacity)))


@lru_cache(maxsize=64)
def _ring(half: float, opacity: float) -> list[int]:
    """Opacity 0..255 of a line of half-width `half` by the level of a mask blurred with sigma = half."""
    normal = NormalDist(0.0, half)
    distance = [abs(normal.inv_cdf(level / 255)) for level in range(1, 255)]
    return [0, *(round(255 * opacity * min(max(half + 0.5 - d, 0.0), 1.0)) for d in distance), 0]


def _stencil(mask: Mask, level: int = 255) -> Image.Image:
    return Image.fromarray(mask.view(np.uint8) * np.uint8(level))


def _window(mask: Mask, margin: int) -> Window | None:
    box = box_of(mask)
    if box is None:
        return None
    x1, y1, x2, y2 = (int(side) for side in box)
    return max(x1 - margin, 0), max(y1 - margin, 0), min(x2 + margin, mask.shape[1]), min(y2 + margin, mask.shape[0])


# Labels


@dataclass(frozen=True)
class _Tag:
    """A label ready to be placed. size: (width, height) of its plate."""

    region: Region
    text: str
    size: tuple[int, int]
    pad: int


def plain(text: str) -> str:
    """Text that a label can hold: one line, printable, no lone surrogates."""
    whole = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return "".join(char for char in whole if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


@lru_cache(maxsize=32)
def font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that pillow carries."""
    return ImageFont.load_default(points)


def shorten(text: str, points: int, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels; "" when nothing fits."""
    letters = font(points)
    if letters.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if letters.getlength(text[:middle].rstrip() + "...") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "..." if low else ""


def _label(picture: Image.Image, regions: Sequence[Region], selected: Mask) -> None:
    width, height = picture.size
    points = int(np.clip(0.028 * (height * width) ** 0.5, 9, 160))
    tags = [tag for region in regions if (tag := _tag(region, points, width)) is not None]
    draw = ImageDraw.Draw(picture)
    places: list[Window] = []
    for tag in tags:
        places.append(_place(tag, (height, width), places, selected))
    for tag, place in zip(tags, places, strict=True):
        _leader(draw, tag, place, points)
    for tag, place in zip(tags, places, strict=True):
        _plate(draw, tag, place, points)


def _tag(region: Region, points: int, width: int) -> _Tag | None:
    pad = max(2, round(points * 0.38))
    sign = "without " if region.operator is Operator.CUT else ""
    phrase = sign + (plain(region.phrase) or f"region {region.id}")
    score = "" if region.score is None else f"  {100 * region.score:.0f}%"
    room = width - 2 * pad - 2
    if not region.mask.any():
        return None
    letters = font(points)
    text = phrase + score if letters.getlength(phrase + score) <= room else shorten(phrase, points, room)
    if not text:
        return None
    return _Tag(region, text, (int(letters.getlength(text)) + 2 * pad, round(points * 1.25) + pad), pad)


def _place(tag: _Tag, size: tuple[int, int], taken: Sequence[Window], selected: Mask) -> Window:
    """The place that costs least: on no other label, at the region, hiding little of it and of what is selected."""
    height, width = size
    wide, high = tag.size
    step = max(1, high // 12)
    own = tag.region.mask[::step, ::step]
    others = selected[::step, ::step] & ~own
    whole, reach = max(int(own.sum()), 1), high // 2 // step + 1
    best: tuple[float, Window] | None = None
    for rank, (x, y) in enumerate(_spots(tag, size)):
        left, top = int(np.clip(x, 0, max(width - wide, 0))), int(np.clip(y, 0, max(height - high, 0)))
        window = (left, top, left + wide, top + high)
        c1, r1, c2, r2 = left // step, top // step, (left + wide) // step + 1, (top + high) // step + 1
        hidden = float(own[r1:r2, c1:c2].sum()) / whole
        touches = bool(own[max(r1 - reach, 0) : r2 + reach, max(c1 - reach, 0) : c2 + reach].any())
        shared = sum(_shared(window, other) for other in taken) / (wide * high)
        cost = 100 * shared + 2 * float(others[r1:r2, c1:c2].mean()) + 6 * hidden + (not touches) + 0.05 * rank
        if best is None or cost < best[0]:
            best = (cost, window)
    assert best is not None, "there is always a spot"
    return best[1]


def _spots(tag: _Tag, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Left upper corners to try, the preferred ones first: over, under, beside, inside, then anywhere by distance."""
    height, width = size
    wide, high = tag.size
    x1, y1, x2, y2 = box_of(tag.region.mask) or (0, 0, width, height)
    gap = max(2, round(high * 0.25))
    middle = (x1 + x2 - wide) / 2
    spots = [(x, y) for y in (y1 - high - gap, y2 + gap) for x in (middle, x1, x2 - wide)]
    spots += [(x, (y1 + y2 - high) / 2) for x in (x1 - wide - gap, x2 + gap)]
    centre = heart(tag.region.mask)
    spots += [(centre[0] - wide / 2, centre[1] - high / 2)]
    spots += [(x, y) for y in (y1 + gap, y2 - high - gap) for x in (x1 + gap, middle, x2 - wide - gap)]
    grid = [
        (float(x), float(y))
        for y in np.linspace(0, max(height - high, 0), 12)
        for x in np.linspace(0, max(width - wide, 0), 6)
    ]
    return spots + sorted(
        grid, key=lambda at: (at[0] + wide / 2 - centre[0]) ** 2 + (at[1] + high / 2 - centre[1]) ** 2
    )


def _shared(first: Window, second: Window) -> int:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(wide, 0) * max(high, 0)


def _leader(draw: ImageDraw.ImageDraw, tag: _Tag, place: Window, points: int) -> None:
    """A thin line from a label that lies off its region to the region."""
    reach = round(points * 1.2)
    left, top, right, bottom = place
    if tag.region.mask[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach].any():
        return
    colour = colour_of(tag.region.id)
    start, end = ((left + right) / 2, (top + bottom) / 2), heart(tag.region.mask)
    draw.line([start, end], fill=INK, width=max(3, points // 5))
    draw.line([start, end], fill=colour, width=max(1, points // 9))
    dot = max(2.0, points * 0.2)
    draw.ellipse([end[0] - dot, end[1] - dot, end[0] + dot, end[1] + dot], fill=colour, outline=INK)


def heart(mask: Mask) -> tuple[float, float]:
    """A selected pixel (x, y) near the middle of a mask that is not empty."""
    x1, y1, x2, y2 = _window(mask, 0) or (0, 0, 1, 1)
    step = max(1, min(x2 - x1, y2 - y1) // 128)
    crop = mask[y1:y2:step, x1:x2:step]
    rows, columns = np.nonzero(crop if crop.any() else mask[y1:y2, x1:x2])
    step = step if crop.any() else 1
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return float(x1 + step * columns[nearest]), float(y1 + step * rows[nearest])


def _plate(draw: ImageDraw.ImageDraw, tag: _Tag, place: Window, points: int) -> None:
    colour = colour_of(tag.region.id)
    left, top, right, bottom = place
    radius = max(2, round(points * 0.3))
    draw.rounded_rectangle(
        [left, top, right - 1, bottom - 1], radius, fill=colour, outline=INK, width=max(1, points // 18)
    )
    draw.text(((left + right) / 2, (top + bottom) / 2), tag.text, fill=ink_on(colour), font=font(points), anchor="mm")


def ink_on(colour: Colour) -> Colour:
    """Dark or white letters, whichever is easier to read on the colour."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return INK if luminance > 120 else WHITE


def shown(known: Sequence[Region], new: Sequence[Region], expression: str) -> list[Region]:
    """The regions a picture of a turn shows: those of the selection's expression, and what the turn named.

    known: all regions so far, a refined one in its last version. Those that the selection leaves out are told so,
    whatever they did when they were drawn.
    """
    selected = signs(expression)
    ids = {int(number) for number in re.findall(r"\d+", expression)} | {region.id for region in new}
    latest = {region.id: region for region in (*known, *new)}
    return [_as_it_counts(latest[number], selected.get(number)) for number in sorted(ids) if number in latest]


def _as_it_counts(region: Region, selected: bool | None) -> Region:
    """selected: by the expression; None where it does not stand there."""
    if selected is None or selected == (region.operator is not Operator.CUT):
        return region
    return replace(region, operator=Operator.ADD if selected else Operator.CUT)
