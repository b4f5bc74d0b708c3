"""What the labels of a training set leave out: the one place that says where unlabelled does not mean absent.

In: a photo of a set. Out: its `Coverage`. Knows no file. Judged by looking at the photos of each set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from miras.core.types import AnnotatedPhoto


@dataclass(frozen=True, slots=True)
class Coverage:
    """looked: labels that were looked for in every photo; None = all that the reader says. apart: groups of the
    knowledge base that are never in sight in this set, labelled or not; None = those that do not go with what is
    labelled. unsure: groups that may be in sight without a label, taken from these. each: whether every instance of
    a kind that has a mask has one, sides: so surely that one may be told by its place or size among them. joined:
    whether one mask joins all of a kind."""

    looked: frozenset[str] | None = None
    apart: frozenset[str] | None = None
    unsure: frozenset[str] = frozenset()
    each: bool = True
    sides: bool = True
    joined: bool = False


def of(photo: AnnotatedPhoto) -> Coverage:
    """What the set of a photo covers; a photo of no set (`limited`) was labelled as its reader says.

    The name of its source does not tell: anybody may have a folder of flowers.
    """
    return COVERAGE.get(photo.set_name, _FULL)


def limited(photo: AnnotatedPhoto) -> AnnotatedPhoto:
    """A photo of one of the sets, told as such, with only those labels in its vocabulary that are looked for always."""
    looked = COVERAGE[photo.source].looked
    vocabulary = photo.vocabulary if looked is None else photo.vocabulary & looked
    return replace(photo, vocabulary=vocabulary, set_name=photo.source)


def _groups(names: str) -> frozenset[str]:
    return frozenset(names.split())


def _only(apart: str, *, looked: str = "", each: bool = True, sides: bool = True, joined: bool = False) -> Coverage:
    """A set that labels one kind of thing. apart: groups, with spaces between; looked: labels, with commas between."""
    labels = frozenset(looked.split(", ")) if looked else frozenset[str]()
    return Coverage(labels, _groups(apart), each=each, sides=sides, joined=joined)


_FULL = Coverage()
COVERAGE: Mapping[str, Coverage] = {
    # 80 things, no stuff: a towel, a cabinet or a fruit that is none of the 80 has no label.
    "coco-more": Coverage(
        unsure=_groups(
            "accessory bedding building clothing food furniture ground nature opening sport surface textile toy"
        )
    ),
    "tools": _only("animal bath bedding flower food kitchen pet transport vehicle"),
    "furniture": _only("animal car street tool transport", each=False),
    "facades": _only(
        "animal appliance bath bedding electronics food kitchen sport tool", looked="window, balcony railing, car"
    ),
    "pantry": _only("animal bath bedding car electronics pet street tool transport vehicle", sides=False),
    "animals": _only("appliance bath bedding car electronics kitchen tool"),
    "faces": _only(
        "animal appliance bath bedding car flower food garden kitchen pet sport street tool transport vehicle"
    ),
    "beasts": _only("appliance bath bedding electronics kitchen tool", joined=True),
    "pets": _only("animal car street tool transport", joined=True),
    "bottles": _only("animal transport", sides=False),
    "flowers": _only(
        "animal appliance bath bedding car electronics kitchen pet sport tool transport vehicle", joined=True
    ),
    "nails": _only("animal appliance garden pet sport tool transport"),
}
"""Set -> its coverage. Sets that are not named here label all that they look for."""
