"""InstructPart: a folder made by hand, every fault of a row, and the real file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats import instructpart

PART = {"object": "trash can", "part": "lid", "affordance": "open", "action": "throw"}
SIX = ["Where do I throw this?", "Which part opens?", "Where is the lid?", "And now?", "lid of the trash can", "lid"]
BOX = (slice(2, 5), slice(3, 9))


def part(**changes: Any) -> dict[str, Any]:
    return {**PART, "instruction": SIX, **changes}


def write(
    folder: Path,
    records: Any,
    size: tuple[int, int] = (10, 12),
    mask_size: tuple[int, int] | None = None,
    on: int = 255,
) -> Path:
    """A folder whose photos and masks exist for stems of the photos "a_o" and "b"."""
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for stem in ("a_o-trash_can-lid", "a_o-trash_can-body", "b-trash_can-lid"):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / "images" / f"{stem}.jpg")
        mask = np.zeros(mask_size or size, np.uint8)
        mask[BOX] = on
        Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
    (folder / "data_dev.json").write_text(json.dumps(records))
    return folder


TWO_PHOTOS = [
    {"image_path": "a_o.jpg", "part_list": [part()]},
    {"image_path": "b.jpg", "part_list": [part()]},
    {"image_path": "a_o.jpg", "part_list": [part(part="body")]},
]


@pytest.mark.parametrize("on", [255, 1], ids=["0/255", "0/1"])
def test_each_part_is_one_record_in_the_order_of_the_file(tmp_path: Path, on: int) -> None:
    photos = instructpart.read(write(tmp_path, TWO_PHOTOS, on=on))
    assert [photo.id for photo in photos] == ["a_o", "b", "a_o"]
    first = photos[0]
    assert first.path == tmp_path / "images" / "a_o-trash_can-lid.jpg"
    assert (first.size, first.source, first.vocabulary) == ((10, 12), "instructpart", frozenset())
    (note,) = first.annotations
    assert (note.label, note.phrase, note.instructions) == ("trash can lid", SIX[4], tuple(SIX))
    expected = np.zeros((10, 12), bool)
    expected[BOX] = True
    assert np.array_equal(decode_rle(note.rle), expected)


def test_merge_joins_the_parts_of_one_photo_and_no_others(tmp_path: Path) -> None:
    photos = instructpart.merge(instructpart.read(write(tmp_path, TWO_PHOTOS)))
    assert [(p.id, [a.label for a in p.annotations]) for p in photos] == [
        ("a_o", ["trash can lid", "trash can body"]),
        ("b", ["trash can lid"]),
    ]


def test_merge_keeps_sizes_apart(tmp_path: Path) -> None:
    small = instructpart.read(write(tmp_path / "s", TWO_PHOTOS[:1], (10, 12)))
    large = instructpart.read(write(tmp_path / "l", TWO_PHOTOS[:1], (20, 24)))
    assert [p.size for p in instructpart.merge([*small, *large])] == [(10, 12), (20, 24)]


FAULTS: dict[str, tuple[Any, str]] = {
    "no photo": ({"image_path": "c.jpg", "part_list": [part()]}, "c-trash_can-lid.jpg"),
    "no object": ({"image_path": "b.jpg", "part_list": [{"part": "lid", "instruction": SIX}]}, '"object"'),
    "object is a number": ({"image_path": "b.jpg", "part_list": [part(object=3)]}, '"object"'),
    "five instructions": ({"image_path": "b.jpg", "part_list": [part(instruction=SIX[:5])]}, "6 instructions"),
    "an empty instruction": ({"image_path": "b.jpg", "part_list": [part(instruction=[*SIX[:5], " "])]}, "instructions"),
    "outside the folder": ({"image_path": "b.jpg", "part_list": [part(object="../b")]}, "../b"),
    "no part list": ({"image_path": "b.jpg"}, '"part_list"'),
    "a record that is text": ("b.jpg", '"image_path"'),
}


@pytest.mark.parametrize(("record", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_record_is_named(tmp_path: Path, record: Any, said: str) -> None:
    folder = write(tmp_path, [TWO_PHOTOS[0], record])
    with pytest.raises(InputError, match=r"data_dev\.json.*1 fault: .*record 1") as error:
        instructpart.read(folder)
    assert said in str(error.value)
    heard: list[str] = []
    assert [p.id for p in instructpart.read(folder, heard.append)] == ["a_o"]
    assert len(heard) == 1
    assert said in heard[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask_size": (12, 10)}, "12 x 10 pixels, got 10 x 12"),
        ({"on": 0}, "selected pixels"),
        ({"on": 180}, "threshold it first"),
        ({"on": 2}, "choose one label"),
    ],
    ids=["mask of another size", "empty mask", "a soft mask", "a label"],
)
def test_a_mask_that_cannot_be_is_a_fault(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=r"3 faults: .*record 0") as error:
        instructpart.read(write(tmp_path, TWO_PHOTOS, **options))
    assert said in str(error.value)


def test_all_faults_are_counted_and_three_are_shown(tmp_path: Path) -> None:
    broken = {"image_path": "c.jpg", "part_list": [part()]}
    with pytest.raises(InputError, match=r"5 faults: .*record 0.*record 1.*record 2.*and 2 more") as error:
        instructpart.read(write(tmp_path, [broken] * 5))
    assert "record 3" not in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_parts_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one data_.*got none"):
        instructpart.read(tmp_path)
    folder = write(tmp_path, TWO_PHOTOS)
    (folder / "masks" / "b-trash_can-lid.png").unlink()
    with pytest.raises(InputError, match=r"record 1 \(b.jpg\), part 0: .*no file"):
        instructpart.read(folder)
    (folder / "data_test.json").write_text("[]")
    with pytest.raises(InputError, match=r"data_dev.json, data_test.json"):
        instructpart.read(folder)


@pytest.mark.parametrize("text", ["", "[1,", '{"a": 1}', "[" * 100_000], ids=["empty", "cut off", "object", "deep"])
def test_a_file_that_is_no_list(tmp_path: Path, text: str) -> None:
    (write(tmp_path, []) / "data_dev.json").write_text(text)
    with pytest.raises(InputError, match=r"JSON"):
        instructpart.read(tmp_path)


def test_the_real_file(shared_data: Path) -> None:
    items = instructpart.read(shared_data / "instructpart" / "dev")
    photos = instructpart.merge(items)
    assert (len(items), len(photos), sum(len(p.annotations) for p in photos)) == (294, 269, 294)
    note = items[0].annotations[0]
    assert (note.label, note.phrase) == ("cabinet handle", "handle of the cabinet")
    assert all(decode_rle(item.annotations[0].rle).shape == item.size for item in items[::40])
