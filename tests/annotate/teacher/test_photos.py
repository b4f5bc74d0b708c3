"""The input: good lines, every faulty line by its number, and which mask a phrase means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miras.annotate.teacher.photos import Known, mask_of, notes, phrases, read_photos
from miras.core.errors import InputError
from tests.annotate.made import KNOWN, box, digest, photos_file


def test_photos_are_read_with_absolute_paths(tmp_path: Path) -> None:
    first, second = read_photos(photos_file(tmp_path))
    assert (first.id, second.id) == ("p0", "p1")
    assert first.image == tmp_path / "img" / "0.png"
    assert (first.size, first.caption, first.digest) == ((20, 30), "A mug.", digest(first.image))
    assert phrases(first) == ["the red mug", "handle of the red mug", "plate"]


GOOD = {"id": "a", "image": "img/0.png"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "a JSON object in UTF-8"),
        (b'{"id": "\xff", "image": "img/0.png"}', "UTF-8"),
        (b"[]", 'a record with "id"'),
        ({"id": "a"}, '"image"'),
        ({"id": 1, "image": "img/0.png"}, '"id" to be a text'),
        ({"id": " ", "image": "img/0.png"}, "an empty one"),
        ({**GOOD, "image": "img/none.png"}, "none.png"),
        ({**GOOD, "image": "photos.jsonl"}, "expected a photo"),
        ({**GOOD, "capton": "x"}, "capton too"),
        ({**GOOD, "id": "p0"}, "'p0' again, first in line 1"),
        ({**GOOD, "annotations": [{}]}, "in annotation 0"),
        ({**GOOD, "annotations": [KNOWN[0], {"phrase": "..."}]}, "'...' in annotation 1"),
        ({**GOOD, "annotations": [{"phrase": "mug", "rle": box(0, 0, 2, 2, (5, 5))}]}, "30 x 20 pixels, got 5 x 5"),
        ({**GOOD, "annotations": [{"phrase": "mug", "rle": {"size": [20, 30], "counts": "!"}}]}, "annotation 0"),
    ],
)
def test_a_faulty_line_is_named_and_the_rest_goes_on(tmp_path: Path, line: Any, says: str) -> None:
    path = photos_file(tmp_path, 1)
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    path.write_bytes(path.read_bytes() + raw + b"\n\n" + json.dumps({**GOOD, "id": "last"}).encode())
    faults: list[str] = []
    assert [photo.id for photo in read_photos(path, faults.append)] == ["p0", "last"]
    assert len(faults) == 1
    assert faults[0].startswith("photos.jsonl: line 2: ")
    assert says in faults[0]
    with pytest.raises(InputError, match="1 fault"):
        list(read_photos(path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        list(read_photos(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize(
    ("names", "number", "pixels"),
    [
        (("Red Mug",), None, 64),
        (("mug",), None, 64),
        (("red",), None, None),
        (("handle of the red mug",), None, 6),
        (("handle",), None, None),
        (("the thing", "red mug"), None, 64),
        (("plate",), None, None),
        (("plate",), 2, 130),
        (("plate",), 3, None),
        (("cloth",), None, None),
    ],
)
def test_a_mask_is_matched_by_its_whole_name(names: tuple[str, ...], number: int | None, pixels: int | None) -> None:
    known = [Known(note["phrase"], note.get("label", ""), note["rle"]) for note in KNOWN] + [Known("cloth")]
    mask = mask_of(known, names, number)
    assert (None if mask is None else int(mask.sum())) == pixels


def test_notes_say_what_and_where(tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path)))
    assert notes(photo).splitlines() == [
        "The photo is 30 pixels wide and 20 high.",
        "People say about it: A mug.",
        "- the red mug (top left, 10.7% of the photo)",
        "- handle of the red mug (top left, 1.0% of the photo)",
        "- plate (bottom centre, 13.3% of the photo)",
        "- plate (top right, 8.3% of the photo)",
    ]
    bare = next(read_photos(photos_file(tmp_path, 1, caption=None, annotations=None)))
    assert notes(bare) == ""
