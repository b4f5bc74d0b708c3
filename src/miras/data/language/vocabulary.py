"""Words of class names, and which of them are surely absent from a photo.

In: raw category names and the labels found in a photo. Out: words a person would say, and the
labels that were looked for and are not there. Knows no files, and one data set: COCO, whose names are known to mean
something more ("mouse" is never an animal there, "wall-brick" is a brick wall). Everybody else's words stay.

Why a near-synonym table: a mask labelled "purse" also answers "bag", so a photo with a purse and
no "bag" annotation must not teach the model that there is no bag. Only the absent ones are judged
by it; it never reads what a user says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

NULL_NAMES = frozenset({"null", "none", "void", "unlabelled", "unlabeled", "background", "ignore", ""})
"""Names that mean "no label"; compared after `words`."""

_COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, , stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, , backpack, umbrella, , "
    ", handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, , wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, , dining table, , , toilet, , tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, , book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
COCO_IDS: Mapping[str, int] = {name: number for number, name in enumerate(_COCO.split(", "), 1) if name}
"""COCO's 80 things with the ids of its own files; these have gaps, which nobody makes who numbers anew."""

_SUFFIXES = ("-merged", "-other", "-stuff")
_SPOKEN = {
    "wall-brick": "brick wall",
    "wall-concrete": "concrete wall",
    "wall-panel": "panelled wall",
    "wall-stone": "stone wall",
    "wall-tile": "tiled wall",
    "wall-wood": "wooden wall",
    "floor-marble": "marble floor",
    "floor-stone": "stone floor",
    "floor-tile": "tiled floor",
    "floor-wood": "wooden floor",
    "ceiling-tile": "tiled ceiling",
    "window-blind": "window blind",
    "playingfield": "playing field",
    "mouse": "computer mouse",
    "remote": "remote control",
}
_PART = re.compile(r"([a-z][a-z -]*?)(?: \([a-z ]+\))?:([a-z][a-z -]*)")
"""A thing, perhaps with a word to tell it from others of its name, and its part."""
LEAST_PARTS = 3
"""Names of that form from which a file is one of parts."""
_SPELT = {"lily of the valley": "lily-of-the-valley"}
"""Names that would be read as a part of a thing, as dictionaries spell them."""
_NEAR: tuple[frozenset[str], ...] = tuple(
    frozenset(group.split(", "))
    for group in (
        "shoes, boots, clogs, flats, heels, loafers, pumps, sandals, sneakers, wedges",
        "bag, purse, wallet, handbag, backpack, suitcase",
        "glasses, sunglasses",
        "pants, jeans, leggings, suit",
        "leggings, tights, stockings, socks",
        "blouse, shirt, t-shirt, top, sweater, sweatshirt, jumper, cardigan, hoodie, vest, bodysuit",
        "blazer, coat, jacket, cape, suit, cardigan, vest, hoodie, sweater",
        "dress, skirt, romper, jumper, bodysuit, swimwear",
        "bra, panties, intimate, swimwear, bodysuit, top",
        "accessories, bracelet, belt, earrings, gloves, hat, necklace, ring, scarf, tie, watch, glasses, sunglasses",
        "trunk, tailgate",
        "person, pedestrian, cyclist",
        "car, truck, bus, train",
        "bicycle, motorcycle, cyclist",
        "table, dining table, counter",
        "chair, couch, bench",
        "cabinet, shelf, counter, refrigerator",
        "cup, bowl, wine glass, vase, bottle",
        "tv, laptop",
        "house, building, roof",
        "ceiling, roof",
        "water, river, sea",
        "floor, pavement, road, sidewalk, platform, gravel, dirt",
        "dirt, sand, gravel, playing field",
        "grass, playing field, dirt",
        "tree, potted plant, flower, grass",
        "mountain, rock, dirt",
        "paper, cardboard, book, banner",
        "fence, net",
        "window, window blind, curtain",
        "blanket, towel, rug, pillow, bed, couch",
        "food, fruit, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake",
        "banner, stop sign, traffic sign",
        "pole, traffic sign, traffic light",
    )
)


def words(name: str) -> str:
    """A category name as a person says it, its words kept: "Back_Left_Door" -> "back left door"."""
    plain = " ".join(name.replace("_", " ").split()).lower()
    return _SPELT.get(plain, plain)


def coco_words(name: str) -> str:
    """A name of COCO's as a person says it: "wall-brick" -> "brick wall", "mouse" -> "computer mouse"."""
    plain = words(name)
    while (shorter := _without_suffix(plain)) != plain:
        plain = shorter
    return _SPOKEN.get(plain, plain)


def labels_of(names: Mapping[Any, str]) -> dict[Any, str | None]:
    """Raw name of each id -> its label in words, None where the name says that there is none.

    `coco_words` where all of COCO's 80 things are named, else `words`.
    """
    spoken = spoken_as(names.values())
    return {key: None if is_null(name) else spoken(name) for key, name in names.items()}


def spoken_as(names: Iterable[str]) -> Callable[[str], str]:
    """What makes words of a file's names: `coco_words` where all of COCO's 80 things are among them, `part_words` where
    many are parts of things, else `words`."""
    held = set(names)
    if held >= COCO_IDS.keys():
        return coco_words
    parts = sum(_PART.fullmatch(words(name)) is not None for name in held)
    return part_words if parts >= LEAST_PARTS and 2 * parts >= len(held) else words


def part_words(name: str) -> str:
    """A name of PACO's or VLPart's as a person says it: "bottle:cap" -> "cap of the bottle"."""
    part = _PART.fullmatch(words(name))
    return words(name) if part is None else f"{part[2]} of the {part[1]}"


def is_coco(names: Mapping[Any, str]) -> bool:
    """Whether these are the categories of COCO's own files: the 80 things by their ids there."""
    return all(names.get(number) == name for name, number in COCO_IDS.items())


def is_null(name: str) -> bool:
    """Whether the name says that a pixel has no label."""
    return words(name) in NULL_NAMES


def looked_for(vocabulary: Iterable[str], present: Iterable[str], unsure: Iterable[str] = ()) -> frozenset[str]:
    """The vocabulary without the labels whose absence in this photo is not sure.

    present: labels that stand in the photo as annotations (they stay). unsure: labels that are in
    the file for this photo but were left out (crowds, specks, faults). A label also goes when it is
    a near synonym of, or more or less general than, something present or unsure ("wall" with
    "brick wall").
    """
    shown, skipped = frozenset(present), frozenset(unsure)
    known = shown | skipped
    near = frozenset(label for group in _NEAR if group & known for label in group)
    return frozenset(
        label
        for label in vocabulary
        if label in shown or (label not in skipped and label not in near and not _of_same_head(label, known))
    )


def _of_same_head(label: str, known: frozenset[str]) -> bool:
    return any(label.endswith(f" {other}") or other.endswith(f" {label}") for other in known)


def _without_suffix(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name
