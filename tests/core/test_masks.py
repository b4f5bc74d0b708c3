"""Masks: run lengths against pycocotools, polygons both ways, boundary by hand, set algebra by law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from miras.core import masks
from miras.core.errors import InputError
from miras.core.types import Mask

SIZES = st.tuples(st.integers(0, 9), st.integers(0, 9))
# On a busy machine a draw may take seconds: time is no failure here.
unhurried = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def bits(size: tuple[int, int]) -> st.SearchStrategy[Mask]:
    """Masks of one size, drawn as one number: cheap, and they shrink to empty."""
    count = size[0] * size[1]
    return st.integers(0, 2**count - 1).map(
        lambda number: np.array([number >> place & 1 for place in range(count)], np.bool_).reshape(size)
    )


MASKS = SIZES.flatmap(bits)


def drawn(*rows: str) -> Mask:
    """A mask from rows of '#' (selected) and '.'."""
    return np.array([[letter == "#" for letter in row] for row in rows], np.bool_)


def of_one_size(count: int) -> st.SearchStrategy[Sequence[Mask]]:
    """`count` masks of one size."""
    return SIZES.flatmap(lambda size: st.tuples(*[bits(size)] * count))


BLOB = drawn(
    ".......",
    ".####..",
    ".#..#..",
    ".#..##.",
    ".####..",
    "......#",
)
"""A part with a hole, and a single pixel apart from it."""


# --- run lengths


@unhurried
@given(MASKS)
def test_rle_round_trip_and_same_string_as_pycocotools(mask: Mask) -> None:
    rle = masks.encode_rle(mask)
    assert rle["size"] == list(mask.shape)
    assert rle["counts"] == coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    again = masks.decode_rle(rle)
    assert again.dtype == np.bool_
    assert again.flags.c_contiguous
    np.testing.assert_array_equal(again, mask)
    assert masks.rle_area(rle) == mask.sum()


def test_rle_of_long_runs_and_every_memory_order() -> None:
    mask = np.zeros((700, 900), np.bool_)
    mask[100:650, 10:880] = True
    mask[333, 444] = False
    expected = masks.encode_rle(mask)
    for form in (np.asfortranarray(mask), mask[::-1][::-1], mask.astype(np.uint8) * 255, mask.astype(np.float32)):
        assert masks.encode_rle(form) == expected
    np.testing.assert_array_equal(masks.decode_rle(expected), mask)
    as_bytes = {**expected, "counts": expected["counts"].encode()}
    np.testing.assert_array_equal(masks.decode_rle(as_bytes), mask)


def test_rle_reads_the_list_of_counts_of_coco_crowds() -> None:
    np.testing.assert_array_equal(
        masks.decode_rle({"size": [2, 3], "counts": [1, 3, 2]}),
        drawn(".#.", "##."),
    )


@pytest.mark.parametrize(
    "rle",
    [
        {},
        None,
        {"size": [5, 5]},
        {"size": [5], "counts": "0"},
        {"size": [5, 5], "counts": ""},
        {"size": [5, 5], "counts": "05"},
        {"size": [5, 5], "counts": "o"},
        {"size": [5, 5], "counts": "P1000"},
        {"size": [5, 5], "counts": "zzzzzzzzzzzzzzzzz"},
        {"size": [5, 5], "counts": "é"},
        {"size": [5, 5], "counts": [30, -5]},
        {"size": [5, 5], "counts": [26]},
        {"size": [5, 5], "counts": 25},
        {"size": [-5, -5], "counts": [25]},
        {"size": ["a", 5], "counts": [25]},
    ],
)
def test_broken_rle_is_an_input_error(rle: Any) -> None:
    for read in (masks.decode_rle, masks.rle_area):
        with pytest.raises(InputError):
            read(rle)


@unhurried
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=20))
def test_any_counts_decode_to_the_size_or_raise(counts: str) -> None:
    try:
        mask = masks.decode_rle({"size": [4, 5], "counts": counts})
    except InputError:
        return
    assert mask.shape == (4, 5)


# --- polygons


@unhurried
@given(MASKS)
def test_polygons_round_trip_exactly(mask: Mask) -> None:
    rings = masks.mask_to_polygons(mask)
    np.testing.assert_array_equal(masks.polygons_to_mask(rings, mask.shape), mask)
    assert sum(masks.ring_area(ring) for ring in rings) == masks.area(mask)


def test_polygons_round_trip_on_noise_and_on_a_disc() -> None:
    y, x = np.mgrid[:90, :120]
    disc = (y - 40) ** 2 + (x - 70) ** 2 < 35**2
    noise = np.random.default_rng(0).random((90, 120)) < 0.5
    for mask in (disc, noise, ~disc, disc & noise):
        np.testing.assert_array_equal(masks.polygons_to_mask(masks.mask_to_polygons(mask), mask.shape), mask)
    assert len(masks.mask_to_polygons(disc)) == 1


def test_outer_rings_are_positive_and_holes_negative_and_start_topmost_leftmost() -> None:
    rings = masks.mask_to_polygons(BLOB)
    assert [masks.ring_area(ring) for ring in rings] == [17.0, -4.0, 1.0]
    assert rings[1] == [(2, 2), (2, 4), (4, 4), (4, 2)]
    assert rings[2] == [(6, 5), (7, 5), (7, 6), (6, 6)]
    assert rings[0][:2] == [(1, 1), (5, 1)]


@pytest.mark.parametrize("mask", [drawn("#.", ".#"), drawn(".#", "#.")])
def test_parts_that_touch_at_a_corner_are_two_rings(mask: Mask) -> None:
    assert [masks.ring_area(ring) for ring in masks.mask_to_polygons(mask)] == [1.0, 1.0]


def test_a_hole_reached_by_a_corner_stays_one_hole() -> None:
    mask = drawn("####", "#.##", "##.#", "####")
    assert [masks.ring_area(ring) for ring in masks.mask_to_polygons(mask)] == [16.0, -2.0]


@pytest.mark.parametrize(
    ("rings", "rule", "expected"),
    [
        ([], "evenodd", drawn("....", "....", "....")),
        ([], "union", drawn("....", "....", "....")),
        ([[(0, 0), (4, 0), (4, 3), (0, 3)]], "evenodd", drawn("####", "####", "####")),
        ([[(-9, -9), (99, -9), (99, 99), (-9, 99)]], "evenodd", drawn("####", "####", "####")),
        ([[(0.6, 0), (2.4, 0), (2.4, 9), (0.6, 9)]], "evenodd", drawn(".#..", ".#..", ".#..")),
        ([[(0, 0), (3, 0), (0, 3)]], "evenodd", drawn("##..", "#...", "....")),
        (
            [[(0, 0), (3, 0), (3, 3), (0, 3)], [(1, 0), (4, 0), (4, 2), (1, 2)]],
            "evenodd",
            drawn("#..#", "#..#", "###."),
        ),
        ([[(0, 0), (3, 0), (3, 3), (0, 3)], [(1, 0), (4, 0), (4, 2), (1, 2)]], "union", drawn("####", "####", "###.")),
        ([[(0, 1), (4, 1), (2, 1)]], "evenodd", drawn("....", "....", "....")),
    ],
)
def test_polygons_to_mask(rings: list[list[tuple[float, float]]], rule: Any, expected: Mask) -> None:
    np.testing.assert_array_equal(masks.polygons_to_mask(rings, (3, 4), rule), expected)


@pytest.mark.parametrize(
    "ring",
    [
        [],
        [(0, 0), (1, 1)],
        [(0, 0), (1, 1), (float("nan"), 2)],
        [0, 0, 1, 1, 2, 2],
        [(0, 0), (1,), (2, 2)],
        [("a", 0)] * 3,
    ],
)
def test_broken_polygons_are_input_errors(ring: Any) -> None:
    with pytest.raises(InputError, match="ring"):
        masks.polygons_to_mask([ring], (3, 4))


# --- boxes, boundary, sizes


@pytest.mark.parametrize(
    ("mask", "box"),
    [
        (drawn("...", "..."), None),
        (np.zeros((0, 3), np.bool_), None),
        (drawn("..", ".#"), (1.0, 1.0, 2.0, 2.0)),
        (BLOB, (1.0, 1.0, 7.0, 6.0)),
    ],
)
def test_box_of(mask: Mask, box: Any) -> None:
    assert masks.box_of(mask) == box


def test_boundary_by_hand() -> None:
    mask = drawn("#####", "#####", "#####", "#####", "#...#")
    np.testing.assert_array_equal(masks.boundary(mask, 1), drawn("#####", "#...#", "#...#", "#####", "#...#"))
    np.testing.assert_array_equal(masks.boundary(mask, 2), drawn("#####", "#####", "#####", "#####", "#...#"))


@unhurried
@given(MASKS, st.integers(1, 4))
def test_boundary_is_the_mask_minus_its_erosion(mask: Mask, width: int) -> None:
    padded = np.pad(mask, width)
    height, length = mask.shape
    eroded = np.zeros_like(mask)
    for y in range(height):
        for x in range(length):
            eroded[y, x] = padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    np.testing.assert_array_equal(masks.boundary(mask, width), mask & ~eroded)


def test_boundary_needs_a_width() -> None:
    with pytest.raises(InputError, match="1 pixel"):
        masks.boundary(BLOB, 0)


def test_resize_mask() -> None:
    mask = drawn("#.", ".#")
    np.testing.assert_array_equal(masks.resize_mask(mask, (2, 4)), drawn("##..", "..##"))
    np.testing.assert_array_equal(masks.resize_mask(masks.resize_mask(BLOB, (60, 70)), BLOB.shape), BLOB)
    assert masks.resize_mask(BLOB, (3, 5)).dtype == np.bool_
    for size in [(0, 4), (4, -1)]:
        with pytest.raises(InputError, match="at least 1 pixel"):
            masks.resize_mask(mask, size)


# --- set algebra


@unhurried
@given(of_one_size(3))
def test_set_algebra_laws(three: Sequence[Mask]) -> None:
    a, b, c = three
    before = [mask.copy() for mask in three]
    union, intersection, difference = masks.union, masks.intersection, masks.difference
    same = np.testing.assert_array_equal
    same(union(a, b), union(b, a))
    same(intersection(a, b), intersection(b, a))
    same(union(a, b, c), union(union(a, b), c))
    same(difference(a, b, c), difference(a, union(b, c)))
    same(intersection(a, union(b, c)), union(intersection(a, b), intersection(a, c)))
    same(union(difference(a, b), intersection(a, b)), a)
    same(difference(union(a, b), b), difference(a, b))
    same(union(a, a), a)
    assert masks.area(union(a, b)) + masks.area(intersection(a, b)) == masks.area(a) + masks.area(b)
    for mask, kept in zip(three, before, strict=True):
        same(mask, kept)


@unhurried
@given(of_one_size(2))
def test_iou_is_symmetric_and_one_only_for_equal_masks(two: Sequence[Mask]) -> None:
    a, b = two
    assert masks.iou(a, b) == masks.iou(b, a)
    assert 0.0 <= masks.iou(a, b) <= 1.0
    assert (masks.iou(a, b) == 1.0) == bool((a == b).all())


def test_iou_of_empty_masks_is_one_and_results_own_their_memory() -> None:
    empty = np.zeros((2, 2), np.bool_)
    assert masks.iou(empty, empty) == 1.0
    assert masks.iou(empty, ~empty) == 0.0
    for combine in (masks.union, masks.intersection, masks.difference):
        alone = combine(empty)
        alone[:] = True
        assert not empty.any()


@pytest.mark.parametrize("combine", [masks.union, masks.intersection, masks.difference, masks.iou])
def test_other_sizes_are_refused_with_both_sizes(combine: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"2 x 3 \(H x W\), got 3 x 2; resize"):
        combine(np.zeros((2, 3), np.bool_), np.zeros((3, 2), np.bool_))


@pytest.mark.parametrize("broken", [np.zeros((2, 2, 3), np.bool_), np.zeros(4, np.bool_), [[True]], None])
def test_what_is_not_a_mask_is_refused(broken: Any) -> None:
    with pytest.raises(InputError, match=r"\(H, W\)"):
        masks.encode_rle(broken)
    with pytest.raises(InputError, match=r"\(H, W\)"):
        masks.union(broken)


# --- what a mask is

INSIDE = drawn("..#.", ".##.", "....")
SOFT = np.where(INSIDE, 0.9, 0.02)


KINDS = ("bool", "uint8", "int8", "int16", "uint16", "int64", "float16", "float32", "float64")


@pytest.mark.parametrize(
    ("kind", "top"), [(kind, top) for kind in KINDS for top in (1, 255) if (kind, top) != ("int8", 255)]
)
def test_true_and_false_zero_and_one_zero_and_255_are_masks(kind: str, top: int) -> None:
    for inside in (INSIDE, np.zeros((3, 4), bool), np.ones((3, 4), bool)):
        values = (inside * np.float64(top)).astype(kind)
        found = masks.as_mask(values)
        assert found.dtype == np.bool_
        np.testing.assert_array_equal(found, inside)
        assert masks.encode_rle(values) == masks.encode_rle(inside)
    assert masks.as_mask(INSIDE) is INSIDE
    assert masks.as_mask(np.zeros((0, 4), kind)).shape == (0, 4)


NO_MASKS: dict[str, tuple[Any, str]] = {
    "probabilities": (SOFT, r"float64 from 0\.02 to 0\.9; threshold it first: values > 0\.5"),
    "float16 probabilities": (SOFT.astype(np.float16), "threshold it first: values > 0.5"),
    "logits": (np.where(INSIDE, 4.0, -3.0), "from -3 to 4; threshold it first: values > 0$"),
    "minus one and one": (np.where(INSIDE, 1.0, -1.0), "threshold it first: values > 0$"),
    "soft values to 255": (SOFT * 255, "threshold it first: values > 127"),
    "one probability for all": (np.full((3, 4), 0.5), "threshold it first: values > 0.5"),
    "NaN": (np.where(INSIDE, 1.0, np.nan), "with NaN.*threshold"),
    "NaN alone": (np.full((3, 4), np.nan), "with NaN.*threshold"),
    "infinite": (np.where(INSIDE, np.inf, 0.0), "to inf; threshold"),
    "labels": (np.arange(12).reshape(3, 4), "int64 from 0 to 11; threshold.*or choose one label"),
    "labels with a void": (np.where(INSIDE, 1, np.array([0, 255, 255, 0])), "choose one label"),
    "one label": (INSIDE * np.uint8(7), "uint8 from 0 to 7; .*choose one label"),
    "grey of an edge": (np.where(INSIDE, 255, 128).astype(np.uint8), "threshold it first"),
    "negative": (-INSIDE.astype(np.int8), "from -1 to 0; threshold"),
    "text": (np.full((3, 4), "x"), "values of type"),
    "objects": (np.full((3, 4), None), "values of type object"),
    "complex": (INSIDE.astype(np.complex64), "values of type complex64"),
    "three axes": (INSIDE[None], r"shape \(1, 3, 4\)"),
    "a list": ([[0, 1]], "shape list"),
}


@pytest.mark.parametrize("name", NO_MASKS)
def test_anything_else_is_refused_in_a_line_that_says_what_to_do(name: str) -> None:
    values, says = NO_MASKS[name]
    doors: list[Callable[[Any], Any]] = [
        masks.as_mask, masks.encode_rle, masks.mask_to_polygons, masks.boundary, masks.box_of, masks.area, masks.union,
        masks.intersection, lambda mask: masks.difference(INSIDE, mask), lambda mask: masks.iou(INSIDE, mask),
    ]  # fmt: skip
    for door in doors:
        with pytest.raises(InputError, match=says) as caught:
            door(values)
        assert "\n" not in str(caught.value)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        with pytest.raises(InputError, match=says):
            masks.resize_mask(values, (5, 5))


def indexed(values: NDArray[Any], *colours: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(values.astype(np.uint8), "P")
    picture.putpalette([level for colour in colours for level in colour])
    return picture


def with_alpha(colours: NDArray[Any], alpha: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.dstack([colours.astype(np.uint8)] * 3 + [alpha.astype(np.uint8)]), "RGBA")


PICTURES: dict[str, Image.Image] = {
    "one bit": Image.fromarray(INSIDE),
    "zero and one": Image.fromarray(INSIDE.astype(np.uint8)),
    "black and white": Image.fromarray(INSIDE * np.uint8(255)),
    "16 bits": Image.fromarray(INSIDE.astype(np.uint16) * np.uint16(255)),
    "32 bits": Image.fromarray(INSIDE.astype(np.int32)),
    "floats": Image.fromarray(INSIDE.astype(np.float32)),
    "colour": Image.fromarray(np.dstack([INSIDE * np.uint8(255)] * 3)),
    "red on black": Image.fromarray(np.dstack([INSIDE * np.uint8(200), *[np.zeros((3, 4), np.uint8)] * 2])),
    "colour and full alpha": with_alpha(INSIDE * 255, np.full((3, 4), 255)),
    "white, transparent around": with_alpha(INSIDE * 255, INSIDE * 255),
    "palette of indices": indexed(INSIDE, (0, 0, 0), (128, 0, 0)),
    "palette, bright ground": indexed(INSIDE, (240, 240, 240), (128, 0, 0)),
    "palette, white first": indexed(~INSIDE, (255, 255, 255), (0, 0, 0)),
    "grey palette": Image.fromarray(INSIDE * np.uint8(255)).convert("P"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_masks_of_pictures(name: str) -> None:
    np.testing.assert_array_equal(masks.mask_of_picture(PICTURES[name]), INSIDE)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Image.fromarray((SOFT * 255).astype(np.uint8)), "threshold"),
        (Image.fromarray(np.dstack([(SOFT * 255).astype(np.uint8)] * 3)), "2 colours on black; threshold"),
        (Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3)), "12 colours on black"),
        (Image.fromarray(SOFT.astype(np.float32)), "threshold"),
        (Image.fromarray((SOFT * 65535).astype(np.uint16)), "threshold"),
        (indexed(INSIDE * 2 + np.array([1, 0, 0, 0]), (0, 0, 0), (255, 0, 0), (0, 255, 0)), "choose one label"),
        (indexed(INSIDE * 3, *[(n, 0, 0) for n in range(4)]), "uint8 from 0 to 3.*choose one label"),
        (with_alpha(np.zeros((3, 4)), INSIDE * 255), "transparency alone; save the mask in black and white"),
    ],
)
def test_pictures_that_are_no_mask(picture: Image.Image, says: str) -> None:
    with pytest.raises(InputError, match=says):
        masks.mask_of_picture(picture)
