"""What a person typed, as the model reads it: capitals and slips of the keys taken back.

In: a message, who knows which words are words. Out: the message, in another case or with letters mended, or as it was.
Quoted text, other scripts and messages that are mostly unknown words stay as they are. A word is mended where one edit
(two letters swapped, one too many, one missing, one wrong: Damerau 1964) makes it a word of the wordings or of the
knowledge. Knows no tokenizer and no session.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from string import ascii_lowercase

QUOTED = re.compile("[\"\u201c\u201d\u2018]|(?<![a-z])'|'(?![a-z])", re.IGNORECASE)
SHOUTED = 0.8
"""Share of capitals among the letters from which a message counts as shouted."""
LEAST_KNOWN = 0.5
"""Share of the words that are of the wordings or the knowledge: below it a message without any of the commonest words
is in another language, or nonsense."""
_COMMON = frozenset(("the", "this", "that", "what", "where", "with", "without", "select", "show", "find", "please"))
_LEAST_SHOUTED = 4
_TITLE_WORDS = 3
_SMALL = 3
"""Words up to this length may be small in a title."""
_LEAST_LETTERS = 3
"""Of a word that is mended; one so short only by a letter more, or two swapped."""
_ALONE = 6
"""Letters of a word that is mended when it stands alone."""
_SWAPPED, _REPLACED = 20.0, 0.3
"""How likely two letters are swapped, and one is another, where one too many or one missing is 1."""
_WORD = re.compile(r"[A-Za-z]+")


@lru_cache(maxsize=1)
def occurrences() -> Mapping[str, int]:
    """How often each word stands in the wordings and the knowledge; in lower case."""
    found: Counter[str] = Counter()
    for file in sorted((files("miras.data.language") / "knowledge").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml") and file.name != "languages.yaml":
            found.update(_WORD.findall(file.read_text("utf-8").lower()))
    return found


@lru_cache(maxsize=1)
def lexicon() -> frozenset[str]:
    """All words of the wordings and of the knowledge, in lower case."""
    return frozenset(occurrences())


def normalised(text: str, is_word: Callable[[str], bool]) -> str:
    """The message as the model reads it. is_word: whether a word in lower case is one that the model knows."""
    words = [word.lower() for word in _WORD.findall(text)]
    if not words or not text.isascii() or QUOTED.search(text):
        return text
    if _lowered(text) == text and all(map(is_word, words)):
        return text  # the usual case
    if not (_is_english(words) or (len(words) == 1 and len(words[0]) >= _ALONE)):
        return text
    return _mended(_lowered(text), is_word)


def _is_english(words: list[str]) -> bool:
    return not _COMMON.isdisjoint(words) or sum(map(_is_known, words)) >= LEAST_KNOWN * len(words)


def _lowered(text: str) -> str:
    """A message that is shouted, or written as a title is, in the case of a sentence."""
    words = _WORD.findall(text)
    letters = "".join(words)
    shouted = len(letters) >= _LEAST_SHOUTED and sum(map(str.isupper, letters)) >= SHOUTED * len(letters)
    long = [word for word in words if len(word) > _SMALL]
    titled = len(words) >= _TITLE_WORDS and len(long) > 1 and all(word.istitle() for word in long)
    if not (shouted or titled):
        return text
    small = text.lower()
    first = re.search(r"[a-z]", small)
    lone = re.sub(r"\bi\b", "I", small)
    return lone if first is None else lone[: first.start()] + first.group().upper() + lone[first.end() :]


def _mended(text: str, is_word: Callable[[str], bool]) -> str:
    """The slips of the keys taken back."""
    for word in reversed(list(_WORD.finditer(text))):
        typed, small = word.group(), word.group().lower()
        if len(typed) < _LEAST_LETTERS or is_word(small) or _is_known(small):
            continue
        if meant := _meant(small):
            text = text[: word.start()] + (meant.capitalize() if typed[0].isupper() else meant) + text[word.end() :]
    return text


@lru_cache(maxsize=4096)
def _meant(typed: str) -> str:
    """The word that was meant, "" where there is none: of those that begin alike the likeliest by its slip and by how
    often it stands in the wordings and the knowledge."""
    counts = occurrences()
    if len(typed) > _longest() + 1:  # one slip away from no word
        return ""
    slips: dict[str, float] = {}
    slight = ((_swapped, _SWAPPED), (_longer, 1.0))
    for edits, weight in slight if len(typed) == _LEAST_LETTERS else (*slight, (_shorter, 1.0), (_replaced, _REPLACED)):
        for word in edits(typed):
            if word in counts:
                slips.setdefault(word, weight * counts[word])
    return max(sorted(slips), key=lambda word: (word[0] == typed[0], slips[word]), default="")


@lru_cache(maxsize=1)
def _longest() -> int:
    """Letters of the longest word."""
    return max(map(len, occurrences()))


def _swapped(word: str) -> Iterator[str]:
    for at in range(len(word) - 1):
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _shorter(word: str) -> Iterator[str]:
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]


def _longer(word: str) -> Iterator[str]:
    for at in range(len(word) + 1):
        for letter in ascii_lowercase:
            yield word[:at] + letter + word[at:]


def _replaced(word: str) -> Iterator[str]:
    for at in range(len(word)):
        for letter in ascii_lowercase:
            yield word[:at] + letter + word[at + 1 :]


def _is_known(word: str) -> bool:
    """A word of the wordings or of the knowledge, or an inflected one."""
    known = occurrences()
    stems = (word, word + "s", *(word.removesuffix(end) for end in ("s", "es", "ed", "ing")))
    return any(stem in known or stem + "e" in known for stem in stems)
