"""What is printed: for each design its lines, inks, board and emblem, drawn by chance.

In: the words of `knowledge/written.yaml`, the colour of the surface, a random generator. Out: a `Sheet`, which `art`
sets in type. Knows no letter's shape and no pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from miras.data.language.phrasing import pick

Colour = tuple[int, int, int]
"""RGB, 0..255."""
BOLD, PLAIN, SIGN = "bold", "plain", "sign"
_FACES = {
    BOLD: (
        "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSerif-Bold", "STIXGeneralBol", "STIXGeneralBolIta", "cmb10",
    ),
    PLAIN: ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "STIXGeneral", "DejaVuSerif-Italic", "cmss10"),
    SIGN: ("DejaVuSans-Bold", "DejaVuSans"),
}  # fmt: skip
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


@lru_cache(maxsize=1)
def knowledge() -> dict[str, Any]:
    """The parsed `knowledge/written.yaml`."""
    raw: dict[str, Any] = yaml.safe_load(
        (files("miras.annotate.written") / "knowledge" / "written.yaml").read_text("utf-8")
    )
    return raw


class Words:
    """What the designs draw from: words, faces, colours."""

    def __init__(self, rng: np.random.Generator, ground: Colour, heldout: bool) -> None:
        self.rng, self.ground, self.heldout = rng, ground, heldout

    def word(self, kind: str) -> str:
        """One of the words of that kind, as written in the YAML."""
        return str(pick(self.rng, knowledge()["words"][kind]["heldout" if self.heldout else "train"]))

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return bool(self.rng.random() < share)

    def digits(self, count: int) -> str:
        """Figures, the first of them not 0."""
        return "".join(str(int(self.rng.integers(1 if n == 0 else 0, 10))) for n in range(count))

    def letters(self, count: int) -> str:
        """Capital letters without those that are mistaken for figures."""
        return "".join(pick(self.rng, "ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(count))

    def face(self, style: str) -> str:
        """A typeface of that style."""
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
        """The name of an emblem in this share of the draws, else none."""
        return pick(self.rng, tuple(EMBLEMS)) if self.chance(share) else ""


def luminance(colour: Sequence[float]) -> float:
    """Brightness as Pillow's mode L has it, 0..255."""
    red, green, blue = (float(value) for value in colour)
    return (299 * red + 587 * green + 114 * blue) / 1000


def _print(w: Words) -> Sheet:
    brand = Row(w.case(w.word("brand")), "brand", face=w.face(BOLD), narrow=pick(w.rng, (1.0, 0.9, 0.8)))
    slogan = w.chance(0.6)
    rows = (brand, Row(w.word("slogan"), "slogan", 0.5, w.face(PLAIN), 0.9)) if slogan else (brand,)
    return Sheet(rows, w.ink(), emblem=w.emblem(0.45), beside=w.chance(0.35), arc=0.28 if w.chance(0.2) else 0.0)


def _motto(w: Words) -> Sheet:
    words, face = w.case(w.word("slogan")).split(), w.face(BOLD)
    row = Row(" ".join(words), "slogan", 1.0, face, 0.85)
    return Sheet((row,), w.ink(), emblem=w.emblem(0.15), arc=0.3 if w.chance(0.25) else 0.0)


def _jersey(w: Words) -> Sheet:
    number = Row(w.digits(pick(w.rng, (1, 2, 2))), "number", 2.4, "DejaVuSans-Bold", 0.85, 0.2)
    kind = pick(w.rng, ("team", "player"))
    name = Row(w.word(kind), kind, 0.75, w.face(SIGN), 0.8, track=0.04)
    return Sheet((name, number) if w.chance(0.8) else (number,), w.ink())


def _livery(w: Words) -> Sheet:
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


def _plate(w: Words) -> Sheet:
    board, ink = w.board("plate")
    shape = int(w.rng.integers(3))
    texts = (
        f"{w.letters(2)}{w.digits(2)} {w.letters(3)}",
        f"{w.letters(2)} {w.digits(4)}",
        f"{w.digits(3)} {w.letters(3)}",
    )
    row = Row(texts[shape], "plate", 1.0, "DejaVuSans-Bold", 0.8, track=0.05)
    return Sheet((row,), ink, board, "plate", frame=0.06, pad=(0.3, 0.22), corner=0.12)


def _label(w: Words) -> Sheet:
    board, ink = w.board("label")
    rows = [Row(w.case(w.word("brand")), "brand", face=w.face(BOLD), narrow=0.85)]
    rows.append(Row(w.word("product"), "product", 0.6, w.face(PLAIN), 0.9))
    if w.chance(0.5):
        rows.append(Row(w.word("amount"), "amount", 0.5, w.face(SIGN), 0.9))
    return Sheet(tuple(rows), ink, board, "label", w.emblem(0.3), frame=0.04 if w.chance(0.5) else 0.0, pad=(0.3, 0.3))


def _tag(w: Words) -> Sheet:
    board, ink = w.board("tag")
    price = f"${w.digits(pick(w.rng, (1, 2, 2, 3)))}{pick(w.rng, ('', '.50', '.90', '.95'))}"
    rows = (
        Row(w.word("article"), "article", 0.6, w.face(SIGN), 0.9),
        Row(price, "price", 1.2, "DejaVuSans-Bold", 0.9),
    )
    return Sheet(rows, ink, board, "price tag", pad=(0.3, 0.25), corner=0.1 if w.chance(0.5) else 0.0)


def _street(w: Words) -> Sheet:
    board, ink = w.board("street")
    rows = [Row(w.word("street"), "street", 1.0, w.face(SIGN), 0.85)]
    if w.chance(0.4):
        rows.append(Row(w.word("district"), "district", 0.6, "DejaVuSans", 0.9))
    return Sheet(tuple(rows), ink, board, "street sign", frame=0.05 if w.chance(0.6) else 0.0, corner=0.1)


def _shop(w: Words) -> Sheet:
    board, ink = w.board("shop")
    rows = [Row(w.word("shop"), "shop", 1.0, w.face(BOLD), 0.95, track=0.06)]
    if w.chance(0.7):
        rows.append(Row(w.word("business"), "business", 0.6, w.face(PLAIN), 0.9, track=0.08))
    return Sheet(tuple(rows), ink, board, "shop sign", w.emblem(0.3), beside=True, pad=(0.5, 0.3))


def _warning(w: Words) -> Sheet:
    board, ink = w.board("warning")
    rows = (
        Row(w.word("alert"), "alert", 1.0, "DejaVuSans-Bold", 0.85),
        Row(w.word("hazard"), "hazard", 0.75, w.face(SIGN), 0.85),
    )
    return Sheet(rows, ink, board, "warning sign", frame=0.07, corner=0.12, pad=(0.4, 0.35))


def _offer(w: Words) -> Sheet:
    board, ink = w.board("offer")
    rows = [Row(w.word("offer"), "offer", 1.0, "DejaVuSans-Bold", 0.85)]
    if w.chance(0.6):
        rows.append(Row(f"0{w.digits(2)} {w.digits(3)} {w.digits(2)}", "phone", 0.65, w.face(SIGN), 0.9))
    return Sheet(tuple(rows), ink, board, "notice board", frame=0.05 if w.chance(0.5) else 0.0)


def _message(w: Words) -> Sheet:
    board, ink = w.board("message")
    rows = [Row(w.word("screen"), "screen", 1.0, w.face(SIGN), 0.9)]
    if w.chance(0.6):
        rows.append(Row(w.word("detail"), "detail", 0.65, "DejaVuSans", 0.9))
    return Sheet(tuple(rows), ink, board, "message window", corner=0.25, pad=(0.5, 0.4))


def _patch(w: Words) -> Sheet:
    board, ink = w.board("patch")
    row = Row(w.case(w.word("brand")), "brand", face=w.face(BOLD), narrow=0.85)
    return Sheet((row,), ink, board, "patch", w.emblem(0.4), frame=0.05, pad=(0.3, 0.25), corner=0.2)


def _road(w: Words) -> Sheet:
    return Sheet((Row(w.word("road"), "road", 1.0, "DejaVuSans-Bold", 0.9, track=0.08),), (236, 236, 230))


DESIGNS: dict[str, Callable[[Words], Sheet]] = {
    "print": _print, "motto": _motto, "jersey": _jersey, "livery": _livery, "plate": _plate, "label": _label,
    "tag": _tag, "street": _street, "shop": _shop, "warning": _warning, "offer": _offer, "message": _message,
    "patch": _patch, "road": _road,
}  # fmt: skip
"""Name of a design -> what it decides."""


def _colour(values: Sequence[int]) -> Colour:
    red, green, blue = values
    return int(red), int(green), int(blue)
