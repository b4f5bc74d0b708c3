"""Augmentation: masks follow pixels, words follow masks, and defaults do what they always did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.data.language.words import mirror
from miras.train.data.augment import Strength, augment, cropped, flip, shrink
from miras.train.data.sample import Sample


def sample(height: int = 80, width: int = 120) -> Sample:
    pixels = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[20:60, 10:40] = True
    pixels[mask] = (250, 40, 40)
    note = Annotation("left door", "left door of the car", encode_rle(mask), ("Where is the left door?",) * 6)
    return Sample(pixels, AnnotatedPhoto("p", Path("p.jpg"), (height, width), (note,), "test"))


def with_note(**changes: Any) -> Sample:
    first = sample()
    return replace(first, photo=replace(first.photo, annotations=(replace(first.photo.annotations[0], **changes),)))


def test_masks_follow_the_pixels_and_words_follow_the_mirror() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        new = augment(sample(), rng)
        assert new.pixels.shape[:2] == new.photo.size
        for note in new.photo.annotations:
            mask = decode_rle(note.rle)
            assert mask.shape == new.photo.size
            inside = new.pixels[mask].astype(int).sum(1).mean()
            outside = new.pixels[~mask].astype(int).sum(1).mean() if (~mask).any() else 0
            assert inside > outside + 30
            seen.add(note.phrase)
            side = "left" if note.phrase.startswith("left") else "right"
            assert note.instructions == (f"Where is the {side} door?",) * 6
    assert seen == {"left door of the car", "right door of the car"}


def test_same_seed_same_crop() -> None:
    strong = Strength(text=1, blur=1, jpeg=1, coarse=1)
    for strength in (Strength(), strong):
        a, b = (augment(sample(200, 300), np.random.default_rng(5), strength) for _ in range(2))
        assert np.array_equal(a.pixels, b.pixels)
        assert a.photo == b.photo


BEFORE = {
    0: ((97, 278), "left", (11.13, 1.78, 1.78)), 1: ((152, 300), "right", (6.71, 0.95, 0.95)),
    2: ((171, 165), "left", (8.91, 1.85, 1.85)), 3: ((200, 300), "right", (3.54, 0.94, 0.58)),
    4: ((200, 171), "left", (8.95, 1.3, 1.3)), 5: ((187, 274), "right", (3.75, 0.59, 0.59)),
    6: ((129, 234), "left", (10.14, 1.79, 1.15)), 7: ((200, 237), "right", (6.46, 1.22, 1.22)),
}  # fmt: skip
"""Seed -> size, side and mean colour as they were before there was a `Strength`."""


@pytest.mark.parametrize("seed", BEFORE)
def test_defaults_are_what_was_done_before(seed: int) -> None:
    size, side, mean = BEFORE[seed]
    for new in (
        augment(sample(200, 300), np.random.default_rng(seed)),
        augment(sample(200, 300), np.random.default_rng(seed), Strength(), [sample()]),
    ):
        assert new.photo.size == size
        assert [note.label for note in new.photo.annotations] == [f"{side} door"]
        assert new.pixels.astype(float).mean((0, 1)) == pytest.approx(mean, abs=0.05)  # Pillow may round otherwise


def test_shrinking_keeps_the_share() -> None:
    small = shrink(sample(400, 800).pixels, sample(400, 800).photo, 200)
    assert small.photo.size == (100, 200)
    assert abs(decode_rle(small.photo.annotations[0].rle).mean() - 1200 / 320000) < 0.001


STRIPS = [(16, 30_000), (30_000, 16), (8, 12_000), (1281, 8)]
EVERYTHING = Strength(coarse=1.0, blur=1.0, jpeg=1.0, copy_paste=1.0, text=1.0, hue_shift=1.0, grey=0.5)


@pytest.mark.parametrize("size", STRIPS)
def test_a_strip_keeps_a_pixel_whatever_is_done_to_it(size: tuple[int, int]) -> None:
    height, width = size
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    mask = np.zeros(size, bool)
    part = slice(max(size) // 4, max(size) // 2)
    mask[(slice(None), part) if width > height else part] = True
    note = Annotation("cup", "cup", encode_rle(mask))
    long = Sample(pixels, AnnotatedPhoto("p", Path("p.jpg"), size, (note,), "test"))
    for longest in (640, 64, 7):
        small = shrink(pixels, long.photo, longest)
        assert small.pixels.shape[:2] == small.photo.size == tuple(max(1, round(n * longest / max(size))) for n in size)
        assert small.photo.annotations, "a quarter of the strip"
    held = shrink(pixels, long.photo, 640)
    for seed in range(40):
        for one, donor in ((held, sample()), (sample(), held)):
            new = augment(one, np.random.default_rng(seed), EVERYTHING, [donor])
            assert new.pixels.shape[:2] == new.photo.size and min(new.photo.size) >= 1


def test_what_vanishes_is_not_called_absent() -> None:
    speck = np.zeros((400, 800), bool)
    speck[3, 3] = True
    big = with_note()
    photo = replace(big.photo, size=(400, 800), vocabulary=frozenset({"left door", "wheel"}))
    photo = replace(photo, annotations=(replace(photo.annotations[0], rle=encode_rle(speck)),))
    small = shrink(np.zeros((400, 800, 3), np.uint8), photo, 50)
    assert (small.photo.annotations, small.photo.vocabulary) == ((), frozenset({"wheel"}))


WORDS = {
    "left door of the car": "right door of the car",
    "Right-hand drawer": "Left-hand drawer",
    "the leftmost cup": "the rightmost cup",
    "LEFT": "RIGHT",
    "to the right, not to the left": "to the left, not to the right",
    "left of the right wheel": "right of the left wheel",
    "bright copyright on the upright fright": "bright copyright on the upright fright",
    "the bright right lamp": "the bright left lamp",
    "all right, the left one": "all right, the right one",
    "All right": "All right",
    "all right wheels": "all left wheels",
    "the cup right next to the left plate": "the cup right next to the right plate",
    "a car with left-hand drive": "a car with right-hand drive",
    "right now": "right now",
    "the right tool": "the left tool",
    "What is left on the plate?": "What is left on the plate?",
    "the right amount to the right": "the right amount to the left",
    "What is left of the plate?": "What is right of the plate?",
    "That's right. Now the right one.": "That's right. Now the left one.",
    "the leftovers and the left-overs": "the leftovers and the left-overs",
    "at a right angle to the left leg": "at a right angle to the right leg",
}


@pytest.mark.parametrize(("text", "mirrored"), WORDS.items())
def test_only_sides_are_mirrored(text: str, mirrored: str) -> None:
    assert mirror(text) == mirrored
    assert mirror(mirrored) == text


_WORDS = (
    "left", "Right", "RIGHT", "right-hand", "leftmost", "bright", "copyright", "all right", "right now", "what is",
    "next", "left over", "of", "to", "the", "door", "wheel,", "kind", "way.", "that's", "right?", "angle", "side",
)  # fmt: skip
_TEXTS = st.lists(st.sampled_from(_WORDS), max_size=8).map(" ".join)


@given(_TEXTS)
@settings(max_examples=150)
def test_mirroring_words_twice_gives_them_back(text: str) -> None:
    assert mirror(mirror(text)) == text


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9),
    st.lists(st.tuples(_TEXTS, _TEXTS, _TEXTS), max_size=3), st.frozensets(_TEXTS, max_size=4),
)  # fmt: skip
@settings(max_examples=60)
def test_flipping_twice_gives_the_same(
    seed: int, height: int, width: int, texts: list[tuple[str, str, str]], vocabulary: frozenset[str]
) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random((height, width)) < 0.5 for _ in texts]
    notes = tuple(Annotation(a, b, encode_rle(m), (c,)) for (a, b, c), m in zip(texts, masks, strict=True))
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    before = Sample(pixels, AnnotatedPhoto("p", Path("p"), (height, width), notes, "test", vocabulary))
    once = flip(before)
    assert np.array_equal(once.pixels, pixels[:, ::-1])
    for note, mask, words in zip(once.photo.annotations, masks, texts, strict=True):
        assert np.array_equal(decode_rle(note.rle), mask[:, ::-1])
        assert (note.label, note.phrase, note.instructions[0]) == tuple(map(mirror, words))
    assert once.photo.vocabulary == {mirror(label) for label in vocabulary}
    twice = flip(once)
    assert np.array_equal(twice.pixels, pixels)
    assert twice.photo == before.photo


def test_a_flip_swaps_what_is_absent() -> None:
    first = sample()
    vocabulary = frozenset({"left door", "right door", "left mirror", "wheel"})
    new = flip(replace(first, photo=replace(first.photo, vocabulary=vocabulary))).photo
    assert new.annotations[0].label == "right door"
    assert new.vocabulary == {"left door", "right door", "right mirror", "wheel"}


@pytest.mark.parametrize("phrase", ['text "LEFT"', "word 'exit'", "sign that says “7”"])
def test_a_photo_with_written_text_is_never_flipped_and_no_word_is_cut(phrase: str) -> None:
    written = with_note(label=phrase, phrase=phrase, instructions=())
    for seed in range(12):
        new = augment(written, np.random.default_rng(seed), Strength(flip=1, whole=0, crop=(0.1, 0.3)))
        for note in new.photo.annotations:
            assert note.phrase == phrase
            assert np.count_nonzero(decode_rle(note.rle)) >= 0.95 * 1200
    assert flip(written) is written
    assert flip(with_note(phrase="driver's door")).photo.annotations[0].label == "right door"


@pytest.mark.parametrize(
    ("label", "other"), [("left_eye", "right_eye"), ("LeftEye", "RightEye"), ("eye-left", "eye-right")]
)
def test_whatever_joins_the_words_of_a_label_its_side_is_swapped(label: str, other: str) -> None:
    given = with_note(label=label, phrase=label, instructions=())
    given = replace(given, photo=replace(given.photo, vocabulary=frozenset({label, other, "nose"})))
    new = flip(given).photo
    assert [(note.label, note.phrase) for note in new.annotations] == [(other, other)]
    assert new.vocabulary == given.photo.vocabulary
    assert flip(flip(given)).photo.annotations == given.photo.annotations


@pytest.mark.parametrize(("phrase", "kept"), [("red door", True), ("coloured door", True), ("tired door", False)])
def test_words_of_colour_keep_their_hues(phrase: str, kept: bool) -> None:
    only_hues = Strength(whole=1, flip=0, colours=0, hue_shift=1, hue=60, grey=1)
    before = with_note(phrase=phrase)
    new = augment(before, np.random.default_rng(0), only_hues)
    assert np.array_equal(new.pixels, before.pixels) == kept


def test_a_crop_says_what_it_lost() -> None:
    first = sample()
    first = replace(first, photo=replace(first.photo, vocabulary=frozenset({"left door", "wheel"})))
    lost = cropped(first, (35, 0, 120, 80)).photo
    assert (lost.size, lost.annotations, lost.vocabulary) == ((80, 85), (), frozenset({"wheel"}))
    kept = cropped(first, (20, 0, 120, 80)).photo
    assert (len(kept.annotations), kept.vocabulary) == (1, first.photo.vocabulary)


NOTHING = Strength(whole=1, flip=0, colours=0, hue_shift=0, grey=0)
STEPS = {
    "coarse": replace(NOTHING, coarse=1, scale=(0.5, 0.5)),
    "blur": replace(NOTHING, blur=1, blur_radius=(1.0, 2.0)),
    "jpeg": replace(NOTHING, jpeg=1, jpeg_quality=(10, 20)),
    "text": replace(NOTHING, text=1),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_can_be_switched_on_alone(step: str) -> None:
    before = sample(160, 240)
    assert np.array_equal(augment(before, np.random.default_rng(1), NOTHING).pixels, before.pixels)
    new = augment(before, np.random.default_rng(1), STEPS[step])
    assert not np.array_equal(new.pixels, before.pixels)
    assert new.photo.size == ((80, 120) if step == "coarse" else (160, 240))
    assert (len(new.photo.annotations) > 1) == (step == "text")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"flip": 1.5}, "flip: a number from 0 to 1, not 1.5"),
        ({"crop": (0.9, 0.2)}, "crop: two rising numbers"),
        ({"crop": 0.5}, "crop: two rising numbers"),
        ({"hue": 2.5}, "hue: a number from 0 to 127"),
        ({"jpeg_quality": (50, 101)}, "jpeg_quality"),
        ({"text": "often"}, "text: a number from 0 to 1, not 'often'"),
        ({"most_texts": 0}, "most_texts"),
        ({"blur": True}, "blur"),
        ({"grey": float("nan")}, "grey"),
        ({"flip": -1, "grey": 2}, "flip: a number from 0 to 1, not -1; grey"),
    ],
)
def test_a_wrong_strength_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        Strength(**values)
    assert said in str(error.value)


def test_lists_of_a_recipe_are_ranges() -> None:
    assert Strength(crop=[0.5, 1.0]) == Strength(crop=(0.5, 1.0))  # type: ignore[arg-type]
    assert hash(Strength(crop=[0.5, 1])) == hash(Strength(crop=(0.5, 1)))  # type: ignore[arg-type]


def row() -> Sample:
    """Four cups in a row, each of its own grey; the second is the largest."""
    pixels, notes = np.zeros((100, 240, 3), np.uint8), []
    for at, (x, size) in enumerate(((10, 24), (60, 40), (130, 24), (190, 24))):
        mask = np.zeros((100, 240), bool)
        mask[30 : 30 + size, x : x + size] = True
        pixels[mask] = 60 * (at + 1)
        notes.append(Annotation("cup", "cup", encode_rle(mask)))
    return Sample(pixels, AnnotatedPhoto("p", Path("p.jpg"), (100, 240), tuple(notes), "test"))


def test_what_is_said_of_one_of_several_is_true_of_every_crop_and_mirror() -> None:
    """The cups in sight are told by their greys, whatever the annotations say."""
    strength = Strength(whole=0, crop=(0.15, 0.9), colours=0, hue_shift=0, grey=0)
    said: set[str] = set()
    for seed in range(300):
        new = augment(row(), np.random.default_rng(seed), strength)
        shown = {v: np.flatnonzero((new.pixels[..., 0] == v).any(0)).mean() for v in np.unique(new.pixels) if v}
        areas = {v: np.count_nonzero(new.pixels[..., 0] == v) for v in shown}
        order = sorted(shown, key=lambda v: shown[v])
        right = {
            "leftmost": order[0], "left": order[0], "rightmost": order[-1], "right": order[-1],
            "second from the left": order[1:2], "second from the right": order[-2:-1],
            "largest": max(areas, key=lambda v: areas[v]), "larger": max(areas, key=lambda v: areas[v]),
        }  # fmt: skip
        scene = Scene(new.photo, knowledge.load(), True)
        for target in scene.targets:
            name = target.phrase.replace(" cup", "")
            if target.kind and name in right:
                (value,) = np.unique(new.pixels[scene.mask(target)])
                assert value in np.atleast_1d(right[name]), (seed, target.phrase)
                said.add(name)
    assert said == set(right)


def test_what_a_crop_cuts_off_is_not_counted() -> None:
    """A quarter of the first cup is left in sight, and it is no annotation: nobody knows which is the leftmost."""
    new = cropped(row(), (28, 0, 240, 100))
    assert len(new.photo.annotations) == 3 and new.photo.uncounted == {"cup"}
    assert flip(new).photo.uncounted == {"cup"}
    gone = cropped(row(), (40, 0, 240, 100))
    assert len(gone.photo.annotations) == 3 and gone.photo.uncounted == frozenset()
    tiny = shrink(row().pixels, row().photo, 2)
    assert len(tiny.photo.annotations) < 4 and tiny.photo.uncounted == {"cup"}
