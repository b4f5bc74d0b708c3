"""The grounded teacher: reasoning questions, their tree and dialogues from what annotators drew and people know.

In: a `Scene` (annotated photo and knowledge base). Out: elements, scored questions, paths of a reasoning tree,
each ending in one target. The paper's three steps (visible elements; reasoning questions in a tree with
shared nodes; one dialogue a path) without a language model. Knows no wording and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from miras.core.masks import box_of
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.language.knowledge import Entry, says_label
from miras.data.language.phrasing import pick

T = TypeVar("T")
WEAK = 1
"""Score of a question that fits more than one thing in the photo, or names its answer: dropped."""
DIRECT, DEEP = 2, 3
PROPERTIES = ("ask_without", "ask_touches", "ask_use", "ask_what", "ask_place")
"""What may be asked about a thing once it is found; the answers are words."""
MOST_HOPS = 6
_HUMAN = 2
_NOT_FOR_USE = frozenset({"person"})
"""Groups of which nobody asks what they are for."""
_PLACE_LAST = 0.8
_APART, _NEAR = 0.75, 0.35
_RELATIONS = {(1, 1): "just below", (1, -1): "just above", (0, 1): "to the right of", (0, -1): "to the left of"}


@dataclass(frozen=True)
class Question:
    """One way to ask for a target. sort: the wording it takes ("question", "use", "what", "touches",
    "without", "instruction"). score: 1 weak, 2 direct, 3 needs common sense about the target."""

    sort: str
    content: str
    score: int


@dataclass(frozen=True)
class Step:
    """One exchange. move: "object" (name the object shown), "target" (ask for a thing by reasoning), one of
    PROPERTIES, or "close". relation: how the target lies to the one before ("just below", "within"), or ""."""

    move: str
    target: Target | None
    question: Question | None = None
    answer: str = ""
    relation: str = ""

    @property
    def key(self) -> str:
        """What the tree calls this step."""
        name = self.target.phrase if self.target else self.answer
        return ":".join((self.move, name, self.relation, self.question.sort if self.question else ""))


Path = tuple[Step, ...]


def elements(scene: Scene) -> list[Target]:
    """Step 1: what can be seen and told apart by name alone, in the order of the annotations."""
    return [target for target in scene.targets if target.sort != "side"]


def questions(scene: Scene, target: Target) -> list[Question]:
    """Step 2a: all questions for a target, scored; weak ones are dropped."""
    entry = entry_of(scene, target)
    found = [Question("instruction", text, DEEP) for text in target.instructions[:_HUMAN]]
    if entry is not None:
        found += [Question("question", text, DIRECT) for text in entry.questions]
        found += [Question("use", text, DIRECT) for text in entry.uses]
        texts = (("what", entry.what), ("touches", entry.touches), ("without", entry.without))
        scores = {"what": DIRECT, "touches": DIRECT, "without": DEEP}
        found += [Question(sort, text, scores[sort]) for sort, text in texts if text]
    shared = _shared(scene)
    strong = []
    for question in found:
        weak = question.sort != "instruction" and (
            shared[question.content] > 1 or (entry is not None and says_label(entry, question.content))
        )
        if not weak:
            strong.append(question)
    return strong


def entry_of(scene: Scene, target: Target) -> Entry | None:
    """What is known of a target; of the union of all parts, what is known of the whole."""
    return target.entry or scene.knowledge.entries.get(target.phrase)


def object_of(scene: Scene, target: Target) -> str:
    """The object a part belongs to when the photo's annotators drew nothing else of it, "" otherwise."""
    entry = target.entry
    thing = entry.object if entry is not None else target.phrase.partition(" of the ")[2]
    return thing if target.instructions and not any(t.phrase == thing for t in scene.targets) else ""


def path(scene: Scene, target: Target, hops: int, rng: np.random.Generator) -> Path | None:
    """Step 2b: a path of the tree: `hops` exchanges that lead to a target, and the closing one.

    None when the target allows no such path. Before the target stand the object it belongs to, or something
    beside it; after it, what can be said about it.
    """
    asked = questions(scene, target)
    if not asked or not 1 <= hops <= MOST_HOPS:
        return None
    question = pick(rng, asked, [q.score for q in asked])
    for before in _shuffled(range(min(hops, 4)), rng):
        lead = _lead(scene, target, before, rng)
        if lead is None:
            continue
        relation = _relation_to(scene, lead, target)
        told = [step.move for step in lead]
        after = properties(scene, target, (f"ask_{question.sort}", *told), rng)
        if len(after) < hops - 1 - len(lead):
            continue
        tail = tuple(after[: hops - 1 - len(lead)])
        return (*lead, Step("target", target, question, relation=relation), *tail, Step("close", target))
    return None


def nodes(paths: Iterable[Path]) -> dict[tuple[str, ...], list[int]]:
    """The tree of a photo's paths: node (keys from the root on) -> the paths that pass through it."""
    through: dict[tuple[str, ...], list[int]] = {}
    for number, steps in enumerate(paths):
        for depth in range(len(steps)):
            through.setdefault(tuple(step.key for step in steps[: depth + 1]), []).append(number)
    return through


def properties(scene: Scene, target: Target, leave: Sequence[str], rng: np.random.Generator) -> list[Step]:
    """What can be said about a target once it is found, in random order, where it is mostly last."""
    entry = entry_of(scene, target)
    said = {"ask_place": place(scene, target)}
    if entry is not None and entry.group not in _NOT_FOR_USE:
        said |= {"ask_without": entry.without, "ask_touches": entry.touches, "ask_what": entry.what}
        said["ask_use"] = pick(rng, entry.uses) if entry.uses else ""
    moves = _shuffled([move for move in PROPERTIES if said.get(move) and move not in leave], rng)
    if rng.random() < _PLACE_LAST:
        moves.sort(key=lambda move: move == "ask_place")
    return [Step(move, target, answer=said[move]) for move in moves]


def place(scene: Scene, target: Target) -> str:
    """Where in the picture a target is, in words; "" for one that is nearly everywhere."""
    box = box_of(scene.mask(target))
    height, width = scene.photo.size
    if box is None or (box[2] - box[0]) * (box[3] - box[1]) > 0.5 * height * width:
        return ""
    x, y = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    column = "left" if x < 0.36 else "right" if x > 0.64 else ""
    row = "upper" if y < 0.36 else "lower" if y > 0.64 else ""
    if row and column:
        return f"in the {row} {column} of the picture"
    if column:
        return f"on the {column} side of the picture"
    return {"upper": "near the top of the picture", "lower": "near the bottom of the picture"}.get(
        row, "in the middle of the picture"
    )


def relation(scene: Scene, first: Target, second: Target) -> str:
    """How `second` lies to `first` in the picture: "within", "just below", ...; "" when that is not clear."""
    if second.members < first.members:
        return "within"
    if first.members & second.members:
        return ""
    a, b = box_of(scene.mask(first)), box_of(scene.mask(second))
    if a is None or b is None:
        return ""
    for axis in (1, 0):
        centres = (b[axis] + b[axis + 2] - a[axis] - a[axis + 2]) / 2
        sizes = (b[axis + 2] - b[axis] + a[axis + 2] - a[axis]) / 2
        other = 1 - axis
        overlap = min(a[other + 2], b[other + 2]) - max(a[other], b[other])
        gap = abs(centres) - sizes
        if abs(centres) > _APART * sizes and overlap > 0 and gap < _NEAR * sizes:
            return _RELATIONS[axis, 1 if centres > 0 else -1]
    return ""


def _lead(scene: Scene, target: Target, count: int, rng: np.random.Generator) -> Path | None:
    """`count` exchanges before the target: the object shown, or things beside it, and what is said of them."""
    if count == 0:
        return ()
    thing = object_of(scene, target)
    if thing:
        return _object_lead(scene, target, thing, count, rng)
    near = [t for t in elements(scene) if t.members != target.members and relation(scene, t, target)]
    for first in _shuffled(near, rng):
        entry = target.entry
        asked = questions(scene, first)
        if not asked:
            continue
        question = pick(rng, asked)
        steps = [Step("target", first, question)]
        said = [
            step
            for step in properties(scene, first, (f"ask_{question.sort}",), rng)
            if entry is None or not says_label(entry, step.answer)
        ]
        if len(said) >= count - 1:
            return (*steps, *said[: count - 1])
    return None


def _object_lead(scene: Scene, target: Target, thing: str, count: int, rng: np.random.Generator) -> Path | None:
    """The object is not annotated, so it is named in words, and what is known of it."""
    entry = scene.knowledge.entries.get(thing)
    steps = [Step("object", None, answer=thing)]
    facts = {} if entry is None else {"ask_without": entry.without, "ask_what": entry.what}
    if entry is not None and entry.uses:
        facts["ask_use"] = pick(rng, entry.uses)
    safe = [
        move for move, text in facts.items() if text and (target.entry is None or not says_label(target.entry, text))
    ]
    if len(safe) < count - 1:
        return None
    steps += [Step(move, None, answer=facts[move]) for move in _shuffled(safe, rng)[: count - 1]]
    return tuple(steps)


def _relation_to(scene: Scene, lead: Path, target: Target) -> str:
    found = [step.target for step in lead if step.target is not None]
    return relation(scene, found[-1], target) if found else "within" if lead else ""


def _shared(scene: Scene) -> Counter[str]:
    """How many different things of the photo each text could mean."""
    counts: Counter[str] = Counter()
    seen = {entry.phrase: entry for t in scene.targets if (entry := entry_of(scene, t)) is not None}
    for entry in seen.values():
        counts.update({*entry.questions, *entry.uses, entry.what, entry.touches, entry.without})
    return counts


def _shuffled(items: Iterable[T], rng: np.random.Generator) -> list[T]:
    listed = list(items)
    return [listed[i] for i in rng.permutation(len(listed))]
