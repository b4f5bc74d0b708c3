"""What can be asked for in a photo: a target, and the names that a person may use for it.

In: a phrase, an entry of the knowledge base. Out: `Target`, spoken names. Knows no photo: `scene` finds its targets.
"""

from __future__ import annotations

from dataclasses import dataclass

from miras.data.language.knowledge import Entry

OUTSIDE = -1
"""Stands for what of the photo no annotation covers, among the members of a selection."""


@dataclass(frozen=True)
class Target:
    """Something that can be asked for.

    phrase: its canonical name. spoken: bare names a person may use for it. members: indices of the
    annotations it unites (`Scene.owner` of those past the annotations). sort: "one", "all" (every instance of a
    label), "side" (one of several, told by place or size), "whole" (all annotations). noun: what "the other ..." calls
    it. kind: what tells it apart, see `referring.KINDS`; "" where the scene does not refer. bare: names of it after its
    kind was named ("second from the left").
    """

    phrase: str
    spoken: tuple[str, ...]
    members: frozenset[int]
    sort: str
    noun: str
    entry: Entry | None = None
    instructions: tuple[str, ...] = ()
    kind: str = ""
    bare: tuple[str, ...] = ()


SAID = {"upper": "top", "lower": "bottom", "larger": "bigger", "smaller": "small", "largest": "biggest"}


def spoken_names(phrase: str, entry: Entry | None) -> tuple[str, ...]:
    """Bare names a person may use, the canonical one first."""
    names = [phrase]
    part, joint, thing = phrase.partition(" of the ")
    if joint:
        short = part if thing == "car" else f"{thing} {part}"
        names += [short, f"{thing}'s {part}", f"{part} on the {thing}", f"{part} of this {thing}"]
    if entry is not None:
        names += entry.also
    return tuple(names)
