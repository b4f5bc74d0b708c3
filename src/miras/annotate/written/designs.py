"""What is printed: for each design its lines, inks, board and emblem, drawn by chance.

In: the words of `knowledge/written.yaml`, the colour of the surface, a random generator. Out: a `Sheet`, set in type by
`data.lettering`. Knows no letter's shape and no photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from miras.core.errors import InputError
from miras.data.language.phrasing import pick
from miras.data.lettering.art import Art, inked, set_type
from miras.data.lettering.sheet import EMBLEMS, Colour, Row, Sheet, luminance

BOLD, PLAIN, SIGN = "bold", "plain", "sign"
_FACES = {
    BOLD: (
        "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSerif-Bold", "STIXGeneralBol", "STIXGeneralBolIta", "cmb10",
    ),
    PLAIN: ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "STIXGeneral", "DejaVuSerif-Italic", "cmss10"),
    SIGN: ("DejaVuSans-Bold", "DejaVuSans"),
}  # fmt: skip


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


def make(design: str, rng: np.random.Generator, ground: Colour, heldout: bool = False) -> Art:
    """An artwork of that design. ground: mean colour of the surface, against which bare ink must stand out.

    heldout: words of the test split. Raises InputError for an unknown design, and without matplotlib's fonts.
    """
    if design not in DESIGNS:
        raise InputError(f"a design of {', '.join(DESIGNS)}", repr(design))
    return set_type(design, DESIGNS[design](Words(rng, ground, heldout)))


def repaint(art: Art, ground: Colour, rng: np.random.Generator) -> Art:
    """Bare letters in an ink that stands out from the ground where they came to lie; a carrier stays as it is."""
    ink = Words(rng, ground, False).ink()
    return art if art.carrier or art.design == "road" else inked(art, ink)


def _colour(values: Sequence[int]) -> Colour:
    red, green, blue = values
    return int(red), int(green), int(blue)
