"""Which of several things of a kind can be told apart, and by which words: place, row, size, colour, company.

In: the things of a photo that carry one label, with boxes, areas and colours, and the lone things beside them. Out:
`Found`, a thing with its names. Whatever is not clear to everybody has no name. Knows no mask and no dialogue. Left and
right are the picture's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

from miras.data.language import colours
from miras.data.language.phrasing import Phrasing, parse
from miras.data.language.words import is_mass, is_plural, plural

CLEAR_RATIO = 1.8
"""How many times larger "the larger one" is at least."""
MOST_IN_ROW = 8
"""Things of a kind beyond which nobody counts them off."""
FURTHEST_COUNTED = 4
MOST_COLOURED = 8
LEAST_COLOURED = 0.002
"""Share of the photo's pixels below which nobody tells the colour."""
COLOUR_SHARE: Mapping[str, tuple[float, float]] = {"thing": (0.55, 0.15), "person": (0.35, 0.08)}
"""Least share of its own pixels, most of any other's: what a person wears is only a part of the person."""
_NEAR, _NEARER = 0.5, 3.0
"""Gap to "the dog" in widths of the two that "next to" allows; how many times further every other is."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_NUMBERS = ("one", "two", "three", "four", "five")
_SHORT = ("1st", "2nd", "3rd", "4th", "5th")
KINDS = ("place", "row", "size", "colour", "relation")
"""What tells a thing apart. "any": nothing does, it was asked for as if it were alone."""


@dataclass(frozen=True)
class Thing:
    """One of several. key: whatever the caller knows it by. box: XYWH in pixels. area: pixels."""

    key: int
    box: tuple[float, float, float, float]
    area: int

    def centre(self, axis: int) -> float:
        """x (axis 0) or y (axis 1)."""
        return self.box[axis] + self.box[axis + 2] / 2


@dataclass(frozen=True)
class Found:
    """A thing that is told apart. names: with the noun, the canonical one first; bare: with "one" in its place."""

    key: int
    kind: str
    names: tuple[str, ...]
    bare: tuple[str, ...]


@dataclass(frozen=True)
class Kin:
    """All things of one label in a photo of size (H, W). noun: one of them."""

    noun: str
    things: tuple[Thing, ...]
    size: tuple[int, int]

    @property
    def countable(self) -> bool:
        """Whether "the second ..." can be said of it."""
        return len(self.things) > 1 and not is_plural(self.noun) and not is_mass(self.noun)


def told_apart(kin: Kin, colours_of: Callable[[], Sequence[Mapping[str, float]]] | None = None) -> Iterator[Found]:
    """By place, row, size and colour. colours_of: shares of colours of each thing, asked for when they are needed."""
    if not kin.countable:
        return
    yield from _by_place(kin)
    yield from _by_size(kin)
    if colours_of is not None and len(kin.things) <= MOST_COLOURED:
        yield from _by_colour(kin, colours_of())


def related(kin: Kin, lone: Mapping[str, Thing]) -> Iterator[Found]:
    """By what stands beside. lone: name -> the only thing of that name."""
    if not kin.countable:
        return
    forms = wordings()
    for name, anchor in lone.items():
        if is_mass(name):
            continue
        way = _way(kin, name, anchor, forms["had"])
        if way is None:
            continue
        sort, thing = way
        yield _found(thing.key, "relation", forms[sort], kin.noun, a=name)


def prominent(kin: Kin) -> Found | None:
    """The one that "the cup" means among several: the largest, or else the one at the left; None when neither is
    clear."""
    if not kin.countable:
        return None
    found = {one.names[0].partition(" ")[0]: one for one in (*_by_size(kin), *_by_place(kin))}
    return next((found[word] for word in ("larger", "largest", "left", "leftmost") if word in found), None)


def singular(label: str) -> str | None:
    """One of the two that a label joins: "shoe" for "shoes"; None for other labels."""
    return {str(key): str(value) for key, value in wordings()["pairs"].items()}.get(label)


@lru_cache(maxsize=1)
def phrasing() -> Phrasing:
    """What is said of one of several without its noun, and the replies."""
    raw = wordings()
    return parse({"one": raw["ask"], "others": raw["others"], "reply": raw["reply"]})


@lru_cache(maxsize=1)
def wordings() -> dict[str, Any]:
    """knowledge/referring.yaml, read once."""
    text = (files("miras.data.language") / "knowledge" / "referring.yaml").read_text("utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    return raw


def _found(key: int, kind: str, forms: Sequence[str], noun: str, **slots: str) -> Found:
    names = [form.format(n=noun, s=plural(noun), **slots) for form in forms]
    bare = [form.format(n="one", s="two", **slots) for form in forms if "{s}" not in form]
    if kind == "row":
        bare.insert(0, f"{slots['nth']} from the {slots['side']}")
    return Found(key, kind, tuple(dict.fromkeys(names)), tuple(dict.fromkeys(bare)))


def _by_place(kin: Kin) -> Iterator[Found]:
    forms, things = wordings(), kin.things
    two = len(things) == 2
    for axis, names in enumerate(
        (("left", "right", "leftmost", "rightmost"), ("upper", "lower", "topmost", "bottommost"))
    ):
        order = sorted(things, key=lambda thing: thing.centre(axis))
        clear = _gaps(order, axis, kin.size)
        low, high = names[:2] if two else names[2:]
        if clear[0]:
            yield _found(order[0].key, "place", forms["place"][low], kin.noun)
        if clear[-1]:
            yield _found(order[-1].key, "place", forms["place"][high], kin.noun)
        if axis == 0 and 2 < len(things) <= MOST_IN_ROW:
            yield from _in_row(order, clear, kin.noun)


def _in_row(order: Sequence[Thing], clear: Sequence[bool], noun: str) -> Iterator[Found]:
    forms = wordings()
    if len(order) in (3, 5) and all(clear):
        yield _found(order[len(order) // 2].key, "place", forms["place"]["middle"], noun)
    for side, row, gaps in (("left", order, clear), ("right", order[::-1], clear[::-1])):
        for at in range(1, min(len(row) - 1, FURTHEST_COUNTED)):
            if not all(gaps[: at + 1]):
                break
            slots = {"nth": _ORDINALS[at], "number": _NUMBERS[at], "short": _SHORT[at], "side": side}
            yield _found(row[at].key, "row", forms["row"][side], noun, **slots)


def _gaps(order: Sequence[Thing], axis: int, size: tuple[int, int]) -> list[bool]:
    """Whether each is clearly before the next."""
    least = 0.5 * float(np.mean([thing.box[axis + 2] for thing in order])) + 0.02 * size[1 - axis]
    return [after.centre(axis) - before.centre(axis) > least for before, after in pairwise(order)]


def _by_size(kin: Kin) -> Iterator[Found]:
    forms, order = wordings()["size"], sorted(kin.things, key=lambda thing: thing.area)
    two = len(order) == 2
    if order[-1].area > CLEAR_RATIO * order[-2].area:
        yield _found(order[-1].key, "size", forms["larger" if two else "largest"], kin.noun)
    if order[1].area > CLEAR_RATIO * order[0].area:
        yield _found(order[0].key, "size", forms["smaller" if two else "smallest"], kin.noun)


def _by_colour(kin: Kin, shares: Sequence[Mapping[str, float]]) -> Iterator[Found]:
    sort = "person" if kin.noun in wordings()["owners"] else "thing"
    least, most = COLOUR_SHARE[sort]
    seen = LEAST_COLOURED * kin.size[0] * kin.size[1]
    for at, thing in enumerate(kin.things):
        if thing.area < seen:
            continue
        others = [share for n, share in enumerate(shares) if n != at]
        name = colours.clear(shares[at], others, least, most)
        if name:
            yield _found(thing.key, "colour", wordings()["colour"][sort], kin.noun, c=name)


def _way(
    kin: Kin, name: str, anchor: Thing, had: Mapping[str, Sequence[str]]
) -> tuple[str, Thing] | None:  # fmt: skip
    """How one of the things, and no other, belongs to the anchor."""
    forms = wordings()
    if kin.noun in forms["owners"]:
        for sort, names in had.items():
            if name in names:
                thing = _owner(kin.things, anchor)
                return None if thing is None else (sort, thing)
    for sort, names, share in (("in", forms["holders"], 0.9), ("on", forms["supports"], 0.75)):
        if name in names and kin.noun not in names:
            inside = [_inside(_base(thing) if sort == "on" else thing, anchor) for thing in kin.things]
            best = int(np.argmax(inside))
            if (
                inside[best] > share
                and max(inside[:best] + inside[best + 1 :]) < 0.1
                and anchor.area > kin.things[best].area
            ):
                return sort, kin.things[best]
            return None
    thing = _nearest(kin.things, anchor, kin.size)
    return None if thing is None else ("beside", thing)


def _owner(things: Sequence[Thing], anchor: Thing) -> Thing | None:
    """Whose box holds most of what is had, while no other's holds a bit of it."""
    wide = [_grown(thing, 0.12) for thing in things]
    inside = [_inside(anchor, box) for box in wide]
    best = int(np.argmax(inside))
    alone = max(inside[:best] + inside[best + 1 :]) < 0.15
    return things[best] if inside[best] > 0.6 and alone else None


def _nearest(things: Sequence[Thing], anchor: Thing, size: tuple[int, int]) -> Thing | None:
    """Which stands next to the anchor, beside it rather than in or on it, while every other is far."""
    far = [_gap(thing, anchor) for thing in things]
    best = int(np.argmin(far))
    thing = things[best]
    width = min(max(thing.box[2:]), max(anchor.box[2:]))
    others = far[:best] + far[best + 1 :]
    beside = _inside(thing, anchor) < 0.3 and _inside(anchor, thing) < 0.3
    level = abs(thing.centre(1) - anchor.centre(1)) < 0.5 * max(thing.box[3], anchor.box[3])
    like = 0.1 < thing.area / max(anchor.area, 1) < 10
    near = far[best] < _NEAR * width and min(others) > max(_NEARER * far[best], width, 0.1 * max(size))
    return thing if near and beside and level and like else None


def _base(thing: Thing) -> Thing:
    """The lowest fifth of its box: where it stands."""
    x, y, w, h = thing.box
    return Thing(thing.key, (x, y + 0.8 * h, w, 0.2 * h), thing.area)


def _grown(thing: Thing, by: float) -> Thing:
    x, y, w, h = thing.box
    return Thing(thing.key, (x - by * w, y - by * h, (1 + 2 * by) * w, (1 + 2 * by) * h), thing.area)


def _inside(small: Thing, large: Thing) -> float:
    """Share of the first box that lies in the second."""
    sides = [
        min(small.box[a] + small.box[a + 2], large.box[a] + large.box[a + 2]) - max(small.box[a], large.box[a])
        for a in (0, 1)
    ]
    return max(sides[0], 0.0) * max(sides[1], 0.0) / max(small.box[2] * small.box[3], 1.0)


def _gap(one: Thing, other: Thing) -> float:
    """Pixels between two boxes, 0 when they touch."""
    apart = [
        max(one.box[a] - other.box[a] - other.box[a + 2], other.box[a] - one.box[a] - one.box[a + 2], 0.0)
        for a in (0, 1)
    ]
    return float(np.hypot(apart[0], apart[1]))
