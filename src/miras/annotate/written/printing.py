"""Written words on real photographs: number plates, shop signs, shirts, labels, with the mask of each line and word.

In: a photo with its annotations and a random generator. Out: the photo with one or two artworks printed on surfaces
that the annotations name, in the surface's perspective, light, sharpness and grain, and what was written where. Words
and surfaces: `knowledge/written.yaml`; what is written: `designs`; where: `place`; how it looks: `data.lettering`.
Equal input, generator and package versions give equal bytes on every machine. Knows no dialogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.annotate.written.designs import knowledge, make, repaint
from miras.annotate.written.place import Pose, busyness, find, grow, pose_of, shrink
from miras.core.masks import decode_rle, union
from miras.core.types import AnnotatedPhoto, Mask
from miras.data.io.checks import same_size
from miras.data.language.phrasing import pick
from miras.data.lettering.art import Art, Line
from miras.data.lettering.light import BARE, CARRIED, CLOTH, SEWN, Finish, lay, spread
from miras.data.lettering.place import Placement
from miras.data.lettering.sheet import Colour

LEAST_HEIGHT = 12
"""Pixels: no line is lower. The main line of an artwork is at least LEAST_SHARE of the photo's height, too."""
LEAST_SHARE = 0.02
_LEAST_SURFACE = 0.008
_HIGHEST = {"tag": 0.06, "plate": 0.08, "patch": 0.035, "offer": 0.07, "street": 0.08, "warning": 0.1}
_HIGHEST_ELSE = 0.15
"""Height of the main line, of the photo's, at most."""
_SMOOTH = 13.0
"""Mean gradient in grey levels under bare letters, at most."""
_TRIES = 24
_SECOND = 0.3
_CONTRAST = 48
"""Grey levels between the darker and the lighter tenth of a line, at least."""
_EVEN = 52
"""The same of what bare letters are written on, at most."""
_FILL = 0.85


@dataclass(frozen=True, eq=False)
class PrintedRegion:
    """One line of writing, or one emblem.

    text: as written, "" for an emblem. kind: a key of `kinds` in the YAML. mask: (H, W) the tight outline of the line:
    the quadrilateral around its letters, filled, in the photo's perspective (bent lines: the strip between their
    upper and lower edge), as an annotator outlines words; of an emblem the whole drawing. A pixel belongs to it when
    at least half of it is covered. words: (word, mask) of each word, cut from the line the same way. row: place from
    the top of its artwork, -1 for an emblem. artwork: index into `Written.artworks`. emblem: what it shows.
    """

    text: str
    kind: str
    mask: Mask
    words: tuple[tuple[str, Mask], ...]
    row: int
    artwork: int
    emblem: str = ""


@dataclass(frozen=True, eq=False)
class Artwork:
    """What was put on one surface. annotation: index of the surface in the photo's annotations; phrase, mask: the
    surface's. surface: what sort it is, without its label ("piece of clothing"). carrier: (noun, mask) of the plate,
    sign or label that was put there with the letters; None where they stand on the surface itself. quad: corners."""

    design: str
    annotation: int
    phrase: str
    mask: Mask
    surface: str
    carrier: tuple[str, Mask] | None
    quad: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Written:
    """The photo after writing. photo: (H, W, 3) uint8 RGB, of the same size; regions in reading order."""

    photo: NDArray[np.uint8]
    artworks: tuple[Artwork, ...]
    regions: tuple[PrintedRegion, ...]
    heldout: bool

    def on(self, artwork: int) -> tuple[PrintedRegion, ...]:
        """The regions of one artwork."""
        return tuple(i for i in self.regions if i.artwork == artwork)


@dataclass(frozen=True, eq=False)
class _Surface:
    """A surface that may be written on. rule: its entry in the YAML. free: where nothing lies over it."""

    annotation: int
    rule: dict[str, Any]
    mask: Mask
    free: Mask


@dataclass(frozen=True, eq=False)
class _Done:
    """An artwork that lies in the photo: its pixels and masks, line by line."""

    photo: NDArray[np.uint8]
    art: Art
    place: Placement
    lines: tuple[tuple[Line, Mask, tuple[tuple[str, Mask], ...]], ...]
    carrier: tuple[str, Mask] | None


def write_on(
    photo: NDArray[np.uint8], annotated: AnnotatedPhoto, rng: np.random.Generator, heldout: bool = False
) -> Written | None:
    """Write one artwork of 1 to 3 lines, sometimes two on different surfaces; None when nothing fits.

    photo: (H, W, 3) uint8 RGB, the annotated one, left as it is. Never over skin, hair, faces or people.
    heldout: words of the test split. Raises InputError when the photo has another size than its annotations.
    """
    same_size("the photo", annotated.size, (photo.shape[0], photo.shape[1]))
    surfaces = _surfaces(annotated)
    busy = busyness(np.asarray(Image.fromarray(photo).convert("L")))
    road = next((decode_rle(a.rle) for a in annotated.annotations if a.label == "road"), None)
    wanted = 2 if rng.random() < _SECOND else 1
    artworks: list[Artwork] = []
    regions: list[PrintedRegion] = []
    for _ in range(_TRIES):
        taken = {artwork.annotation for artwork in artworks}
        left = [surface for surface in surfaces if surface.annotation not in taken]
        if len(artworks) == wanted or not left:
            break
        surface = pick(rng, left, [surface.rule.get("weight", 1.0) for surface in left])
        done = _write(photo, surface, busy, road, rng, heldout)
        phrase, sort = annotated.annotations[surface.annotation].phrase, surface.rule["class"]
        if done is None or _again(done, phrase, artworks, regions):
            continue
        photo, number = done.photo, len(artworks)
        regions += [
            PrintedRegion(line.text, line.kind, mask, words, line.row, number, line.emblem)
            for line, mask, words in done.lines
        ]
        artworks.append(
            Artwork(done.art.design, surface.annotation, phrase, surface.mask, sort, done.carrier, done.place.quad)
        )
    return Written(photo, tuple(artworks), tuple(regions), heldout) if artworks else None


def _surfaces(annotated: AnnotatedPhoto) -> list[_Surface]:
    """What may be written on: known labels, large enough, without what lies over them."""
    rules = {label: rule for rule in knowledge()["surfaces"] for label in rule["labels"]}
    never = [decode_rle(a.rle) for a in annotated.annotations if a.label in knowledge()["forbidden"]]
    kept = np.ones(annotated.size, np.bool_)
    if never:
        kept = ~grow(union(*never), 2)
    surfaces = []
    for number, annotation in enumerate(annotated.annotations):
        rule = rules.get(annotation.label)
        if rule is None:
            continue
        mask = decode_rle(annotation.rle)
        if np.count_nonzero(mask) >= _LEAST_SURFACE * mask.size:
            free = shrink(mask & kept, 2)
            rows = np.flatnonzero(mask.any(1))
            free[: rows[0] + int(rule.get("below", 0.0) * (rows[-1] + 1 - rows[0]))] = False
            surfaces.append(_Surface(number, rule, mask, free))
    return surfaces


def _write(
    photo: NDArray[np.uint8], surface: _Surface, busy: NDArray[np.int64], road: Mask | None,
    rng: np.random.Generator, heldout: bool,
) -> _Done | None:  # fmt: skip
    """One artwork on one surface, None when it finds no room or cannot be read there."""
    rule = surface.rule
    design = pick(rng, list(rule["designs"]), [float(w) for w in rule["designs"].values()])
    art = make(design, rng, (0, 0, 0), heldout)
    pose = pose_of(rule["pose"], surface.mask, road, rng)
    if pose is None:
        return None
    heights = [int(line.shape.any(1).sum()) for line in art.lines if line.text]
    place = _place(photo, surface, busy, art, pose, heights, rng)
    if place is None:
        return None
    under = _inside(place, photo.shape) & surface.free
    if art.carrier is None and spread(photo, under) > _EVEN:
        return None
    local = _ground(photo, under)
    art = repaint(art, local, rng)
    shapes = [shape for line in art.lines for shape in (line.shape, *(s for _, s in line.words))]
    if art.carrier:
        shapes.append(art.carrier[1])
    low = min(heights) * place.scale * pose.height
    page, masks = lay(photo, art, place, _finish(art, rule["pose"]), shapes, low, rng)
    found = iter(masks)
    lines = tuple((line, next(found), tuple((word, next(found)) for word, _ in line.words)) for line in art.lines)
    carrier = (art.carrier[0], next(found)) if art.carrier else None
    bare = art.carrier is None
    if not all(_readable(photo, page, mask, bare) for line, mask, _ in lines if line.text):
        return None
    return _Done(page, art, place, lines, carrier)


def _again(done: _Done, phrase: str, artworks: list[Artwork], regions: list[PrintedRegion]) -> bool:
    """Whether a second artwork would say what the first says, lie on a thing of the same name, or be a second plate."""
    said = {word.lower() for i in regions for word in i.text.split()}
    return any(word.lower() in said for line, *_ in done.lines for word in line.text.split()) or any(
        phrase == artwork.phrase or done.art.design == artwork.design == "plate" for artwork in artworks
    )


def _place(
    photo: NDArray[np.uint8], surface: _Surface, busy: NDArray[np.int64], art: Art, pose: Pose, heights: list[int],
    rng: np.random.Generator,
) -> Placement | None:  # fmt: skip
    """A place for the artwork, between the legible and the likely size."""
    rule, flat = surface.rule, (art.picture.shape[0], art.picture.shape[1])
    floors = [_floor(photo, height == max(heights)) / (height * pose.height) for height in heights]
    columns, rows = (np.flatnonzero(surface.free.any(axis)) for axis in (0, 1))
    if len(rows) == 0:
        return None
    largest = min(
        rule.get("fill", _FILL) * (columns[-1] - columns[0]) / (flat[1] * pose.width),
        _FILL * (rows[-1] - rows[0]) / (flat[0] * pose.height),
        _HIGHEST.get(art.design, _HIGHEST_ELSE) * photo.shape[0] / max(heights),
    )
    calm = float("inf") if art.carrier else _SMOOTH
    spot, near = (rule["spot"][0], rule["spot"][1]), rule.get("near", 1.0)
    return find(surface.free, busy, flat, pose, spot, (max(floors), float(largest)), calm, near, rng)


def _finish(art: Art, pose: str) -> Finish:
    if pose == "garment":
        return SEWN if art.carrier else CLOTH
    return CARRIED if art.carrier else BARE


def _inside(place: Placement, shape: tuple[int, ...]) -> Mask:
    """The box around a place, as a mask."""
    mask = np.zeros(shape[:2], np.bool_)
    x0, y0, x1, y1 = place.bounds((shape[0], shape[1]), 0)
    mask[y0:y1, x0:x1] = True
    return mask


def _floor(photo: NDArray[np.uint8], main: bool) -> float:
    """The least height of a line in pixels."""
    return max(LEAST_HEIGHT, LEAST_SHARE * photo.shape[0] if main else 0.0) + 0.5


def _ground(photo: NDArray[np.uint8], free: Mask) -> Colour:
    """The mean colour of a surface."""
    count = max(int(np.count_nonzero(free)), 1)
    red, green, blue = (int(photo[:, :, channel][free].sum(dtype=np.int64)) // count for channel in range(3))
    return red, green, blue


def _readable(before: NDArray[np.uint8], after: NDArray[np.uint8], mask: Mask, bare: bool) -> bool:
    """Whether the letters stand out from what they are on, and are high enough."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return False
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    tall = np.count_nonzero(mask) / len(columns)
    if tall < LEAST_HEIGHT - 1 or spread(after[box], mask[box]) < _CONTRAST:
        return False
    return not bare or spread(before[box], mask[box]) <= _EVEN
