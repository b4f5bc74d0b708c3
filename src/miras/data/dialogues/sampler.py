"""Short dialogues made from a photo's annotations, on the fly.

In: an `AnnotatedPhoto`, a random generator. Out: an `Example` whose masks are the data set's own.
Decides which move follows which; `talk` makes them, `voice` finds the words, `scene` the targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto, Annotation, Conversation, Example, Region, Rle, Turn
from miras.data.dialogues import recalls
from miras.data.dialogues.builder import DialogueBuilder
from miras.data.dialogues.manner import PLAIN, Manner
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.voice import Voice
from miras.data.language import knowledge as knowledge_base
from miras.data.language.knowledge import Knowledge
from miras.data.language.phrasing import pick
from miras.data.language.words import mirror

MOVES = ("ask", "next", "two", "add", "cut", "undo", "absent", "other", "narrow", "again", "chat")
"""What a turn does. `Example.meta["moves"]` names one of them for each assistant turn, or "one" (of several) and
"which" (to ask back) where the manner has things referred to."""
KINDS: Mapping[str, float] = {"progressive": 0.3, "shift": 0.22, "refer": 0.12, "edit": 0.26, "absent": 0.1}
"""How often the last turn is of each kind, where the photo allows it."""
KINDS_ALONE: Mapping[str, float] = {"progressive": 0.3, "refer": 0.47, "edit": 0.13, "absent": 0.1}
"""The same for a photo with a single target."""
KINDS_POINTING: Mapping[str, float] = {"progressive": 0.26, "shift": 0.18, "refer": 0.2, "edit": 0.28, "absent": 0.08}
"""The same for dialogues that point at what was named before."""
_MOST_ALONE = 3
_LAST: Mapping[str, Mapping[str, float]] = {
    "progressive": {"narrow": 0.5, "ask": 0.5},
    "shift": {"next": 0.75, "two": 0.25},
    "refer": {"other": 0.6, "again": 0.4},
    "edit": {"add": 0.3, "cut": 0.4, "undo": 0.3},
    "absent": {"absent": 1.0},
}
_FIRST: Mapping[str, float] = {"ask": 0.78, "two": 0.12, "absent": 0.07, "chat": 0.02}
_LATER: Mapping[str, float] = {
    "ask": 0.3, "next": 0.26, "two": 0.06, "add": 0.2, "cut": 0.25, "undo": 0.1, "absent": 0.09, "other": 0.2,
    "narrow": 0.14, "again": 0.06, "chat": 0.015,
}  # fmt: skip
_REFERRING: Mapping[str, float] = {"one": 0.3, "which": 0.2}
_CHECK = 0.2
"""Weights of the moves that a manner adds to those of `_LATER`."""
_LAST_REFERRING: Mapping[str, float] = {"one": 0.6, "other": 0.25, "again": 0.15}
_BEFORE: Mapping[str, Sequence[str]] = {
    "cut": ("whole", "two", "add"), "other": ("pair",), "narrow": ("whole",), "undo": ("add", "next", "ask"),
    "ask": ("absent",), "one": ("several",),
}  # fmt: skip
"""What is tried first just before the last move. "whole", "pair": ask for an object with parts, for one of two;
"several": for all of a kind."""
_TRIES = 4
_HARD_PROBE, _ASKED = 0.6, 0.7


def sample(
    photo: AnnotatedPhoto,
    rng: np.random.Generator,
    *,
    turns: tuple[int, int] = (2, 5),
    kinds: Mapping[str, float] | None = None,
    knowledge: Knowledge | None = None,
    heldout: bool = False,
    manner: Manner = PLAIN,
    pixels: NDArray[np.uint8] | None = None,
    points: bool = False,
    complements: bool = False,
) -> Example:
    """One dialogue about the photo, fully determined by `rng`.

    turns: least and most exchanges; fewer where the photo has too little to say. kinds: weights of
    what the last turn does (KINDS; a photo that allows none of them gets a single question).
    heldout: use only wordings (ours) that training never shows. manner: see `Manner`. pixels: (H, W, 3) uint8 RGB, as
    large as the masks, for names of colours; None: none is named. points: what was named before and is meant again is
    pointed at, and there is more of it (`recalls.POINTING`); complements: all but something is selected now and then
    (`recalls.ALL_BUT`). Without them a dialogue is what it is without `recalls`. `meta`: "moves" (index of the
    assistant turn -> move), "photo", "heldout". hops: one, and one more for each step that leaves
    a name unsaid or leans on what was selected before. Raises InputError for a photo that has
    nothing to ask for (see `askable`), and for unknown kinds.
    """
    if unknown := sorted(set(kinds or ()) - set(KINDS)):
        raise InputError(f"kinds of {', '.join(KINDS)}", ", ".join(unknown))
    if not 1 <= turns[0] <= turns[1]:
        raise InputError("turns (least, most) from 1", str(turns))
    scene = Scene(photo, knowledge or knowledge_base.load(), manner.referring > 0, pixels)
    if not scene.targets:
        raise InputError("a photo with a mask large enough to ask for", f"none in {photo.id}", "leave it out")
    alone = len(scene.targets) == 1
    if alone:
        turns = (turns[0], max(turns[0], min(turns[1], _MOST_ALONE)))
    weights = kinds if kinds is not None else KINDS_ALONE if alone else KINDS_POINTING if points else KINDS
    plan = _Plan.of(points, complements, manner)
    builder = _converse(scene, rng, turns, {k: w for k, w in weights.items() if w > 0}, heldout, plan)
    return Example(
        image=photo.path,
        conversation=Conversation(tuple(builder.turns)),
        focus=builder.focus,
        kind="progressive" if builder.moves == ["two"] else plan.kind_of(builder.moves[-1]),
        hops=builder.hops,
        source=photo.source,
        meta={
            "moves": {2 * i + 1: move for i, move in enumerate(builder.moves)},
            "photo": photo.id,
            "heldout": heldout,
        },
    )


def probe(photo: AnnotatedPhoto, missing: Sequence[Sequence[str]], rng: np.random.Generator) -> Conversation | None:
    """One exchange whose reply names a thing that is not in the photo, as if it were; its mask is empty.

    missing: (hard, easy) phrases, of which `Scene.absent` is the source. None: there are none.
    """
    hard, easy = missing
    pool = hard if hard and (not easy or rng.random() < _HARD_PROBE) else easy
    if not pool:
        return None
    phrase, voice = pick(rng, list(pool)), Voice(rng, heldout=False)
    move = "ask" if rng.random() < _ASKED else "exist"
    region = Region(1, phrase, np.zeros(photo.size, bool), 1)
    reply = Turn("assistant", tuple(voice.reply(move, [(phrase, 1)])), (region,))
    return Conversation((Turn.user(voice.text(move, phrase=phrase)), reply))


def askable(photo: AnnotatedPhoto) -> bool:
    """Whether `sample` finds something to ask for in this photo."""
    return bool(Scene(photo, knowledge_base.load()).targets)


def mirror_annotation(annotation: Annotation, rle: Rle) -> Annotation:
    """The annotation of the photo flipped left to right; `rle`: its mask, flipped already."""
    return replace(
        annotation,
        label=mirror(annotation.label),
        phrase=mirror(annotation.phrase),
        rle=rle,
        instructions=tuple(mirror(text) for text in annotation.instructions),
    )


@dataclass(frozen=True)
class _Plan:
    """How dialogues begin, go on and end; points, complements, manner: what they may do."""

    points: bool
    complements: bool
    manner: Manner
    first: Mapping[str, float]
    later: Mapping[str, float]
    last: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, points: bool, complements: bool, manner: Manner) -> _Plan:
        """The plan of dialogues that may do this."""
        able = [name for name, can in (("points", points), ("complements", complements)) if can]
        first, later, last = dict(_FIRST), dict(_LATER), {kind: dict(moves) for kind, moves in _LAST.items()}
        for name in able:
            first |= recalls.FIRST[name]
            later |= recalls.LATER[name]
            for kind, moves in recalls.LAST[name].items():
                last[kind] |= moves
        if manner.referring:
            last["refer"] |= _LAST_REFERRING
        return cls(points, complements, manner, first, later, last)

    def kind_of(self, move: str) -> str:
        """The kind of a dialogue that ends in a move."""
        return next((kind for kind, moves in self.last.items() if move in moves), "refer" if move == "one" else "")

    def builder(self, scene: Scene, rng: np.random.Generator, heldout: bool) -> DialogueBuilder:
        """One that has not begun."""
        builder = DialogueBuilder(scene, rng, heldout, self.points, self.complements, self.manner)
        builder.learn(recalls.Recalls(builder).moves())
        return builder


def _converse(
    scene: Scene, rng: np.random.Generator, turns: tuple[int, int], weights: dict[str, float], heldout: bool,
    plan: _Plan,
) -> DialogueBuilder:  # fmt: skip
    """The first attempt that reaches its kind; a single question when none does."""
    while weights:
        kind = pick(rng, list(weights), list(weights.values()))
        for _ in range(_TRIES):
            builder = plan.builder(scene, rng, heldout)
            count = int(rng.integers(turns[0], turns[1] + 1))
            if _grow(builder, count, pick(rng, list(plan.last[kind]), list(plan.last[kind].values())), plan):
                return builder
        del weights[kind]
    builder = plan.builder(scene, rng, heldout)
    builder.ask()
    return builder


def _grow(builder: DialogueBuilder, count: int, last: str, plan: _Plan) -> bool:
    """Make up to `count` exchanges that end in the move `last`. False: it cannot be done."""
    for index in range(count - 1):
        wanted = {**_BEFORE, **recalls.BEFORE}.get(last, ()) if index == count - 2 else ()
        if builder.manner.chat and not wanted and builder.rng.random() < builder.manner.chat and builder.chat():
            continue
        before = _shuffled(builder.rng, dict.fromkeys(wanted, 1.0))
        if not (any(_prepare(builder, move) for move in before) or _free(builder, plan)):
            break
    if count > 1 and not builder.turns:
        return False
    return builder.do(last)


def _prepare(builder: DialogueBuilder, move: str) -> bool:
    """What the last move needs: a union to cut from, the first of a pair, or an ordinary move."""
    if move == "whole":
        return builder.ask([t for t in builder.scene.targets if t.sort in ("whole", "all")])
    if move == "pair":
        return builder.ask([t for t in builder.scene.targets if builder.scene.other(t) is not None])
    if move == "several":
        return builder.ask([t for t in builder.scene.targets if any(o.bare for o in builder.scene.within(t.members))])
    return builder.do(move)


def _free(builder: DialogueBuilder, plan: _Plan) -> bool:
    """Any move that fits, by weight; one refusal at most."""
    weights = dict(plan.later if builder.turns else plan.first)
    if builder.refused:
        weights.pop("absent")
    if builder.manner.chat:
        weights.pop("chat")
    if builder.turns and builder.manner.referring:
        weights |= _REFERRING
    if builder.turns and builder.manner.existence:
        weights |= {"check": _CHECK}
    return any(builder.do(move) for move in _shuffled(builder.rng, weights))


def _shuffled(rng: np.random.Generator, weights: Mapping[str, float]) -> list[str]:
    """All the names in random order, heavy ones early."""
    if not weights:
        return []
    chances = np.asarray(list(weights.values()))
    order = rng.choice(len(chances), size=len(chances), replace=False, p=chances / chances.sum())
    return [list(weights)[i] for i in order]
