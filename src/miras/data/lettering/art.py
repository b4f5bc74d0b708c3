"""Flat artwork: lines of text and emblems as they come from the printer, before they meet a photo.

In: a `Sheet`. Out: `Art`, an RGBA picture with a silhouette for each line, word and emblem. The typefaces are those
that matplotlib carries (DejaVu, STIX, Computer Modern), laid out by Pillow's basic engine: equal versions of both
packages draw equal pixels on every machine. Knows no photo and no mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miras.core.errors import InputError
from miras.core.types import Mask
from miras.data.lettering.sheet import EMBLEMS, Colour, Row, Sheet

LETTER = 120
"""Font size of a line of relative size 1 in the artwork, in pixels."""


@dataclass(frozen=True, eq=False)
class Line:
    """One line of text or one emblem of an artwork.

    text: as written ("" for an emblem). kind: a key of `kinds` in the YAML. row: place from the top, -1 for an emblem.
    shape: its silhouette (h, w). words: (word, silhouette), in reading order. emblem: what the emblem shows.
    """

    text: str
    kind: str
    row: int
    shape: Mask
    words: tuple[tuple[str, Mask], ...] = ()
    emblem: str = ""


@dataclass(frozen=True, eq=False)
class Art:
    """A flat artwork. picture: (h, w, 4) uint8, straight alpha. carrier: what it is printed on by itself
    ("number plate", ...) and its silhouette, None where the letters stand on the surface itself."""

    design: str
    picture: NDArray[np.uint8]
    lines: tuple[Line, ...]
    carrier: tuple[str, Mask] | None = None
    letter: int = LETTER


def set_type(design: str, sheet: Sheet) -> Art:
    """Set the rows one under the other, centred, the emblem above or beside them, on the board if there is one."""
    rows = [_set_row(row) for row in sheet.rows]
    gaps = [0] + [round(row.gap * LETTER) for row in sheet.rows[1:]]
    width, height = max(r[0].width for r in rows), sum(r[0].height for r in rows) + sum(gaps)
    side = min(height, round(1.5 * LETTER)) if sheet.beside else round(1.1 * LETTER)
    space = round(0.25 * LETTER)
    pad_x, pad_y = (round(p * LETTER) for p in sheet.pad) if sheet.board else (6, 6)
    left, top = pad_x, pad_y
    whole = [width, height]
    spot = (0, 0)
    if sheet.emblem and sheet.beside:
        spot, left, whole[0] = (pad_x, pad_y + (height - side) // 2), pad_x + side + space, width + side + space
    elif sheet.emblem:
        whole = [max(width, side), height + side + space]
        spot, top = (pad_x + (whole[0] - side) // 2, pad_y), pad_y + side + space
        left = pad_x + (whole[0] - width) // 2
    size = (whole[0] + 2 * pad_x, whole[1] + 2 * pad_y)
    ink, lines = Image.new("L", size), []
    for number, (row, (glyphs, boxes), gap) in enumerate(zip(sheet.rows, rows, gaps, strict=True)):
        x, top = left + (width - glyphs.width) // 2, top + gap
        ink.paste(glyphs, (x, top))
        words = tuple((word, _box(size, x + a, top, x + b, top + glyphs.height)) for word, a, b in boxes)
        shape = _box(size, x, top, x + glyphs.width, top + glyphs.height)
        lines.append(Line(row.text, row.kind, number, shape, words))
        top += glyphs.height
    if sheet.emblem:
        drawn, silhouette = _draw_emblem(sheet.emblem, side)
        ink.paste(drawn, spot)
        shape = np.zeros((size[1], size[0]), np.bool_)
        shape[spot[1] : spot[1] + side, spot[0] : spot[0] + side] = silhouette
        lines.append(Line("", "logo", -1, shape, (), sheet.emblem))
    art = _colour_in(design, sheet, np.asarray(ink), tuple(lines))
    return _arched(art, sheet.arc) if sheet.arc else art


def _set_row(row: Row) -> tuple[Image.Image, list[tuple[str, int, int]]]:
    """The glyphs of a row, cropped to their ink, and (word, left, right) of its words in the same pixels."""
    font = _font(row.face, round(LETTER * row.size))
    page = Image.new("L", (round(LETTER * row.size * (len(row.text) + 3)), round(LETTER * row.size * 2)))
    draw, x = ImageDraw.Draw(page), LETTER * row.size * 0.5
    boxes = []
    for word in row.text.split():
        start = x
        for part in word if row.track else (word,):
            draw.text((round(x), round(0.3 * LETTER * row.size)), part, fill=255, font=font)
            x += font.getlength(part) + row.track * LETTER * row.size
        boxes.append((word, round(start), round(x)))
        x += font.getlength(" ")
    ink = page.getbbox()
    assert ink is not None
    columns = np.any(np.asarray(page), axis=0)
    words = []
    for word, start, end in boxes:  # to the ink of the word itself
        inked = np.flatnonzero(columns[max(start - 4, 0) : end + 4]) + max(start - 4, 0)
        words.append((word, (int(inked[0]) - ink[0]) * row.narrow, (int(inked[-1]) + 1 - ink[0]) * row.narrow))
    glyphs = page.crop(ink)
    glyphs = glyphs.resize((max(1, round(glyphs.width * row.narrow)), glyphs.height), Image.Resampling.BICUBIC)
    return glyphs, [(word, int(a), min(glyphs.width, int(b) + 1)) for word, a, b in words]


def inked(art: Art, ink: Colour) -> Art:
    """All of its letters in another ink."""
    picture = art.picture.copy()
    picture[:, :, :3] = ink
    return replace(art, picture=picture)


@lru_cache(maxsize=256)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A face at a size in pixels, with the layout engine that every build of Pillow has."""
    return ImageFont.truetype(str(_folder() / f"{face}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def _folder() -> Path:
    """Where matplotlib keeps its typefaces; it is not imported."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise InputError("the typefaces inside matplotlib", "no matplotlib", "pip install 'miras[data]'")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


def _draw_emblem(name: str, side: int) -> tuple[Image.Image, Mask]:
    """An emblem of `side` pixels and its filled outline: everything drawn, cuts included."""
    drawn, whole = Image.new("L", (side, side)), Image.new("L", (side, side))
    for shape, written, fill in EMBLEMS[name]:
        numbers = [float(number) for number in written.split()]
        for page, value in ((drawn, 255 * fill), (whole, 255)):
            draw = ImageDraw.Draw(page)
            if shape == "spoke":
                draw.pieslice((0, 0, side - 1, side - 1), numbers[0] - 8, numbers[0] + 8, fill=value)
                continue
            points = [n / 100 * (side - 1) for n in numbers]
            if shape == "ellipse":
                draw.ellipse(points, fill=value)
            else:
                draw.polygon(points, fill=value)
    if name in ("moon", "sun"):  # a person outlines the crescent itself, and the disc around the rays
        whole = drawn if name == "moon" else _disc(side)
    return drawn, np.asarray(whole) > 127


def _disc(side: int) -> Image.Image:
    page = Image.new("L", (side, side))
    ImageDraw.Draw(page).ellipse((0, 0, side - 1, side - 1), fill=255)
    return page


def _box(size: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> Mask:
    """A filled rectangle in a (W, H) page, with the little air that a person leaves around letters."""
    air = LETTER // 24
    shape = np.zeros((size[1], size[0]), np.bool_)
    shape[max(y0 - air, 0) : y1 + air, max(x0 - air, 0) : x1 + air] = True
    return shape


def _colour_in(design: str, sheet: Sheet, ink: NDArray[np.uint8], lines: tuple[Line, ...]) -> Art:
    """Ink in its colour, on the board or on nothing."""
    height, width = ink.shape
    colour = np.array(sheet.ink, np.int32)
    if sheet.board is None:
        picture = np.concatenate([np.broadcast_to(colour, (height, width, 3)), ink[:, :, None]], 2)
        return Art(design, picture.astype(np.uint8), lines)
    page, edge = Image.new("L", (width, height)), Image.new("L", (width, height))
    corner, line = round(sheet.corner * LETTER), round(sheet.frame * LETTER)
    ImageDraw.Draw(page).rounded_rectangle((0, 0, width - 1, height - 1), corner, fill=255)
    if line:
        inset = line
        ImageDraw.Draw(edge).rounded_rectangle(
            (inset, inset, width - 1 - inset, height - 1 - inset), max(corner - inset, 0), outline=255, width=line
        )
    cover = np.maximum(ink, np.asarray(edge)).astype(np.int32)[:, :, None]
    mixed = (np.array(sheet.board, np.int32) * (255 - cover) + colour * cover + 127) // 255
    alpha = np.asarray(page)
    picture = np.concatenate([mixed, alpha[:, :, None]], 2).astype(np.uint8)
    noun = "number plate" if sheet.carrier == "plate" else sheet.carrier
    return Art(design, picture, lines, (noun, alpha > 127))


def _arched(art: Art, rise: float) -> Art:
    """The artwork with its middle higher than its ends, by `rise` of a letter: every column is moved."""
    height, width = art.picture.shape[:2]
    across = (np.arange(width) * 2 - width) / width
    down = np.rint(rise * LETTER * across * across).astype(np.int64)
    taller = height + int(down.max())
    rows = np.arange(taller)[:, None] - down[None, :]
    inside = (rows >= 0) & (rows < height)
    rows, columns = np.clip(rows, 0, height - 1), np.arange(width)[None, :]

    def bend(shape: Mask) -> Mask:
        return np.asarray(shape[rows, columns] & inside)

    picture = art.picture[rows, columns].copy()
    picture[:, :, 3] *= inside
    lines = tuple(
        replace(line, shape=bend(line.shape), words=tuple((word, bend(shape)) for word, shape in line.words))
        for line in art.lines
    )
    return replace(art, picture=picture, lines=lines)
