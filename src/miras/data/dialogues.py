"""Short dialogues made from a photo's annotations, on the fly.

In: an `AnnotatedPhoto`, a random generator. Out: an `Example` whose masks are the data set's own.
Knows no file but the package's YAML; wordings live in `phrasing`, targets in `scene`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from miras.core.errors import InputError
from miras.core.selection import Steps, advance
from miras.core.types import (
    AnnotatedPhoto,
    Annotation,
    Conversation,
    Example,
    Mark,
    Operator,
    Piece,
    Region,
    Rle,
    Turn,
    Words,
)
from miras.data import knowledge as knowledge_base
from miras.data import phrasing
from miras.data.knowledge import Knowledge
from miras.data.phrasing import Phrasing, lower_first, pick, vary
from miras.data.scene import Scene, Target
from miras.data.words import definite, mirror

MOVES = ("ask", "next", "two", "add", "cut", "undo", "absent", "other", "narrow", "again", "chat")
"""What a turn does. `Example.meta` maps "moves" to one of them for each assistant turn."""
KINDS: Mapping[str, float] = {"progressive": 0.3, "shift": 0.22, "refer": 0.12, "edit": 0.26, "absent": 0.1}
"""How often the last turn is of each kind, where the photo allows it."""
_LAST = {
    "progressive": (("narrow", 0.6), ("ask", 0.4)),
    "shift": (("next", 0.75), ("two", 0.25)),
    "refer": (("other", 0.6), ("again", 0.4)),
    "edit": (("add", 0.37), ("cut", 0.4), ("undo", 0.23)),
    "absent": (("absent", 1.0),),
}
_FIRST_WEIGHTS = {"ask": 0.78, "two": 0.12, "absent": 0.07, "chat": 0.03}
_LATER_WEIGHTS = {
    "ask": 0.3, "next": 0.26, "two": 0.06, "add": 0.2, "cut": 0.18, "undo": 0.07, "absent": 0.09, "other": 0.2,
    "narrow": 0.14, "again": 0.06, "chat": 0.03,
}  # fmt: skip
_KIND_OF = {move: kind for kind, moves in _LAST.items() for move, _ in moves}
_TRIES = 4
_INSTRUCTIONS = (0.45, 0.14, 0.08, 0.06, 0.08, 0.04)
"""Share of each of a data set's own instructions; the rest is ours."""
_HARD_ABSENT = 0.7


def sample(
    photo: AnnotatedPhoto,
    rng: np.random.Generator,
    *,
    turns: tuple[int, int] = (2, 5),
    kinds: Mapping[str, float] | None = None,
    knowledge: Knowledge | None = None,
    heldout: bool = False,
) -> Example:
    """One dialogue about the photo, fully determined by `rng`.

    turns: least and most exchanges; fewer where the photo has too little to say. kinds: weights of
    what the last turn does. heldout: use only wordings (ours) that training never shows.
    `meta`: "moves" (assistant turn index -> move), "heldout". Raises InputError for a photo that
    has nothing to ask for, and for unknown kinds.
    """
    weights = dict(KINDS if kinds is None else kinds)
    if unknown := sorted(set(weights) - set(KINDS)):
        raise InputError(f"kinds of {', '.join(KINDS)}", ", ".join(unknown))
    if not 1 <= turns[0] <= turns[1]:
        raise InputError("turns (least, most) from 1", str(turns))
    scene = Scene(photo, knowledge or knowledge_base.load())
    if not scene.targets:
        raise InputError("a photo with a mask large enough to ask for", f"none in {photo.id}", "leave it out")
    talk = _converse(scene, rng, turns, {k: w for k, w in weights.items() if w > 0}, heldout)
    kind = "progressive" if len(talk.moves) == 1 and talk.moves[0] != "absent" else _KIND_OF[talk.moves[-1]]
    return Example(
        image=photo.path,
        conversation=Conversation(tuple(talk.turns)),
        focus=talk.focus,
        kind=kind,
        hops=talk.hops,
        source=photo.source,
        meta={"moves": {2 * i + 1: move for i, move in enumerate(talk.moves)}, "heldout": heldout, "photo": photo.id},
    )


def mirror_annotation(annotation: Annotation, rle: Rle) -> Annotation:
    """The annotation of the photo flipped left to right; `rle`: its mask, flipped already."""
    return replace(
        annotation,
        label=mirror(annotation.label),
        phrase=mirror(annotation.phrase),
        rle=rle,
        instructions=tuple(mirror(text) for text in annotation.instructions),
    )


def _converse(
    scene: Scene, rng: np.random.Generator, turns: tuple[int, int], weights: dict[str, float], heldout: bool
) -> _Talk:
    """The first attempt that reaches its kind; a single question when none does."""
    while weights:
        kind = pick(rng, list(weights), list(weights.values()))
        for _ in range(_TRIES):
            moves, chances = zip(*_LAST[kind], strict=True)
            talk = _Talk(scene, rng, heldout)
            if talk.run(int(rng.integers(turns[0], turns[1] + 1)), pick(rng, moves, chances)):
                return talk
        del weights[kind]
    talk = _Talk(scene, rng, heldout)
    talk.ask()
    return talk


@lru_cache(maxsize=1)
def _phrasing() -> Phrasing:
    return phrasing.load()


@dataclass
class _Talk:
    """A dialogue while it grows. members: annotations selected after each step, beside `steps`."""

    scene: Scene
    rng: np.random.Generator
    heldout: bool
    turns: list[Turn] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    steps: Steps = ()
    members: list[frozenset[int]] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    named: list[Target] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    focus: str = ""
    hops: int = 1
    _regions: int = 0

    def run(self, count: int, last: str) -> bool:
        """Make up to `count` exchanges that end in the move `last`. False: it cannot be done."""
        setup = {"cut": ("whole", "two", "add"), "other": ("pair",), "narrow": ("whole",), "undo": ("add", "next", "ask")}
        for index in range(count - 1):
            before_last = index == count - 2
            forced = setup.get(last, ()) if before_last else ()
            if not (any(self._set_up(move) for move in self._shuffled(forced)) or self._free()):
                break
        return (len(self.turns) > 0 or count == 1) and self._last(last)

    def _last(self, move: str) -> bool:
        if move == "ask" and self._selected and self.named and self.named[-1].sort != "whole":
            return self.next(question=True)
        return self._do(move)

    def _set_up(self, move: str) -> bool:
        """What the last move needs: a union to cut from, the first of a pair."""
        if move == "whole":
            return self.ask([t for t in self.scene.targets if t.sort in ("whole", "all")])
        if move == "pair":
            return self.ask([t for t in self.scene.targets if self.scene.other(t) is not None])
        return self._do(move)

    def _free(self) -> bool:
        weights = dict(_LATER_WEIGHTS if self.turns else _FIRST_WEIGHTS)
        if self.refused:
            del weights["absent"]
        return any(self._do(move) for move in self._shuffled(tuple(weights), list(weights.values())))

    def _do(self, move: str) -> bool:
        does: dict[str, Callable[[], bool]] = {
            "ask": self.ask, "next": self.next, "two": self.two, "add": self.add, "cut": self.cut, "undo": self.undo,
            "absent": self.absent, "other": self.other, "narrow": self.narrow, "again": self.again, "chat": self.chat,
        }  # fmt: skip
        return does[move]()

    def _shuffled(self, moves: Sequence[str], weights: list[float] | None = None) -> list[str]:
        if not moves:
            return []
        chances = np.asarray(weights if weights is not None else [1.0] * len(moves))
        order = self.rng.choice(len(moves), size=len(moves), replace=False, p=chances / chances.sum())
        return [moves[i] for i in order]

    # --- the moves: each returns whether the state allowed it ---

    def ask(self, targets: list[Target] | None = None) -> bool:
        """A first target, or one more while nothing is selected; `targets` where the next move needs them."""
        if targets is None and self._selected:
            return False
        target = self._fresh(targets)
        if target is None:
            return False
        text, reply, slots = self._request(target)
        return self._reply("ask" if not self._selected else "next", text, [target], reply, slots)

    def next(self, question: bool = False) -> bool:
        """Another target replaces the selection."""
        target = self._fresh()
        if not self._selected or target is None:
            return False
        if question or self.rng.random() < 0.5:
            text, reply, slots = self._request(target, after=True)
        else:
            text, reply, slots = self._say("next", target), "ask", {}
        return self._reply("next", text, [target], reply, slots)

    def two(self) -> bool:
        """Two targets in one reply."""
        first = self._fresh()
        if first is None:
            return False
        rest = [t for t in self._candidates() if not t.members & first.members]
        second = self._fresh(rest)
        if second is None or first.sort == "whole":
            return False
        text = self._text("two", first=definite(self._spoken(first)), second=definite(self._spoken(second)))
        return self._reply("two", text, [first, second], "two", {})

    def add(self) -> bool:
        """A further target unites with the selection."""
        target = self._fresh([t for t in self._candidates() if not t.members & self._selected])
        if not self._selected or target is None:
            return False
        self.hops += 1
        return self._reply("add", self._say("add", target), [target], "add", {}, Operator.ADD)

    def cut(self) -> bool:
        """A part of the selection goes."""
        inside = [t for t in self.scene.within(self._selected) if t.sort != "whole"]
        whole = sum(self.scene.mask(t).sum() for t in self.scene.targets if t.sort == "whole") or np.inf
        inside = [t for t in inside if self.scene.mask(t).sum() < 0.9 * whole and self._leaves_something(t)]
        if not inside:
            return False
        target = pick(self.rng, inside)
        self.hops += 1
        return self._reply("cut", self._say("cut", target), [target], "cut", {}, Operator.CUT)

    def undo(self) -> bool:
        """One step back."""
        if not self.steps or self.moves[-1] in ("undo", "absent", "chat"):
            return False
        sort = "undo" if len(self.steps) > 1 else "undone"
        pieces: list[Piece] = [Mark(Operator.UNDO), *_phrasing().answer(sort, self.rng, [])]
        self.members.pop()
        self.phrases.pop()
        self._exchange("undo", self._text("undo"), pieces, ())
        self.focus = self.phrases[-1] if self.phrases else ""
        self.hops += 1
        return True

    def absent(self) -> bool:
        """A thing that is not in the photo is refused."""
        hard, easy = ([p for p in phrases if p not in self.refused] for phrases in self.scene.absent)
        pool = hard if hard and (not easy or self.rng.random() < _HARD_ABSENT) else easy
        if not pool or (self.moves and self.moves[-1] == "absent"):
            return False
        phrase = pick(self.rng, pool)
        self.refused.add(phrase)
        forms = {"ask": 0.4, "exist": 0.4} if not self._selected else {"ask": 0.25, "exist": 0.3, "next": 0.25, "add": 0.2}
        text = self._text(pick(self.rng, list(forms), list(forms.values())), phrase=phrase)
        pieces: list[Piece] = [Mark(Operator.REJECT), *_phrasing().answer("absent", self.rng, [], phrase=phrase)]
        self._exchange("absent", text, pieces, ())
        self.focus = ""
        return True

    def other(self) -> bool:
        """The second of two, right after the first."""
        twin = self.scene.other(self.named[-1]) if self.named and self._on_target else None
        if twin is None:
            return False
        self.hops += 1
        return self._reply("other", self._text("other", noun=twin.noun), [twin], "other", {})

    def narrow(self) -> bool:
        """From an object, or from several, to a part of it."""
        if not (self._on_target and self.named and self.named[-1].sort in ("whole", "all")):
            return False
        inside = [t for t in self.scene.within(self._selected) if t.sort != "whole"]
        if not inside:
            return False
        target = pick(self.rng, inside)
        text, reply, slots = self._say("narrow", target), "narrow", {}
        if target.sort == "one" and self.rng.random() < 0.35:
            text, reply, slots = self._request(target, after=True)
        self.hops += 1
        return self._reply("narrow", text, [target], reply, slots)

    def again(self) -> bool:
        """Back to a target named before, by its name."""
        earlier = [t for t in self.named if not self.members or t.members != self.members[-1]]
        if not earlier:
            return False
        target = pick(self.rng, earlier)
        self.hops += 1
        return self._reply("again", self._say("again", target), [target], "again", {})

    def chat(self) -> bool:
        """Words without a region."""
        if "chat" in self.moves:
            return False
        topic = "thanks" if self._selected else "hello"
        self._exchange("chat", self._text(topic), _phrasing().answer(topic, self.rng, []), ())
        return True

    # --- state ---

    @property
    def _selected(self) -> frozenset[int]:
        return self.members[-1] if self.members else frozenset()

    @property
    def _on_target(self) -> bool:
        """Whether the last reply named one target and it is what is selected."""
        return bool(self.moves) and self.moves[-1] in ("ask", "next", "again", "narrow", "other") and bool(self.members)

    def _candidates(self) -> list[Target]:
        """Targets not named yet and not equal to the selection."""
        seen = {t.members for t in self.named} | {self._selected}
        return [t for t in self.scene.targets if t.members not in seen]

    def _fresh(self, among: list[Target] | None = None) -> Target | None:
        pool = self._candidates() if among is None else among
        if not pool and among is None and not self._selected:
            pool = self.scene.targets
        weights = [0.4 if t.sort in ("side", "whole") else 1.0 for t in pool]
        return pick(self.rng, pool, weights) if pool else None

    def _leaves_something(self, target: Target) -> bool:
        before = self.steps[-1].mask
        return bool((before & ~self.scene.mask(target)).any())

    # --- words ---

    def _text(self, move: str, **slots: str) -> str:
        return _phrasing().say(move, self.rng, heldout=self.heldout, **slots)

    def _spoken(self, target: Target) -> str:
        """The canonical name half of the time, else one of the others."""
        first, *others = target.spoken
        return first if not others or self.rng.random() < 0.5 else pick(self.rng, others)

    def _say(self, move: str, target: Target) -> str:
        return self._text(move, phrase=self._spoken(target))

    def _request(self, target: Target, after: bool = False) -> tuple[str, str, dict[str, str]]:
        """A text that asks for the target, the reply's sort and its slots."""
        dice = self.rng.random()
        if target.instructions and dice < sum(_INSTRUCTIONS):
            index = pick(self.rng, range(len(_INSTRUCTIONS)), _INSTRUCTIONS)
            text = target.instructions[index]
            return vary(text, self.rng), "answer" if index < 2 else "ask", {}
        if target.entry is not None and target.sort != "side" and (target.instructions or dice < 0.4):
            asked = self._functional(target, after)
            if asked is not None:
                return asked
        move = pick(self.rng, ("ask", "exist"), (0.88, 0.12)) if target.sort == "one" else "ask"
        return self._say(move, target), move, {}

    def _functional(self, target: Target, after: bool) -> tuple[str, str, dict[str, str]] | None:
        """A question that does not say the label."""
        entry = target.entry
        assert entry is not None
        others = {u for t in self.scene.targets if t.entry is not None and t.entry != entry for u in t.entry.uses}
        uses = [use for use in entry.uses if use not in others]
        questions = entry.questions[-1:] if self.heldout else entry.questions[:-1] or entry.questions
        if self.heldout and len(entry.questions) < 2:
            questions = ()
        options = [("use", use) for use in uses] + [("question", question) for question in questions]
        if not options:
            return None
        self.hops += 1
        sort, content = pick(self.rng, options)
        if sort == "use":
            return self._text("use_part" if entry.object else "use_thing", use=content), "use", {"use": content}
        text = self._text("question", question=content, lower=lower_first(content)) if after else vary(content, self.rng)
        return text, "answer" if entry.object else "answer_thing", {}

    # --- growth ---

    def _reply(
        self, move: str, text: str, targets: list[Target], sort: str, slots: dict[str, str],
        operator: Operator = Operator.REPLACE,
    ) -> bool:  # fmt: skip
        """Append an exchange whose reply names the targets."""
        index = len(self.turns) + 1
        regions = tuple(
            Region(self._regions + 1 + i, t.phrase, self.scene.mask(t), index, operator) for i, t in enumerate(targets)
        )
        self._regions += len(regions)
        mark: list[Piece] = [] if operator is Operator.REPLACE else [Mark(operator)]
        pieces = mark + _phrasing().answer(sort, self.rng, [(r.phrase, r.id) for r in regions], **slots)
        united = frozenset().union(*(t.members for t in targets))
        before = self._selected
        changes = {Operator.ADD: before | united, Operator.CUT: before - united}
        self.members.append(changes.get(operator, united))
        self.phrases.append(targets[-1].phrase)
        self.named += targets
        self.focus = targets[-1].phrase
        self._exchange(move, text, pieces, regions)
        return True

    def _exchange(self, move: str, text: str, pieces: list[Piece], regions: tuple[Region, ...]) -> None:
        reply = Turn("assistant", tuple(p for p in pieces if not (isinstance(p, Words) and not p.text)), regions)
        self.turns += [Turn.user(text), reply]
        self.moves.append(move)
        self.steps = advance(self.steps, reply)
