"""The moves that mean again what was named before, and those that select all but something.

In: a talk that grows. Out: further moves of it, by name, and how often they are made. Each move returns whether the
state allowed it. Knows no model; which moves are made depends on what the model can be taught (`points`,
`complements`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from miras.core.types import Mark, Operator, Piece
from miras.data.dialogues.talk import Talk
from miras.data.dialogues.target import Target
from miras.data.dialogues.voice import Request
from miras.data.language.phrasing import pick
from miras.data.language.words import definite

POINTING = ("keep", "both", "recall", "previous", "recall_too", "recut", "readd", "reselect")
ALL_BUT = ("except", "background", "invert")
LAST: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "points": {
        "edit": {"recut": 0.35, "readd": 0.15, "recall_too": 0.1},
        "refer": {"keep": 0.25, "both": 0.25, "recall": 0.25, "previous": 0.15, "reselect": 0.15},
    },
    "complements": {"edit": {"except": 0.3, "background": 0.15, "invert": 0.2}},
}
"""How a dialogue of a kind ends, beside the sampler's own endings; for each of what a model can do."""
LATER: Mapping[str, Mapping[str, float]] = {
    "points": {
        "again": 0.14, "keep": 0.14, "both": 0.14, "recall": 0.16, "previous": 0.14, "recall_too": 0.12, "recut": 0.5,
        "readd": 0.5, "reselect": 0.4,
    },
    "complements": {"except": 0.06, "background": 0.03, "invert": 0.03},
}  # fmt: skip
FIRST: Mapping[str, Mapping[str, float]] = {"points": {}, "complements": {"except": 0.06, "background": 0.02}}
BEFORE: Mapping[str, Sequence[str]] = {
    "keep": ("two", "add"), "both": ("next",), "recall": ("next",), "previous": ("next",), "recall_too": ("next",),
    "recut": ("add", "two"), "readd": ("recut", "cut"), "reselect": ("undo",), "background": ("whole", "ask"),
    "invert": ("ask", "add"),
}  # fmt: skip
_ORDINALS = ("first", "second", "third")
_PRONOUN, _TWO, _KNOWN = 0.35, 0.2, 0.6
_MOST_OF_PHOTO = 0.9


class Recalls:
    """Further moves of a talk. taken: targets that were cut and are not back; first: all targets in the order in which
    they were first named."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def moves(self) -> dict[str, Callable[[], bool]]:
        """Those that the talk's speaker can be taught to follow."""
        talk = self.talk
        pointing = [self.keep, self.both, self.recall, self.previous, self.recall_too, self.recut, self.readd,
                    self.reselect]  # fmt: skip
        found = dict(zip(POINTING, pointing, strict=True)) if talk.points else {}
        all_but = dict(zip(ALL_BUT, (self.all_but, self.background, self.invert), strict=True))
        return found | (all_but if talk.complements else {})

    def keep(self) -> bool:
        """Of several that are selected, one that was named stays."""
        talk = self.talk
        inside = [t for t in talk.named if t.members < talk.selected]
        if not inside or (talk.moves and talk.moves[-1] == "keep"):
            return False
        target = pick(talk.rng, inside)
        talk.hops += 1
        return talk._answer("keep", Request(talk.voice.naming("keep", target), "narrow"), [target])

    def both(self) -> bool:
        """Two or three things, all that were named so far, together."""
        talk = self.talk
        named = talk.order
        if not 2 <= len(named) <= len(_ORDINALS) or talk.moves[-1] == "both" or not _apart(named):
            return False
        if frozenset().union(*(t.members for t in named)) == talk.selected:
            return False
        move = "both" if len(named) == 2 else "all"
        talk.hops += 1
        request = Request(talk.voice.text(move), "two" if len(named) == 2 else "")
        return talk._answer("both", request, named)

    def recall(self) -> bool:
        """The first one, the second one: by the order in which they were named."""
        found = self._by_order(lambda t: t.members != self.talk.selected)
        if found is None:
            return False
        ordinal, target = found
        text = self.talk.voice.text("recall", ordinal=ordinal)
        self.talk.hops += 1
        return self.talk._answer("recall", Request(text, "again"), [target])

    def previous(self) -> bool:
        """The one before the one that is selected."""
        talk = self.talk
        if not talk._on_target or len(talk.named) < 2 or talk.named[-1].members != talk.selected:
            return False
        talk.hops += 1
        return talk._answer("previous", Request(talk.voice.text("previous"), "again"), [talk.named[-2]])

    def recall_too(self) -> bool:
        """One that is told by its order joins the selection."""
        found = self._by_order(lambda t: not t.members & self.talk.selected)
        if found is None or not self.talk.selected:
            return False
        ordinal, target = found
        self.talk.hops += 1
        request = Request(self.talk.voice.text("recall_too", ordinal=ordinal), "add")
        return self.talk._answer("recall_too", request, [target], Operator.ADD)

    def recut(self) -> bool:
        """A named part of the selection goes: the one that was just added by "it", too."""
        talk = self.talk
        inside = [t for t in talk.named if t.members < talk.selected and talk._leaves_something(t)]
        if not inside:
            return False
        target = pick(talk.rng, inside)
        text = talk.cut_text(target)
        if talk.moves[-1] in ("add", "readd", "recall_too") and talk.named[-1] in inside:
            target = talk.named[-1] if talk.rng.random() < _PRONOUN else target
            text = talk.voice.text("cut_it") if target == talk.named[-1] else talk.cut_text(target)
        talk.hops += 1
        return talk._answer("recut", Request(text, "cut"), [target], Operator.CUT)

    def readd(self) -> bool:
        """What was cut joins the selection again."""
        talk = self.talk
        taken = [t for t in talk.taken if not t.members & talk.selected]
        if not taken or not talk.selected:
            return False
        target, text = pick(talk.rng, taken), ""
        if talk.moves[-1] in ("cut", "recut") and talk.named[-1] in taken and talk.rng.random() < _PRONOUN:
            target, text = talk.named[-1], talk.voice.text("readd_it")
        talk.hops += 1
        request = Request(text or talk.voice.naming("readd", target), "readd")
        return talk._answer("readd", request, [target], Operator.ADD)

    def reselect(self) -> bool:
        """What an undo took back is wanted after all."""
        talk = self.talk
        if len(talk.moves) < 2 or talk.moves[-1] != "undo" or talk.moves[-2] not in talk.first_named:
            return False
        if not talk.named or talk.named[-1].members == talk.selected:
            return False
        talk.hops += 1
        return talk._answer("reselect", Request(talk.voice.text("select_it"), "again"), [talk.named[-1]])

    def all_but(self) -> bool:
        """All but one thing, or two; named before or not."""
        talk = self.talk
        fresh = [t for t in talk.scene.targets if t.sort != "whole" and self._leaves_photo([t])]
        known = [t for t in talk.named if self._leaves_photo([t])]
        if not fresh and not known:
            return False
        first = pick(talk.rng, known if known and (not fresh or talk.rng.random() < _KNOWN) else fresh)
        targets = [first]
        others = [t for t in fresh if not t.members & first.members and self._leaves_photo([first, t])]
        if others and talk.rng.random() < _TWO:
            targets.append(pick(talk.rng, others))
        talk.hops += 1
        if len(targets) == 2:
            names = [definite(talk.voice.name(t)) for t in targets]
            text = talk.voice.text("except_two", first=names[0], second=names[1])
            return talk._answer("except", Request(text, "except_two"), targets, Operator.EXCEPT)
        return talk._answer(
            "except", Request(talk.voice.naming("except", first), "except"), targets, Operator.EXCEPT
        )  # fmt: skip

    def background(self) -> bool:
        """All but what was just selected; or, to begin with, all but the one object of the photo."""
        talk = self.talk
        target = talk.named[-1] if talk._on_target and talk.named[-1].members == talk.selected else None
        if target is None and not talk.moves:
            target = next((t for t in talk.scene.targets if t.sort == "whole"), None)
        if target is None or not self._leaves_photo([target]):
            return False
        text = talk.voice.text("background")
        talk.hops += 1
        if not talk.moves:  # there is nothing yet that "it" could mean
            while any(word in text.lower().split() for word in ("it", "it.", "it?", "its", "that.", "that", "rest.")):
                text = talk.voice.text("background")
        return talk._answer("background", Request(text, "background"), [target], Operator.EXCEPT)

    def invert(self) -> bool:
        """All but what is selected; nothing is named."""
        talk = self.talk
        if not talk.steps or not talk.selected or talk.moves[-1] == "invert" or talk.steps[-1].mask.all():
            return False
        if not talk.steps[-1].mask.any():
            return False
        pieces: list[Piece] = [Mark(Operator.EXCEPT), *talk.voice.reply("invert")]
        talk.members.append(talk.scene.outside(talk.selected))
        talk._phrases.append(talk._phrases[-1])
        talk._exchange("invert", talk.voice.text("invert"), pieces)
        talk.hops += 1
        return True

    def _by_order(self, fits: Callable[[Target], bool]) -> tuple[str, Target] | None:
        talk = self.talk
        named = list(zip(_ORDINALS, talk.order, strict=False))
        found = [(ordinal, target) for ordinal, target in named if fits(target)] if len(talk.order) > 1 else []
        return pick(talk.rng, found) if found else None

    def _leaves_photo(self, targets: Sequence[Target]) -> bool:
        """Whether enough of the photo is left without them."""
        covered = np.logical_or.reduce([self.talk.scene.mask(t) for t in targets])
        return bool(np.count_nonzero(covered) < _MOST_OF_PHOTO * covered.size)


def _apart(targets: Sequence[Target]) -> bool:
    """Whether no two of them share an annotation."""
    members = [t.members for t in targets]
    return sum(map(len, members)) == len(frozenset().union(*members))
