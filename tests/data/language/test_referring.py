"""One of several: `referring`, and how `Scene` brings it to photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.language import knowledge
from miras.data.language.referring import KINDS, Kin, Thing, prominent, related, singular, told_apart
from miras.data.language.words import mirror

SIZE = (100, 200)
Box = tuple[int, int, int, int]


def kin(noun: str, *boxes: Box) -> Kin:
    """XYXY boxes."""
    return Kin(noun, tuple(thing(n, box) for n, box in enumerate(boxes)), SIZE)


def thing(key: int, box: Box) -> Thing:
    x0, y0, x1, y1 = box
    return Thing(key, (x0, y0, x1 - x0, y1 - y0), (x1 - x0) * (y1 - y0))


def names(of: Kin) -> dict[str, int]:
    return {found.names[0]: found.key for found in told_apart(of)}


def scene(*notes: tuple[str, Box], pixels: np.ndarray | None = None, uncounted: tuple[str, ...] = ()) -> Scene:
    annotations = []
    for label, (x0, y0, x1, y1) in notes:
        mask = np.zeros(SIZE, bool)
        mask[y0:y1, x0:x1] = True
        annotations.append(Annotation(label, label, encode_rle(mask)))
    photo = AnnotatedPhoto("p", Path("p.jpg"), SIZE, tuple(annotations), "test", uncounted=frozenset(uncounted))
    return Scene(photo, knowledge.load(), True, pixels)


def by_phrase(shown: Scene) -> dict[str, Target]:
    return {target.phrase: target for target in shown.targets if target.kind and target.kind != "any"}


ROW = [(10, 40, 30, 60), (50, 40, 70, 60), (90, 40, 110, 60), (150, 40, 170, 60)]


@pytest.mark.parametrize(
    ("boxes", "found"),
    [
        ([ROW[0], ROW[2]], {"left cup": 0, "right cup": 1}),
        ([ROW[2], ROW[0]], {"left cup": 1, "right cup": 0}),
        ([(10, 0, 30, 20), (12, 50, 32, 70)], {"upper cup": 0, "lower cup": 1}),
        (ROW[:3], {"leftmost cup": 0, "rightmost cup": 2, "middle cup": 1, "second cup from the left": 1,
                   "second cup from the right": 1}),
        (ROW, {"leftmost cup": 0, "rightmost cup": 3, "second cup from the left": 1, "third cup from the left": 2,
               "second cup from the right": 2, "third cup from the right": 1}),
        ([(10, 40, 30, 60), (15, 40, 35, 60), (90, 40, 110, 60)],
         {"rightmost cup": 2, "second cup from the right": None}),
        ([(10, 10, 50, 50), (60, 20, 70, 30)], {"left cup": 0, "right cup": 1, "larger cup": 0, "smaller cup": 1}),
        ([(10, 10, 50, 50), (60, 10, 80, 30), (100, 10, 108, 18)], {"largest cup": 0, "smallest cup": 2}),
        ([ROW[0]], {}),
    ],
    ids=["two", "two in another order", "above", "three", "four", "two close together", "larger", "largest", "one"],
)  # fmt: skip
def test_place_row_and_size(boxes: list[Box], found: dict[str, int | None]) -> None:
    got = names(kin("cup", *boxes))
    for phrase, key in found.items():
        assert got.get(phrase) == key, phrase
    if len(boxes) != 3:
        assert set(got) == set(found)


def test_a_mirror_makes_the_words_of_the_mirrored_photo() -> None:
    """What is said of a photo, mirrored, is what would be said of the mirrored photo."""
    flipped = [(SIZE[1] - x1, y0, SIZE[1] - x0, y1) for x0, y0, x1, y1 in ROW]
    here = {name: found.key for found in told_apart(kin("cup", *ROW)) for name in (*found.names, *found.bare)}
    there = {name: found.key for found in told_apart(kin("cup", *flipped)) for name in (*found.names, *found.bare)}
    assert {mirror(name): key for name, key in here.items()} == there


def test_the_bare_names_leave_the_noun_out() -> None:
    found = {one.names[0]: one.bare for one in told_apart(kin("cup", *ROW))}
    assert found["second cup from the left"][0] == "second from the left"
    assert "second one from the left" in found["second cup from the left"]
    assert not any("cup" in bare for bares in found.values() for bare in bares)


@pytest.mark.parametrize(
    ("noun", "boxes", "anchor", "phrase", "key"),
    [
        ("person", [(10, 10, 40, 90), (100, 10, 130, 90)], ("tie", (20, 30, 25, 50)), "person with the tie", 0),
        ("person", [(10, 10, 40, 90), (20, 10, 50, 90)], ("tie", (25, 30, 30, 50)), None, None),
        ("person", [(10, 10, 40, 90), (100, 10, 130, 90)], ("umbrella", (95, 5, 135, 30)), "person with the umbrella",
         1),
        ("cup", [(10, 20, 20, 40), (150, 70, 160, 90)], ("dining table", (0, 35, 80, 95)), "cup on the dining table",
         0),
        ("cup", [(10, 20, 20, 40), (60, 20, 70, 40)], ("dining table", (0, 35, 80, 95)), None, None),
        ("cup", [(10, 20, 30, 40), (150, 20, 170, 40)], ("bottle", (34, 15, 50, 42)), "cup next to the bottle", 0),
        ("cup", [(10, 20, 30, 40), (60, 20, 80, 40)], ("bottle", (34, 15, 50, 42)), None, None),
    ],
    ids=["tie", "tie of either", "umbrella", "table", "both on the table", "bottle", "bottle between them"],
)  # fmt: skip
def test_company(noun: str, boxes: list[Box], anchor: tuple[str, Box], phrase: str | None, key: int | None) -> None:
    found = {one.names[0]: one.key for one in related(kin(noun, *boxes), {anchor[0]: thing(9, anchor[1])})}
    assert found == ({} if phrase is None else {phrase: key})


def test_the_prominent_one_is_the_larger_or_the_left_or_none() -> None:
    for boxes, name in [
        ([ROW[0], (100, 10, 150, 60)], "larger cup"), (ROW, "leftmost cup"),
        ([(10, 40, 30, 60), (12, 42, 32, 62)], None),
    ]:  # fmt: skip
        found = prominent(kin("cup", *boxes))
        assert (None if found is None else found.names[0]) == name


def test_colours_tell_apart_by_the_pixels() -> None:
    pixels = np.full((*SIZE, 3), 255, np.uint8)
    pixels[40:60, 10:30], pixels[40:60, 50:70], pixels[40:60, 90:110] = (200, 20, 25), (20, 70, 190), (20, 70, 190)
    shown = by_phrase(scene(*(("car", box) for box in ROW[:3]), pixels=pixels))
    assert shown["red car"].members == {0} and "blue car" not in shown
    people = by_phrase(scene(*(("person", box) for box in ROW[:3]), pixels=pixels))
    assert people["person in red"].members == {0}
    assert "red car" not in by_phrase(scene(*(("car", box) for box in ROW[:3])))


def test_one_mask_of_a_pair_is_two_targets() -> None:
    mask = np.zeros(SIZE, bool)
    mask[80:90, 60:75] = mask[82:92, 90:104] = True
    photo = AnnotatedPhoto("p", Path("p.jpg"), SIZE, (Annotation("shoes", "shoes", encode_rle(mask)),), "ccp")
    shown = Scene(photo, knowledge.load(), True)
    targets = {target.phrase: target for target in shown.targets if target.kind != "any"}
    left, right, both = (shown.mask(targets[name]) for name in ("left shoe", "right shoe", "shoes"))
    assert np.array_equal(both, mask) and np.array_equal(left | right, mask) and not (left & right).any()
    assert left[:, :80].any() and not left[:, 80:].any()
    assert targets["left shoe"].members < targets["shoes"].members and shown.kin(targets["left shoe"]) == 2
    other = shown.other(targets["left shoe"])
    assert other is not None and other.phrase == "right shoe"
    assert shown.labels(targets["right shoe"]) == {"shoes"} and shown.noun_phrase(targets["right shoe"]) == "shoes"
    assert {t.phrase for t in Scene(photo, knowledge.load()).targets} == {"shoes"}
    assert (singular("shoes"), singular("pants")) == ("shoe", None)


def test_nothing_is_told_apart_where_not_all_are_known() -> None:
    row = [("cup", box) for box in ROW]
    assert {t.kind for t in by_phrase(scene(*row)).values()} == {"place", "row"} <= set(KINDS)
    assert by_phrase(scene(*row, uncounted=("cup",))) == {}  # a crowd, or one that a crop cut off
    assert by_phrase(scene(*row, ("cup", (190, 0, 191, 1)))) == {}  # one too small to be seen


def test_an_ambiguous_name_is_never_cut_or_narrowed_to() -> None:
    shown = scene(*(("cup", box) for box in ROW))
    (alone,) = [t for t in shown.targets if t.kind == "any"]
    assert (alone.phrase, alone.spoken[0]) == ("leftmost cup", "cup")
    assert alone not in shown.within(frozenset(range(4)))
