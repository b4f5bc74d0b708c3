"""How a person asks for a target, and what sort of answer that wants.

In: a target, a random generator, the wordings. Out: texts of the user and pieces of the reply.
Knows nothing of what was said or selected before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from miras.core.types import Name, Piece, Words
from miras.data.dialogues.target import Target
from miras.data.language import phrasing, referring
from miras.data.language.phrasing import Phrasing, lower_first, pick, vary
from miras.data.language.words import compound, definite, indefinite

INSTRUCTIONS = (0.28, 0.09, 0.06, 0.05, 0.1, 0.05)
"""Share of each of a data set's own instructions; the rest is ours. Ours must name present things as often
as refusals name absent ones in the same words: where they did not, the model refused every bare phrase."""
_FUNCTIONAL_BESIDE = 0.09
"""Share of our functional questions where the data set has instructions of its own."""
_HUMAN = 2
"""The first instructions are functional questions; the later ones name the part."""
_FUNCTIONAL = 0.4
_CANONICAL = 0.5
_EXIST = 0.12
_EXIST_BESIDE = 0.35
_ALONE = (0.55, 0.37, 0.08)
"""Of the forms of a name alone: "cup", "the cup", "a cup"."""
_ENDS, _END_SHARES = ("", ".", "?", ", please", "!"), (0.72, 0.12, 0.08, 0.06, 0.02)
_CAPITAL = 0.3


@dataclass(frozen=True)
class Request:
    """What the user says, which replies fit, the slots of the reply, and whether the label was left unsaid."""

    text: str
    reply: str
    slots: dict[str, str] = field(default_factory=dict)
    functional: bool = False


@dataclass(frozen=True)
class Voice:
    """One speaker. heldout: only wordings that training never shows. taken: uses of several things in the photo.
    existence: share of "Is there ...?" among plain requests, 0 = as in the beginning. bare: share of those that are a
    name alone; 0 draws nothing."""

    rng: np.random.Generator
    heldout: bool
    taken: frozenset[str] = frozenset()
    existence: float = 0.0
    bare: float = 0.0

    def text(self, move: str, **slots: str) -> str:
        """A text of the user without a target."""
        return _phrasing().say(move, self.rng, heldout=self.heldout, **slots)

    def naming(self, move: str, target: Target) -> str:
        """A text that names the target."""
        name = self.name(target)
        return self.text(move, phrase=name.removeprefix("all ") if move == "exist" else name)

    def name(self, target: Target) -> str:
        """The canonical name half of the time, else one of the others."""
        first, *others = target.spoken
        return first if not others or self.rng.random() < _CANONICAL else pick(self.rng, others)

    def alone(self, phrase: str, told_apart: bool = False) -> str:
        """A name and nothing else, as people type it: "shoes", "the shoes", "A shoe?"; told_apart: one of several."""
        forms = [phrase, definite(phrase), definite(phrase) if told_apart else indefinite(compound(phrase))]
        text = pick(self.rng, forms, _ALONE) + pick(self.rng, _ENDS, _END_SHARES)
        return text[0].upper() + text[1:] if self.rng.random() < _CAPITAL else text

    def falls_bare(self) -> bool:
        """Whether the next plain request is a name alone."""
        return bool(self.bare) and bool(self.rng.random() < self.bare)

    def reply(self, sort: str, regions: Sequence[tuple[str, int]] = (), **slots: str) -> list[Piece]:
        """The pieces of a reply without its mark; regions: (phrase, id)."""
        replies = referring.phrasing() if sort in ("one", "several") else _phrasing()
        return replies.answer(sort, self.rng, regions, **slots)

    def request(self, target: Target, after: bool = False) -> Request:
        """Ask for the target. after: something was said before ("And ...")."""
        dice = self.rng.random()
        if target.instructions and dice < sum(INSTRUCTIONS):
            index = pick(self.rng, range(len(INSTRUCTIONS)), INSTRUCTIONS)
            human = index < _HUMAN
            return Request(vary(target.instructions[index], self.rng), "answer" if human else "ask", functional=human)
        functional = sum(INSTRUCTIONS) + _FUNCTIONAL_BESIDE if target.instructions else _FUNCTIONAL
        if target.sort != "side" and dice < functional:
            asked = self._functional(target, after)
            if asked is not None:
                return asked
        if self.falls_bare():
            reply = "several" if target.kind == "any" else "ask"
            return Request(self.alone(self.name(target), target.sort == "side"), reply)
        if target.kind == "any":
            return Request(self.naming("ask", target), "several")
        exist = self.existence or (_EXIST_BESIDE if target.instructions else _EXIST)
        move = "exist" if target.sort in self._existing and self.rng.random() < exist else "ask"
        return Request(self.naming(move, target), move)

    def one(self, target: Target) -> str:
        """A text that tells it from its kind without naming the kind."""
        first, *others = target.bare
        name = first if not others or self.rng.random() < _CANONICAL else pick(self.rng, others)
        return referring.phrasing().say("one", self.rng, heldout=self.heldout, one=name)

    def another(self, noun: str) -> str:
        """ "The other one"."""
        return referring.phrasing().say("others", self.rng, heldout=self.heldout, noun=noun)

    def words(self, sort: str) -> list[Piece]:
        """A reply without a region."""
        return referring.phrasing().answer(sort, self.rng, ())

    @property
    def _existing(self) -> tuple[str, ...]:
        """Sorts of targets that are asked after by "Is there"."""
        return ("one", "all") if self.existence else ("one",)

    def _functional(self, target: Target, after: bool) -> Request | None:
        """A question that does not say the label; None when nothing is written about it."""
        entry = target.entry
        if entry is None:
            return None
        *trained, last = entry.questions or ("",)
        questions = [last] if self.heldout and trained else [] if self.heldout else trained or [last]
        options = [("use", use) for use in entry.uses if use not in self.taken]
        options += [("question", question) for question in questions if question]
        if not options:
            return None
        sort, content = pick(self.rng, options)
        if sort == "use":
            text = self.text("use_part" if entry.object else "use_thing", use=content)
            return Request(text, "use", {"use": content}, functional=True)
        text = vary(content, self.rng)
        if after:
            text = self.text("question", question=content, lower=lower_first(content))
        return Request(text, "answer" if entry.object else "answer_thing", functional=True)


@lru_cache(maxsize=1)
def _phrasing() -> Phrasing:
    return phrasing.load()


def listing(named: Sequence[tuple[str, int]]) -> list[Piece]:
    """A reply that names three regions or more: (phrase, id) of each."""
    pieces: list[Piece] = [Words("All of them: the")]
    for place, (phrase, number) in enumerate(named):
        joint = "" if not place else ", the" if place < len(named) - 1 else " and the"
        pieces += [Words(joint), Name(phrase, number)] if joint else [Name(phrase, number)]
    return [*pieces, Words(".")]
