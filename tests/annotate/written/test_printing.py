"""Written words on photos made by hand: where they lie, what their masks cover, what is refused, equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.annotate.written.designs import DESIGNS, knowledge, make
from miras.annotate.written.place import busyness, find, grow, pose_of, shrink
from miras.annotate.written.printing import LEAST_HEIGHT, Written, write_on
from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle, union
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.lettering.sheet import luminance

SIZE = (400, 480)
SHIRT = (slice(60, 360), slice(80, 400))
LABELS = ("shirt", "coat", "bag", "hood", "front left door", "front bumper", "building", "wall", "road", "bottle",
          "cup body", "chair back", "phone screen", "train", "trash can")  # fmt: skip


def region(*boxes: tuple[slice, slice]) -> Mask:
    mask = np.zeros(SIZE, np.bool_)
    for box in boxes:
        mask[box] = True
    return mask


def annotated(**masks: Mask) -> AnnotatedPhoto:
    """Labels are written with _ for spaces."""
    annotations = tuple(
        Annotation(name.replace("_", " "), f"{name.replace('_', ' ')}", encode_rle(mask))
        for name, mask in masks.items()
    )
    return AnnotatedPhoto("made", Path("made.png"), SIZE, annotations, "test")


@lru_cache
def photo() -> NDArray[np.uint8]:
    """An even photo with a little grain, lighter to the right."""
    rows = np.full((*SIZE, 3), 90, np.int32) + np.random.default_rng(0).integers(-2, 3, (*SIZE, 3))
    rows += (np.arange(SIZE[1]) // 12)[None, :, None]
    rows[:50, :, :] = 245  # something white, so that the scene has a white
    return np.clip(rows, 0, 255).astype(np.uint8)


def some(seeds: range = range(14), **masks: Mask) -> list[Written]:
    return list(each(seeds, **masks))


def each(seeds: range, **masks: Mask) -> Iterator[Written]:
    for seed in seeds:
        written = write_on(photo(), annotated(**masks), np.random.default_rng(seed))
        if written is not None:
            yield written


@pytest.fixture(scope="module")
def shirts() -> list[Written]:
    return some(shirt=region(SHIRT))


# The photo


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    first, again, other = (
        write_on(photo(), annotated(shirt=region(SHIRT)), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first is not None and again is not None and other is not None
    assert first.photo.tobytes() == again.photo.tobytes()
    assert [i.mask.tobytes() for i in first.regions] == [i.mask.tobytes() for i in again.regions]
    assert first.photo.tobytes() != other.photo.tobytes()


def test_the_given_photo_stays_and_only_the_surface_changes(shirts: list[Written]) -> None:
    before = photo()
    assert len(shirts) >= 12
    for written in shirts:
        assert written.photo.shape == before.shape and written.photo.dtype == np.uint8
        changed = (written.photo != before).any(2)
        assert changed.any() and not (changed & ~region(SHIRT)).any()


@pytest.mark.parametrize("label", LABELS)
def test_every_sort_of_surface_can_be_written_on(label: str) -> None:
    mask = region((slice(120, 390), slice(60, 420)))
    (art, *_), lines = next(
        (w.artworks, w.regions) for w in each(range(12), **{label.replace(" ", "_"): mask})
    )  # fmt: skip
    assert art.phrase == label and art.annotation == 0 and np.array_equal(art.mask, mask)
    for line in lines:
        assert not (line.mask & ~mask).any()


# Masks


def test_masks_cover_the_letters_and_little_else(shirts: list[Written]) -> None:
    before = photo().astype(int)
    for written in shirts:
        strokes = np.abs(written.photo.astype(int) - before).max(2) > 45
        there = union(*(i.mask for i in written.regions))
        there = union(there, *(a.carrier[1] for a in written.artworks if a.carrier))
        assert np.count_nonzero(strokes & there) >= 0.97 * np.count_nonzero(strokes)
        for line in written.regions:
            if line.text and written.artworks[line.artwork].carrier is None:
                rows, inked = np.flatnonzero(line.mask.any(1)), np.flatnonzero((strokes & line.mask).any(1))
                assert abs(inked[0] - rows[0]) <= 5 and abs(rows[-1] - inked[-1]) <= 5


def test_words_lie_in_their_line_beside_each_other(shirts: list[Written]) -> None:
    seen = 0
    for line in (i for w in shirts for i in w.regions if i.text):
        assert [word for word, _ in line.words] == line.text.split()
        for _, mask in line.words:
            assert mask.any() and not (mask & ~line.mask).any()
        for (_, left), (_, right) in zip(line.words, line.words[1:], strict=False):
            seen += 1
            assert not (left & right).any()
            assert np.flatnonzero(left.any(0)).mean() < np.flatnonzero(right.any(0)).mean()
    assert seen > 5


def test_lines_are_legible_and_in_reading_order(shirts: list[Written]) -> None:
    for written in shirts:
        lines = [i for i in written.regions if i.text]
        assert all(np.count_nonzero(i.mask) / np.count_nonzero(i.mask.any(0)) >= LEAST_HEIGHT - 1 for i in lines)
        tops = [np.flatnonzero(i.mask.any(1))[0] for i in written.on(0) if i.text]
        assert tops == sorted(tops)
        assert [i.row for i in written.on(0) if i.text] == list(range(len(tops)))


def test_a_plate_carries_its_line() -> None:
    written = next(each(range(6), front_bumper=region((slice(200, 330), slice(60, 420)))))
    (art,), (line,) = written.artworks, written.regions
    assert art.carrier is not None and art.carrier[0] == "number plate" and line.kind == "plate"
    assert not (line.mask & ~art.carrier[1]).any()
    assert np.count_nonzero(art.carrier[1]) > 1.2 * np.count_nonzero(line.mask)


# What is left alone


def test_skin_and_hair_stay_free() -> None:
    skin = region((slice(150, 290), slice(80, 230)))
    whole = region(SHIRT)
    found = some(range(8), skin=skin, shirt=whole)
    assert found
    for written in found:
        assert not ((written.photo != photo()).any(2) & skin).any()


@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"sky": region(SHIRT)},
        {"hair": region(SHIRT)},
        {"shirt": region((slice(0, 30), slice(0, 40)))},
        {"shirt": region((slice(0, 400), slice(200, 212)))},
        {"shirt": region(SHIRT), "skin": region(SHIRT)},
    ],
    ids=["nothing", "no surface", "only hair", "too small", "too narrow", "all covered"],
)
def test_nothing_is_written_where_nothing_fits(masks: dict[str, Mask]) -> None:
    assert some(range(2), **masks) == []


def test_bare_letters_keep_off_a_busy_surface() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    found = [write_on(noise, annotated(shirt=region(SHIRT)), np.random.default_rng(seed)) for seed in range(6)]
    assert not any(art.carrier is None for written in found if written for art in written.artworks)


def test_a_photo_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="480 x 400"):
        write_on(photo()[:-1], annotated(shirt=region(SHIRT)), np.random.default_rng(0))


def test_two_artworks_lie_on_two_things_and_repeat_no_word() -> None:
    left, right = region((slice(60, 360), slice(10, 230))), region((slice(60, 360), slice(250, 470)))
    twos = [w for w in some(range(12), shirt=left, bag=right) if len(w.artworks) == 2]
    assert twos
    for written in twos:
        assert {a.annotation for a in written.artworks} == {0, 1}
        words = [{w.lower() for i in written.on(n) for w in i.text.split()} for n in (0, 1)]
        assert not words[0] & words[1]


# Artworks


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("heldout", [False, True])
def test_every_design_is_set(design: str, heldout: bool) -> None:
    for seed in range(4):
        art = make(design, np.random.default_rng(seed), (120, 120, 120), heldout)
        assert art.picture.shape[2] == 4 and any(line.text for line in art.lines)
        for line in art.lines:
            assert line.shape.shape == art.picture.shape[:2] and line.shape.any() and line.text.isascii()
            assert line.kind in knowledge()["kinds"] and bool(line.text) != bool(line.emblem)
            said = knowledge()["words"].get(line.kind)
            if said and line.kind != "company":
                side, other = (said["heldout"], said["train"]) if heldout else (said["train"], said["heldout"])
                plain = line.text.lower()
                assert plain in map(str.lower, map(str, side)) and plain not in map(str.lower, map(str, other))


def test_an_unknown_design_is_refused() -> None:
    with pytest.raises(InputError, match="'poster'"):
        make("poster", np.random.default_rng(0), (0, 0, 0))


@pytest.mark.parametrize(("ground", "light"), [((20, 20, 24), True), ((240, 240, 235), False)])
def test_bare_ink_stands_out(ground: tuple[int, int, int], light: bool) -> None:
    for seed in range(8):
        ink = make("print", np.random.default_rng(seed), ground).picture[0, 0, :3]
        assert (luminance(ink) > luminance(ground)) is light
        assert abs(luminance(ink) - luminance(ground)) > 90


# Places


def test_busyness_sums_the_gradient() -> None:
    grey = np.array([[0, 10], [0, 10], [5, 10]], np.uint8)
    assert busyness(grey)[-1, -1] == 10 + 10 + (5 + 5)
    assert busyness(grey)[1, 1] == 0


def test_shrink_and_grow_by_hand() -> None:
    mask = np.zeros((7, 7), np.bool_)
    mask[1:6, 1:6] = True
    assert np.count_nonzero(shrink(mask, 1)) == 9 and np.count_nonzero(grow(mask, 1)) == 49
    assert np.count_nonzero(shrink(np.ones((7, 7), np.bool_), 2)) == 9


POSES = ("flat", "garment", "round", "panel", "door", "hood", "facade", "ground")
"""Those that the surfaces of the YAML name."""


@pytest.mark.parametrize("name", POSES)
def test_every_pose_finds_room_inside(name: str) -> None:
    mask, rng = region((slice(150, 390), slice(40, 440))), np.random.default_rng(1)
    road = region((slice(140, 400), slice(0, 480)))
    pose = pose_of(name, mask, road, rng)
    assert pose is not None
    busy = busyness(photo()[:, :, 0])
    place = find(mask, busy, (100, 300), pose, (0.5, 0.5), (0.1, 0.5), 99.0, 1.0, rng)
    assert place is not None
    for x, y in place.quad:
        assert mask[int(y), int(x)]
    assert find(mask, busy, (100, 300), pose, (0.5, 0.5), (9.0, 10.0), 99.0, 1.0, rng) is None
    assert find(mask, busy, (100, 300), pose, (0.5, 0.5), (0.1, 0.5), -1.0, 1.0, rng) is None


# The YAML


def test_words_are_plain_and_heldout_ones_are_apart() -> None:
    for kind, sides in knowledge()["words"].items():
        words = [str(word) for side in ("train", "heldout") for word in sides[side]]
        assert len({word.lower() for word in words}) == len(words), kind
        assert all(word.isascii() and word == word.strip() and "'" not in word for word in words), kind


def test_surfaces_name_known_designs_and_poses_once() -> None:
    raw: dict[str, Any] = knowledge()
    labels = [label for rule in raw["surfaces"] for label in rule["labels"]]
    assert len(labels) == len(set(labels)) and not set(labels) & set(raw["forbidden"])
    for rule in raw["surfaces"]:
        assert set(rule["designs"]) <= set(DESIGNS) and rule["pose"] in POSES
        assert set(rule) <= {"labels", "pose", "spot", "designs", "class", "weight", "near", "fill", "below"}


def test_every_kind_is_asked_without_its_name() -> None:
    for kind, entry in knowledge()["kinds"].items():
        assert entry["hints"] and entry["heldout"] and entry["questions"] and entry["why"], kind
        assert not set(entry["hints"]) & set(entry["heldout"])
        for words in (*entry["hints"], *entry["heldout"], *entry["questions"]):
            assert entry["noun"] not in words, kind


def test_real_photos_are_written_on(shared_data: Path) -> None:
    from miras.core.photo import read_photo
    from miras.data.formats.annotated import read

    photos = read(shared_data / "coco128", "coco-panoptic")[:8]
    done = [write_on(read_photo(p.path), p, np.random.default_rng(n)) for n, p in enumerate(photos)]
    assert sum(written is not None for written in done) >= 3
    for given, written in zip(photos, done, strict=True):
        for label in ("person", "hair") if written else ():
            masks = [decode_rle(a.rle) for a in given.annotations if a.label == label]
            for line in written.regions if written else ():
                assert not any((line.mask & mask).any() for mask in masks)
