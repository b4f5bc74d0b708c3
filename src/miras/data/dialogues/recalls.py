"""The moves that mean again what was named before, and those that select all but something.

In: a talk that grows. Out: further moves of it, by name, and how often they are made. Each move returns whether the
state allowed it. Knows no model; which moves are made depends on what the model can be taught (`points`,
`complements`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from miras.core.types import Mark, Operator, Piece
from miras.data.dialogues.builder import DialogueBuilder
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

    def __init__(self, builder: DialogueBuilder) -> None:
        self.builder = builder

    def moves(self) -> dict[str, Callable[[], bool]]:
        """Those that the talk's speaker can be taught to follow."""
        builder = self.builder
        pointing = [self.keep, self.both, self.recall, self.previous, self.recall_too, self.recut, self.readd,
                    self.reselect]  # fmt: skip
        found = dict(zip(POINTING, pointing, strict=True)) if builder.points else {}
        all_but = dict(zip(ALL_BUT, (self.all_but, self.background, self.invert), strict=True))
        return found | (all_but if builder.complements else {})

    def keep(self) -> bool:
        """Of several that are selected, one that was named stays."""
        builder = self.builder
        inside = [t for t in builder.named if t.members < builder.selected]
        if not inside or (builder.moves and builder.moves[-1] == "keep"):
            return False
        target = pick(builder.rng, inside)
        builder.hops += 1
        return builder._answer("keep", Request(builder.voice.naming("keep", target), "narrow"), [target])

    def both(self) -> bool:
        """Two or three things, all that were named so far, together."""
        builder = self.builder
        named = builder.order
        if not 2 <= len(named) <= len(_ORDINALS) or builder.moves[-1] == "both" or not _apart(named):
            return False
        if frozenset().union(*(t.members for t in named)) == builder.selected:
            return False
        move = "both" if len(named) == 2 else "all"
        builder.hops += 1
        request = Request(builder.voice.text(move), "two" if len(named) == 2 else "")
        return builder._answer("both", request, named)

    def recall(self) -> bool:
        """The first one, the second one: by the order in which they were named."""
        found = self._by_order(lambda t: t.members != self.builder.selected)
        if found is None:
            return False
        ordinal, target = found
        text = self.builder.voice.text("recall", ordinal=ordinal)
        self.builder.hops += 1
        return self.builder._answer("recall", Request(text, "again"), [target])

    def previous(self) -> bool:
        """The one before the one that is selected."""
        builder = self.builder
        if not builder._on_target or len(builder.named) < 2 or builder.named[-1].members != builder.selected:
            return False
        builder.hops += 1
        return builder._answer("previous", Request(builder.voice.text("previous"), "again"), [builder.named[-2]])

    def recall_too(self) -> bool:
        """One that is told by its order joins the selection."""
        found = self._by_order(lambda t: not t.members & self.builder.selected)
        if found is None or not self.builder.selected:
            return False
        ordinal, target = found
        self.builder.hops += 1
        request = Request(self.builder.voice.text("recall_too", ordinal=ordinal), "add")
        return self.builder._answer("recall_too", request, [target], Operator.ADD)

    def recut(self) -> bool:
        """A named part of the selection goes: the one that was just added by "it", too."""
        builder = self.builder
        inside = [t for t in builder.named if t.members < builder.selected and builder._leaves_something(t)]
        if not inside:
            return False
        target = pick(builder.rng, inside)
        text = builder.cut_text(target)
        if builder.moves[-1] in ("add", "readd", "recall_too") and builder.named[-1] in inside:
            target = builder.named[-1] if builder.rng.random() < _PRONOUN else target
            text = builder.voice.text("cut_it") if target == builder.named[-1] else builder.cut_text(target)
        builder.hops += 1
        return builder._answer("recut", Request(text, "cut"), [target], Operator.CUT)

    def readd(self) -> bool:
        """What was cut joins the selection again."""
        builder = self.builder
        taken = [t for t in builder.taken if not t.members & builder.selected]
        if not taken or not builder.selected:
            return False
        target, text = pick(builder.rng, taken), ""
        if builder.moves[-1] in ("cut", "recut") and builder.named[-1] in taken and builder.rng.random() < _PRONOUN:
            target, text = builder.named[-1], builder.voice.text("readd_it")
        builder.hops += 1
        request = Request(text or builder.voice.naming("readd", target), "readd")
        return builder._answer("readd", request, [target], Operator.ADD)

    def reselect(self) -> bool:
        """What an undo took back is wanted after all."""
        builder = self.builder
        if len(builder.moves) < 2 or builder.moves[-1] != "undo" or builder.moves[-2] not in builder.first_named:
            return False
        if not builder.named or builder.named[-1].members == builder.selected:
            return False
        builder.hops += 1
        return builder._answer("reselect", Request(builder.voice.text("select_it"), "again"), [builder.named[-1]])

    def all_but(self) -> bool:
        """All but one thing, or two; named before or not."""
        builder = self.builder
        fresh = [t for t in builder.scene.targets if t.sort != "whole" and self._leaves_photo([t])]
        known = [t for t in builder.named if self._leaves_photo([t])]
        if not fresh and not known:
            return False
        first = pick(builder.rng, known if known and (not fresh or builder.rng.random() < _KNOWN) else fresh)
        targets = [first]
        others = [t for t in fresh if not t.members & first.members and self._leaves_photo([first, t])]
        if others and builder.rng.random() < _TWO:
            targets.append(pick(builder.rng, others))
        builder.hops += 1
        if len(targets) == 2:
            names = [definite(builder.voice.name(t)) for t in targets]
            text = builder.voice.text("except_two", first=names[0], second=names[1])
            return builder._answer("except", Request(text, "except_two"), targets, Operator.EXCEPT)
        return builder._answer(
            "except", Request(builder.voice.naming("except", first), "except"), targets, Operator.EXCEPT
        )  # fmt: skip

    def background(self) -> bool:
        """All but what was just selected; or, to begin with, all but the one object of the photo."""
        builder = self.builder
        target = builder.named[-1] if builder._on_target and builder.named[-1].members == builder.selected else None
        if target is None and not builder.moves:
            target = next((t for t in builder.scene.targets if t.sort == "whole"), None)
        if target is None or not self._leaves_photo([target]):
            return False
        text = builder.voice.text("background")
        builder.hops += 1
        if not builder.moves:  # there is nothing yet that "it" could mean
            while any(word in text.lower().split() for word in ("it", "it.", "it?", "its", "that.", "that", "rest.")):
                text = builder.voice.text("background")
        return builder._answer("background", Request(text, "background"), [target], Operator.EXCEPT)

    def invert(self) -> bool:
        """All but what is selected; nothing is named."""
        builder = self.builder
        if not builder.steps or not builder.selected or builder.moves[-1] == "invert" or builder.steps[-1].mask.all():
            return False
        if not builder.steps[-1].mask.any():
            return False
        pieces: list[Piece] = [Mark(Operator.EXCEPT), *builder.voice.reply("invert")]
        builder.members.append(builder.scene.outside(builder.selected))
        builder._phrases.append(builder._phrases[-1])
        builder._exchange("invert", builder.voice.text("invert"), pieces)
        builder.hops += 1
        return True

    def _by_order(self, fits: Callable[[Target], bool]) -> tuple[str, Target] | None:
        builder = self.builder
        named = list(zip(_ORDINALS, builder.order, strict=False))
        found = [(ordinal, target) for ordinal, target in named if fits(target)] if len(builder.order) > 1 else []
        return pick(builder.rng, found) if found else None

    def _leaves_photo(self, targets: Sequence[Target]) -> bool:
        """Whether enough of the photo is left without them."""
        covered = np.logical_or.reduce([self.builder.scene.mask(t) for t in targets])
        return bool(np.count_nonzero(covered) < _MOST_OF_PHOTO * covered.size)


def _apart(targets: Sequence[Target]) -> bool:
    """Whether no two of them share an annotation."""
    members = [t.members for t in targets]
    return sum(map(len, members)) == len(frozenset().union(*members))
