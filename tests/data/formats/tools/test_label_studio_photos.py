"""Which file is the photo of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.data.formats.tools.label_studio_photos import Shelf, address_of, parts_of
from tests.data.made import photo

PARTS: dict[str, list[str]] = {
    "/data/local-files/?d=cam1/a%20b.jpg": ["cam1", "a b.jpg"],
    "/data/local-files/?d=C%3A%5Cdata%5Ca.jpg": ["C:", "data", "a.jpg"],
    "/data/upload/3/0a1b2c3d-a.jpg": ["data", "upload", "3", "0a1b2c3d-a.jpg"],
    "s3://bucket/cam1/a.jpg": ["cam1", "a.jpg"],
    "https://x.org/a%2Bb.jpg?token=3": ["a+b.jpg"],
    "images\\a.jpg": ["images", "a.jpg"],
    "../../etc/passwd": ["etc", "passwd"],
    "/data/local-files/?d=../../a.jpg": ["a.jpg"],
    "a.jpg": ["a.jpg"],
    "http://[": [],
    "": [],
}


@pytest.mark.parametrize(("address", "parts"), PARTS.items(), ids=PARTS)
def test_parts(address: str, parts: list[str]) -> None:
    assert parts_of(address) == parts


PLACES: list[tuple[str, str]] = [
    ("/data/upload/1/0a1b2c3d-a.jpg", "0a1b2c3d-a.jpg"), ("/data/upload/1/0a1b2c3d-a.jpg", "a.jpg"),
    ("/data/upload/1/0a1b2c3d-a.jpg", "images/a.jpg"), ("/data/upload/1/a.jpg", "upload/1/a.jpg"),
    ("/data/local-files/?d=set/cam1/a.jpg", "set/cam1/a.jpg"), ("/data/local-files/?d=set/cam1/a.jpg", "cam1/a.jpg"),
    ("/data/local-files/?d=set/cam1/a.jpg", "images/cam1/a.jpg"), ("https://x.org/b/a.jpg", "a.jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("address", "place"), PLACES)
def test_where_photos_lie(tmp_path: Path, address: str, place: str) -> None:
    photo(tmp_path / place)
    shelf = Shelf(tmp_path)
    shelf.claim(0, address, "")
    assert shelf.path(0) == tmp_path / place


def test_the_longest_end_wins(tmp_path: Path) -> None:
    for place in ("a.jpg", "images/cam1/a.jpg"):
        photo(tmp_path / place)
    shelf = Shelf(tmp_path)
    for number, address in enumerate(("s3://b/cam1/a.jpg", "s3://b/cam2/a.jpg")):
        shelf.claim(number, address, "")
    assert [shelf.path(n).relative_to(tmp_path).as_posix() for n in (0, 1)] == ["images/cam1/a.jpg", "a.jpg"]


def test_a_name_with_a_hyphen_is_no_upload(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    shelf = Shelf(tmp_path)
    shelf.claim(0, "photo-a.jpg", "")
    with pytest.raises(InputError, match=r"no file for 'photo-a\.jpg'; put it into"):
        shelf.path(0)


@pytest.mark.parametrize("address", ["x" * 9000, "a\0b.jpg", "/" * 50, "~"])
def test_odd_addresses_are_no_file(tmp_path: Path, address: str) -> None:
    shelf = Shelf(tmp_path)
    shelf.claim(0, address, "")
    with pytest.raises(InputError, match="no file for"):
        shelf.path(0)


def test_of_several_tasks_with_one_photo_the_last_changed_is_read(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    shelf = Shelf(tmp_path)
    for number, changed in enumerate(("2024-02", "2024-03", "2024-01")):
        shelf.claim(number, "a.jpg", changed)
    assert [shelf.is_chosen(number) for number in range(3)] == [False, True, False]


ADDRESSES: list[tuple[dict[str, Any], str]] = [
    ({"image": "a"}, "a"), ({"pic": "s3://b/a.PNG", "note": "a cat"}, "s3://b/a.PNG"),
    ({"url": "https://x.org/view?id=3"}, "https://x.org/view?id=3"), ({"image": "a.jpg", "thumb": "a.jpg"}, "a.jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "address"), ADDRESSES)
def test_addresses(data: dict[str, Any], address: str) -> None:
    assert address_of({"data": data, "annotations": []}) == address
    assert address_of(data) == address
