"""A reply while it is written: what the token loop of `engine` knows of it.

In: rules, logits, a text stream. Out: a state that can be copied, to go on another way. Knows no model.
V vocabulary plus special tokens, E = layers * D.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

from miras.chat.generation.decoding import ReplyRules, TextStream
from miras.chat.generation.naming import Doubt
from miras.core.types import Region
from miras.model.numeric.views import Floats

UNSEEN_TOO = ", but I do not see {the}."
"""How a reply goes on that has named something, where the next thing is nowhere to be seen."""


@dataclass(frozen=True)
class Sighting:
    """A region as a reply names it, and what speaks for it. presence: logit that the photo shows what the words name.
    naming: log probability of the name."""

    region: Region
    presence: float
    naming: float


@dataclass
class Draft:
    """A reply while it is written. rest: ids that are said next. span: states of the open name so far. named: regions;
    drawn: how many of them are new. held: text that is not told yet. retried: the open name is not the first choice."""

    rules: ReplyRules
    logits_V: Floats
    stream: TextStream
    rest: list[int] = field(default_factory=list)
    span: list[Floats] = field(default_factory=list)
    doubt: Doubt = field(default_factory=Doubt)
    named: list[Region] = field(default_factory=list)
    drawn: int = 0
    held: list[str] = field(default_factory=list)
    certainty: float | None = None
    retried: bool = False

    def copy(self) -> Draft:
        """The same, to go on another way; no name is open."""
        twin = copy.copy(self)
        twin.rules, twin.stream = self.rules.copy(), self.stream.copy()
        twin.rest, twin.span, twin.named, twin.held = list(self.rest), [], list(self.named), list(self.held)
        return twin

    def release(self) -> Iterator[str]:
        """The text that was held back."""
        yield from self.held
        self.held = []
