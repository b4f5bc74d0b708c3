"""Written text in a photo: which of it a phrase means.

In: lines as a reader found them (`model.reading`), the words of a phrase. Out: the lines, or parts of them, that it
quotes. Readers mistake letters, put two lines where people see one text, or one where people mean a word of it: the
best match over single lines, runs of words and runs of lines counts. Knows no model and no reader.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import numpy as np

from miras.core.masks import polygons_to_mask
from miras.core.types import Mask

Corner = tuple[float, float]
LIKE = 0.75
"""Least likeness (Ratcliff and Obershelp 1988, 0..1) of what is quoted and what was read."""
LEAST = 4
"""Letters and digits below which a quotation must have been read exactly."""
TITLE = 40
LINES = 4
"""Lines that are read as one text at most."""
_QUOTED = re.compile(r"(?<!\w)(?:'(.+)'|\"(.+)\"|\u2018(.+)\u2019|\u201c(.+)\u201d)(?!\w)")
_WRITING = re.compile(r"^(?:the\s+)?(?:text|writing|lettering|letters|words?|inscription)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TextRegion:
    """A line of written text. quad: corners (x, y) in photo pixels, from where the text begins above, clockwise as it
    reads; tight around the letters. confidence: of the reader, 0..1."""

    text: str
    quad: tuple[Corner, Corner, Corner, Corner]
    confidence: float

    @property
    def title(self) -> str:
        """What of it stands in the opening of a conversation: its first TITLE characters."""
        return self.text[:TITLE]

    def mask(self, size: tuple[int, int]) -> Mask:
        """The filled quadrilateral, (H, W)."""
        return polygons_to_mask([list(self.quad)], size)

    @property
    def area(self) -> float:
        """Square pixels (shoelace formula)."""
        x, y = np.asarray(self.quad).T
        return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)

    @property
    def height(self) -> float:
        """Of the letters, in pixels: the mean of the two sides."""
        upper_left, upper_right, lower_right, lower_left = np.asarray(self.quad)
        return float(np.linalg.norm(lower_left - upper_left) + np.linalg.norm(lower_right - upper_right)) / 2

    def part(self, start: int, end: int) -> TextRegion:
        """The characters `start` to `end` (not included), each taken as equally wide."""
        corners = np.asarray(self.quad)
        upper, lower = (corners[0], corners[1]), (corners[3], corners[2])
        count = max(len(self.text), 1)
        edges = [left + (right - left) * at / count for left, right in (upper, lower) for at in (start, end)]
        x0, x1, x3, x2 = ((float(x), float(y)) for x, y in edges)
        return replace(self, text=self.text[start:end], quad=(x0, x1, x2, x3))


def quoted(phrase: str) -> str | None:
    """What a phrase has in quotation marks: "brand name 'Noxby'" -> "Noxby"; None when there is nothing."""
    found = _QUOTED.search(phrase)
    return next((text for text in found.groups() if text), None) if found else None


def is_about_writing(phrase: str) -> bool:
    """Whether a phrase names written text: it quotes some, or says so ("text on the door")."""
    return quoted(phrase) is not None or _WRITING.match(phrase) is not None


def find(text: str, lines: Sequence[TextRegion]) -> tuple[TextRegion, ...]:
    """The lines, or parts of lines, that say `text`: the most alike; of several as alike the fewest, then the largest.

    Case, spaces and punctuation do not count. Empty when nothing is LIKE enough.
    """
    wanted = plain(text)
    best: tuple[float, int, float] = (LIKE if len(wanted) >= LEAST else 1.0, -LINES - 1, 0.0)
    found: tuple[TextRegion, ...] = ()
    for said, candidate in _candidates(lines):
        match = SequenceMatcher(None, wanted, said, autojunk=False)
        if not wanted or match.real_quick_ratio() < best[0] or match.quick_ratio() < best[0]:
            continue
        rank = (match.ratio(), -len(candidate), sum(line.area for line in candidate))
        if rank > best:
            best, found = rank, candidate
    return found


def _candidates(lines: Sequence[TextRegion]) -> Iterator[tuple[str, tuple[TextRegion, ...]]]:
    """Runs of words of each line, and runs of lines, with what they say."""
    for line in lines:
        words = [match.span() for match in re.finditer(r"\S+", line.text)]
        for first, (start, _) in enumerate(words):
            for last, (_, end) in enumerate(words[first:], first):
                whole = first == 0 and last == len(words) - 1
                yield plain(line.text[start:end]), (line if whole else line.part(start, end),)
    for first in range(len(lines)):
        for last in range(first + 2, min(first + LINES, len(lines)) + 1):
            yield "".join(plain(line.text) for line in lines[first:last]), tuple(lines[first:last])


def plain(text: str) -> str:
    """Letters and digits alone, in one case."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())
