"""Copy and paste: what may come, where it may lie, and what is said of the photo then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.train.data.augment import Strength, augment
from miras.train.data.copy_paste import WHOLE, copy_paste
from miras.train.data.sample import Sample

VOCABULARY = frozenset({"shirt", "dog", "cat", "horse", "cup", "person"})
RED, BLUE = (250, 20, 20), (20, 20, 250)


def box(size: tuple[int, int], y0: int, y1: int, x0: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def note(label: str, mask: NDArray[np.bool_], phrase: str = "", instructions: tuple[str, ...] = ()) -> Annotation:
    return Annotation(label, phrase or label, encode_rle(mask), instructions)


def shirt(**changes: Any) -> Sample:
    """A grey photo with a shirt, in which a few other things were looked for."""
    size = (120, 160)
    first = note("shirt", box(size, 30, 90, 40, 120), **changes)
    return Sample(np.full((*size, 3), 90, np.uint8), AnnotatedPhoto("a", Path("a"), size, (first,), "x", VOCABULARY))


def donor(*notes: Annotation, size: tuple[int, int] = (100, 100)) -> Sample:
    """A blue photo whose first annotation is red."""
    pixels = np.full((*size, 3), BLUE, np.uint8)
    pixels[decode_rle(notes[0].rle)] = RED
    return Sample(pixels, AnnotatedPhoto("b", Path("b"), size, notes, "y"))


BODY = box((100, 100), 20, 70, 30, 80)
DOG = note("dog", BODY)


def paste(sample: Sample, given: Sample, seed: int = 0, **options: Any) -> Sample:
    return copy_paste(sample, given, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("seed", range(6))
def test_the_object_lies_where_its_mask_says(seed: int) -> None:
    before = shirt()
    new = paste(before, donor(DOG), seed, share=(0.02, 0.1))
    pasted = new.photo.annotations[-1]
    assert (pasted.label, pasted.phrase, pasted.instructions) == ("dog", "dog", ())
    mask = decode_rle(pasted.rle)
    assert 0.015 <= mask.mean() <= 0.12
    assert np.array_equal(new.pixels[~mask], before.pixels[~mask])
    inside = new.pixels[mask].astype(int)
    assert np.median(inside, 0) == pytest.approx(RED, abs=12)
    assert (inside[:, 2] < 130).all()  # nothing of the donor's blue ground came along
    shirts = [decode_rle(n.rle) for n in new.photo.annotations if n.label == "shirt"]
    assert all(not (mask & other).any() for other in shirts)
    assert before.photo.annotations == shirt().photo.annotations


def test_the_edge_is_soft() -> None:
    new = paste(shirt(), donor(DOG), share=(0.08, 0.1))
    mask = decode_rle(new.photo.annotations[-1].rle)
    reds = set(new.pixels[mask][:, 0].tolist())
    assert any(110 < red < 230 for red in reds)


def test_same_seed_same_photo() -> None:
    one, two = (paste(shirt(), donor(DOG), 3) for _ in range(2))
    assert np.array_equal(one.pixels, two.pixels)
    assert one.photo == two.photo


RING = BODY & ~box((100, 100), 40, 60, 45, 75)
HALVES = box((100, 100), 20, 90, 10, 45) | box((100, 100), 20, 90, 55, 90)
UNSUITED: dict[str, Sample] = {
    "shown already": donor(note("shirt", BODY)),
    "not looked for, perhaps there": donor(note("backpack", BODY)),
    "never surely absent": donor(note("person", BODY)),
    "stuff": donor(note("road", BODY)),
    "clothing": donor(note("hat", BODY)),
    "a part": donor(note("dog ear", BODY, "ear of the dog")),
    "a place in its phrase": donor(note("dog", BODY, "dog on the left")),
    "one of several": donor(note("dog", BODY, "the other dog")),
    "cut by the border": donor(note("dog", box((100, 100), 50, 100, 30, 80))),
    "in two pieces": donor(note("dog", HALVES)),
    "small": donor(note("dog", box((100, 100), 20, 40, 30, 70))),
    "empty": donor(note("dog", np.zeros((100, 100), bool))),
    "perhaps half hidden": donor(DOG, note("cup", box((100, 100), 70, 90, 30, 80))),
}


@pytest.mark.parametrize("given", UNSUITED.values(), ids=UNSUITED.keys())
def test_what_could_make_words_false_is_not_pasted(given: Sample) -> None:
    before = shirt()
    assert all(paste(before, given, seed) is before for seed in range(4))
    assert paste(before, donor(DOG)) is not before  # it is the donor's fault


@pytest.mark.parametrize(
    ("label", "present"), [("cup", "wine glass"), ("handbag", "bag"), ("bowl", "bottle"), ("couch", "chair")]
)
def test_no_near_synonym_of_what_is_shown(label: str, present: str) -> None:
    before = shirt()
    second = note(present, box((120, 160), 100, 115, 10, 40))
    looked = before.photo.vocabulary | {label}
    bare = replace(before, photo=replace(before.photo, vocabulary=looked))
    shown = replace(bare, photo=replace(bare.photo, annotations=(*bare.photo.annotations, second)))
    given = donor(note(label, BODY))
    assert all(paste(shown, given, seed) is shown for seed in range(3))
    assert paste(bare, given).photo.annotations[-1].label == label


@pytest.mark.parametrize(
    ("text", "suits"),
    [("Which is the largest thing?", False), ("Select the only shirt.", False), ("Where is the shirt?", True)],
)
def test_questions_that_compare_are_left_alone(text: str, suits: bool) -> None:
    before = shirt(instructions=(text,) * 6)
    assert (paste(before, donor(DOG)) is not before) == suits


def test_parts_come_with_their_whole() -> None:
    chair = note("chair", BODY)
    seat = note("chair seat", box((100, 100), 40, 60, 35, 75), "seat of the chair")
    before = shirt()
    before = replace(before, photo=replace(before.photo, vocabulary=frozenset({"shirt", "chair", "chair leg", "cup"})))
    new = paste(before, donor(chair, seat), share=(0.1, 0.1))
    assert [n.label for n in new.photo.annotations][-2:] == ["chair", "chair seat"]
    whole, part = (decode_rle(n.rle) for n in new.photo.annotations[-2:])
    assert part.any()
    assert not (part & ~whole).any()
    assert part.sum() / whole.sum() == pytest.approx(20 * 40 / 2500, rel=0.15)
    assert "chair leg" not in new.photo.vocabulary
    assert {"chair", "cup"} <= new.photo.vocabulary
    partly = note("chair seat", box((100, 100), 60, 90, 35, 75), "seat of the chair")
    assert paste(before, donor(chair, partly)) is before
    sided = note("chair leg", box((100, 100), 60, 70, 35, 40), "left leg of the chair")
    assert paste(before, donor(chair, sided)) is before


def test_the_vocabulary_stays_right() -> None:
    before = shirt()
    looked = VOCABULARY | {"wine glass", "bowl", "bicycle"}
    before = replace(before, photo=replace(before.photo, vocabulary=looked))
    new = paste(before, donor(note("cup", BODY)))
    assert new.photo.annotations[-1].label == "cup"
    assert {"cup", "shirt", "dog", "bicycle"} <= new.photo.vocabulary
    assert not {"wine glass", "bowl"} & new.photo.vocabulary  # a cup may be taken for them
    hard, easy = Scene(new.photo, knowledge.load()).absent
    assert "dog" in hard
    assert not {"cup", "wine glass", "bowl"} & {*hard, *easy}
    names = [target.phrase for target in Scene(new.photo, knowledge.load()).targets]
    assert sorted(names) == ["cup", "shirt"]


def test_what_is_hidden_goes_and_is_not_called_absent() -> None:
    size = (120, 160)
    notes = [note("shirt", box(size, 0, 120, 0, 160))]
    notes += [note("tie", box(size, y, y + 4, x, x + 4)) for y in range(2, 116, 10) for x in range(2, 156, 12)]
    before = shirt()
    photo = replace(before.photo, annotations=(*notes[:1], *notes[1:2]), vocabulary=VOCABULARY | {"tie"})
    several = replace(before, photo=photo)
    kept = paste(several, donor(DOG), share=(0.03, 0.03)).photo
    assert [n.label for n in kept.annotations] == ["shirt", "tie", "dog"]  # a place was found that hides no tie
    everywhere = replace(before, photo=replace(photo, annotations=tuple(notes)))
    new = paste(everywhere, donor(DOG), share=(0.05, 0.05)).photo
    ties = [decode_rle(n.rle).sum() for n in new.annotations if n.label == "tie"]
    assert 0 < len(ties) < len(notes) - 1
    assert min(ties) >= 0.35 * 16
    dog = decode_rle(new.annotations[-1].rle)
    assert not any((decode_rle(n.rle) & dog).any() for n in new.annotations[:-1])


def test_the_last_of_a_label_takes_it_out_of_the_vocabulary() -> None:
    size = (60, 60)
    notes = (note("shirt", box(size, 0, 60, 0, 60)), note("tie", box(size, 26, 34, 26, 34)))
    photo = AnnotatedPhoto("a", Path("a"), size, notes, "x", VOCABULARY | {"tie"})
    new = paste(Sample(np.full((*size, 3), 90, np.uint8), photo), donor(DOG), share=(0.4, 0.8)).photo
    assert [n.label for n in new.annotations] == ["shirt", "dog"]
    assert "tie" not in new.vocabulary


def test_written_text_is_never_hidden() -> None:
    size = (60, 60)
    notes = (note("shirt", box(size, 0, 60, 0, 60)), note('text "OPEN"', box(size, 26, 34, 26, 34)))
    photo = AnnotatedPhoto("a", Path("a"), size, notes, "x", VOCABULARY)
    before = Sample(np.full((*size, 3), 90, np.uint8), photo)
    assert paste(before, donor(DOG), share=(0.5, 0.8)) is before


def test_a_photo_without_annotations_and_own_labels() -> None:
    before = shirt()
    empty = replace(before, photo=replace(before.photo, annotations=()))
    assert [n.label for n in paste(empty, donor(DOG)).photo.annotations] == ["dog"]
    assert paste(before, donor(DOG), whole={"cat"}) is before


def test_all_whole_labels_are_known_things() -> None:
    known = knowledge.load()
    entries = {label: known.find(label) for label in WHOLE}
    assert not [label for label, entry in entries.items() if entry is None or entry.object]


def test_augment_pastes_when_told() -> None:
    strength = Strength(copy_paste=1, whole=1)
    rng = np.random.default_rng(0)
    assert {n.label for n in augment(shirt(), rng, strength, [donor(DOG)]).photo.annotations} == {"shirt", "dog"}
    assert {n.label for n in augment(shirt(), rng, strength).photo.annotations} == {"shirt"}


def test_real_photos(shared_data: Path) -> None:
    from miras.core.photo import read_photo
    from miras.data.formats.annotated import read
    from miras.train.data.augment import shrink

    photos = read(shared_data / "coco128", "coco-panoptic")
    donors = [shrink(read_photo(p.path), p, 320) for p in photos[:10]]
    rng = np.random.default_rng(0)
    pasted = 0
    for before in donors * 4:
        new = copy_paste(before, donors[int(rng.integers(len(donors)))], rng)
        if new is not before:
            pasted += 1
            added = new.photo.annotations[-1].label
            assert added in WHOLE
            assert added not in {n.label for n in before.photo.annotations}
    assert pasted >= 3
