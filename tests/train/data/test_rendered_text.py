"""Written text: it can be read, its mask is around it, and the words about the photo stay true."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from miras.core.masks import box_of, decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.sampler import sample as dialogue
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.data.language.words import has_words, is_plural
from miras.train.data import rendered_text as module
from miras.train.data.rendered_text import BRANDS, HIDDEN, LEAST_HEIGHT, SIGNS, rendered_text
from miras.train.data.sample import Sample, is_written

SIZE = (240, 320)


def calm(*notes: Annotation, grey: int = 150, vocabulary: frozenset[str] = frozenset()) -> Sample:
    pixels = np.full((*SIZE, 3), grey, np.uint8)
    return Sample(pixels, AnnotatedPhoto("a", Path("a"), SIZE, notes, "x", vocabulary))


def box(y0: int, y1: int, x0: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def write(sample: Sample, seed: int, **options: Any) -> Sample:
    return rendered_text(sample, np.random.default_rng(seed), **options)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ON_PLATE", 0.0)


@pytest.fixture
def plates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ON_PLATE", 1.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("grey", [5, 128, 250])
def test_letters_stand_out_and_their_mask_holds_them(seed: int, grey: int) -> None:
    before = calm(grey=grey)
    new = write(before, seed, most=1)
    (note,) = new.photo.annotations
    mask = decode_rle(note.rle)
    inside = new.pixels[mask].astype(float) @ (0.299, 0.587, 0.114)
    assert np.percentile(inside, 97) - np.percentile(inside, 3) > 48
    box_ = box_of(mask)
    assert box_ is not None
    assert box_[3] - box_[1] >= LEAST_HEIGHT - 3
    assert is_written(note)
    changed = np.abs(new.pixels.astype(int) - before.pixels).max(2) > 40
    assert changed.any()
    if " that says " in note.phrase:  # the mask is the whole plate
        assert (changed & mask).sum() > 0.85 * changed.sum()  # its edge is as soft as the photo
        assert (new.pixels != before.pixels).any(2)[mask].mean() > 0.9


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("seed", range(8))
def test_the_mask_of_bare_letters_is_tight(seed: int) -> None:
    before = calm()
    new = write(before, seed, most=1, height=(0.1, 0.13))
    mask = decode_rle(new.photo.annotations[0].rle)
    changed = np.abs(new.pixels.astype(int) - before.pixels).max(2) > 25
    assert (changed & mask).sum() > 0.95 * changed.sum()
    one, two = box_of(mask), box_of(changed)
    assert one is not None
    assert two is not None
    assert np.abs(np.subtract(one, two)).max() <= 4


def test_no_two_texts_share_a_word_and_labels_are_unique() -> None:
    for seed in range(12):
        notes = write(calm(), seed, most=10, height=(0.05, 0.07)).photo.annotations
        assert len(notes) >= 1
        words = [word for note in notes for word in note.label.split('"')[1].lower().split()]
        assert len(set(words)) == len(words)
        assert len({note.label for note in notes}) == len({note.phrase.lower() for note in notes}) == len(notes)
        masks = [decode_rle(note.rle) for note in notes]
        assert np.sum(masks, 0).max() == 1


def test_case_does_not_make_another_label() -> None:
    labels = {note.label for seed in range(40) for note in write(calm(), seed).photo.annotations}
    assert all(label == f'text "{label[6:-1].upper()}"' for label in labels)


def test_same_seed_same_text() -> None:
    one, two = (write(calm(), 7) for _ in range(2))
    assert np.array_equal(one.pixels, two.pixels)
    assert one.photo == two.photo


def test_nothing_is_written_where_nothing_is_calm() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (*SIZE, 1), np.uint8) * np.full(3, 255, np.uint8)
    before = replace(calm(), pixels=noise)
    assert all(write(before, seed) is before for seed in range(5))
    tiny = Sample(np.full((10, 12, 3), 9, np.uint8), replace(calm().photo, size=(10, 12)))
    assert write(tiny, 0) is tiny


@pytest.mark.usefixtures("plates")
def test_a_plate_takes_its_pixels_and_hides_little() -> None:
    wall = Annotation("brick wall", "brick wall", encode_rle(box(0, 240, 0, 320)))
    cups = [Annotation("cup", "cup", encode_rle(box(y, y + 20, x, x + 20))) for y in (20, 180) for x in (30, 250)]
    small = {"height": (0.04, 0.05), "most": 1}
    taken = 0
    for seed in range(20):
        before = calm(wall, *cups, vocabulary=frozenset({"cup", "brick wall", "banner", "traffic sign", "dog"}))
        new = write(before, seed, **small)
        if new is before:
            continue
        (note,) = (n for n in new.photo.annotations if is_written(n))
        for old, now in zip(before.photo.annotations, new.photo.annotations, strict=False):
            first, second = decode_rle(old.rle), decode_rle(now.rle)
            assert old.label == now.label
            assert second.sum() >= (1 - HIDDEN) * first.sum()
            assert not (second & decode_rle(note.rle)).any()
        assert not {"banner", "traffic sign"} & new.photo.vocabulary
        assert "dog" in new.photo.vocabulary
        taken += 1
    assert taken >= 5


@pytest.mark.usefixtures("bare")
def test_letters_on_a_surface_leave_its_mask_whole() -> None:
    shirt = Annotation("shirt", "shirt", encode_rle(box(0, 240, 0, 320)))
    before = calm(shirt, vocabulary=frozenset({"shirt", "banner"}))
    for seed in range(5):
        new = write(before, seed).photo
        assert new.annotations[0] == shirt
        assert "banner" in new.vocabulary


@pytest.mark.usefixtures("plates")
@pytest.mark.parametrize("label", ["traffic sign", "banner", "stop sign"])
def test_no_plate_beside_an_annotated_sign(label: str) -> None:
    sign = Annotation(label, label, encode_rle(box(5, 15, 5, 15)))
    for seed in range(30):
        notes = write(calm(sign), seed).photo.annotations
        assert not [n for n in notes if " that says " in n.phrase]


def test_no_text_over_an_annotated_text() -> None:
    everywhere = Annotation('text "OPEN"', 'word "OPEN"', encode_rle(box(0, 240, 0, 320)))
    before = calm(everywhere)
    assert all(write(before, seed) is before for seed in range(5))


def test_the_dialogue_sampler_can_ask_for_it() -> None:
    known = knowledge.load()
    said, refused = set(), set()
    for seed in range(25):
        photo = write(calm(), seed).photo
        scene = Scene(photo, known)
        texts = {note.phrase for note in photo.annotations}
        assert {target.phrase for target in scene.targets} == texts
        assert not any(is_plural(text) for text in texts)
        hard, _ = scene.absent
        assert len(hard) == 1
        assert not any(has_words(text, hard[0].split('"')[1]) for text in texts)
        refused |= set(hard)
        talk = dialogue(photo, np.random.default_rng(seed)).conversation
        said |= {region.phrase for region in talk.regions}
        assert {region.phrase for region in talk.regions} <= texts
    assert len(said) >= 15
    assert all(phrase.startswith('text "') for phrase in refused)


def test_the_list_is_invented_unlike_and_not_the_test_splits() -> None:
    words = [*SIGNS, *BRANDS]
    assert len({word.lower() for word in words}) == len(words)
    for word in words:
        assert not [other for other in words if other != word and has_words(other, word)]
        assert " of the " not in word.lower()
    held = yaml.safe_load((files("miras.annotate.written") / "knowledge" / "written.yaml").read_text("utf-8"))["words"]
    heldout = {str(word).lower() for lists in held.values() for word in lists["heldout"]}
    assert not heldout & {word.lower() for word in words}
    known = knowledge.load()
    assert not [word for word in words if known.find(word.lower())]
