"""Flat artwork: lines of text and emblems as they come from the printer, before they meet a photo.

In: a design's name, the words of `knowledge/written.yaml`, the colour of the surface, a random generator. Out: `Art`,
an RGBA picture with a silhouette for each line, word and emblem. The typefaces are those that matplotlib
carries (DejaVu, STIX, Computer Modern), laid out by Pillow's basic engine: equal versions of both packages draw equal
pixels on every machine. Knows no photo and no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miras.core.errors import InputError
from miras.core.types import Mask
from miras.data.language.phrasing import pick

Colour = tuple[int, int, int]
"""RGB, 0..255."""
LETTER = 120
"""Font size of a line of relative size 1 in the artwork, in pixels."""
BOLD, PLAIN, SIGN = "bold", "plain", "sign"
_FACES = {
    BOLD: (
        "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSerif-Bold", "STIXGeneralBol", "STIXGeneralBolIta", "cmb10",
    ),
    PLAIN: ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "STIXGeneral", "DejaVuSerif-Italic", "cmss10"),
    SIGN: ("DejaVuSans-Bold", "DejaVuSans"),
}  # fmt: skip
_EMBLEMS: dict[str, tuple[tuple[str, str, int], ...]] = {
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


@lru_cache(maxsize=1)
def knowledge() -> dict[str, Any]:
    """The parsed `knowledge/written.yaml`."""
    raw: dict[str, Any] = yaml.safe_load(
        (files("miras.annotate.written") / "knowledge" / "written.yaml").read_text("utf-8")
    )
    return raw


def make(design: str, rng: np.random.Generator, ground: Colour, heldout: bool = False) -> Art:
    """An artwork of that design. ground: mean colour of the surface, against which bare ink must stand out.

    heldout: words of the test split. Raises InputError for an unknown design, and without matplotlib's fonts.
    """
    if design not in DESIGNS:
        raise InputError(f"a design of {', '.join(DESIGNS)}", repr(design))
    return set_type(design, DESIGNS[design](_Words(rng, ground, heldout)))


class _Words:
    """What the designs draw from: words, faces, colours."""

    def __init__(self, rng: np.random.Generator, ground: Colour, heldout: bool) -> None:
        self.rng, self.ground, self.heldout = rng, ground, heldout

    def word(self, kind: str) -> str:
        """One of the words of that kind, as written in the YAML."""
        return str(pick(self.rng, knowledge()["words"][kind]["heldout" if self.heldout else "train"]))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def digits(self, count: int) -> str:
        """Figures, the first of them not 0."""
        return "".join(str(int(self.rng.integers(1 if n == 0 else 0, 10))) for n in range(count))

    def letters(self, count: int) -> str:
        return "".join(pick(self.rng, "ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(count))

    def face(self, style: str) -> str:
        return pick(self.rng, _FACES[style])

    def case(self, text: str) -> str:
        """As a brand would be spelled: as it is, in capitals, in small letters."""
        return pick(self.rng, (text, text.upper(), text.lower()), (0.5, 0.4, 0.1))

    def ink(self) -> Colour:
        """An ink that stands out from the surface."""
        dark = luminance(self.ground) > 118
        inks = knowledge()["inks"]["dark" if dark else "light"]
        return _colour(pick(self.rng, inks, [4.0] + [1.0] * (len(inks) - 1)))

    def board(self, name: str) -> tuple[Colour, Colour]:
        """(board, ink)."""
        board, ink = pick(self.rng, knowledge()["boards"][name])
        return _colour(board), _colour(ink)

    def emblem(self, share: float) -> str:
        return pick(self.rng, tuple(_EMBLEMS)) if self.chance(share) else ""


def repaint(art: Art, ground: Colour, rng: np.random.Generator) -> Art:
    """Bare letters in an ink that stands out from the ground where they came to lie; a carrier stays as it is."""
    ink = _Words(rng, ground, False).ink()
    if art.carrier or art.design == "road":
        return art
    picture = art.picture.copy()
    picture[:, :, :3] = ink
    return replace(art, picture=picture)


def luminance(colour: Sequence[float]) -> float:
    """Brightness as Pillow's mode L has it, 0..255."""
    red, green, blue = (float(value) for value in colour)
    return (299 * red + 587 * green + 114 * blue) / 1000


def _print(w: _Words) -> Sheet:
    brand = Row(w.case(w.word("brand")), "brand", face=w.face(BOLD), narrow=pick(w.rng, (1.0, 0.9, 0.8)))
    slogan = w.chance(0.6)
    rows = (brand, Row(w.word("slogan"), "slogan", 0.5, w.face(PLAIN), 0.9)) if slogan else (brand,)
    return Sheet(rows, w.ink(), emblem=w.emblem(0.45), beside=w.chance(0.35), arc=0.28 if w.chance(0.2) else 0.0)


def _motto(w: _Words) -> Sheet:
    words, face = w.case(w.word("slogan")).split(), w.face(BOLD)
    row = Row(" ".join(words), "slogan", 1.0, face, 0.85)
    return Sheet((row,), w.ink(), emblem=w.emblem(0.15), arc=0.3 if w.chance(0.25) else 0.0)


def _jersey(w: _Words) -> Sheet:
    number = Row(w.digits(pick(w.rng, (1, 2, 2))), "number", 2.4, "DejaVuSans-Bold", 0.85, 0.2)
    kind = pick(w.rng, ("team", "player"))
    name = Row(w.word(kind), kind, 0.75, w.face(SIGN), 0.8, track=0.04)
    return Sheet((name, number) if w.chance(0.8) else (number,), w.ink())


def _livery(w: _Words) -> Sheet:
    name = w.word("company")
    if w.chance(0.5):  # short: fits a door
        name = name.split()[0]
    rows = [Row(w.case(name), "company", face=w.face(BOLD), narrow=0.8)]
    if w.chance(0.35):
        rows.append(Row(w.word("trade"), "trade", 0.6, w.face(PLAIN), 0.8))
    if w.chance(0.45) or len(rows) == 1:
        number = f"0{w.digits(2)} {w.digits(2)} {w.digits(2)}"
        rows.append(Row(number, "phone", 0.8, w.face(SIGN), 0.75))
    return Sheet(tuple(rows), w.ink(), emblem=w.emblem(0.4), beside=w.chance(0.4))


def _plate(w: _Words) -> Sheet:
    board, ink = w.board("plate")
    shape = int(w.rng.integers(3))
    texts = (
        f"{w.letters(2)}{w.digits(2)} {w.letters(3)}",
        f"{w.letters(2)} {w.digits(4)}",
        f"{w.digits(3)} {w.letters(3)}",
    )
    row = Row(texts[shape], "plate", 1.0, "DejaVuSans-Bold", 0.8, track=0.05)
    return Sheet((row,), ink, board, "plate", frame=0.06, pad=(0.3, 0.22), corner=0.12)


def _label(w: _Words) -> Sheet:
    board, ink = w.board("label")
    rows = [Row(w.case(w.word("brand")), "brand", face=w.face(BOLD), narrow=0.85)]
    rows.append(Row(w.word("product"), "product", 0.6, w.face(PLAIN), 0.9))
    if w.chance(0.5):
        rows.append(Row(w.word("amount"), "amount", 0.5, w.face(SIGN), 0.9))
    return Sheet(tuple(rows), ink, board, "label", w.emblem(0.3), frame=0.04 if w.chance(0.5) else 0.0, pad=(0.3, 0.3))


def _tag(w: _Words) -> Sheet:
    board, ink = w.board("tag")
    price = f"${w.digits(pick(w.rng, (1, 2, 2, 3)))}{pick(w.rng, ('', '.50', '.90', '.95'))}"
    rows = (
        Row(w.word("article"), "article", 0.6, w.face(SIGN), 0.9),
        Row(price, "price", 1.2, "DejaVuSans-Bold", 0.9),
    )
    return Sheet(rows, ink, board, "price tag", pad=(0.3, 0.25), corner=0.1 if w.chance(0.5) else 0.0)


def _street(w: _Words) -> Sheet:
    board, ink = w.board("street")
    rows = [Row(w.word("street"), "street", 1.0, w.face(SIGN), 0.85)]
    if w.chance(0.4):
        rows.append(Row(w.word("district"), "district", 0.6, "DejaVuSans", 0.9))
    return Sheet(tuple(rows), ink, board, "street sign", frame=0.05 if w.chance(0.6) else 0.0, corner=0.1)


def _shop(w: _Words) -> Sheet:
    board, ink = w.board("shop")
    rows = [Row(w.word("shop"), "shop", 1.0, w.face(BOLD), 0.95, track=0.06)]
    if w.chance(0.7):
        rows.append(Row(w.word("business"), "business", 0.6, w.face(PLAIN), 0.9, track=0.08))
    return Sheet(tuple(rows), ink, board, "shop sign", w.emblem(0.3), beside=True, pad=(0.5, 0.3))


def _warning(w: _Words) -> Sheet:
    board, ink = w.board("warning")
    rows = (
        Row(w.word("alert"), "alert", 1.0, "DejaVuSans-Bold", 0.85),
        Row(w.word("hazard"), "hazard", 0.75, w.face(SIGN), 0.85),
    )
    return Sheet(rows, ink, board, "warning sign", frame=0.07, corner=0.12, pad=(0.4, 0.35))


def _offer(w: _Words) -> Sheet:
    board, ink = w.board("offer")
    rows = [Row(w.word("offer"), "offer", 1.0, "DejaVuSans-Bold", 0.85)]
    if w.chance(0.6):
        rows.append(Row(f"0{w.digits(2)} {w.digits(3)} {w.digits(2)}", "phone", 0.65, w.face(SIGN), 0.9))
    return Sheet(tuple(rows), ink, board, "notice board", frame=0.05 if w.chance(0.5) else 0.0)


def _message(w: _Words) -> Sheet:
    board, ink = w.board("message")
    rows = [Row(w.word("screen"), "screen", 1.0, w.face(SIGN), 0.9)]
    if w.chance(0.6):
        rows.append(Row(w.word("detail"), "detail", 0.65, "DejaVuSans", 0.9))
    return Sheet(tuple(rows), ink, board, "message window", corner=0.25, pad=(0.5, 0.4))


def _patch(w: _Words) -> Sheet:
    board, ink = w.board("patch")
    row = Row(w.case(w.word("brand")), "brand", face=w.face(BOLD), narrow=0.85)
    return Sheet((row,), ink, board, "patch", w.emblem(0.4), frame=0.05, pad=(0.3, 0.25), corner=0.2)


def _road(w: _Words) -> Sheet:
    return Sheet((Row(w.word("road"), "road", 1.0, "DejaVuSans-Bold", 0.9, track=0.08),), (236, 236, 230))


DESIGNS: dict[str, Callable[[_Words], Sheet]] = {
    "print": _print, "motto": _motto, "jersey": _jersey, "livery": _livery, "plate": _plate, "label": _label,
    "tag": _tag, "street": _street, "shop": _shop, "warning": _warning, "offer": _offer, "message": _message,
    "patch": _patch, "road": _road,
}  # fmt: skip
"""Name of a design -> what it decides."""


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


@lru_cache(maxsize=256)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A face at a size in pixels, with the layout engine that every build of Pillow has."""
    return ImageFont.truetype(str(_folder() / f"{face}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def _folder() -> Path:
    """Where matplotlib keeps its typefaces; it is not imported."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise InputError("the typefaces inside matplotlib", "no matplotlib", "pip install 'miras[annotate]'")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


def _draw_emblem(name: str, side: int) -> tuple[Image.Image, Mask]:
    """An emblem of `side` pixels and its filled outline: everything drawn, cuts included."""
    drawn, whole = Image.new("L", (side, side)), Image.new("L", (side, side))
    for shape, written, fill in _EMBLEMS[name]:
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


def _colour(values: Sequence[int]) -> Colour:
    red, green, blue = values
    return int(red), int(green), int(blue)
