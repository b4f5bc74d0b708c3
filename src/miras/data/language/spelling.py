"""How people type: shouting, slips of the keys, short forms, courtesies. What they mean stays.

In: a text of the user, a random generator. Out: the text as it may be typed. Knows no move and no reply. A slip never
makes another word of the wordings or of the knowledge; quoted text and other scripts stay as they are.
"""

from __future__ import annotations

import re

import numpy as np

from miras.data.language.normalise import QUOTED, lexicon
from miras.data.language.phrasing import lower_first, pick

WAYS = {
    "shout": 0.24, "title": 0.08, "small": 0.14, "slip": 0.24, "joined": 0.04, "short": 0.08, "courtesy": 0.12,
    "marks": 0.04, "spelling": 0.02,
}  # fmt: skip
"""How often each way is taken."""
_SECOND_WAY = 0.2
_SECOND_SLIP = 0.25
LEAST_LETTERS = 4
"""Of a word that slips; in shorter ones a slip is mostly another word."""
_WORD = re.compile(r"[A-Za-z]+")
_SHORT = (
    (r"\byou\b", "u"), (r"\bplease\b", "pls"), (r"\bplease\b", "plz"), (r"\bare\b", "r"), (r"\bwant to\b", "wanna"),
    (r"\bI'm\b", "im"), (r"\bI'd\b", "id"), (r"\bwhat's\b", "whats"), (r"\bdon't\b", "dont"), (r"\bto\b", "2"),
    (r"\band\b", "&"), (r"\bwith\b", "w/"), (r"\bpicture\b", "pic"), (r"\bphoto\b", "pic"), (r"\bthe\b", "teh"),
    (r"\bwhere\b", "wher"), (r"\bshow\b", "shwo"),
)  # fmt: skip
_SPELLINGS = (
    ("colour", "color"), ("grey", "gray"), ("centre", "center"), ("tyre", "tire"), ("jewellery", "jewelry"),
    ("doughnut", "donut"), ("favourite", "favorite"), ("metre", "meter"),
)  # fmt: skip
_BEFORE = (
    "Please ",
    "Hey, ",
    "ok ",
    "Um, ",
    "So, ",
    "Excuse me, ",
    "Hi, ",
    "well, ",
    "pls ",
    "Now then, ",
    "yo ",
    "Hm, ",
)
_AFTER = (" please", " pls", ", please", " thanks", " thx", " if you can", ", thank you", " for me", " plz", " :)")
_MARKS = ("!!!", "!", "...", "??", "?!", " .", " ?", "!!", "..")


def rough(text: str, rng: np.random.Generator, share: float) -> str:
    """The text as it may be typed, a share of them differently from what it is."""
    if rng.random() >= share or not text.isascii() or QUOTED.search(text):
        return text
    ways = list(WAYS)
    for _ in range(1 + (rng.random() < _SECOND_WAY)):
        text = _typed(text, pick(rng, ways, [WAYS[way] for way in ways]), rng)
    return text


def shouted(text: str) -> str:
    """In capitals."""
    return text.upper()


def slipped(text: str, rng: np.random.Generator) -> str:
    """With one slip, or two, where a word is long enough for it."""
    for _ in range(1 + (rng.random() < _SECOND_SLIP)):
        text = _slip(text, rng)
    return text


def _typed(text: str, way: str, rng: np.random.Generator) -> str:
    if way == "shout":
        return shouted(text)
    if way == "title":
        return _WORD.sub(lambda word: word.group().capitalize(), text)
    if way == "small":
        return re.sub(r"[.,!?;:]", "", text).lower()
    if way == "slip":
        return slipped(text, rng)
    if way == "joined":
        gaps = [found.start() for found in re.finditer(r"(?<=[a-z]) (?=[a-z])", text)]
        at = pick(rng, gaps) if gaps else None
        return text if at is None else text[:at] + text[at + 1 :]
    if way == "short":
        fits = [(form, short) for form, short in _SHORT if re.search(form, text)]
        form, short = pick(rng, fits) if fits else ("", "")
        return re.sub(form, short, text) if form else text
    if way == "courtesy":
        if rng.random() < 0.5:
            return pick(rng, _BEFORE) + lower_first(text)
        return text.rstrip(".?!") + pick(rng, _AFTER)
    if way == "marks":
        return text.rstrip(".?!") + pick(rng, _MARKS)
    for british, american in _SPELLINGS:
        one, other = (british, american) if british in text else (american, british)
        text = text.replace(one, other)
    return text


def _slip(text: str, rng: np.random.Generator) -> str:
    """One word with a letter dropped, doubled, or two swapped; never its first one, never into another word."""
    words = [found for found in _WORD.finditer(text) if len(found.group()) >= LEAST_LETTERS]
    if not words:
        return text
    found = pick(rng, words)
    word = found.group()
    at = int(rng.integers(1, len(word) - 1))
    kind = pick(rng, ("drop", "double", "swap"))
    if kind == "drop":
        new = word[:at] + word[at + 1 :]
    elif kind == "double":
        new = word[: at + 1] + word[at:]
    else:
        new = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return text if _is_word(new.lower()) else text[: found.start()] + new + text[found.end() :]


def _is_word(word: str) -> bool:
    known = lexicon()
    return word in known or word + "s" in known or word.removesuffix("s") in known
