"""A dialogue while it grows, and the moves that can be made in it.

In: a scene, a voice, a random generator. Out: turns with regions, and which annotations are
selected after each step. Each move returns whether the state allowed it; what comes next is
decided in `sampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from miras.core.selection import Steps, advance
from miras.core.types import Mark, Operator, Piece, Region, Turn, Words
from miras.data.dialogues.manner import PLAIN, Manner
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.dialogues.voice import Request, Voice, listing
from miras.data.language import remarks
from miras.data.language.phrasing import pick
from miras.data.language.spelling import rough
from miras.data.language.words import definite

_HARD_ABSENT = 0.7
_QUESTION_NEXT = 0.5
_QUESTION_NARROW = 0.35
_QUESTION_AGAIN = 0.3
_MOST_OF_WHOLE = 0.9
_RARE = {"side": 0.4, "whole": 0.4}
"""Weights of sorts of targets, one for the others."""
_FIRST_NAMED = ("ask", "next", "again", "narrow", "other", "one", "keep", "recall", "previous", "reselect")
_MOST_CHAT = 2


class DialogueBuilder:
    """The state. turns, moves: what was said and done. steps: selections; members: the annotations
    in each of them. named: targets so far, the newest last; order: as they were first named; taken: those that were
    cut. focus, hops: of the last exchange, of the whole. points: what is meant again is pointed at, and there are
    moves that do; complements: there are moves that select all but something."""

    first_named = _FIRST_NAMED

    def __init__(
        self, scene: Scene, rng: np.random.Generator, heldout: bool, points: bool = False, complements: bool = False,
        manner: Manner = PLAIN,
    ) -> None:  # fmt: skip
        self.scene, self.rng, self.manner = scene, rng, manner
        self.points, self.complements = points, complements
        self.voice = Voice(rng, heldout, scene.shared_uses, manner.existence, manner.bare)
        self.turns: list[Turn] = []
        self.moves: list[str] = []
        self.steps: Steps = ()
        self.members: list[frozenset[int]] = []
        self.named: list[Target] = []
        self.order: list[Target] = []
        self.taken: list[Target] = []
        self._ids: dict[frozenset[int], int] = {}
        self.refused: set[str] = set()
        self.focus = ""
        self.hops = 1
        self._last_form = self._last_refused = ""
        self._phrases: list[str] = []
        self._drawn_before: list[Region] = []
        self._regions = 0
        self._moves: dict[str, Callable[[], bool]] = {
            "ask": self.ask, "next": self.next, "two": self.two, "add": self.add, "cut": self.cut, "undo": self.undo,
            "absent": self.absent, "other": self.other, "narrow": self.narrow, "again": self.again, "chat": self.chat,
            "one": self.one, "which": self.which, "check": self.check,
        }  # fmt: skip

    @property
    def selected(self) -> frozenset[int]:
        """Annotations in the current selection."""
        return self.members[-1] if self.members else frozenset()

    def learn(self, moves: Mapping[str, Callable[[], bool]]) -> None:
        """Further moves, by name."""
        self._moves |= moves

    def do(self, move: str) -> bool:
        """Make the move of that name."""
        return self._moves[move]()

    def ask(self, targets: list[Target] | None = None) -> bool:
        """A target while nothing is selected; with `targets`, one of them at any time."""
        if targets is None and self.selected:
            return False
        target = self._fresh(targets)
        if target is None:
            return False
        return self._answer("next" if self.selected else "ask", self.voice.request(target), [target])

    def next(self) -> bool:
        """Another target replaces the selection."""
        target = self._fresh()
        if not self.selected or target is None:
            return False
        request = Request(self.voice.naming("next", target), "ask")
        if self.rng.random() < _QUESTION_NEXT:
            request = self.voice.request(target, after=True)
        return self._answer("next", request, [target])

    def two(self) -> bool:
        """Two targets in one reply."""
        first = self._fresh([t for t in self._candidates() if t.sort != "whole"])
        if first is None:
            return False
        second = self._fresh([t for t in self._candidates() if t.sort != "whole" and not t.members & first.members])
        if second is None:
            return False
        names = {"first": definite(self.voice.name(first)), "second": definite(self.voice.name(second))}
        return self._answer("two", Request(self.voice.text("two", **names), "two"), [first, second])

    def add(self) -> bool:
        """A further target unites with the selection."""
        target = self._fresh([t for t in self._candidates() if not t.members & self.selected])
        if not self.selected or target is None:
            return False
        self.hops += 1
        return self._answer("add", Request(self.voice.naming("add", target), "add"), [target], Operator.ADD)

    def cut(self) -> bool:
        """A part of the selection goes; something stays."""
        inside = [t for t in self.scene.within(self.selected) if self._leaves_something(t)]
        if not inside:
            return False
        target = pick(self.rng, inside)
        self.hops += 1
        return self._answer("cut", Request(self.cut_text(target), "cut"), [target], Operator.CUT)

    def cut_text(self, target: Target) -> str:
        """A text that cuts the target; where there is all but, none that could mean that."""
        text = self.voice.naming("cut", target)
        while self.complements and text.lower().startswith("everything"):
            text = self.voice.naming("cut", target)
        return text

    def undo(self) -> bool:
        """One step back, right after a step."""
        if not self.steps or self.moves[-1] in ("undo", "absent", "chat", "which"):
            return False
        pieces = [Mark(Operator.UNDO), *self.voice.reply("undo" if len(self.steps) > 1 else "undone")]
        self.members.pop()
        self._phrases.pop()
        self._exchange("undo", self.voice.text("undo"), pieces)
        self.focus = self._phrases[-1] if self._phrases else ""
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
        forms = {"ask": 0.25, "exist": 0.3, "next": 0.25, "add": 0.2} if self.selected else {"ask": 0.5, "exist": 0.5}
        self._refuse(pick(self.rng, list(forms), list(forms.values())), phrase)
        return True

    def check(self) -> bool:
        """The same thing asked for in the other way: "Is there a cup?" after "Where is the cup?", and the other way
        round; the answer is the same. Told as "absent" or "again"."""
        if not self.moves:
            return False
        if self.moves[-1] == "absent":
            if self.moves[-2:] == ["absent", "absent"]:
                return False
            self._refuse("ask" if self._last_form == "exist" else "exist", self._last_refused)
            return True
        if not self._on_target or self.named[-1].sort not in ("one", "all") or self.named[-1].members != self.selected:
            return False
        form = "ask" if self._last_form == "exist" else "exist"
        return self._answer("again", Request(self.voice.naming(form, self.named[-1]), form), [self.named[-1]])

    def other(self) -> bool:
        """The second of two, right after the first."""
        twin = self.scene.other(self.named[-1]) if self._on_target else None
        if twin is None:
            return False
        self.hops += 1
        return self._answer("other", Request(self.voice.text("other", noun=twin.noun), "other"), [twin])

    def narrow(self) -> bool:
        """From an object, or from several, to a part of it."""
        inside = self.scene.within(self.selected)
        if not (self._on_target and self.named[-1].sort in ("whole", "all") and inside):
            return False
        target = pick(self.rng, inside)
        request = Request(self.voice.naming("narrow", target), "narrow")
        if target.sort == "one" and self.rng.random() < _QUESTION_NARROW:
            request = self.voice.request(target, after=True)
        self.hops += 1
        return self._answer("narrow", request, [target])

    def again(self) -> bool:
        """Back to a target named before, by its name; or the present one asked for in other words."""
        if not self.named or self.moves[-1] == "again":
            return False
        target = pick(self.rng, self.named)
        request = Request(self.voice.naming("again", target), "again")
        if target.members == self.selected or self.rng.random() < _QUESTION_AGAIN:
            request = self.voice.request(target, after=True)
            if target.members == self.selected and self._said(request.text):
                return False
        self.hops += 1
        return self._answer("again", request, [target])

    def one(self) -> bool:
        """One of several that were just named, or another of its kind: "the second from the left"."""
        last = self.named[-1] if self.moves and self.moves[-1] in (*_FIRST_NAMED, "which") else None
        if last is None:
            return False
        pool = [t for t in self.scene.targets if t.bare and t.members < last.members]
        if last.sort == "side":
            pool += [t for t in self.scene.targets if t.bare and t.noun == last.noun and not t.members & last.members]
        if not pool:
            return False
        target = self._of_some_kind(pool)
        self.hops += 1
        return self._answer("one", Request(self.voice.one(target), "one"), [target])

    def which(self) -> bool:
        """ "The other one" of more than two: asked back, in words alone."""
        last = self.named[-1] if self._on_target else None
        if last is None or last.sort != "side" or self.scene.kin(last) < 3:
            return False
        self._exchange("which", self.voice.another(last.noun), self.voice.words("which"))
        return True

    def chat(self) -> bool:
        """Words without a region, once in a dialogue."""
        if self.manner.chat:
            return self._remark()
        if "chat" in self.moves:
            return False
        topic = "thanks" if self.selected else "hello"
        self._exchange("chat", self.voice.text(topic), self.voice.reply(topic))
        return True

    def _remark(self) -> bool:
        """What wants no mask, of any topic; what is selected stays."""
        if self.moves.count("chat") >= _MOST_CHAT:
            return False
        names = [t.spoken[0] for t in self.scene.targets if t.sort == "one"] or ["picture"]
        remark = remarks.load().say(self.rng, pick(self.rng, names), heldout=self.voice.heldout)
        text = remark.text if remark.topic in remarks.PLAIN_TOPICS else self._typed(remark.text)
        self._exchange("chat", text, [Words(remark.reply)], as_is=True)
        return True

    def _refuse(self, form: str, phrase: str) -> None:
        self._last_form, self._last_refused = form, phrase
        alone = form in ("ask", "next") and self.voice.falls_bare()
        text = self.voice.alone(phrase) if alone else self.voice.text(form, phrase=phrase)
        self._exchange("absent", text, [Mark(Operator.REJECT), *self.voice.reply("absent", phrase=phrase)])
        self.focus = ""

    @property
    def _on_target(self) -> bool:
        """Whether the last reply named one target and it is what is selected."""
        return bool(self.moves) and self.moves[-1] in _FIRST_NAMED

    def _candidates(self) -> list[Target]:
        """Targets not named yet and not equal to the selection."""
        seen = {t.members for t in self.named} | {self.selected}
        return [t for t in self.scene.targets if t.members not in seen and t.kind != "any"]

    def _fresh(self, among: list[Target] | None = None) -> Target | None:
        pool = self._candidates() if among is None else among
        if not pool and among is None and not self.selected:
            pool = self.scene.targets
        if self.manner.referring and among is None:
            seen = {t.members for t in self.named} | {self.selected}
            pool = pool + [t for t in self.scene.targets if t.kind == "any" and t.members not in seen]
        if pool and self.manner.referring:
            return self._referred(pool)
        return pick(self.rng, pool, [_RARE.get(t.sort, 1.0) for t in pool]) if pool else None

    def _referred(self, pool: list[Target]) -> Target:
        """One of several in the share that the manner wants, where there is one."""
        several = [t for t in pool if t.kind]
        others = [t for t in pool if not t.kind]
        if several and (not others or self.rng.random() < self.manner.referring):
            return self._of_some_kind(several)
        return pick(self.rng, others, [_RARE.get(t.sort, 1.0) for t in others])

    def _of_some_kind(self, pool: list[Target]) -> Target:
        """Each way of telling apart as often as any other."""
        kind = pick(self.rng, sorted({t.kind for t in pool}))
        return pick(self.rng, [t for t in pool if t.kind == kind])

    def _leaves_something(self, target: Target) -> bool:
        """Whether a cut takes something that is selected, but not nearly all of it."""
        before = self.steps[-1].mask
        taken = np.count_nonzero(before & self.scene.mask(target))
        return bool(0 < taken < _MOST_OF_WHOLE * np.count_nonzero(before))

    def _said(self, text: str) -> bool:
        """Whether the user ended with the same words before, but for case and marks."""
        plain = text.lower().strip(" .?!")
        return any(plain.endswith(turn.text.lower().strip(" .?!")) for turn in self.turns if turn.role == "user")

    def _answer(
        self, move: str, request: Request, targets: list[Target], operator: Operator = Operator.REPLACE
    ) -> bool:
        """Append the exchange whose reply names the targets; always True."""
        regions = self._drawn(targets, operator)
        names = [(target.phrase, self._ids[target.members]) for target in targets]
        mark: list[Piece] = [] if operator is Operator.REPLACE else [Mark(operator)]
        pieces = mark + (self.voice.reply(request.reply, names, **request.slots) if request.reply else listing(names))
        united = frozenset().union(*(t.members for t in targets))
        changed = {Operator.ADD: self.selected | united, Operator.CUT: self.selected - united}
        changed[Operator.EXCEPT] = self.scene.outside(united)
        self.members.append(changed.get(operator, united))
        self._phrases.append(targets[-1].phrase)
        self.order += [t for t in targets if all(t.members != known.members for known in self.order)]
        self.taken = [t for t in self.taken if t not in targets] + (targets if operator is Operator.CUT else [])
        self.named += [t for t in targets if t not in self.named]
        self.named.sort(key=lambda t: t is targets[-1])
        self.focus, self._last_form = targets[-1].phrase, request.reply
        self.hops += request.functional
        self._exchange(move, request.text, pieces, regions)
        return True

    def _typed(self, text: str) -> str:
        """A text of the user as it may be typed."""
        return rough(text, self.rng, self.manner.typos) if self.manner.typos else text

    def _drawn(self, targets: list[Target], operator: Operator) -> tuple[Region, ...]:
        """The regions that the next reply draws: of all its targets, or of those that were not named before."""
        index, regions = len(self.turns) + 1, list[Region]()
        for target in targets:
            if self.points and target.members in self._ids:
                continue
            self._regions += 1
            self._ids[target.members] = self._regions
            regions.append(Region(self._regions, target.phrase, self.scene.mask(target), index, operator))
        self._drawn_before += regions
        return tuple(regions)

    def _exchange(
        self, move: str, text: str, pieces: list[Piece], regions: tuple[Region, ...] = (), as_is: bool = False
    ) -> None:
        reply = Turn("assistant", tuple(pieces), regions)
        self.turns += [Turn.user(text if as_is else self._typed(text)), reply]
        self.moves.append(move)
        self.steps = advance(self.steps, reply, self._drawn_before)
