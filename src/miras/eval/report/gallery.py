"""Conversations of a run to look at: which are shown, and their pictures.

In: rows of a run, and its photos where they can be found. Out: HTML, one `<article>` for a conversation, by
`templates/card.html`. A photo is written once, small, as a data URL; masks lie over it as SVG outlines along their
pixels. A photo that is gone is grey, and named. Knows no figures of the run but each row's own.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import box_of, decode_rle, difference, intersection, mask_to_polygons, resize_mask
from miras.core.pages import template
from miras.core.photo import read_photo
from miras.core.types import Mask, Rle
from miras.eval.runs.samples import Row

SIDE, QUALITY = 480, 70
"""Longer side of a photo in pixels, and its JPEG quality."""
LONGEST_PATH = 12_000
"""Letters of a mask's outline; a longer one is drawn on a coarser grid."""
ROOM, CLOSEST, FURTHEST = 1.8, 0.2, 0.6
"""A closer look: its side over that of the selections' box; its smallest and largest share of the photo's sides."""
LONGEST_TEXT = 1200
"""Letters of a message or a reply."""
ROLES = ("random", "best", "worst")


@dataclass(frozen=True, slots=True)
class Transcript:
    """The turns of one conversation, in order. mean: IoU over those with a target; None when there is none."""

    rows: tuple[Row, ...]
    mean: float | None

    @property
    def photo(self) -> str:
        """The photograph it is about."""
        return self.rows[0].cluster


@dataclass(frozen=True, slots=True)
class Scene:
    """A photo to draw on. size: (H, W) of the drawing. url: of the small photo; None: grey, and `said` says why."""

    size: tuple[int, int]
    url: str | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Paths over a photo. view: x, y, width, height of what is shown. said: in words. paths: (class, path data).

    window: where a closer picture looks. veil: whether the photo is darkened."""

    view: tuple[int, int, int, int]
    said: str
    paths: tuple[tuple[str, str], ...]
    window: tuple[int, int, int, int] | None = None
    veil: bool = False


def transcripts(rows: Iterable[Row]) -> list[Transcript]:
    """The conversations that were held, in the order of the rows; not those at fault themselves, or asked alone."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.history != "alone" and row.blame != "data":
            groups.setdefault(row.record, []).append(row)
    return [_transcript(group) for group in groups.values()]


def choose(held: Sequence[Transcript], each: int, seed: int = 0) -> dict[str, list[Transcript]]:
    """At most `each` conversations for each of `ROLES`; none twice, a photo again only after the others.

    The random ones are drawn first, by the seed, without a look at any figure; then the best and the worst by mean IoU
    of those left (equal ones in random order). With few conversations each role gets a third. Raises InputError for
    fewer than 1.
    """
    if each < 1:
        raise InputError("at least 1 conversation of each sort", str(each))
    each = min(each, max(1, len(held) // len(ROLES)))
    order = [held[place] for place in np.random.default_rng([seed, 7]).permutation(len(held)).tolist()]
    chosen: dict[str, list[Transcript]] = {"random": _spread(order, each, ())}
    taken = {id(transcript) for transcript in chosen["random"]}
    left = [
        (transcript.mean, transcript)
        for transcript in order
        if id(transcript) not in taken and transcript.mean is not None
    ]
    best = [transcript for _, transcript in sorted(left, key=lambda pair: -pair[0])]
    chosen["best"] = _in_order(_spread(best, min(each, (len(best) + 1) // 2), chosen["random"]), best)
    taken |= {id(transcript) for transcript in chosen["best"]}
    worst = [transcript for transcript in reversed(best) if id(transcript) not in taken]
    chosen["worst"] = _in_order(_spread(worst, each, chosen["random"] + chosen["best"]), worst)
    return chosen


def _in_order(some: Sequence[Transcript], ordered: Sequence[Transcript]) -> list[Transcript]:
    wanted = {id(transcript) for transcript in some}
    return [transcript for transcript in ordered if id(transcript) in wanted]


def _transcript(rows: Sequence[Row]) -> Transcript:
    counted = [row.iou for row in rows if row.iou is not None and row.gold]
    ordered = tuple(sorted(rows, key=lambda row: row.turn))
    return Transcript(ordered, sum(counted) / len(counted) if counted else None)


def _spread(ordered: Sequence[Transcript], count: int, shown: Sequence[Transcript]) -> list[Transcript]:
    """The first `count`, those of photos that are not shown yet before the others."""
    seen = {transcript.photo for transcript in shown}
    fresh: list[Transcript] = []
    again: list[Transcript] = []
    for transcript in ordered:
        (again if transcript.photo in seen else fresh).append(transcript)
        seen.add(transcript.photo)
    return [*fresh, *again][:count]


# Photos


def find(image: str, photos: Path | None) -> Path | None:
    """The file of a photo: where its row says, else in the folder `photos`, by as much of its path as fits."""
    if not image or "\0" in image:
        return None
    path = Path(image)
    parts = [part for part in path.parts if part not in (path.anchor, "..")]
    places = [path]
    if photos is not None:
        places += [photos.joinpath(*parts[start:]) for start in range(len(parts))]
    for place in places:
        try:
            if place.is_file():
                return place
        except OSError:
            continue
    return None


def scene(row: Row, photos: Path | None = None) -> Scene:
    """The photo of a row, small; grey when it is gone, cannot be read, or is not of the row's size."""
    size = _within(row.size, SIDE)
    name = Path(row.image).name or row.photo
    file = find(row.image, photos)
    if file is None:
        return Scene(size, None, f"photo not found: {name}")
    try:
        pixels = read_photo(file)
    except InputError as error:
        return Scene(size, None, f"photo not readable: {name} ({error.got})")
    if pixels.shape[:2] != row.size:
        found = f"{pixels.shape[0]} x {pixels.shape[1]} instead of {row.size[0]} x {row.size[1]}"
        return Scene(size, None, f"photo of another size: {name} ({found})")
    picture = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=3.0)
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=QUALITY, optimize=True)
    return Scene(size, f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode('ascii')}")


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(*size, 1))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


# Masks


def outline(mask: Mask, size: tuple[int, int]) -> str:
    """The path data of a mask of `size`'s shape, along its pixels; "" for an empty one. Fill it even-odd."""
    height, width = size
    path = ""
    for coarse in (1, 2, 4, 8, 16):
        grid = max(1, height // coarse), max(1, width // coarse)
        small = mask if grid == mask.shape else shrunk(mask, grid)
        left, top, right, bottom = (int(side) for side in box_of(small) or (0, 0, 0, 0))
        rings = mask_to_polygons(small[top:bottom, left:right])  # cropped: most masks are small
        path = "".join(_ring(ring, (left, top), (width / grid[1], height / grid[0])) for ring in rings)
        if len(path) <= LONGEST_PATH:
            break
    return path


def _ring(ring: Sequence[tuple[float, float]], corner: tuple[int, int], scale: tuple[float, float]) -> str:
    """Steps to the side and up or down in turn, as a mask's outline goes; corner (x, y) is added before scaling."""
    (x, y), (across, down) = ring[0], scale
    steps = [f"M{(x + corner[0]) * across:.4g} {(y + corner[1]) * down:.4g}"]
    for next_x, next_y in ring[1:]:
        steps.append(f"h{(next_x - x) * across:.4g}" if next_y == y else f"v{(next_y - y) * down:.4g}")
        x, y = next_x, next_y
    return "".join(steps) + "z"


def shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at another (H, W), nearest pixel; what is too small for it is still a pixel."""
    small = resize_mask(mask, size)
    box = box_of(mask)
    if box is not None and not small.any():
        small = small.copy()
        row, column = (box[1] + box[3]) / 2 / mask.shape[0], (box[0] + box[2]) / 2 / mask.shape[1]
        small[min(int(row * size[0]), size[0] - 1), min(int(column * size[1]), size[1] - 1)] = True
    return small


def _mask(rle: Rle | None, row: Row, size: tuple[int, int]) -> Mask:
    """Small; empty where there is none, or none that fits the photo."""
    try:
        mask = None if rle is None else decode_rle(rle)
    except InputError:
        mask = None
    return np.zeros(size, np.bool_) if mask is None or mask.shape != row.size else shrunk(mask, size)


# A conversation


def card(transcript: Transcript, number: int, photos: Path | None = None, *, pictures: bool = True) -> str:
    """The `<article>` of a conversation; `number` is its own in the page. pictures: False leaves them out."""
    first = transcript.rows[0]
    mean = "nothing to compare" if transcript.mean is None else f"mean IoU {transcript.mean:.2f}"
    facts = f"{first.kind} · hops {first.hops} · {first.source} · {len(transcript.rows)} turns · {mean}"
    place = scene(first, photos) if pictures else None
    turns = [
        {"row": row, "facts": _facts(row), "said": _said(row), "fault": _clipped(row.fault or ""),
         "pictures": _pictures(row, place) if place else None}
        for row in transcript.rows
    ]  # fmt: skip
    return template("miras.eval.report", "card.html").render(
        record=first.record, facts=facts, number=number, place=place, turns=turns
    )


def _facts(row: Row) -> list[tuple[str, str]]:
    """(name, figure) or (words, "")."""
    wanted, got = row.operator_wanted or "words", row.operator_got or "words"
    return [
        ("not compared", "") if row.iou is None else ("IoU", f"{row.iou:.2f}"),
        ("no score", "") if row.score is None else ("score", f"{row.score:.2f}"),
        (got if got == wanted else f"{got} instead of {wanted}", ""),
    ]


def _said(row: Row) -> list[tuple[str, str, str]]:
    """(who, class, words)."""
    lines = (("User", "user", row.user), ("Model", "model", row.text), ("Data", "data", row.gold_text))
    return [(who, kind, _clipped(text) if text.strip() else "") for who, kind, text in lines]


def _clipped(text: str) -> str:
    more = len(text) - LONGEST_TEXT
    return text if more <= 0 else f"{text[:LONGEST_TEXT]} … ({more:,} more letters)"


def _pictures(row: Row, place: Scene) -> list[Picture]:
    """What is selected; beside it, where it is compared, what both have, what was missed and what is too much."""
    got, wanted = _mask(row.rle, row, place.size), _mask(row.gold_rle, row, place.size)
    if not got.any() and not wanted.any():
        return []
    whole = (0, 0, place.size[1], place.size[0])
    of = f"{Path(row.image).name or row.photo}, turn {row.turn}: selected {got.mean():.1%} of the photo"
    chosen, gold = outline(got, place.size), outline(wanted, place.size)
    paths = (("fill", chosen), ("case", chosen), ("case", gold), ("got", chosen), ("gold", gold))
    if row.iou is None:
        return [Picture(whole, f"{of}, not compared", paths)]
    of += f", in the data {wanted.mean():.1%}, IoU {row.iou:.2f}"
    window = _window(got | wanted)
    said = f"{of}; both, missed and too much in colours" + ("" if window is None else ", close by")
    parts = (
        ("both", intersection(got, wanted)),
        ("missed", difference(wanted, got)),
        ("extra", difference(got, wanted)),
    )
    compared = tuple((kind, outline(part, place.size)) for kind, part in parts)
    return [
        Picture(whole, f"{of}; both outlines", paths, window),
        Picture(window or whole, said, compared, veil=True),
    ]


def _window(mask: Mask) -> tuple[int, int, int, int] | None:
    """Where to look closer: x, y, width, height, of the photo's shape; None where most of the photo is needed."""
    height, width = mask.shape
    left, top, right, bottom = box_of(mask) or (0, 0, width, height)
    share = max(ROOM * (right - left) / width, ROOM * (bottom - top) / height, CLOSEST)
    if share > FURTHEST:
        return None
    wide, high = max(1, round(share * width)), max(1, round(share * height))
    x, y = round((left + right - wide) / 2), round((top + bottom - high) / 2)
    return min(max(x, 0), width - wide), min(max(y, 0), height - high), wide, high
