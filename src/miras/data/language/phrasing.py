"""Wordings: what a person says and what the assistant answers, for each move of a dialogue.

In: a move, a phrase and a random generator. Out: the text of a user's turn, or the pieces of a
reply. Knows no photo and no mask. Held-out wordings are never mixed with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
import yaml

from miras.core.errors import InputError
from miras.core.types import Name, Piece, Words
from miras.data.language.words import compound, definite, indefinite, is_plural, mirror

__all__ = ["Phrasing", "load", "lower_first", "mirror", "parse", "pick", "vary"]

T = TypeVar("T")
FILES = ("wordings.yaml", "recalls.yaml")
_NAME = "\x00"
_SECOND = "\x01"


@dataclass(frozen=True)
class Phrasing:
    """All wordings. train, heldout: move -> templates of the user; replies: move -> templates."""

    train: dict[str, tuple[str, ...]]
    heldout: dict[str, tuple[str, ...]]
    replies: dict[str, tuple[str, ...]]

    def say(self, move: str, rng: np.random.Generator, *, heldout: bool = False, **slots: str) -> str:
        """A user's text. Slots: the template's own (see the YAML); `phrase` fills {the}, {bare}, {a}, ..."""
        template = pick(rng, (self.heldout if heldout else self.train)[move])
        if "phrase" in slots:
            slots |= _forms(slots["phrase"])
        return vary(_capital(template.format_map(slots)), rng)

    def answer(
        self, move: str, rng: np.random.Generator, regions: Sequence[tuple[str, int]], **slots: str
    ) -> list[Piece]:
        """The pieces of a reply, without its mark. regions: (phrase, id) of the regions it names."""
        template = pick(rng, self.replies[move])
        if regions:
            slots |= _forms(regions[0][0])
        elif "phrase" in slots:
            slots |= _forms(slots["phrase"])
        text = template.format_map({**slots, "name": _NAME, "second": _SECOND})
        return _pieces(_capital(text), regions)


@lru_cache(maxsize=1)
def load() -> Phrasing:
    """The wordings that ship with the package, read once."""
    raw: dict[str, Any] = {}
    for name in FILES:
        text = (files("miras.data.language") / "knowledge" / name).read_text("utf-8")
        more = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # in C, where PyYAML has it
        raw |= more | {"reply": raw.get("reply", {}) | more["reply"]}
    return parse(raw)


def parse(raw: dict[str, Any]) -> Phrasing:
    """The wordings from parsed YAML. Raises InputError with all faults: lists missing, a held-out wording in train."""
    faults: list[str] = []
    users = {move: lists for move, lists in raw.items() if move != "reply"}
    for move, lists in users.items():
        if not isinstance(lists, dict) or set(lists) != {"train", "heldout"} or not all(lists.values()):
            faults.append(f"{move}: lists train and heldout are needed")
            continue
        both = {_plain(text) for text in lists["train"]} & {_plain(text) for text in lists["heldout"]}
        faults += [f"{move}: {text!r} is both train and heldout" for text in sorted(both)]
    if faults:
        raise InputError("wordings without faults", "; ".join(faults), "mend wordings.yaml")
    return Phrasing(
        {move: tuple(lists["train"]) for move, lists in users.items()},
        {move: tuple(lists["heldout"]) for move, lists in users.items()},
        {move: tuple(templates) for move, templates in raw["reply"].items()},
    )


def pick(rng: np.random.Generator, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of the items; weights need not sum to one."""
    if weights is None:
        return items[int(rng.integers(len(items)))]
    chances = np.asarray(weights, np.float64)
    return items[int(rng.choice(len(items), p=chances / chances.sum()))]


def vary(text: str, rng: np.random.Generator) -> str:
    """Now and then without the final mark, in lower case, with "please", or shouted."""
    dice = rng.random()
    if dice < 0.10:
        return lower_first(text.rstrip(".?!"))
    if dice < 0.16:
        return text.lower()
    if dice < 0.20:
        return text.rstrip(".?!")
    if dice < 0.21:
        return text.upper()
    return text


def lower_first(text: str) -> str:
    """The first letter in lower case, unless the text starts with "I"."""
    return text if not text or text.split()[0].split("'")[0] == "I" else text[0].lower() + text[1:]


def _forms(phrase: str) -> dict[str, str]:
    many = is_plural(phrase)
    return {
        "the": definite(phrase), "bare": phrase, "a": indefinite(compound(phrase)), "none": compound(phrase),
        "is": "are" if many else "is", "was": "were" if many else "was", "it": "them" if many else "it",
        "this": "These are" if many else "This is", "that": "Those are" if many else "That is",
        "this_lower": "these are" if many else "this is", "is_answer": "is",
        "is_there": "Are there" if many else "Is there",
        "there": "There are" if many else "There is", "there_lower": "there are" if many else "there is",
    }  # fmt: skip


def _pieces(text: str, regions: Sequence[tuple[str, int]]) -> list[Piece]:
    """Split at the names. Words before a name end without space: the name brings its own."""
    pieces: list[Piece] = []
    rest = text
    for mark, (phrase, region) in zip((_NAME, _SECOND), regions, strict=False):
        before, _, rest = rest.partition(mark)
        if before.strip():
            pieces.append(Words(before.rstrip(" ")))
        pieces.append(Name(phrase, region))
    if rest:
        pieces.append(Words(rest))
    return pieces


def _capital(text: str) -> str:
    """Full sentences start with a capital; fragments written small stay so."""
    return text[:1].upper() + text[1:] if text.rstrip().endswith((".", "?", "!")) else text


def _plain(text: str) -> str:
    return text.lower().strip(" .?!,")
