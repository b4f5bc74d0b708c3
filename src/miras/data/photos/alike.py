"""Photos of the training sets that must stay on one side of the split though their names differ.

In: the source and id of a photo. Out: the name of its group. Found once with a perceptual hash (the signs of 64
low frequencies of the photo's brightness, also mirrored and turned; at most 8 of 64 differ) and by looking: two
names in one row are the same photo, the same person, or much the same view. Knows no split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_COPY = re.compile(r"(?P<base>.+)-[0-9a-f]{8}")
"""A name with the hash that tells copies of one photo apart."""
_FILM = re.compile(r"(?P<day>2023-08-1[47])(?:-\d\d){3}|(?P<other>20231102)\d{6}")
_PERSON = re.compile(r"pose-(?P<person>\d\d)")
_MINUTE = re.compile(r"(?P<minute>\d{8}-\d{4})\d\d-.*")
_SHOT = re.compile(r"img-(?P<number>\d+)-.*")
SHOTS_TOGETHER = 10
"""Numbers of a camera's photos that stay on one side: neighbours show one building."""


def base_of(id: str) -> str:
    """The name of a photo without the hash of its copy."""
    copy = _COPY.fullmatch(id)
    return copy["base"] if copy else id


def group(source: str, id: str) -> str:
    """What a photo stays together with: its own base name, or the first name of its row, its film, its person."""
    if source not in RULES:
        return id
    name = base_of(id)
    return RULES[source](_FIRST.get(source, {}).get(name, name))


def _film(name: str) -> str:
    """A whole day of filming: the same tools lie on the same table."""
    film = _FILM.fullmatch(name)
    return f"film-{film['day'] or film['other']}" if film else name


def _building(name: str) -> str:
    """A minute of a walk, or neighbouring numbers."""
    walk, shot = _MINUTE.fullmatch(name), _SHOT.fullmatch(name)
    if walk:
        return walk["minute"]
    return f"img-{int(shot['number']) // SHOTS_TOGETHER}" if shot else name


def _face(name: str) -> str:
    person = _PERSON.match(name)
    return f"person-{person['person']}" if person else name


def _itself(name: str) -> str:
    return name


RULES: Mapping[str, Callable[[str], str]] = {
    "coco-more": _itself, "tools": _film, "furniture": _itself, "facades": _building, "pantry": _itself,
    "animals": _itself, "faces": _face, "beasts": _itself, "pets": _itself, "bottles": _itself, "flowers": _itself,
    "nails": _itself,
}  # fmt: skip
"""Source -> the rule for its names. Sources that are not named are grouped by their ids."""

ALIKE: Mapping[str, tuple[str, ...]] = {
    "tools": (
        "000157 pliers06",
        "2 25 images200 kakaotalk-20230405-195529417 kakaotalk-20230405-200154631 screwdriver-686 wrench01",
        "4 41ybqzrjsgl",
        "8 screw-driver817",
        "caliper-28 tool-171",
        "caliper-36 caliper-40",
        "caliper-55 caliper-90",
        "flachrundzange-323307 radiopliers08",
        "hammer-1034 screwdriver-403",
        "yellow-set-tools-black-background-1303-20313 yellow-set-tools-black-background-1303-20314",
    ),
    "furniture": (
        "img1399 img361",
        "img479 img655",
        "img799 img879",
    ),
    "facades": ("20230329-203227-667-r-scaled-0 20230329-203231-567-r-scaled-0",),
    "animals": ("01-p1-ab-avi0 01-p1-ab-avi1",),
    "faces": (
        "front-test-01 front-train-03",
        "front-test-03 front-train-01",
        "front-test-05 front-train-06",
        "front-test-10 front-test-27 front-test-38 front-test-40 front-test-44 front-test-50 "
        "front-train-13 front-train-20",
        "front-test-11 front-test-30",
        "front-test-13 front-train-17",
        "front-test-17 front-train-16",
        "front-test-19 front-test-21",
        "front-test-20 front-train-12 front-train-18",
        "front-test-22 front-test-32 front-train-07",
        "front-test-23 front-train-19",
        "front-test-35 front-test-45",
    ),
    "beasts": ("horse004 horse146",),
    "flowers": ("iris-0402 iris-0472",),
}
"""Source -> rows of names (without the hash of a copy) that look alike."""
_FIRST = {source: {name: row.split()[0] for row in rows for name in row.split()[1:]} for source, rows in ALIKE.items()}
