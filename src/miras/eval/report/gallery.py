"""Conversations of a run to look at: which are shown, and their pictures.

In: rows of a run, and its photos where they can be found. Out: HTML, one `<article>` for a conversation. A photo is
written once, small, as a data URL; masks lie over it as SVG outlines along their pixels. What people, models or files
say is escaped. A photo that is gone is grey, and named. Knows no figures of the run but each row's own.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import box_of, decode_rle, difference, intersection, mask_to_polygons, resize_mask
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
    head = f'<header><h4><bdi>{escape(first.record)}</bdi></h4><p class="facts">{escape(facts)}</p></header>'
    if not pictures:
        turns = "".join(_turn(row, "") for row in transcript.rows)
        return f'<article class="talk">{head}<p class="gone">pictures left out: the page is full</p>{turns}</article>'
    place = scene(first, photos)
    said = f'<p class="gone">{escape(place.said)}</p>' if place.said else ""
    turns = "".join(_turn(row, _pictures(row, place, number)) for row in transcript.rows)
    return f'<article class="talk">{head}{said}{_ground(place, number)}{turns}</article>'


def _ground(place: Scene, number: int) -> str:
    """The photo, kept for the pictures of the conversation; itself not shown."""
    height, width = place.size
    if place.url is None:
        ground = f'<rect width="{width}" height="{height}" fill="#8a8f96"/>'
    else:
        ground = f'<image width="{width}" height="{height}" preserveAspectRatio="none" href="{place.url}"/>'
    return f'<svg class="store" aria-hidden="true"><defs><g id="photo-{number}">{ground}</g></defs></svg>'


def _turn(row: Row, pictures: str) -> str:
    figures = []
    figures.append("not compared" if row.iou is None else f"IoU <b>{row.iou:.2f}</b>")
    figures.append("no score" if row.score is None else f"score <b>{row.score:.2f}</b>")
    wanted, got = row.operator_wanted or "words", row.operator_got or "words"
    figures.append(escape(got if got == wanted else f"{got} instead of {wanted}"))
    fault = f'<p class="gone">fault: {escape(_clipped(row.fault))}</p>' if row.fault else ""
    lines = "".join(_said(*line) for line in (("User", "user", row.user), ("Model", "model", row.text),
                                              ("Data", "data", row.gold_text)))  # fmt: skip
    title = f'<p class="facts">Turn {row.turn} · {" · ".join(figures)}</p>'
    return f'<section class="turn"><div class="words">{title}{lines}{fault}</div>{pictures}</section>'


def _said(who: str, kind: str, text: str) -> str:
    words = escape(_clipped(text)) if text.strip() else "<i>nothing</i>"
    return f'<p class="say {kind}"><span class="who">{who}</span><span dir="auto">{words}</span></p>'


def _clipped(text: str) -> str:
    more = len(text) - LONGEST_TEXT
    return text if more <= 0 else f"{text[:LONGEST_TEXT]} … ({more:,} more letters)"


def _pictures(row: Row, place: Scene, number: int) -> str:
    """What is selected; beside it, where it is compared, what both have, what was missed and what is too much."""
    got, wanted = _mask(row.rle, row, place.size), _mask(row.gold_rle, row, place.size)
    if not got.any() and not wanted.any():
        return f'<p class="none">Nothing selected{"; not compared" if row.iou is None else ", nor in the data"}.</p>'
    whole = (0, 0, place.size[1], place.size[0])
    of = f"{Path(row.image).name or row.photo}, turn {row.turn}: selected {got.mean():.1%} of the photo"
    chosen, gold = outline(got, place.size), outline(wanted, place.size)
    paths = (("fill", chosen), ("case", chosen), ("case", gold), ("got", chosen), ("gold", gold))
    selected = "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in paths if path)
    if row.iou is None:
        return f'<div class="pictures">{_drawing(whole, number, selected, f"{of}, not compared")}</div>'
    of += f", in the data {wanted.mean():.1%}, IoU {row.iou:.2f}"
    window = _window(got | wanted)
    if window is not None:
        x, y, width, height = window
        selected += f'<rect class="window" x="{x}" y="{y}" width="{width}" height="{height}"/>'
    said = f"{of}; both, missed and too much in colours" + ("" if window is None else ", close by")
    first = _drawing(whole, number, selected, f"{of}; both outlines")
    return f'<div class="pictures">{first}{_drawing(window or whole, number, _compared(got, wanted), said)}</div>'


def _compared(got: Mask, wanted: Mask) -> str:
    """Three colours over the darkened photo."""
    height, width = got.shape
    both, missed, extra = intersection(got, wanted), difference(wanted, got), difference(got, wanted)
    paths = "".join(
        f'<path class="{kind}" d="{outline(part, (height, width))}"/>'
        for kind, part in (("both", both), ("missed", missed), ("extra", extra)) if part.any()
    )  # fmt: skip
    return f'<rect class="veil" width="{width}" height="{height}"/>{paths}'


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


def _drawing(view: tuple[int, int, int, int], number: int, over: str, said: str) -> str:
    words = escape(said)
    box = " ".join(map(str, view))
    head = f'<svg class="picture" viewBox="{box}" preserveAspectRatio="xMinYMin" role="img" aria-label="{words}">'
    return f'{head}<title>{words}</title><use href="#photo-{number}"/>{over}</svg>'
