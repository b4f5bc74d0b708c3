"""Pictures of a turn: outlines, tints and labels over the photo.

In: a photo, regions, the selection. Out: (H, W, 3) uint8 RGB of the photo's own size. numpy and
pillow only; knows no session and no model. Lines and letters grow with the photo.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.types import Mask, Operator, Region

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Colour = tuple[int, int, int]
Window = tuple[int, int, int, int]
"""XYXY in whole pixels, half-open."""
PALETTE: tuple[Colour, ...] = (
    (64, 156, 255), (255, 149, 0), (0, 184, 132), (230, 96, 168), (240, 220, 50), (222, 82, 40), (150, 120, 240),
    (120, 205, 240),
)  # fmt: skip
"""After Okabe and Ito (told apart by people with any kind of colour vision), brightened for photos."""
WHITE: Colour = (255, 255, 255)
INK: Colour = (18, 20, 24)
TINT = 0.42
DIM = 0.58
"""What is left of the light where nothing is selected."""


def colour_of(region_id: int) -> Colour:
    """The colour of a region: the same in every picture of a conversation."""
    return PALETTE[(region_id - 1) % len(PALETTE)]


def overlay(
    photo: Picture, regions: Sequence[Region], selection: Mask | None = None, *, labels: bool = True
) -> Picture:
    """The photo with its regions: what is selected tinted and outlined strongly, the rest dimmed.

    regions: those to show, in order of id. What lies outside of the selection is outlined thinly, and
    its label, when it was cut away, begins with a minus. selection: (H, W); None = the regions
    together. Raises InputError when a mask is not of the photo's size.
    """
    size = photo.shape[:2]
    for mask in [region.mask for region in regions] + ([] if selection is None else [selection]):
        if mask.shape != size:
            raise InputError(f"masks of the photo's size {size}", str(mask.shape), "resize them to the photo")
    selected = _union(size, regions) if selection is None else selection
    picture = photo.copy()
    if not regions and not selected.any():
        return picture
    line = line_width(size)
    _dim(picture, selected)
    for region in regions:
        _tint(picture, region.mask & selected, colour_of(region.id))
    _tint(picture, selected & ~_union(size, regions), PALETTE[0])
    for region in regions:
        if (region.mask & selected).any():
            continue
        _outline(picture, region.mask, line * 0.55, colour_of(region.id), casing=0.0)
    for region in reversed(regions):
        inside = region.mask & selected
        if inside.any():
            _outline(picture, inside, line, colour_of(region.id), casing=0.8)
    if not any((region.mask & selected).any() for region in regions):
        _outline(picture, selected, line, PALETTE[0], casing=0.8)
    return _label(picture, regions, selected) if labels else picture


def line_width(size: tuple[int, int]) -> float:
    """Width of a strong outline in pixels for a photo of (H, W)."""
    return float(np.clip(0.0042 * (size[0] * size[1]) ** 0.5, 1.2, 40.0))


def _union(size: tuple[int, ...], regions: Sequence[Region]) -> Mask:
    whole = np.zeros(size, np.bool_)
    for region in regions:
        whole |= region.mask
    return whole


# Pixels


def _dim(picture: Picture, selected: Mask) -> None:
    """Darken what is not selected and take some of its colour."""
    table = (np.arange(256) * DIM).astype(np.uint8)
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    mixed = ((picture.astype(np.uint16) * 3 + grey[:, :, None]) >> 2).astype(np.uint8)
    np.copyto(picture, table[mixed], where=~selected[:, :, None])


def _tint(picture: Picture, mask: Mask, colour: Colour) -> None:
    window = _window(mask, 0)
    if window is None:
        return
    x1, y1, x2, y2 = window
    crop, where = picture[y1:y2, x1:x2], mask[y1:y2, x1:x2]
    for channel in range(3):
        table = np.rint(np.arange(256) * (1 - TINT) + colour[channel] * TINT).astype(np.uint8)
        np.copyto(crop[:, :, channel], table[crop[:, :, channel]], where=where)


def _outline(picture: Picture, mask: Mask, width: float, colour: Colour, casing: float) -> None:
    """A smooth line along the mask's edge; casing: opacity of the dark line under it, wider by half."""
    under = width * 1.9
    window = _window(mask, int(2 * under) + 2)
    if window is None:
        return
    x1, y1, x2, y2 = window
    crop = picture[y1:y2, x1:x2]
    sigma = width / 2
    soft = Image.fromarray(mask[y1:y2, x1:x2].astype(np.uint8) * np.uint8(255), "L")
    level = np.asarray(soft.filter(ImageFilter.GaussianBlur(sigma)))
    if casing:
        wide = np.asarray(soft.filter(ImageFilter.GaussianBlur(under / 2)))
        _paint(crop, _ring(under / 2, under / 2)[wide] * casing, INK)
    _paint(crop, _ring(width / 2, sigma)[level], colour)


@lru_cache(maxsize=64)
def _ring(half: float, sigma: float) -> NDArray[np.float32]:
    """Opacity of a line of half-width `half` by the level (0..255) of a mask blurred with sigma."""
    normal = NormalDist(0.0, sigma)
    distance = [abs(normal.inv_cdf(level / 255)) for level in range(1, 255)]
    return np.array([0.0, *(min(max(half + 0.5 - d, 0.0), 1.0) for d in distance), 0.0], np.float32)


def _paint(crop: Picture, opacity: NDArray[np.float32], colour: Colour) -> None:
    rows, columns = np.nonzero(opacity > 0)
    share = opacity[rows, columns, None]
    mixed = crop[rows, columns] * (1 - share) + np.array(colour, np.float32) * share
    crop[rows, columns] = np.rint(mixed).astype(np.uint8)


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


def _label(picture: Picture, regions: Sequence[Region], selected: Mask) -> Picture:
    height, width = picture.shape[:2]
    points = int(np.clip(0.028 * (height * width) ** 0.5, 9, 160))
    tags = [tag for region in regions if (tag := _tag(region, points, width)) is not None]
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    taken: list[Window] = []
    places = []
    for tag in tags:
        place = _place(tag, picture.shape[:2], taken, selected)
        taken.append(place)
        places.append(place)
    for tag, place in zip(tags, places, strict=True):
        _leader(draw, tag, place, points)
    for tag, place in zip(tags, places, strict=True):
        _plate(draw, tag, place, points)
    return np.asarray(image).copy()


def _tag(region: Region, points: int, width: int) -> _Tag | None:
    pad = max(2, round(points * 0.38))
    sign = "\u2212 " if region.operator is Operator.CUT else ""
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


def _place(tag: _Tag, size: tuple[int, ...], taken: Sequence[Window], selected: Mask) -> Window:
    """The place that covers the least: no other label, then little of the region, then near to it."""
    height, width = size
    wide, high = tag.size
    x1, y1, x2, y2 = box_of(tag.region.mask) or (0, 0, width, height)
    gap = max(2, round(high * 0.25))
    middle = (x1 + x2 - wide) / 2
    spots = [(x, y) for y in (y1 - high - gap, y2 + gap) for x in (middle, x1, x2 - wide)]
    spots += [(x, (y1 + y2 - high) / 2) for x in (x1 - wide - gap, x2 + gap)]
    spots += [
        (x, y) for y in (y1 + gap, y2 - high - gap, (y1 + y2 - high) / 2) for x in (x1 + gap, middle, x2 - wide - gap)
    ]
    rows = np.linspace(0, max(height - high, 0), 9)
    spots += [(x, float(y)) for y in rows for x in np.linspace(0, max(width - wide, 0), 5)]
    best: tuple[float, Window] | None = None
    for rank, (x, y) in enumerate(spots):
        left, top = int(np.clip(x, 0, max(width - wide, 0))), int(np.clip(y, 0, max(height - high, 0)))
        window = (left, top, left + wide, top + high)
        covered = float(selected[top : top + high, left : left + wide].mean())
        shared = sum(_shared(window, other) for other in taken) / (wide * high)
        away = (abs(left - x) + abs(top - y)) / high
        cost = 100 * shared + 4 * covered + 0.5 * min(away, 4.0) + 0.12 * rank
        if best is None or cost < best[0]:
            best = (cost, window)
    assert best is not None, "there is always a spot"
    return best[1]


def _shared(first: Window, second: Window) -> int:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(wide, 0) * max(high, 0)


def _leader(draw: ImageDraw.ImageDraw, tag: _Tag, place: Window, points: int) -> None:
    """A thin line from a label that lies off its region to the region."""
    box = box_of(tag.region.mask)
    if box is None:
        return
    x1, y1, x2, y2 = box
    reach = points * 0.8
    near_x = place[0] < x2 + reach and place[2] > x1 - reach
    near_y = place[1] < y2 + reach and place[3] > y1 - reach
    if near_x and near_y:
        return
    colour = colour_of(tag.region.id)
    start = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
    end = heart(tag.region.mask)
    draw.line([start, end], fill=INK, width=max(3, points // 5))
    draw.line([start, end], fill=colour, width=max(1, points // 9))
    dot = max(2.0, points * 0.2)
    draw.ellipse([end[0] - dot, end[1] - dot, end[0] + dot, end[1] + dot], fill=colour, outline=INK)


def heart(mask: Mask) -> tuple[float, float]:
    """A selected pixel (x, y) near the middle of the mask."""
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return float(columns[nearest]), float(rows[nearest])


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
