"""Figures by turn, hops, kind and size."""

from __future__ import annotations

import pytest

from miras.core.errors import InputError
from miras.eval.metrics.curves import LARGE, SIZES, SMALL, Point, curve, hops_of, size_of
from miras.eval.metrics.pixels import Overlap

PHOTO = 640 * 480
RIGHT, MISS, NONE = Overlap(5000, 5000, 5000), Overlap(0, 0, 20000), Overlap(0, 0, 0)
POINTS = [
    Point(RIGHT, 1, 1, "progressive", PHOTO),
    Point(MISS, 2, 4, "progressive", PHOTO),
    Point(RIGHT, 2, 7, "edit", PHOTO),
    Point(NONE, 10, 2, "absent", PHOTO),
]


@pytest.mark.parametrize(
    ("target", "pixels", "size"),
    [
        (0, PHOTO, "absent"),
        (1, PHOTO, "small"),
        (32 * 32 - 1, PHOTO, "small"),
        (32 * 32, PHOTO, "medium"),
        (96 * 96 - 1, PHOTO, "medium"),
        (96 * 96, PHOTO, "large"),
        (PHOTO, PHOTO, "large"),
        (4 * 32 * 32 - 1, 4 * PHOTO, "small"),
        (1, 1, "large"),
    ],
)
def test_size_is_a_share_of_the_photo(target, pixels, size):
    assert size_of(target, pixels) == size


def test_the_limits_are_as_written():
    assert pytest.approx(1 / 300) == SMALL
    assert pytest.approx(3 / 100) == LARGE


@pytest.mark.parametrize(("target", "pixels"), [(-1, 10), (11, 10), (0, 0)])
def test_a_target_fits_into_the_photo(target, pixels):
    with pytest.raises(InputError, match="as many pixels as the photo"):
        size_of(target, pixels)


def test_rows_of_the_four_curves():
    tables = {
        "turn": curve(POINTS, [point.turn for point in POINTS]),
        "hops": curve(POINTS, [hops_of(point.hops) for point in POINTS]),
        "kind": curve(POINTS, [point.kind for point in POINTS]),
        "size": curve(POINTS, [size_of(point.overlap.gold, point.pixels) for point in POINTS], order=SIZES),
    }
    assert {name: [(row["label"], row["n"]) for row in rows] for name, rows in tables.items()} == {
        "turn": [(1, 1), (2, 2), (10, 1)],
        "hops": [("1", 1), ("2", 1), ("4+", 2)],
        "kind": [("absent", 1), ("edit", 1), ("progressive", 2)],
        "size": [("absent", 1), ("medium", 2), ("large", 1)],
    }
    second = tables["turn"][1]
    assert second["giou"] == pytest.approx(50)
    assert second["ciou"] == pytest.approx(100 * 5000 / 25000)
    assert second["no_mask_rate"] == pytest.approx(0.5)
    assert tables["size"][0]["n_acc"] == pytest.approx(100)
    assert sum(row["n"] for row in tables["size"]) == len(POINTS)


def test_boundary_iou_stands_where_every_sample_has_a_band():
    banded = [Point(RIGHT, 1, 1, "edit", PHOTO, Overlap(1, 2, 2)), Point(RIGHT, 2, 1, "edit", PHOTO)]
    by_turn = curve(banded, [1, 2])
    assert by_turn[0]["boundary_iou"] == pytest.approx(100 / 3)
    assert "boundary_iou" not in by_turn[1]
    assert "boundary_iou" not in curve(banded, ["edit", "edit"])[0]


def test_any_labels():
    rows = curve(POINTS, ["b", "a", "b", 3])
    assert [(row["label"], row["n"]) for row in rows] == [(3, 1), ("a", 1), ("b", 2)]
    assert curve([], []) == []


def test_bad_input():
    with pytest.raises(InputError, match="1 for 4"):
        curve(POINTS, ["a"])
    with pytest.raises(InputError, match="'huge'"):
        curve(POINTS[:1], ["huge"], order=SIZES)
