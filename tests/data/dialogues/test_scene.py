from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge

SIZE = (60, 100)


def note(label: str, box: tuple[int, int, int, int], phrase: str = "", *instructions: str) -> Annotation:
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Annotation(label, phrase or label, encode_rle(mask), instructions)


def scene(*notes: Annotation, source: str = "test", vocabulary: frozenset[str] = frozenset()) -> Scene:
    photo = AnnotatedPhoto("p", Path("p.jpg"), SIZE, notes, source, vocabulary)
    return Scene(photo, knowledge.load())


def phrases(shown: Scene) -> set[str]:
    return {target.phrase for target in shown.targets}


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0, 0, 20, 20)], {"cup"}),
        ([(0, 0, 20, 20), (70, 0, 90, 20)], {"cups", "left cup", "right cup"}),
        ([(0, 0, 20, 20), (2, 38, 22, 58)], {"cups", "upper cup", "lower cup"}),
        ([(0, 0, 40, 40), (5, 45, 20, 58)], {"cups", "larger cup", "smaller cup"}),
        ([(0, 0, 20, 20), (4, 2, 24, 22)], {"cups"}),
        ([(0, 0, 20, 20), (10, 22, 30, 42), (75, 0, 95, 20)], {"cups", "rightmost cup"}),
    ],
)
def test_several_of_a_kind_are_told_apart_only_where_it_is_clear(
    boxes: list[tuple[int, int, int, int]], expected: set[str]
) -> None:
    shown = phrases(scene(*(note("cup", box) for box in boxes)))
    assert expected <= shown
    assert ("larger cup" in shown) is ("larger cup" in expected)
    assert ("left cup" in shown) is ("left cup" in expected)


def test_a_plural_is_the_union_and_the_other_one_is_its_twin() -> None:
    shown = scene(note("cup", (0, 0, 20, 20)), note("cup", (70, 0, 90, 20)))
    by_phrase = {target.phrase: target for target in shown.targets}
    left, right, both = by_phrase["left cup"], by_phrase["right cup"], by_phrase["cups"]
    assert np.array_equal(shown.mask(both), shown.mask(left) | shown.mask(right))
    assert shown.other(left) is right and shown.other(right) is left and shown.other(both) is None
    assert {target.phrase for target in shown.within(both.members)} == {"left cup", "right cup"}


def test_a_car_s_own_left_has_the_right_one_as_twin_and_places_are_said_otherwise() -> None:
    shown = scene(
        note("left mirror", (0, 0, 10, 10), "left mirror of the car"),
        note("right mirror", (80, 0, 90, 10), "right mirror of the car"),
        note("wheel", (0, 40, 20, 60), "wheel of the car"),
        note("wheel", (70, 40, 90, 60), "wheel of the car"),
    )
    by_phrase = {target.phrase: target for target in shown.targets}
    twin = shown.other(by_phrase["left mirror of the car"])
    assert twin is not None and twin.phrase == "right mirror of the car"
    assert {"wheels of the car", "wheel on the left", "wheel on the right"} <= set(by_phrase)
    assert by_phrase["car"].sort == "whole" and len(by_phrase["car"].members) == 4


def test_garments_make_a_person_and_joined_instances_are_said_in_the_plural() -> None:
    garments = [note("shirt", (0, 0, 9, 9)), note("pants", (0, 9, 9, 20)), note("hair", (0, 20, 9, 30))]
    assert "person" in phrases(scene(*garments))
    assert phrases(scene(note("car", (0, 0, 30, 30)), source="camvid")) == {"cars"}


def test_specks_are_no_targets_unless_they_have_instructions() -> None:
    assert phrases(scene(note("cup", (0, 0, 1, 1)), note("fork", (0, 0, 9, 9)))) == {"fork"}  # 1 and 81 of 6000 pixels
    tiny = AnnotatedPhoto("p", Path("p"), (300, 300), (Annotation("cup", "cup", _speck()),), "test")
    assert Scene(tiny, knowledge.load()).targets == []
    told = AnnotatedPhoto(
        "p", Path("p"), (300, 300), (Annotation("cup handle", "handle of the cup", _speck(), ("a",)),), "t"
    )
    assert len(Scene(told, knowledge.load()).targets) == 1


def _speck() -> dict[str, object]:
    mask = np.zeros((300, 300), bool)
    mask[5, 5] = True
    return encode_rle(mask)


def test_absent_is_neither_present_nor_near_nor_implied() -> None:
    vocabulary = frozenset({"shoes", "boots", "hat", "scarf", "skin", "dress"})
    hard, easy = scene(note("shoes", (0, 0, 20, 20)), vocabulary=vocabulary).absent
    assert set(hard) == {"hat", "scarf", "dress"}
    groups = {knowledge.load().entries[phrase].group for phrase in easy}
    assert "clothing" not in groups and "animal" in groups
    assert not set(easy) & vocabulary


def test_absent_parts_are_of_other_objects() -> None:
    shown = scene(note("knife blade", (0, 0, 20, 20), "blade of the knife", "Which part cuts?"))
    hard, easy = shown.absent
    assert hard == []
    assert easy and not any(phrase.endswith(("of the knife", "of the fork")) for phrase in easy)


def test_what_is_missing_has_the_names_that_it_would_have() -> None:
    there = scene(note("cup handle", (0, 0, 20, 20), "handle of the cup"))
    (target,) = there.targets
    missing = scene(note("shoes", (0, 0, 20, 20))).missing("handle of the cup")
    assert missing.spoken == target.spoken and missing.phrase == target.phrase and not missing.members
    assert scene().missing("unicorn").spoken == ("unicorn",)


def test_shared_uses_have_no_one_answer() -> None:
    shown = scene(note("bowl", (0, 0, 9, 9)), note("mirror", (9, 9, 20, 20)))
    assert shown.shared_uses == frozenset()
    twice = scene(
        note("cup handle", (0, 0, 9, 9), "handle of the cup"), note("mug handle", (9, 0, 20, 9), "handle of the mug")
    )
    assert "pick up the mug" in twice.shared_uses


def test_a_thing_is_not_absent_whose_other_name_is_a_word_of_the_file_s_own() -> None:
    def absent(label: str) -> set[str]:
        return {name for names in scene(note(label, (0, 0, 20, 20))).absent for name in names}

    assert "scissors" in absent("gizmo")
    assert "scissors" not in absent("shears")
