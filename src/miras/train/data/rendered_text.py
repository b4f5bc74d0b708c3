"""Written text put onto photos: words on plates, signs and labels, or bare on a calm surface.

In: a sample, a random generator. Out: the sample with one annotation more for each text: the label `text "OPEN"`, a
phrase like `word "OPEN"`, `price "$4.50"` or `sign that says "OPEN"`, and a mask. As annotators outline words, the mask
of a text is the filled quadrilateral around its letters, not the letters themselves; that of a sign is the whole
plate. The sample is unchanged where no calm place is free. All names are invented; the words that the test split of
PRIST-Open keeps for itself are not among them. What and where is decided here, `data.lettering` draws it. Knows no
model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.masks import decode_rle, encode_rle, polygons_to_mask
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.language.phrasing import pick
from miras.data.language.vocabulary import looked_for
from miras.data.language.words import has_words
from miras.data.lettering.art import inked, set_type
from miras.data.lettering.light import PRINTED, lay, spread
from miras.data.lettering.place import Placement
from miras.data.lettering.sheet import Colour, Row, Sheet, luminance
from miras.train.data.copy_paste import hide
from miras.train.data.sample import Sample, is_written

SIGNS = (
    "OPEN", "CLOSED", "EXIT", "ENTRANCE", "PUSH", "PULL", "SALE", "HOTEL", "CAFE", "MENU", "PARKING", "TICKETS",
    "PRIVATE", "DANGER", "CAUTION", "KEEP OUT", "STAFF ONLY", "WET PAINT", "PLEASE WAIT", "MIND THE GAP",
    "THANK YOU", "WELCOME", "INFO", "BAKERY", "PHARMACY", "LIBRARY", "SCHOOL", "POLICE", "MUSEUM", "GARAGE",
    "CINEMA", "NO SMOKING", "RECEPTION", "RESTROOM", "WAITING ROOM", "FRESH JUICE", "HOT DRINKS", "LAST CALL",
    "SELF SERVICE", "CASH DESK", "ONE WAY", "DETOUR", "SLIPPERY", "QUIET PLEASE", "TOURIST OFFICE", "MARKET HALL",
    "ARRIVALS", "DEPARTURES", "LUGGAGE", "FIRST AID",
)  # fmt: skip
"""Words on signs. None of them holds another."""
BRANDS = (
    "Velko", "Norvane", "Tarbix", "Quillon", "Ombra", "Fendale", "Zorvi", "Kestor", "Luma Nine", "Pavello",
    "Brindox", "Saltry", "Marvo", "Ostrand", "Dulcina", "Hexley", "Juniva", "Calder & Vim", "Rovento", "Tilvane",
    "Bramfell", "Ekko Mill", "Sunder", "Voltane", "Wrenby", "Mirasol", "Gannick", "Piccolo Ax", "Northby",
    "Thistlo", "Yarrowby", "Crisply", "Otterine", "Plumwick", "Garvello", "Nimbrel", "Askeby", "Torvane",
    "Lindora", "Vexmoor",
)  # fmt: skip
"""Invented names: none of them can stand in a photo that was not written on."""
_KINDS = {"sign": 0.38, "brand": 0.27, "price": 0.12, "number": 0.13, "time": 0.04, "percent": 0.06}
_NOUNS = {
    "sign": "word", "brand": "brand name", "price": "price", "number": "number", "time": "time", "percent": "text",
}  # fmt: skip
_CARRIERS = {
    "sign": ("sign", "plate"), "brand": ("label", "sign"), "price": ("price tag", "label"), "number": ("plate", "sign"),
    "time": ("sign",), "percent": ("sign", "label"),
}  # fmt: skip
_ON_PLATE, _SAYS, _FRAME = 0.6, 0.3, 0.35
_BOARDS: tuple[tuple[Colour, Colour], ...] = (
    ((245, 245, 240), (20, 20, 20)), ((250, 250, 250), (180, 20, 30)), ((20, 60, 140), (250, 250, 250)),
    ((10, 110, 60), (250, 250, 245)), ((190, 25, 35), (255, 255, 255)), ((250, 205, 30), (15, 15, 15)),
    ((30, 30, 32), (240, 240, 235)), ((235, 225, 200), (70, 40, 20)), ((90, 60, 40), (245, 235, 210)),
    ((235, 120, 30), (20, 20, 20)), ((210, 230, 245), (20, 50, 100)),
)  # fmt: skip
"""(board, ink) of plates."""
_INKS: tuple[Colour, ...] = (
    (15, 15, 15), (250, 250, 250), (180, 20, 30), (20, 50, 140), (250, 215, 40), (10, 90, 50), (240, 235, 215),
)  # fmt: skip
_CONTRAST = 95.0
"""Grey levels between bare letters and their ground, at least."""
_LEGIBLE = 48
"""Grey levels between the darker and the lighter tenth of a text, at least: else it is not written."""
_CALM, _CALM_BOARD = 20.0, 55.0
"""Standard deviation in grey levels of what bare letters, or a plate, are put on, at most."""
LEAST_HEIGHT = 14
"""Pixels: no letters are lower."""
HIDDEN = 0.05
"""A plate hides at most this share of an annotation; bare letters likewise, unless they stand wholly on it."""
_ON_IT, _ON_IT_HIDDEN = 0.97, 0.4
_TRIES = 40
_SIGN_LIKE = frozenset(
    {"banner", "paper", "cardboard", "traffic sign", "stop sign", "sign", "poster", "label", "billboard"}
)
_FACES = (
    "DejaVuSans-Bold", "DejaVuSans", "DejaVuSerif-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold",
    "STIXGeneralBol", "DejaVuSerif",
)  # fmt: skip


def rendered_text(
    sample: Sample,
    rng: np.random.Generator,
    *,
    most: int = 2,
    height: tuple[float, float] = (0.04, 0.13),
) -> Sample:
    """The sample with 1 to `most` texts, no two with a word in common; as it is when there is no calm place.

    height: of the letters, of the photo's shorter side, drawn evenly on a logarithmic scale, at least LEAST_HEIGHT
    pixels. Masks lose what a plate hides, which is a little at most; letters on a surface leave its mask whole. One
    invented name that is not there joins the vocabulary, to be refused; labels that a plate may be taken for leave it.
    """
    before, taken = sample, np.zeros(sample.photo.size, np.bool_)
    for _ in range(int(rng.integers(1, most + 1))):
        sample = _with_one(sample, rng, height, taken)
    if sample is before:
        return sample
    there = " ".join(note.phrase for note in sample.photo.annotations)
    missing = [_label(name) for name in BRANDS if not has_words(there, name)]
    vocabulary = sample.photo.vocabulary | {pick(rng, missing)}
    return replace(sample, photo=replace(sample.photo, vocabulary=vocabulary))


def _with_one(sample: Sample, rng: np.random.Generator, height: tuple[float, float], taken: Mask) -> Sample:
    """One text more, or none. taken: (H, W) where others stand; the new one is added to it."""
    photo = sample.photo
    kind = pick(rng, list(_KINDS), list(_KINDS.values()))
    text = _text(kind, rng)
    said = " ".join(f"{note.label} {note.phrase}" for note in photo.annotations)
    if any(has_words(said, word) for word in text.split()):
        return sample
    boards = not any(set(_names(note)) & _SIGN_LIKE for note in photo.annotations)
    on_plate = boards and rng.random() < _ON_PLATE
    lower, upper = (share * min(photo.size) for share in height)
    tall = max(float(LEAST_HEIGHT), float(np.exp(rng.uniform(np.log(lower), np.log(upper)))))
    grey = np.asarray(Image.fromarray(sample.pixels).convert("L"), np.float32)
    art = set_type("text", _sheet(text, on_plate, rng))
    (line,) = art.lines
    scale = tall / int(line.shape.any(1).sum())
    size = (art.picture.shape[1] * scale, art.picture.shape[0] * scale)
    masks = [decode_rle(note.rle) for note in photo.annotations]
    quad = _place(photo, masks, grey, taken, size, on_plate, rng)
    if quad is None:
        return sample
    around = polygons_to_mask([quad], photo.size)
    if art.carrier is None:
        art = inked(art, _ink(sample.pixels[around].mean(0), rng))
    shapes = [line.shape] if art.carrier is None else [line.shape, art.carrier[1]]
    pixels, found = lay(sample.pixels, art, Placement(tuple(quad), 0.0, 0.0, scale), PRINTED, shapes, tall, rng)
    words, cover = found[0], found[-1]
    if spread(pixels, words) < _LEGIBLE:
        return sample
    taken |= around | cover
    phrase = _phrase(kind, text, on_plate, rng)
    mask = cover if " that says " in phrase else words
    if on_plate:
        photo = _below(photo, masks, cover)
    note = Annotation(_label(text), phrase, encode_rle(mask))
    vocabulary = photo.vocabulary - {note.label}
    return Sample(pixels, replace(photo, annotations=(*photo.annotations, note), vocabulary=vocabulary))


def _label(text: str) -> str:
    """One label whatever the case: "Open" is the text "OPEN"."""
    return f'text "{text.upper()}"'


def _names(note: Annotation) -> tuple[str, ...]:
    return note.label, note.phrase, note.label.split()[-1]


def _text(kind: str, rng: np.random.Generator) -> str:
    """What is written."""
    number = int(rng.integers(1, 1000)) if rng.random() < 0.5 else int(rng.integers(1, 100))
    if kind == "sign":
        word = pick(rng, SIGNS)
        return pick(rng, (word, word.capitalize()), (0.8, 0.2))
    if kind == "brand":
        name = pick(rng, BRANDS)
        return pick(rng, (name, name.upper(), name.lower()), (0.6, 0.3, 0.1))
    if kind == "price":
        cents = pick(rng, ("", ".50", ".90", ".95", ".99"))
        return f"{pick(rng, '$€£')}{int(rng.integers(1, 100))}{cents}"
    if kind == "time":
        return f"{int(rng.integers(0, 24))}:{int(rng.integers(0, 60)):02d}"
    if kind == "percent":
        return f"-{5 * int(rng.integers(1, 19))}%"
    return str(number)


def _phrase(kind: str, text: str, board: bool, rng: np.random.Generator) -> str:
    """How a person names it; quotes of either sort."""
    mark = pick(rng, ('"', "'"), (0.7, 0.3))
    quoted = f"{mark}{text}{mark}"
    if board and rng.random() < _SAYS:
        return f"{pick(rng, _CARRIERS[kind])} that says {quoted}"
    noun = "text" if rng.random() < 0.5 or (kind == "sign" and " " in text) else _NOUNS[kind]
    return f"{noun} {quoted}"


def _sheet(text: str, on_plate: bool, rng: np.random.Generator) -> Sheet:
    """One line, on a plate or bare; bare letters get their ink where they come to lie."""
    row = Row(text, "text", face=pick(rng, _FACES))
    if not on_plate:
        return Sheet((row,), (0, 0, 0))
    board, ink = pick(rng, _BOARDS)
    pad = (float(rng.uniform(0.25, 0.65)), float(rng.uniform(0.2, 0.5)))
    frame = 0.05 if rng.random() < _FRAME else 0.0
    return Sheet((row,), ink, board, "sign", frame=frame, pad=pad, corner=float(rng.uniform(0, 0.2)))


def _ink(ground: NDArray[np.float64], rng: np.random.Generator) -> Colour:
    """One that stands out from the mean colour of the ground."""
    light = luminance(ground.tolist())
    inks = [ink for ink in _INKS if abs(luminance(ink) - light) >= _CONTRAST]
    return pick(rng, inks) if inks else (250,) * 3 if light < 128 else (15,) * 3


def _place(
    photo: AnnotatedPhoto, masks: list[Mask], grey: NDArray[np.float32], taken: Mask, size: tuple[float, float],
    on_plate: bool, rng: np.random.Generator,
) -> list[tuple[float, float]] | None:  # fmt: skip
    """Corners (x, y) of the picture in the photo, clockwise from the upper left: the calmest of a few free places."""
    height, width = photo.size
    turn = float(rng.normal(0, 0.05))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size) / 2
    corners = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners += rng.uniform(-0.07, 0.07, (4, 2)) * size[1]
    reach = np.abs(corners).max(0) + 2
    if 2 * reach[0] > 0.9 * width or 2 * reach[1] > 0.6 * height:
        return None
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    best: tuple[float, NDArray[np.float64]] | None = None
    for _ in range(_TRIES):
        centre = np.array([rng.uniform(reach[0], width - reach[0]), rng.uniform(reach[1], height - reach[1])])
        (x0, y0), (x1, y1) = (centre - reach).astype(int), np.ceil(centre + reach).astype(int)
        window = (slice(y0, y1), slice(x0, x1))
        spread = float(grey[window].std())
        if spread > (_CALM_BOARD if on_plate else _CALM) or (best is not None and spread >= best[0]):
            continue
        quad = corners + centre
        cover = polygons_to_mask([(quad - (x0, y0)).tolist()], (int(y1 - y0), int(x1 - x0)))
        if (taken[window] & cover).any():
            continue
        if _free(photo, areas, [mask[window] for mask in masks], cover, on_plate):
            best = (spread, quad)
    return None if best is None else [(float(x), float(y)) for x, y in best[1]]


def _free(photo: AnnotatedPhoto, areas: list[int], parts: list[Mask], cover: Mask, board: bool) -> bool:
    """Whether the annotations stay as they are said to be: little of them is hidden, no text written over.

    areas: of the masks; parts: what the window of `cover` shows of them.
    """
    own = np.count_nonzero(cover)
    for note, area, part in zip(photo.annotations, areas, parts, strict=True):
        shared = np.count_nonzero(part & cover)
        on_it = not board and shared >= _ON_IT * own
        most = 0.0 if is_written(note) else _ON_IT_HIDDEN if on_it else HIDDEN
        if shared > most * area:
            return False
    return True


def _below(photo: AnnotatedPhoto, masks: list[Mask], cover: Mask) -> AnnotatedPhoto:
    """The photo under a plate: masks without what it hides, and nothing called absent that a plate may be."""
    photo = hide(photo, masks, cover)
    present = {note.label for note in photo.annotations}
    return replace(photo, vocabulary=looked_for(photo.vocabulary, present, _SIGN_LIKE - present))
