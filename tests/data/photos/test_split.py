"""The split: nothing that belongs together is divided, and a photo's side depends on nothing else."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.formats import instructpart
from miras.data.formats.annotated import SOURCES, read_sources
from miras.data.photos.split import group_of, groups, recipe_sides, recipe_split, split


def photo(id: str, source: str = "ccp") -> AnnotatedPhoto:
    return AnnotatedPhoto(id, Path(f"{id}.jpg"), (8, 8), (), source)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("0001TP_006690", "0001TP_006750", True),
        ("0001TP_006600", "0001TP_007199", True),
        ("0001TP_006690", "0001TP_007290", False),
        ("0006R0_f00930", "0006R0_f00990", True),
        ("0006R0_f00930", "0016E5_00960", False),
        ("0016E5_07959", "0016E5_08159", True),  # four frames apart, the densest stretch
        ("Seq05VD_f00000", "Seq05VD_f00030", True),
        ("0001", "0002", False),
        ("000000000009", "000000000025", False),
        ("2008_000002", "2008_000003", False),
        ("103415298_29c32b89ba_o", "103415298_29c32b89ba_o", True),
    ],
)
def test_groups(first: str, second: str, together: bool) -> None:
    assert (group_of(photo(first)) == group_of(photo(second))) is together


def test_the_same_name_in_two_sources_is_two_groups() -> None:
    assert group_of(photo("0001", "ccp")) != group_of(photo("0001", "other"))


IDS = st.lists(
    st.sampled_from([f"{n:04}" for n in range(40)] + [f"0016E5_{n:05}" for n in range(0, 6000, 60)]), max_size=60
)


@given(IDS, st.floats(0, 1), st.integers(0, 5))
def test_no_group_is_divided_and_nothing_is_lost(ids: list[str], share: float, seed: int) -> None:
    photos = [photo(id) for id in ids]
    train, val = split(photos, share, seed)
    assert not {group_of(p) for p in train} & {group_of(p) for p in val}
    assert sorted(p.id for p in train + val) == sorted(ids)


@given(IDS, IDS, st.randoms(use_true_random=False))
def test_a_side_depends_on_the_group_alone(ids: list[str], more: list[str], shuffle: random.Random) -> None:
    _, before = split([photo(id) for id in ids], 0.3, seed=1)
    mixed = [photo(id) for id in [*ids, *more]]
    shuffle.shuffle(mixed)
    _, after = split(mixed, 0.3, seed=1)
    assert {p.id for p in before} == {p.id for p in after} & set(ids)


def test_sides_do_not_change_between_versions() -> None:
    """Weights in use were trained on one side: a new hash would mix the sides silently."""
    _, val = split([photo(f"{n:04}") for n in range(1, 61)], 0.1, seed=0)
    assert [p.id for p in val] == ["0001", "0016", "0022", "0042"]


def test_order_is_kept_and_the_share_is_met() -> None:
    photos = [photo(f"{n:05}") for n in range(4000)]
    train, val = split(photos, 0.2, seed=3)
    assert [p.id for p in train] == sorted(p.id for p in train)
    assert len(val) == pytest.approx(800, abs=100)  # four standard deviations
    assert {p.id for p in val} != {p.id for p in split(photos, 0.2, seed=4)[1]}
    larger = {p.id for p in split(photos, 0.3, seed=3)[1]}
    assert {p.id for p in val} < larger  # a larger share only adds


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (1.0, 5)])
def test_all_or_nothing(share: float, kept: int) -> None:
    assert len(split([photo(str(n)) for n in range(5)], share)[1]) == kept


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(InputError, match=r"from 0 to 1"):
        split([], share)


SIDES = {
    "train": (1715, "13a354c8ecbcfdbc"),
    "calibration": (61, "83a0a0472886a1b2"),
    "val": (132, "e7bdef81601d1fc8"),
}
"""Photos of the sets that `miras-mini` was trained on, and a digest of their names: published figures stand on them."""
ALL_SIDES = {
    "train": (4278, "59583ce44379b3e0"),
    "calibration": (167, "dcfbcb34a9794da9"),
    "val": (308, "6e2cf27281ddee2d"),
}
"""The same with the twelve sets that came later."""
FIRST = ("instructpart", "ccp", "car-parts", "camvid", "coco128")


def test_the_sides_of_the_published_sets(shared_data: Path) -> None:
    if missing := [where for where, _ in SOURCES.values() if not (shared_data / where).exists()]:
        pytest.skip(f"needs {missing}")
    photos = read_sources(shared_data, lambda fault: None)
    for some, expected in ((photos, ALL_SIDES), ([p for p in photos if p.source in FIRST], SIDES)):
        found = {}
        for side, here in recipe_sides(some).items():
            names = "\n".join(sorted(f"{photo.source}/{photo.id}" for photo in here))
            found[side] = (len(here), hashlib.sha256(names.encode()).hexdigest()[:16])
        assert found == expected


def test_copies_are_on_one_side(tmp_path: Path) -> None:
    """The same bytes under other names, whatever their order; the groups that they belong to go together."""
    names = [f"{n:03}" for n in range(60)] + [f"0016E5_{n:05}" for n in range(0, 6000, 600)]
    for number, name in enumerate(names):
        (tmp_path / f"{name}.jpg").write_bytes(b"photo %d" % (number % 20))
    photos = [AnnotatedPhoto(name, tmp_path / f"{name}.jpg", (8, 8), (), "s") for name in names]
    for some in (photos, photos[::-1], photos[7:]):
        for train, val in (split(some, 0.4), recipe_split(some)):
            sides = [{photo.path.read_bytes() for photo in side} for side in (train, val)]
            assert not sides[0] & sides[1]
            assert len(train) + len(val) == len(some)
    assert {p.id for p in split(photos, 0.4)[1]} == {p.id for p in split(photos[::-1], 0.4)[1]}
    assert groups([photos[0], photos[1]]) == [group_of(photos[0]), group_of(photos[1])]
    assert groups([photos[40], photos[0], photos[20]]) == [group_of(photos[0])] * 3


def test_real_parts_of_one_photo_stay_together(shared_data: Path) -> None:
    train, val = split(instructpart.read(shared_data / "instructpart" / "dev"), 0.2, seed=0)
    assert not {p.id for p in train} & {p.id for p in val}
    assert len(train) + len(val) == 294
    assert 30 < len(val) < 90
