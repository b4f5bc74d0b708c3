"""What can be asked about one photo: its targets, their masks, and what is surely not there.

In: an `AnnotatedPhoto` and the knowledge base; its pixels, where colours are to be named. Out: targets with the names
a person may use, and labels to be refused. Knows no dialogue. Left and right are the picture's, except in the phrases
that a data set brings along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from miras.core.masks import decode_rle, rle_area
from miras.core.types import AnnotatedPhoto, Mask, Rle
from miras.data.dialogues import pairs
from miras.data.dialogues.target import OUTSIDE, SAID, Target, spoken_names
from miras.data.language import colours, coverage, referring
from miras.data.language.knowledge import Entry, Knowledge
from miras.data.language.referring import CLEAR_RATIO, Kin, Thing
from miras.data.language.words import is_mass, is_plural, mirror, plural

MIN_SHARE = 0.0003
"""Share of the photo's pixels that a target needs to be asked for, unless it has instructions of its own."""


@dataclass
class Scene:
    """Targets of a photo; masks are decoded when first asked for.

    refers: whether one of several is a target in every way there is to tell it apart (`referring`), and one of the two
    in a mask of a pair (`pairs`). pixels: (H, W, 3) uint8 RGB as `photo` shows it, to tell by colour; None: no colours.
    """

    photo: AnnotatedPhoto
    knowledge: Knowledge
    refers: bool = False
    pixels: NDArray[np.uint8] | None = None
    targets: list[Target] = field(init=False)
    present: frozenset[str] = field(init=False)
    groups: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        annotations = self.photo.annotations
        self._entries = [self.knowledge.find(a.label, a.phrase) for a in annotations]
        self._masks: dict[frozenset[int], Mask] = {}
        self._boxes = [_box(a.rle) for a in annotations]
        self._areas = [int(rle_tools.area(_packed(a.rle))) for a in annotations]
        self.owner = list(range(len(annotations)))
        self._rles = [a.rle for a in annotations]
        found = [entry for entry in self._entries if entry is not None]
        names = {name for e in found for name in (e.phrase, e.object, e.part if e.object else "", *e.also)}
        names |= {name for a in annotations for name in (a.label, a.phrase, a.phrase.partition(" of the ")[2])}
        self.present = frozenset(names - {""})
        self.groups = frozenset(entry.group for entry in found) | ({"any"} if len(found) < len(annotations) else set())
        self.targets = self._targets()
        if self.refers:
            self._refer()

    def mask(self, target: Target) -> Mask:
        """(H, W) bool: the union of the target's annotations."""
        if target.members not in self._masks:
            parts = [decode_rle(self._rles[i]) for i in sorted(target.members)]
            self._masks[target.members] = np.logical_or.reduce(parts)
        return self._masks[target.members]

    def things(self, target: Target) -> tuple[Mask, ...]:
        """(H, W) bool of each thing of its label."""
        labels = self.labels(target)
        alike = [i for i, owner in enumerate(self.owner) if self.photo.annotations[owner].label in labels]
        return tuple(self.mask(replace(target, members=frozenset((i,)))) for i in alike)

    def noun_phrase(self, target: Target) -> str:
        """What the target is, whatever tells it from others: "cup" for "left cup"."""
        return self.photo.annotations[self.owner[min(target.members)]].phrase if target.kind else target.phrase

    def other(self, target: Target) -> Target | None:
        """What "the other one" means right after `target`: the second of two."""
        if target.sort == "side":
            sides = [t for t in self.targets if t.sort == "side" and t.noun == target.noun]
            twins = [t for t in sides if t.members != target.members]
            return twins[0] if len({t.members for t in twins}) == 1 and self._count(target) == 2 else None
        twin = (self.knowledge.counterparts or {}).get(target.phrase)
        return next((t for t in self.targets if t.phrase == twin and t.sort == "one"), None)

    def labels(self, target: Target) -> frozenset[str]:
        """Labels of its annotations."""
        return frozenset(self.photo.annotations[self.owner[i]].label for i in target.members)

    def kin(self, target: Target) -> int:
        """How many things there are of its label."""
        return self._count(target)

    def outside(self, members: frozenset[int]) -> frozenset[int]:
        """The members of a complement: the other annotations, and `OUTSIDE`."""
        return frozenset((OUTSIDE, *range(len(self.photo.annotations)))) - members

    def within(self, members: frozenset[int]) -> list[Target]:
        """Targets that are a real part of these annotations."""
        return [t for t in self.targets if t.members < members and t.kind != "any"]

    @cached_property
    def shared_uses(self) -> frozenset[str]:
        """Uses of more than one thing in the photo: a question about them has no one answer."""
        uses = Counter(use for entry in {e.phrase: e for e in self._entries if e}.values() for use in set(entry.uses))
        return frozenset(use for use, count in uses.items() if count > 1)

    @cached_property
    def absent(self) -> tuple[list[str], list[str]]:
        """Phrases of things that are surely not there: (hard, easy).

        Hard: labels looked for everywhere in the photo, and parts of objects looked for. Easy: things of places
        that do not go with this photo's, and that its set shows nowhere without a label.
        """
        looked = self.photo.vocabulary - {a.label for a in self.photo.annotations}
        thing = next((e.object for e in self._entries if e is not None and e.object), "")
        near = self.knowledge.near(self.present)
        notes = zip(self.photo.annotations, self._entries, strict=True)
        unknown = {note.phrase for note, entry in notes if entry is None}  # "shears" beside scissors
        hard, easy = [], []
        for label in sorted(looked):
            entry = self.knowledge.find(label, f"{label} of the {thing}")
            phrase = entry.phrase if entry else label
            if phrase not in near:
                hard.append(phrase)
        known = coverage.of(self.photo)
        apart = (self.knowledge.apart(self.groups) if known.apart is None else known.apart) - known.unsure
        for entry in self.knowledge.entries.values():
            if entry.phrase in near or entry.object in near or not unknown.isdisjoint(entry.also):
                continue
            if entry.object and entry.object in looked:
                hard.append(entry.phrase)
            elif entry.group in apart and entry.phrase not in self.photo.vocabulary:
                easy.append(entry.phrase)
        return hard, easy

    def missing(self, phrase: str) -> Target:
        """One of `absent` as a target without annotations, with the names a person may use for it."""
        entry = next((e for e in self.knowledge.entries.values() if e.phrase == phrase), None)
        return Target(phrase, spoken_names(phrase, entry), frozenset(), "one", phrase.split()[-1], entry)

    def _count(self, target: Target) -> int:
        label = self.photo.annotations[self.owner[next(iter(target.members))]].label
        return sum(self.photo.annotations[i].label == label for i in self.owner)

    def _targets(self) -> list[Target]:
        by_label: dict[str, list[int]] = {}
        for index, annotation in enumerate(self.photo.annotations):
            by_label.setdefault(annotation.label, []).append(index)
        targets = [t for label, indices in by_label.items() for t in self._of_label(label, indices)]
        if self.photo.set_name:  # "the pliers" beside needle-nose pliers is not clear
            vague = {label for label in by_label if any(other.endswith(f" {label}") for other in by_label)}
            targets = [t for t in targets if self.photo.annotations[min(t.members)].label not in vague]
        targets += self._whole(by_label)
        least = max(1.0, MIN_SHARE * self.photo.size[0] * self.photo.size[1])
        return [t for t in targets if sum(self._areas[i] for i in t.members) >= (1.0 if t.instructions else least)]

    def _of_label(self, label: str, indices: list[int]) -> list[Target]:
        first = self.photo.annotations[indices[0]]
        entry = self._entries[indices[0]]
        noun = (entry.part if entry and entry.object else first.phrase).split()[-1]
        if len(indices) == 1:
            if label in (self.knowledge.many or {}).get(self.photo.source, ()):
                phrase = plural(first.phrase)
                spoken = (phrase, *spoken_names(first.phrase, entry))
                return [Target(phrase, spoken, frozenset(indices), "one", noun, entry)]
            spoken = spoken_names(first.phrase, entry)
            if coverage.of(self.photo).joined:  # one flower or a bed of them
                spoken = (*spoken, plural(first.phrase))
            return [Target(first.phrase, spoken, frozenset(indices), "one", noun, entry, first.instructions)]
        if not coverage.of(self.photo).each:
            return []  # others may be in sight, so these are not all, and which is leftmost is not known
        several = first.phrase if first.instructions else plural(first.phrase)
        spoken = (several, f"all {several}") if not first.instructions else (several,)
        targets = [Target(several, spoken, frozenset(indices), "all", noun, entry, first.instructions)]
        if not first.instructions and self._has_sides(indices[0]):
            targets += self._sides(first.phrase.partition(" of the ")[0], indices, entry, noun)
        return targets

    def _has_sides(self, index: int) -> bool:
        """Whether one of several of its label may be told from the others: nearly all have a mask, and are counted."""
        known, entry = coverage.of(self.photo), self._entries[index]
        plants = entry is not None and entry.group == "nature" and is_mass(self.photo.annotations[index].phrase)
        return known.each and known.sides and not plants

    def _sides(self, name: str, indices: list[int], entry: Entry | None, noun: str) -> list[Target]:
        """Instances that place or size tells apart."""
        own_sides = entry is not None and entry.group == "car" and bool(entry.object)
        found: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
        for index, side in self._told_apart(indices):
            plain = side.removesuffix("most")
            phrase, spoken = f"{side} {name}", [f"{SAID.get(side, side)} {name}"]
            if mirror(side) != side:
                spoken = [f"{name} on the {plain}", f"{side} {name} in the photo"]
                if own_sides:
                    phrase, spoken = f"{name} on the {plain}", [f"{name} to the {plain}"]
            found.setdefault(index, []).append((phrase, (phrase, *spoken)))
        return [
            Target(phrase, spoken, frozenset((index,)), "side", noun, entry)
            for index, names in found.items()
            for phrase, spoken in names
        ]

    def _told_apart(self, indices: list[int]) -> Iterable[tuple[int, str]]:
        two = len(indices) == 2
        for axis, low, high in ((0, "left", "right"), (1, "upper", "lower")):
            order = sorted(indices, key=lambda i: self._centre(i, axis))
            gap = 0.5 * float(np.mean([self._boxes[i][axis + 2] for i in indices])) + 0.02 * self.photo.size[1 - axis]
            if self._centre(order[1], axis) - self._centre(order[0], axis) > gap and (two or axis == 0):
                yield order[0], low if two else f"{low}most"
            if self._centre(order[-1], axis) - self._centre(order[-2], axis) > gap and (two or axis == 0):
                yield order[-1], high if two else f"{high}most"
        order = sorted(indices, key=lambda i: self._areas[i])
        if self._areas[order[-1]] > CLEAR_RATIO * self._areas[order[-2]]:
            yield order[-1], "larger" if two else "largest"
            if two:
                yield order[0], "smaller"

    def _centre(self, index: int, axis: int) -> float:
        box = self._boxes[index]
        return box[axis] + box[axis + 2] / 2

    def _whole(self, by_label: dict[str, list[int]]) -> list[Target]:
        """The union of all annotations where the data set cuts one object into its parts."""
        names = (self.knowledge.wholes or {}).get(next(iter(self.groups), "")) if len(self.groups) == 1 else None
        if names is None or len(by_label) < 3:
            return []
        return [Target(names[0], names, frozenset(range(len(self.photo.annotations))), "whole", names[0].split()[-1])]

    # One of several

    def _refer(self) -> None:
        """Tell things apart in every way, in place of the few ways of `_sides`."""
        own = [t for t in self.targets if t.sort != "side" or (t.entry is not None and t.entry.group == "car")]
        halves = self._halves()
        self.targets = [replace(t, members=t.members.union(*(halves.get(i, ()) for i in t.members))) for t in own]
        by_label: dict[str, list[int]] = {}
        for index, annotation in enumerate(self.photo.annotations):
            by_label.setdefault(annotation.label, []).append(index)
        lone = {
            self.photo.annotations[first].phrase: self._thing(first)
            for label, (first, *more) in by_label.items()
            if not more and label not in self.photo.uncounted and self._is_thing(first)
        }
        for label, indices in by_label.items():
            if label in self.photo.uncounted or (len(indices) > 1 and not self._has_sides(indices[0])):
                continue
            noun = referring.singular(label)
            twins = [atom for i in indices if i in halves for atom in sorted(halves[i])]
            if noun and len(indices) == 1 and twins:
                self._add(Kin(noun, tuple(map(self._thing, twins)), self.photo.size), self._entries[indices[0]], {})
            elif len(indices) > 1 and not twins and self._is_thing(indices[0]):
                name = self.photo.annotations[indices[0]].phrase.partition(" of the ")[0]
                kin = Kin(name, tuple(map(self._thing, indices)), self.photo.size)
                self._add(kin, self._entries[indices[0]], lone)

    def _is_thing(self, index: int) -> bool:
        """Whether an annotation is told apart from others of its label at all: no part of a car, no ready question."""
        entry, note = self._entries[index], self.photo.annotations[index]
        many = (self.knowledge.many or {}).get(self.photo.source, ())
        return not (note.instructions or note.label in many or (entry and entry.group == "car" and entry.object))

    def _add(self, kin: Kin, entry: Entry | None, lone: Mapping[str, Thing]) -> None:
        """The targets of one label; none of a kind that is too small in part to be seen as it is."""
        least = max(1.0, MIN_SHARE * self.photo.size[0] * self.photo.size[1])
        if any(thing.area < least for thing in kin.things):
            return
        noun = kin.noun.split()[-1]
        tell = None if self.pixels is None else lambda: [self._colours(thing.key) for thing in kin.things]
        for one in (*referring.told_apart(kin, tell), *referring.related(kin, lone)):
            members = frozenset((one.key,))
            target = Target(one.names[0], one.names, members, "side", noun, entry, (), one.kind, one.bare)
            if not any(target.phrase == other.phrase for other in self.targets):
                self.targets.append(target)
        first = referring.prominent(kin)
        if first is not None:
            also = entry.also if entry is not None and not is_plural(entry.phrase) else ()
            spoken, members = (kin.noun, *also), frozenset((first.key,))
            self.targets.append(Target(first.names[0], spoken, members, "side", noun, entry, (), "any"))

    def _halves(self) -> dict[int, frozenset[int]]:
        """Annotation of a pair -> its two members: the annotation's own number is the left one from now on."""
        found = {}
        for index, note in enumerate(self.photo.annotations):
            if referring.singular(note.label) is None or note.instructions:
                continue
            two = pairs.halves(decode_rle(note.rle))
            if two is None:
                continue
            new = len(self.owner)
            self.owner.append(index)
            self._rles[index], right = two
            self._rles.append(right)
            self._boxes[index], self._areas[index] = _box(two[0]), rle_area(two[0])
            self._boxes.append(_box(right))
            self._areas.append(rle_area(right))
            found[index] = frozenset((index, new))
        return found

    def _thing(self, index: int) -> Thing:
        x, y, w, h = self._boxes[index]
        return Thing(index, (x, y, w, h), self._areas[index])

    def _colours(self, index: int) -> dict[str, float]:
        assert self.pixels is not None
        return colours.shares(self.pixels[decode_rle(self._rles[index])])


def _packed(rle: Rle) -> Rle:
    """The RLE as pycocotools wants it (bytes)."""
    counts = rle["counts"]
    return {"size": rle["size"], "counts": counts.encode("ascii") if isinstance(counts, str) else counts}


def _box(rle: Rle) -> tuple[float, ...]:
    """XYWH in pixels."""
    return tuple(float(v) for v in rle_tools.toBbox(_packed(rle)))
