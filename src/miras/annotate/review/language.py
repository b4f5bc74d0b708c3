"""Whether a sentence is sane: small rules for what goes wrong in written dialogues, and whether a text says a name.

In: the text of one turn, its role; a phrase. Out: (rule, detail) for each fault. Words in quotation marks are written
text of the photo: grammar does not look inside. Talk of users may be casual (small letters, no final mark).
Knows no record, no photo and no other turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from miras.core.grammar import SPECIAL_TOKENS
from miras.data.language.words import head, is_plural, plural

LENGTHS = {"user": (2, 40), "assistant": (1, 60)}
"""Words of a turn, least and most, by role."""
OFF_TOPIC = 0.08
"""Cosine below which a question and its answer have nothing to do with each other. Of 7,600 questions about photos of
the public sets 0.1% lie below with their own answer (median 0.6), 12% with another's (median 0.18)."""

_QUOTED = re.compile(
    r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u2018[^\u2018]*?\u2019(?!\w)|(?<!\w)'(?:[^']|(?<=\w)'(?=\w))*'(?!\w)"
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_TWICE = frozenset({"no", "that", "had", "very", "bye", "so", "tuk", "pom", "ha", "yes", "quote"})
_DOUBLED = re.compile(r"\b([^\W\d_]+)\s+\1\b", re.IGNORECASE)
_TEMPLATE = re.compile(
    "|".join(re.escape(token) for token in SPECIAL_TOKENS) + r"|[{}]|%[sd]\b|%\(|<\|?[a-z_]+\|?>|\[[A-Z_]{2,}\]"
    r"|\bTODO\b|\bNaN\b|\bundefined\b|\blorem ipsum\b"
)
_SPACES = re.compile(r"^\s|\s$|\s\s|[\t\n\r]|(?<!\.)\s[.,;:!?](?!\.)")
_MARKS = re.compile(r"[,;:][.,;:!?]|(?<!\b[A-Z])[.?!][,;:]|[.]{2,}|[?!]\.|\.[?!]|[?!]{4,}")
_ELLIPSIS = re.compile(r"\.{3}|\u2026")
_MOJIBAKE = re.compile("\ufffd|\u00c3[\u0080-\u00bf]|\u00e2\u20ac")
_OPEN, _CLOSED = "([\u201c", ")]\u201d"
_OPENED = re.compile(r"(?<![\w.!?])['\u2018](?=\w)(?!em\b|cause\b|til\b|\d\ds\b)")
_SHUT = re.compile(r"(?<=[^\s(])['\u2019](?!\w)")
_ARTICLE = re.compile(r"\b(an?)\s+([^\W\d_][\w'\u2019-]*)", re.IGNORECASE)
_VOWEL_SOUND = re.compile(
    r"(?!uni(?!n|m)|use|usu|uti|ute|uk|ura|eu|ewe|one(?![a-z])|once|ouija|u-)[aeiou]|hour|honest|honou?r|heir", re.I
)
_UNFINISHED = re.compile(
    r"\b(?:the|an?|my|your|our|their)(?=\s*(?:[.?!,;:]|$))|\b(?:and|or|but)(?=\s*(?:[.?!]|$))", re.I
)
_EMPTY_SLOT = re.compile(r"\b(the|an?)\s+(?!\1\b)(?:of|is|are|the|an?|and|or)\b")
_LOWER_START = re.compile(r"(?<=[a-z]{2})(?<!\bvs)(?<!\betc)[.!?]\s+[a-z]")
_STOP = (
    r"(?=\s*(?:[.?!,;:]|$)|\s(?:of|in|on|at|to|with|from|and|or|that|which|you|i|here|there|now|again|as|by|for"
    r"|within|inside|before|please)\b)"
)
_NOUN = r"((?:[^\W\d_][\w'\u2019-]*)(?:\s[^\W\d_][\w'\u2019-]*){0,3}?)"
_ONE = re.compile(
    r"\b(?:where|here|there|this)(?:'s| is| was) (?:just |only )?(?:all )?(?:the|these|those|no) " + _NOUN + _STOP
)
_MANY = re.compile(
    r"\b(?:where|here|there|these|those) (?:are|were) (?:just |only )?(?:the(?! same| only| first| last)|no) "
    + _NOUN + _STOP
)  # fmt: skip
_A_MANY = re.compile(
    r"\b(?<!such )an? (?!few\b|lot\b|pair\b|couple\b|bunch\b)(?:[\w-]+ )?([\w-]+s)(?=\s*(?:[.?!,;:]|$))"
)
_PRONOUN = re.compile(
    r"(?:^|[.?!:] )(?:(?:this|that|it) are|(?:these|those|they) (?:is|was))\b|\b(?:is|was|does|has) they\b"
    r"|\bthey (?!always\b|perhaps\b|sometimes\b|besides\b)(?:\w+[a-rt-z]s|is|was|has|does)\b"
)
_EITHER = frozenset({
    "sheep", "fish", "deer", "aircraft", "series", "species", "headquarters", "people", "police", "cattle", "children",
    "women", "geese", "rest", "majority", "data", "media", "pair", "thermos", "atlas", "bias", "christmas", "chaos",
    "means", "crossroads", "always", "tennis", "quote", "two", "three", "four", "both", "others", "cyclops",
})  # fmt: skip
_PARTITIVE = frozenset({"piece", "pair", "group", "bunch", "slice"})
_GENERIC = frozenset({
    "part", "side", "end", "area", "edge", "top", "thing", "object", "one", "text", "word", "words", "logo", "number",
    "letters", "name", "region",
})  # fmt: skip
_NO_ARTICLE = frozenset({"the", "a", "an", "all"})
_IRREGULAR = {
    **{plural(word): word for word in ("person", "knife", "mouse", "shelf", "tooth", "foot", "man", "leaf")},
    "women": "woman", "children": "child", "geese": "goose", "wolves": "wolf", "scarves": "scarf",
}  # fmt: skip

Fault = tuple[str, str]
"""The rule, and the words that break it."""


def faults(text: str, role: str, *, least: int | None = None, named_first: bool = False) -> list[Fault]:
    """All faults of one turn. least: fewest words, where other than LENGTHS. named_first: the turn begins with the
    name of a region, which keeps its small letter."""
    plain = _QUOTED.sub(" Quote ", text)
    plain = " ".join(plain.split())
    if _shouted(plain):
        plain = plain.lower()
    found = [(rule, detail) for rule, check in RULES if (detail := check(text, plain))]
    low, high = LENGTHS[role]
    count, low = len(_WORD.findall(text)), low if least is None else least
    if not low <= count <= high:
        found.append(("length of a turn", f"{count} words, {low} to {high} are wanted"))
    if detail := _edges(text, plain, role, named_first):
        found.append(("start or end", detail))
    return found


def doubled_word(text: str, plain: str) -> str:
    """The same word twice in a row ("the the")."""
    return next((m.group(0) for m in _DOUBLED.finditer(plain) if m.group(1).lower() not in _TWICE), "")


def unbalanced(text: str, plain: str) -> str:
    """A bracket or quotation mark without its other half; apostrophes are none."""
    waiting: list[str] = []
    for mark in text:
        if mark in _OPEN:
            waiting.append(_CLOSED[_OPEN.index(mark)])
        elif mark in _CLOSED and (not waiting or waiting.pop() != mark):
            return f"{mark} alone"
    if waiting:
        return f"no {waiting[-1]}"
    if text.count('"') % 2:
        return 'one " too many'
    return "no closing '" if len(_OPENED.findall(text)) > len(_SHUT.findall(text)) else ""


def template_leftover(text: str, plain: str) -> str:
    """A slot, a special token or a placeholder that nobody filled."""
    return _first(_TEMPLATE, text)


def spacing(text: str, plain: str) -> str:
    """Two spaces, a line break, a space at an end or before a mark."""
    match = _SPACES.search(text)
    return repr(text[max(0, match.start() - 8) : match.end() + 8]) if match else ""


def marks(text: str, plain: str) -> str:
    """Marks that do not follow each other (".,", ".."); "...", "?!" and "!!!" do."""
    return _first(_MARKS, _ELLIPSIS.sub(" ", plain))


def unprintable(text: str, plain: str) -> str:
    """Control characters, odd spaces, signs of a wrong encoding."""
    bad = [c for c in text if not c.isprintable() and c not in "\t\n\r"]
    return repr(bad[0]) if bad else _first(_MOJIBAKE, text)


def article(text: str, plain: str) -> str:
    """ "a" before a vowel sound, "an" before another."""
    for match in _ARTICLE.finditer(plain):
        word = match.group(2)
        if word == "Quote" or word.isupper():  # who knows how letters are read
            continue
        if (_VOWEL_SOUND.match(word) is not None) != (match.group(1).lower() == "an"):
            return match.group(0)
    return ""


def unfinished(text: str, plain: str) -> str:
    """An article, possessive or "and" with nothing after it: a slot that stayed empty."""
    return _first(_UNFINISHED, plain) or _first(_EMPTY_SLOT, plain)


def number(text: str, plain: str) -> str:
    """ "is" beside a plural, "are" beside a singular, "a" before a plural, "they" with a verb in -s."""
    low = plain.lower()
    for match in _ONE.finditer(low):
        noun = match.group(1).split()[-1]
        if is_plural(noun) and noun not in _EITHER and not _joined(low, match):
            return match.group(0).strip()
    for match in _MANY.finditer(low):
        nouns = match.group(1).split()
        if not any(is_plural(noun) or noun in _EITHER for noun in nouns) and not _joined(low, match):
            return match.group(0).strip()
    for match in _A_MANY.finditer(low):
        if is_plural(match.group(1)) and match.group(1) not in _EITHER:
            return match.group(0).strip()
    return _first(_PRONOUN, low).strip(" .?!")


RULES: Sequence[tuple[str, Callable[[str, str], str]]] = (
    ("doubled word", doubled_word), ("quotes or brackets", unbalanced), ("template leftover", template_leftover),
    ("spaces", spacing), ("marks", marks), ("unprintable", unprintable), ("a or an", article),
    ("unfinished", unfinished), ("number", number),
)  # fmt: skip
"""Name -> check of (the text, the text with quotations as one word); "" means sane."""


def topic(question: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    """Cosine of a question (D,) with the nearest of its answers (N, D), unit vectors; 1.0 without answers."""
    return float((answers @ question).max()) if len(answers) else 1.0


def says(text: str, phrase: str) -> bool:
    """Whether the text says what the phrase names: its head noun in any number, or as a verb ("seated"), as a word.

    Of "handle of the cup" that is "handle": the object of a part may be named. Written words in quotation marks, and
    heads that tell nothing ("text", "part"), must be said as a whole.
    """
    heard = [_plain_word(word) for word in _WORD.findall(text.lower())]
    quoted = [match.group(0)[1:-1] for match in _QUOTED.finditer(phrase)]
    if quoted:
        return any(_says_all(heard, words) for words in quoted)
    noun = _head(phrase)
    if noun in _GENERIC:
        return _says_all(heard, phrase)
    return not forms(noun).isdisjoint(heard)


def says_whole(text: str, phrase: str) -> bool:
    """Whether all words of the phrase but articles stand in the text, one after the other, in any number."""
    return _says_all([_plain_word(word) for word in _WORD.findall(text.lower())], phrase)


@lru_cache(maxsize=4096)
def forms(noun: str) -> frozenset[str]:
    """The noun in both numbers, and as a verb: "seat", "seats", "seated", "seating"."""
    one = _singular(noun)
    stem = one.removesuffix("e")
    doubled = one + one[-1] if re.fullmatch(r".*[^aeiou][aeiou][bdgmnpt]", one) and len(one) < 6 else stem
    return frozenset({noun, one, plural(one), f"{one}s", f"{stem}ed", f"{stem}ing", f"{doubled}ed", f"{doubled}ing"})


def _edges(text: str, plain: str, role: str, named_first: bool) -> str:
    """How a turn starts and ends. A user may start small and end without a mark."""
    first, last = text.strip()[:1], text.strip().rstrip("\"'\u201d\u2019)]")[-1:]
    if not (first.isalnum() or first in "\"'\u201c\u2018("):
        return f"starts with {first!r}"
    if role == "user":
        return "" if last.isalnum() or last in ".?!\u2026%\u00b0" else f"ends with {last!r}"
    if first.islower() and not named_first:
        return f"starts small: {text[:20]!r}"
    if last not in ".?!\u2026":
        return f"no final mark: {text[-20:]!r}"
    return _first(_LOWER_START, plain)


def _shouted(text: str) -> bool:
    letters = [c for c in text.replace("Quote", "") if c.isalpha()]
    return len(letters) > 3 and all(c.isupper() for c in letters)


def _joined(text: str, match: re.Match[str]) -> bool:
    """Whether "and ..." follows in the same sentence: two things take "are"."""
    rest = re.split(r"[.?!]", text[match.end() :], maxsplit=1)[0]
    return re.search(r"\b(?:and|or)\b|,", rest) is not None


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match.group(0) if match else ""


def _head(phrase: str) -> str:
    """The noun that names: of "piece of cake" it is "cake"."""
    front, joint, rest = phrase.lower().partition(" of ")
    noun = _plain_word(head(front)) if front.split() else ""
    return _plain_word(head(rest)) if joint and noun in _PARTITIVE else noun


def _says_all(heard: list[str], phrase: str) -> bool:
    wanted = [_singular(_plain_word(w)) for w in _WORD.findall(phrase.lower()) if w not in _NO_ARTICLE]
    said = [_singular(word) for word in heard if word not in _NO_ARTICLE]
    return bool(wanted) and any(said[i : i + len(wanted)] == wanted for i in range(len(said) - len(wanted) + 1))


def _plain_word(word: str) -> str:
    return re.sub(r"[\'\u2019]s?$", "", word)


@lru_cache(maxsize=8192)
def _singular(word: str) -> str:
    """A rough singular: what `plural` of `data.language.words` makes, undone."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if not is_plural(word) or len(word) < 4:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if re.search(r"(s|x|z|ch|sh)es$", word) else word[:-1]
