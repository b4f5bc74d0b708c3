"""Contact sheets: photographs with their regions, and the conversation beneath, to be read by a person.

In: `Record` values. Out: PNG pages. Regions are numbered and coloured alike in the photo and in the text; the final
target is tinted strongly, outlined in white, and shown larger in a corner where it is small. Knows no file
format of records.
"""

from __future__ import annotations

import importlib.util
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from miras.core.errors import InputError
from miras.core.files import staged
from miras.core.masks import box_of, decode_rle
from miras.core.palette import Colour, colour_of
from miras.core.photo import read_photo
from miras.core.types import Box, Mask
from miras.data.inspect.stats import final_region, target_share
from miras.data.record import Record, RegionRecord, TurnRecord, regions_of

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
WHITE, INK, GREY, PALE, LINE = (255, 255, 255), (24, 28, 34), (104, 112, 122), (241, 243, 246), (216, 220, 226)
WIDTH, PHOTO_HEIGHT, GAP, ROWS = 460, 380, 22, 3
"""Pixels of a card's width, of its photo's height at most, and between cards; rows of cards on a page."""
_TEXT, _SMALL, _LEADING, _GUTTER, _PAD = 16, 13, 23, 22, 12
_CHIP = 3
_INSET = 0.36
_SMALL_TARGET = 0.2
_LONGEST = 2000
_TIGHT = tuple(".,;:!?")


def contact_sheet(
    records: Iterable[Record], out: Path | str, columns: int = 3, limit: int = 60, seed: int = 0
) -> list[Path]:
    """Write pages `sheet-01.png`, ... into the folder `out`; returns them.

    columns: cards beside each other, ROWS rows a page. limit: records at most; of more, a random choice by
    `seed`, in their own order, found in one pass. A photo or mask that cannot be read is said on its card. No
    record: no page. Raises InputError for fewer than 1 column or record, and when a page cannot be written.
    """
    if columns < 1 or limit < 1:
        raise InputError("at least 1 column and 1 record", f"{columns} and {limit}")
    chosen = _choose(records, limit, seed)
    out = Path(out)
    pages: list[Path] = []
    try:
        for start in range(0, len(chosen), columns * ROWS):
            cards = [_card(number, record) for number, record in chosen[start : start + columns * ROWS]]
            path = out / f"sheet-{len(pages) + 1:02d}.png"
            with staged(path) as staging:
                _page(cards, columns).save(staging, format="PNG")
            pages.append(path)
    except OSError as error:
        raise InputError(f"to write {out}", error.strerror or str(error), "give another folder") from error
    return pages


def _choose(records: Iterable[Record], limit: int, seed: int) -> list[tuple[int, Record]]:
    """(place, record) of `limit` records, each as likely as any other."""
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, Record]] = []
    for number, record in enumerate(records):
        place = len(kept) if len(kept) < limit else int(rng.integers(0, number + 1))
        if place < limit:
            kept[place : place + 1] = [(number, record)]
    return sorted(kept, key=lambda item: item[0])


def _page(cards: Sequence[Image.Image], columns: int) -> Image.Image:
    rows = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    size = (columns * (WIDTH + GAP) + GAP, sum(heights) + GAP * (len(rows) + 1))
    page, top = Image.new("RGB", size, WHITE), GAP
    draw = ImageDraw.Draw(page)
    for row, height in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            left = GAP + column * (WIDTH + GAP)
            page.paste(card, (left, top))
            frame = (left - 1, top - 1, left + WIDTH, top + height)
            draw.rectangle(frame, outline=LINE)
        top += height + GAP
    return page


# A card


def _card(number: int, record: Record) -> Image.Image:
    picture, said = _picture(record)
    blocks = [_Block(_plain(f"#{number}  {record['kind']}, hops {record['hops']}, {record['source']}"))]
    blocks.append(_Block(_plain(f"{record['split'] or 'no split'}  {record['id']}", GREY), _SMALL))
    blocks += [_Block(_tokens(turn), speaker="Q" if turn["role"] == "user" else "A") for turn in record["turns"]]
    share = target_share(record)
    size = "" if share is None else f"  ({share:.2%} of the photo)"
    blocks.append(_Block(_plain(f"focus: {record['focus'] or '(none)'}{size}", GREY), _SMALL))
    blocks += [_Block(_plain(line, (190, 30, 30)), _SMALL) for line in said]
    height = sum(block.height for block in blocks) + picture.height + _PAD
    card = Image.new("RGB", (WIDTH, height), WHITE)
    draw, top = ImageDraw.Draw(card), 0
    for position, block in enumerate(blocks):
        if position == 2:
            card.paste(picture, ((WIDTH - picture.width) // 2, top))
            top += picture.height + _PAD // 2
        block.draw(draw, top)
        top += block.height
    return card


@dataclass(frozen=True)
class _Token:
    """A word. fill: the colour of the chip it stands on; tight: no space before it."""

    text: str
    ink: Colour = INK
    fill: Colour | None = None
    tight: bool = False


class _Block:
    """A paragraph, broken into lines when it is made."""

    def __init__(self, tokens: list[_Token], points: int = _TEXT, speaker: str = "") -> None:
        self._points, self._speaker = points, speaker
        self._left = _PAD + (_GUTTER if speaker else 0)
        self._lines = _broken(tokens, points, WIDTH - self._left - _PAD)
        self._step = round(_LEADING * points / _TEXT)

    @property
    def height(self) -> int:
        return len(self._lines) * self._step + 8

    def draw(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        if self._speaker == "Q":
            draw.rounded_rectangle((4, top + 1, WIDTH - 5, top + self.height - 2), 6, fill=PALE)
        if self._speaker:
            draw.text((_PAD, top + 4), self._speaker, fill=GREY, font=_font(self._points))
        for number, line in enumerate(self._lines):
            y = top + 4 + number * self._step
            self._chips(draw, line, y)
            for x, token in line:
                draw.text((self._left + x, y), token.text, fill=token.ink, font=_font(self._points))

    def _chips(self, draw: ImageDraw.ImageDraw, line: list[tuple[float, _Token]], y: int) -> None:
        """One plate under neighbouring words of the same colour."""
        ends: list[tuple[float, float, Colour]] = []
        for x, token in line:
            if token.fill is None:
                continue
            right = x + _font(self._points).getlength(token.text)
            if ends and ends[-1][2] == token.fill and x - ends[-1][1] < self._points / 2:
                ends[-1] = (ends[-1][0], right, token.fill)
            else:
                ends.append((x, right, token.fill))
        for left, right, fill in ends:
            box = (self._left + left - _CHIP, y - 1, self._left + right + _CHIP, y + self._step - 3)
            draw.rounded_rectangle(box, 4, fill=fill)


def _tokens(turn: TurnRecord) -> list[_Token]:
    """An utterance with its names on plates and its operators spelled out."""
    if turn["role"] == "user":
        return _plain(turn["text"])
    tokens: list[_Token] = []
    for piece in turn["content"]:
        if piece["type"] == "mark":
            tokens.append(_Token(piece["text"].upper(), WHITE, GREY))
        elif piece["type"] == "name":
            colour = colour_of(piece["region"])
            words = f"{piece['region']} {_shortened(piece['text'])}".split()
            tokens += [_Token(word, INK, colour) for word in words]
        else:
            tokens += [_Token(word, tight=word in _TIGHT) for word in _shortened(piece["text"]).split()]
    return tokens or _plain(turn["text"])


def _plain(text: str, ink: Colour = INK) -> list[_Token]:
    return [_Token(word, ink) for word in _shortened(text).split()]


def _shortened(text: str) -> str:
    """At most _LONGEST characters: a card stays a card."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _broken(tokens: list[_Token], points: int, width: float) -> list[list[tuple[float, _Token]]]:
    """Lines of (x, token). A word longer than a line is cut into pieces that fit."""
    font = _font(points)
    lines: list[list[tuple[float, _Token]]] = [[]]
    x, space = 0.0, 0.3 * points
    for token in (part for whole in tokens for part in _pieces(whole, font, width)):
        start = x if token.tight or not lines[-1] else x + space
        if lines[-1] and lines[-1][-1][1].fill != token.fill:
            start += _CHIP
        long = font.getlength(token.text)
        if lines[-1] and start + long > width:
            lines.append([])
            start = 0.0
        lines[-1].append((start, token))
        x = start + long
    return lines


def _pieces(token: _Token, font: Font, width: float) -> list[_Token]:
    text, parts = token.text, []
    while font.getlength(text) > width:
        most = max(bisect_right(range(1, len(text)), width, key=lambda n: font.getlength(text[:n])), 1)
        parts.append(_Token(text[:most], token.ink, token.fill, token.tight))
        text = text[most:]
    return [*parts, _Token(text, token.ink, token.fill, token.tight)]


# Its photo


def _picture(record: Record) -> tuple[Image.Image, list[str]]:
    """The photo with its regions, scaled; and what could not be drawn."""
    said: list[str] = []
    try:
        photo = Image.fromarray(read_photo(record.get("image_bytes") or record["image"]))
    except InputError as error:
        said.append(str(error))
        photo = Image.new("RGB", (WIDTH, PHOTO_HEIGHT // 2), LINE)
        if min(record["width"], record["height"]) > 0:
            photo = Image.new("RGB", (record["width"], record["height"]), LINE)
    scale = min(WIDTH / photo.width, PHOTO_HEIGHT / photo.height)
    small = photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))
    final = final_region(record)
    drawn: list[tuple[RegionRecord, Mask]] = []
    for index, region in regions_of(record):
        try:
            mask = decode_rle(dict(region["rle"]))
            if mask.shape != (photo.height, photo.width):
                raise InputError(f"a mask of {photo.width} x {photo.height}", f"{mask.shape[1]} x {mask.shape[0]}")
            drawn.append((region, mask))
        except InputError as error:
            said.append(f"turn {index}, region {region['id']}: {error}")
    # The final target last, over the others; large ones first.
    drawn.sort(key=lambda item: (item[0] is final, -int(item[1].sum())))
    for region, mask in drawn:
        _paint(small, mask, colour_of(region["id"]), region is final)
    _badges(small, drawn)
    if drawn and drawn[-1][0] is final:
        _inset(small, photo, drawn)
    return small, said


def _paint(picture: Image.Image, mask: Mask, colour: Colour, final: bool) -> None:
    stencil = _stencil(mask, picture.size)
    picture.paste(colour, mask=stencil.point(lambda level: round(level * (0.5 if final else 0.25))))
    rings = ((7, WHITE), (5, colour)) if final else ((3, colour),)
    for width, ink in rings:
        wide = stencil.filter(ImageFilter.MaxFilter(width))
        ring = np.asarray(wide) > np.asarray(stencil.filter(ImageFilter.MinFilter(3)))
        picture.paste(ink, mask=Image.fromarray(ring.astype(np.uint8) * 255))


def _stencil(mask: Mask, size: tuple[int, int]) -> Image.Image:
    """The mask at (W, H), 0 or 255; something of a small one always stays."""
    share = Image.fromarray(mask.view(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.BOX)
    most = int(np.asarray(share).max(initial=0))
    return share.point(lambda level: 255 if level >= min(128, most) and level else 0)


def _badges(picture: Image.Image, drawn: Sequence[tuple[RegionRecord, Mask]]) -> None:
    """The number of each region on a disc inside it; regions of one mask share a place."""
    draw = ImageDraw.Draw(picture)
    taken: list[tuple[float, float]] = []
    for region, mask in sorted(drawn, key=lambda item: item[0]["id"]):
        rows, columns = np.nonzero(mask)
        if not len(rows):
            continue
        nearest = int(np.argmin((rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2))
        x = float(columns[nearest]) * picture.width / mask.shape[1]
        y = float(rows[nearest]) * picture.height / mask.shape[0]
        if picture.width * picture.height * float(mask.mean()) < 700:  # a disc would hide it: stand beside it
            y -= 16 if y > 30 else -16
        while any(abs(x - other) < 18 and abs(y - there) < 18 for other, there in taken):
            x += 19
        x, y = min(max(x, 11.0), picture.width - 11.0), min(max(y, 11.0), picture.height - 11.0)
        taken.append((x, y))
        draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour_of(region["id"]), outline=INK)
        draw.text((x, y), str(region["id"]), fill=INK, font=_font(_SMALL), anchor="mm")


def _inset(picture: Image.Image, photo: Image.Image, drawn: Sequence[tuple[RegionRecord, Mask]]) -> None:
    """A small final target once more, larger, in the corner that hides least."""
    region, mask = drawn[-1]
    box = box_of(mask)
    if box is None or max((box[2] - box[0]) / photo.width, (box[3] - box[1]) / photo.height) > _SMALL_TARGET:
        return
    side = round(_INSET * min(picture.size))
    crop = _square(box, (photo.width, photo.height))
    x1, y1, x2, y2 = crop
    detail = photo.crop(crop).resize((side, side))
    stencil = _stencil(mask[y1:y2, x1:x2], detail.size)
    for width, ink in ((5, WHITE), (3, colour_of(region["id"]))):
        ring = np.asarray(stencil.filter(ImageFilter.MaxFilter(width))) > np.asarray(stencil)
        detail.paste(ink, mask=Image.fromarray(ring.astype(np.uint8) * 255))
    covered = np.zeros((picture.height, picture.width), np.int64)
    for other, shape in drawn:
        covered += (np.asarray(_stencil(shape, picture.size)) > 0) * (50 if other is region else 1)
    corners = [(x, y) for y in (0, picture.height - side) for x in (0, picture.width - side)]
    left, top = min(corners, key=lambda at: int(covered[at[1] : at[1] + side, at[0] : at[0] + side].sum()))
    picture.paste(detail, (left, top))
    ImageDraw.Draw(picture).rectangle((left, top, left + side - 1, top + side - 1), outline=WHITE, width=2)


def _square(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around a box with some of what is about it, inside (W, H)."""
    side = round(min(max(1.7 * (box[2] - box[0]), 1.7 * (box[3] - box[1]), 40), *size))
    left = round(min(max((box[0] + box[2] - side) / 2, 0), size[0] - side))
    top = round(min(max((box[1] + box[3] - side) / 2, 0), size[1] - side))
    return left, top, left + side, top + side


@lru_cache(maxsize=8)
def _font(points: int) -> Font:
    """DejaVu Sans where matplotlib brings it, which has most scripts; else the font that pillow carries."""
    spec = importlib.util.find_spec("matplotlib")
    found = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if spec and spec.origin else None
    if found is not None and found.is_file():
        return ImageFont.truetype(found, points - 1)
    return ImageFont.load_default(points)
