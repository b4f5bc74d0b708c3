"""A conversation as one picture: each turn's overlay beside what was said.

In: a photo and its replies. Out: (h, w, 3) uint8 RGB, for a gallery. Knows no session and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from miras.chat.render import INK, WHITE, Colour, Picture, colour_of, font, ink_on, overlay, plain, shorten, shown
from miras.chat.reply import Reply
from miras.core.types import Mask, Region

WIDTH = 1180
"""Pixels of a card."""
PICTURE = 560
"""Longest side of an overlay in it."""
MARGIN, GAP, PAD, POINTS, SMALL, LINE, ROUND = 28, 22, 15, 21, 15, 30, 16
MAX_LINES = 9
USER: Colour = (226, 236, 250)
MIRAS: Colour = (243, 243, 240)
GREY: Colour = (112, 116, 122)


@dataclass(frozen=True)
class _Word:
    """A word and the region it names, if any."""

    text: str
    region: int | None = None


def card(photo: Picture, turns: Sequence[Reply]) -> Picture:
    """One row a turn. photo: (H, W, 3) uint8 RGB. Refinements (no words of the user) say so."""
    rows, known = [], list[Region]()
    for turn in turns:
        visible = shown(known, turn.regions, turn.selection.expression)
        known += turn.regions
        rows.append(_row(_thumbnail(photo, visible, turn), turn))
    height = MARGIN + sum(row.height + GAP for row in rows) - GAP + MARGIN if rows else 2 * MARGIN
    sheet = Image.new("RGB", (WIDTH, height), WHITE)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return np.array(sheet)


def _thumbnail(photo: Picture, visible: Sequence[Region], turn: Reply) -> Image.Image:
    """The overlay at card size: drawn on a photo of about that size, so that its letters stay readable."""
    share = PICTURE / max(photo.shape[:2])
    size = (max(round(photo.shape[1] * share), 1), max(round(photo.shape[0] * share), 1))
    small = np.array(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
    regions = [_resized(region, size) for region in visible]
    selection = _scaled(turn.selection.mask, size)
    return Image.fromarray(overlay(small, regions, selection))


def _resized(region: Region, size: tuple[int, int]) -> Region:
    mask = _scaled(region.mask, size)
    return Region(region.id, region.phrase, mask, region.turn, region.operator, region.score)


def _scaled(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at (W, H), smooth, half-covered pixels in."""
    soft = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.BILINEAR)
    scaled: Mask = np.asarray(soft) >= 128
    return scaled


def _row(picture: Image.Image, turn: Reply) -> Image.Image:
    left = MARGIN + PICTURE + GAP
    room = WIDTH - MARGIN - left
    asked = _lines([_Word(word) for word in _words(turn.user or "(changed by hand)")], room - 60 - 2 * PAD)
    said = _lines(_named_words(turn) or [_Word("(no words)")], room - 30 - 2 * PAD)
    note = _note(turn)
    height = _bubble_height(asked) + 12 + _bubble_height(said) + (30 if note else 0)
    row = Image.new("RGB", (WIDTH, max(picture.height, height)), WHITE)
    row.paste(picture, (MARGIN + (PICTURE - picture.width) // 2, 0))
    draw = ImageDraw.Draw(row)
    _bubble(draw, asked, WIDTH - MARGIN - _bubble_width(asked), 0, USER)
    top = _bubble_height(asked) + 12
    _bubble(draw, said, left, top, MIRAS)
    if note:
        draw.text((left + PAD, top + _bubble_height(said) + 8), shorten(note, SMALL, room), fill=GREY, font=font(SMALL))
    return row


def _note(turn: Reply) -> str:
    scored = [f"{100 * region.score:.0f}%" for region in turn.regions if region.score is not None]
    parts = ["score " + ", ".join(scored)] if scored else []
    if turn.selection.expression:
        parts.append(f"{int(turn.selection.mask.sum()):,} pixels selected")
    elif not turn.regions:
        parts.append("nothing selected")
    return "   ".join([*parts, f"{turn.timings.total:.1f} s"])


def _named_words(turn: Reply) -> list[_Word]:
    """The words of the reply, those of a region's phrase marked with its id."""
    words, rest = list[_Word](), turn.text
    for region in turn.regions:
        before, found, after = rest.partition(" ".join(region.phrase.split()) or "\0")
        if found:
            words += [_Word(word) for word in _words(before)] + [_Word(plain(found), region.id)]
            rest = after
    return words + [_Word(word) for word in _words(rest)]


def _words(text: str) -> list[str]:
    return plain(text).split()[:400]


def _lines(words: Sequence[_Word], room: int) -> list[list[_Word]]:
    """Words broken into lines that fit; a word wider than a line is cut, lines past the limit left out."""
    letters, lines, used = font(POINTS), [list[_Word]()], 0.0
    for word in words:
        fitted = _Word(shorten(word.text, POINTS, room), word.region)
        wide = letters.getlength(fitted.text) + _before(fitted)
        if lines[-1] and used + wide > room:
            lines.append([])
            used = 0.0
        lines[-1].append(fitted)
        used += wide
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], [_Word("...")]]
    return lines


def _before(word: _Word) -> float:
    """Space before a word; a mark that follows a name stands close to it."""
    if word.text[:1] in ".,;:!?":
        return 0.0
    return font(POINTS).getlength(" ") + (6 if word.region is not None else 0)


def _line_width(line: Sequence[_Word]) -> float:
    extra = sum(6 for word in line if word.region is not None)
    return sum(font(POINTS).getlength(word.text) + _before(word) for word in line) + extra


def _bubble_width(lines: Sequence[Sequence[_Word]]) -> int:
    return int(max((_line_width(line) for line in lines), default=0)) + 2 * PAD


def _bubble_height(lines: Sequence[Sequence[_Word]]) -> int:
    return LINE * len(lines) + 2 * PAD - (LINE - POINTS)


def _bubble(draw: ImageDraw.ImageDraw, lines: Sequence[Sequence[_Word]], left: int, top: int, colour: Colour) -> None:
    right, bottom = left + _bubble_width(lines), top + _bubble_height(lines)
    draw.rounded_rectangle([left, top, right, bottom], ROUND, fill=colour)
    letters = font(POINTS)
    for number, line in enumerate(lines):
        x, y = float(left + PAD), top + PAD + LINE * number + POINTS / 2
        for place, word in enumerate(line):
            x += _before(word) if place else (5 if word.region is not None else 0)
            wide = letters.getlength(word.text)
            ink = INK
            if word.region is not None:
                chip = colour_of(word.region)
                draw.rounded_rectangle([x - 5, y - POINTS * 0.68, x + wide + 5, y + POINTS * 0.68], 7, fill=chip)
                ink = ink_on(chip)
            draw.text((x, y), word.text, fill=ink, font=letters, anchor="lm")
            x += wide + (6 if word.region is not None else 0)
