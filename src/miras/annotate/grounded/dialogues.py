"""Step 3 of the grounded teacher: one dialogue for each path of the reasoning tree.

In: a path, its scene, a random generator. Out: an `Example` of kind "progressive" whose replies carry the
masks of what they select, and whose last reply is the focus. Wordings: `knowledge/grounded.yaml`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from miras.annotate.grounded.tree import Path, Step, entry_of, nodes
from miras.core.types import Conversation, Example, Piece, Region, Turn
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.language import phrasing
from miras.data.language.phrasing import Phrasing, lower_first, pick
from miras.data.language.words import is_plural

_AGREES = {"is": "are", "was": "were", "does": "do", "Is": "Are", "Does": "Do"}
_MANY = (
    (r"\b([Ii])t (is|was)\b", lambda m: f"{_they(m[1])} {'are' if m[2] == 'is' else 'were'}"),
    (r"\b(is|was|does|Is|Does) it\b", lambda m: _AGREES[m[1]] + " they"),
    (r"\b([Ii])t (would|can|could|must)\b", lambda m: f"{_they(m[1])} {m[2]}"),
    (r"\b([Ii])t (\w+?)(e?s)\b", lambda m: f"{_they(m[1])} {_verb(m[2], m[3])}"),
    (r"\bits\b", lambda m: "their"),
    (r"\bit\b", lambda m: "them"),
)


def dialogue(scene: Scene, path: Path, rng: np.random.Generator, heldout: bool = False) -> Example:
    """The example of one path. heldout: only wordings that the training split never shows.

    hops: exchanges before the closing one. meta: "path" (keys from the root), "moves" (index of the assistant turn
    -> step), "functional" (indices of the user turns that ask without naming), "part", "score" of the question.
    """
    builder = _Builder(scene, rng, heldout)
    for step in path:
        builder.take(step)
    target = path[-1].target
    assert target is not None
    asked = next(step for step in reversed(path) if step.question is not None)
    entry = entry_of(scene, target)
    return Example(
        image=scene.photo.path,
        conversation=Conversation(tuple(builder.turns)),
        focus=target.phrase,
        kind="progressive",
        hops=len(path) - 1,
        source=scene.photo.source,
        meta={
            "photo": scene.photo.id, "heldout": heldout, "path": [step.key for step in path],
            "moves": {2 * n + 1: step.move for n, step in enumerate(path)},
            "functional": [2 * n for n, step in enumerate(path) if step.move == "target"],
            "part": bool(entry is not None and entry.object) or bool(target.instructions),
            "score": asked.question.score if asked.question else 0,
        },
    )  # fmt: skip


def shared_nodes(paths: list[Path]) -> list[int]:
    """For each path of a photo: how many of its nodes another path passes through as well."""
    through = nodes(paths)
    return [
        sum(len(through[tuple(s.key for s in path[: depth + 1])]) > 1 for depth in range(len(path))) for path in paths
    ]


class _Builder:
    """The dialogue while it grows. last: what "it" means now."""

    def __init__(self, scene: Scene, rng: np.random.Generator, heldout: bool) -> None:
        self.scene, self.rng, self.heldout = scene, rng, heldout
        self.turns: list[Turn] = []
        self.last = ""
        self._regions = 0

    def take(self, step: Step) -> None:
        """Append the exchange of a step."""
        if step.move == "target":
            self._ask(step)
        elif step.move == "close":
            assert step.target is not None
            self._select(self._say("close"), "close", step.target)
        elif step.move == "object":
            self._words(self._say("object"), "object", phrase=step.answer)
            self.last = step.answer
        else:
            slot = step.move.removeprefix("ask_")
            self._words(self._say(step.move), step.move, **{slot: step.answer})

    def _ask(self, step: Step) -> None:
        target, question = step.target, step.question
        assert target is not None and question is not None
        entry = entry_of(self.scene, target)
        which = "part" if entry is not None and entry.object else "thing"
        if question.sort == "instruction":
            text = question.content
        else:
            slots = {question.sort: question.content, "which": which}
            if question.sort == "question":
                slots["lower"] = lower_first(question.content)
            if step.relation:  # one frame around the bare question
                text = question.content if question.sort == "question" else self._bare(question.sort, slots)
                frame = "within" if step.relation == "within" else "beside"
                text = self._say(frame, question=text, lower=lower_first(text), relation=step.relation)
            else:
                text = self._say(question.sort, many=False, **slots)
        sort = {"instruction": "question", "use": "use" if which == "part" else "use_thing"}.get(
            question.sort, question.sort
        )
        self._select(text, sort, target, **{question.sort: question.content})

    def _say(self, move: str, many: bool | None = None, **slots: Any) -> str:
        plural = is_plural(self.last) if many is None and self.last else bool(many)
        return _wordings(plural).say(move, self.rng, heldout=self.heldout, **slots)

    def _bare(self, move: str, slots: dict[str, str]) -> str:
        """A question as it is written, without the variation of `Phrasing.say`."""
        wordings = _wordings(False)
        text = pick(self.rng, (wordings.heldout if self.heldout else wordings.train)[move]).format_map(slots)
        return text[:1].upper() + text[1:]

    def _select(self, text: str, sort: str, target: Target, **slots: str) -> None:
        index, self._regions = len(self.turns) + 1, self._regions + 1
        region = Region(self._regions, target.phrase, self.scene.mask(target), index)
        pieces = _wordings(is_plural(target.phrase)).answer(sort, self.rng, [(target.phrase, region.id)], **slots)
        self._exchange(text, pieces, (region,))
        self.last = target.phrase

    def _words(self, text: str, sort: str, **slots: str) -> None:
        self._exchange(text, _wordings(bool(self.last) and is_plural(self.last)).answer(sort, self.rng, (), **slots))

    def _exchange(self, text: str, pieces: list[Piece], regions: tuple[Region, ...] = ()) -> None:
        self.turns += [Turn.user(text), Turn("assistant", tuple(pieces), regions)]


@lru_cache(maxsize=2)
def _wordings(many: bool) -> Phrasing:
    """The wordings; many: "it" becomes "they" or "them"."""
    raw = yaml.safe_load((files("miras.annotate.grounded") / "knowledge" / "grounded.yaml").read_text("utf-8"))
    return phrasing.parse(_plural(raw) if many else raw)


def _plural(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plural(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plural(inner) for inner in value]
    for pattern, spoken in _MANY:
        value = re.sub(pattern, spoken, value)
    return value


def _they(letter: str) -> str:
    return "They" if letter == "I" else "they"


def _verb(stem: str, ending: str) -> str:
    """The plural of a verb: helps -> help, touches -> touch, serves -> serve."""
    return stem if ending == "s" or stem.endswith(("ch", "sh", "ss")) else f"{stem}e"
