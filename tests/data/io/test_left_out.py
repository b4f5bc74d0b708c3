"""Nothing is dropped unsaid: of every unit, what was read and what was left out are what the file holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.data.formats.coco import annotated
from miras.data.formats.records import read_records, write_records
from miras.data.io.gather import Losses, gather
from miras.data.io.left_out import LeftOut, line
from tests.data.formats import test_instructpart, test_labelme, test_prist, test_reasonseg
from tests.data.formats.coco import test_refcoco
from tests.data.made import MASKS, SIZE, note, photo, singles

Made = tuple[Path, str, dict[str, int], int]
"""Path, format, what the file holds of each unit, records that can be read."""


def test_the_tally() -> None:
    heard: list[str] = []
    left = LeftOut(heard.append)
    left.read["shapes"] += 5
    left.leave("shapes", "shapes of the kind line", "a.json, shape 1")
    left.leave("shapes", "shapes of the kind line", "a.json, shape 3", 2, was_read=True)
    left.leave("shapes", "shapes of the kind point", "none", 0)
    left.fault("a.json: broken", "files", first="a.json")
    left("b: broken")
    left.faulty(["c: one", "c: two"], "lines")
    assert (left.read["shapes"], left.total("shapes"), left.faults) == (3, 6, 4)
    assert heard == ["a.json: broken", "b: broken", "c: one", "c: two"]
    assert left.line() == (
        "left out: shapes of the kind line: 3 (first: a.json, shape 1); files with faults: 1 (first: a.json); "
        "records with faults: 1 (first: b: broken); lines with faults: 1 (first: c: one)"
    )
    assert left.line(faults=False) == "left out: shapes of the kind line: 3 (first: a.json, shape 1)"
    assert left.to_dict() == {"read": {"shapes": 3}, "left_out": left.to_list()}
    assert left.to_list()[1] == {"reason": "files with faults", "count": 1, "first": "a.json", "unit": "files"}
    both = LeftOut()
    both.add(left)
    both.add(left)
    assert (both.total("shapes"), both.faults, len(both.to_list())) == (12, 8, 4)


def test_without_anybody_who_takes_faults_they_are_raised() -> None:
    with pytest.raises(InputError, match="data without faults, got b: broken"):
        LeftOut()("b: broken")
    assert LeftOut().line() == ""
    assert LeftOut.of(None).on_fault is None
    told = LeftOut.of(print)
    assert LeftOut.of(told) is told


def test_a_long_list_is_cut_and_says_so() -> None:
    left = LeftOut()
    for number in range(20):
        left.leave("shapes", f"kind {number}", "x" * 200)
    told = line(left.to_list())
    assert told.endswith("; 12 more reasons (--json names all)")
    assert len(told) < 1200


def coco_file(folder: Path, notes: list[Any], images: list[Any], **categories: Any) -> Path:
    for name in ("one", "two", "small"):
        photo(folder / "images" / f"{name}.jpg", (8, 8) if name == "small" else SIZE)
    named = [{"id": 3, "name": "dog"}, {"id": 4, "name": "background"}, {"id": 0, "name": "animals"}]
    content = {"images": images, "categories": named, "annotations": notes}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


IMAGE = {"id": 7, "file_name": "one.jpg", "height": SIZE[0], "width": SIZE[1]}
IMAGES = [
    IMAGE, IMAGE, {**IMAGE, "id": 8, "file_name": "two.jpg"}, {**IMAGE, "id": 9, "file_name": "gone.jpg"},
    {**IMAGE, "id": 10, "file_name": "small.jpg"}, {"id": 11}, "image",
    {**IMAGE, "id": 12.0, "file_name": "x\\two.jpg"},
]  # fmt: skip
NOTES = [
    note(1), note(2, iscrowd=1, segmentation=encode_rle(MASKS["hole"])), note(3, category_id=4),
    note(4, category_id=99), note(5, image_id=9), note(6, image_id=99), note(7, segmentation=[1, 1, 9, 1, 9, 9]),
    note(8, segmentation=None), note(9, segmentation=encode_rle(np.zeros(SIZE, bool))), note(10, image_id=8), 5, {},
    note(11, image_id=10), note(12, image_id=7.0, category_id=3.0), note(13, segmentation=[[1, 1, 2, 2]]),
]  # fmt: skip


@given(st.lists(st.sampled_from(range(len(NOTES))), max_size=12), st.lists(st.sampled_from(range(len(IMAGES)))))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_coco(tmp_path: Path, notes: list[int], images: list[int]) -> None:
    file = coco_file(tmp_path, [NOTES[i] for i in notes], [IMAGES[i] for i in images])
    heard: list[str] = []
    left = LeftOut(heard.append)
    records = list(read_records(file, "coco", left))
    assert (left.total("annotations"), left.read["annotations"]) == (len(notes), len(records))
    assert (left.total("photos"), left.read["photos"]) == (len(images), len({r["image_id"] for r in records}))
    assert left.faults == len(heard) == sum(e["count"] for e in left.to_list() if e["reason"].endswith("s with faults")
                                            and " of " not in e["reason"])  # fmt: skip
    again = LeftOut(lambda _: None)
    whole = annotated.read_instances(file, tmp_path / "images", on_fault=again)
    assert (again.total("annotations"), again.total("photos")) == (len(notes), len(images))
    assert again.read["annotations"] == sum(len(p.annotations) for p in whole)
    assert again.read["photos"] == len(whole)


SHAPES = [
    test_labelme.shape(), test_labelme.shape(group_id=1), test_labelme.shape(kind="line"), test_labelme.shape(label=""),
    test_labelme.shape([[1, 1]]), test_labelme.shape(kind="rotation"), "shape", test_labelme.shape([[90, 90]] * 3),
    test_labelme.shape([[1, 1]], group_id=1), test_labelme.shape(label="_background_"), test_labelme.PNG,
]  # fmt: skip


@given(st.lists(st.sampled_from(range(len(SHAPES))), max_size=10), st.sampled_from(["", "gone.jpg"]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_labelme_shapes(tmp_path: Path, shapes: list[int], gone: str) -> None:
    file = test_labelme.write(tmp_path, *(SHAPES[i] for i in shapes), **({"imagePath": gone} if gone else {}))
    left = LeftOut(lambda _: None)
    records = list(read_records(file, "labelme", left))
    assert (left.total("shapes"), left.total("files")) == (len(shapes), 1)
    assert left.read["shapes"] >= len(records) == len({record["id"] for record in records})
    assert bool(records) == bool(left.read["shapes"])


def panoptic(folder: Path) -> Made:
    for name in ("one", "two", "three"):
        photo(folder / "images" / f"{name}.jpg")
    cells = np.zeros((*SIZE, 3), np.uint8)
    cells[:5, :, 0], cells[5:10, :, 0], cells[10:12, :, 0] = 1, 2, 3
    (folder / "panoptic").mkdir()
    for name in ("one", "two"):
        Image.fromarray(cells).save(folder / "panoptic" / f"{name}.png")
    segments = [{"id": 1, "category_id": 3}, {"id": 2.0, "category_id": 4}, {"id": 3, "category_id": 99}, {"id": 4}, 5]
    images = [{**IMAGE, "id": n, "file_name": f"{name}.jpg"} for n, name in enumerate(("one", "two", "three", "gone"))]
    notes = [
        {"image_id": 0, "file_name": "one.png", "segments_info": segments},
        {"image_id": 1, "file_name": "gone.png", "segments_info": segments[:2]},
        {"image_id": 3, "file_name": "one.png", "segments_info": segments[:1]}, {"image_id": 77, "segments_info": []},
    ]  # fmt: skip
    content = {
        "images": images,
        "annotations": notes,
        "categories": [{"id": 3, "name": "a"}, {"id": 4, "name": "void"}],
    }
    (folder / "panoptic.json").write_text(json.dumps(content))
    (folder / "._panoptic.json").write_bytes(b"\x00")
    return folder, "coco-panoptic", {"segments": 8, "photos": 4, "files": 1}, 1


def indexed(folder: Path) -> Made:
    for name, value in (("a", 1), ("b", 9), ("c", 0), ("d", 2)):
        photo(folder / "images" / f"{name}.jpg")
        indices = np.full(SIZE, value, np.uint8)
        indices[:9, :9] = 255
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(indices).save(folder / "masks" / f"{name}.png")
    photo(folder / "images" / "e.jpg")
    (folder / "labels.txt").write_text("background\ncup\nvoid\n")
    # a: cup, void; b: an index without a label; c: void; d: 2 is named void, void
    return folder, "indexed-png", {"photos": 5, "labels": 5}, 1


def instructpart(folder: Path) -> Made:
    parts = [test_instructpart.part(), test_instructpart.part(part="handle"), {"object": "x"}]
    records = [
        {"image_path": "a_o.jpg", "part_list": parts}, {"part_list": parts[:2]}, "record",
        {"image_path": "b.jpg", "part_list": [test_instructpart.part()]},
    ]  # fmt: skip
    test_instructpart.write(folder, records)
    return folder, "instructpart", {"parts": 7}, 2  # what is no record counts as one part


def reasonseg(folder: Path) -> Made:
    test_reasonseg.write(folder, test_reasonseg.shape())
    test_reasonseg.write(folder, test_reasonseg.shape(), name="b", text=[])
    (folder / "c.json").write_text(json.dumps({"text": ["x"], "shapes": []}))
    (folder / ".c.json").write_text("")
    return folder, "reasonseg", {"files": 4}, 1


def refcoco(folder: Path) -> Made:
    refs = [
        test_refcoco.ref(1),
        test_refcoco.ref(99),
        test_refcoco.ref(2, sentences=[{"sent_id": 50}, {"sent": "x"}]),
        4,
    ]
    test_refcoco.write(folder, *refs)
    return folder, "refcoco", {"sentences": 7, "annotations": 4, "photos": 1}, 2


def prist(folder: Path) -> Made:
    photo(folder / "a.jpg")
    test_prist.polygons(folder / "masks", [test_prist.shape("red cup", test_prist.square(1, 1, 3))])
    items = [test_prist.item(), test_prist.item(name="gone.jpg"), test_prist.item("no cup"), {"img_id": 3}]
    return test_prist.write(folder, items), "prist", {"dialogues": 4, "targets": 2}, 2


def jsonl(folder: Path) -> Made:
    write_records(singles(folder / "p"), folder / "a.jsonl", "jsonl")
    with (folder / "a.jsonl").open("a") as file:
        file.write("\n{\n[]\n")
    return folder / "a.jsonl", "jsonl", {"lines": 10}, 8


MADE: list[Callable[[Path], Made]] = [panoptic, indexed, instructpart, reasonseg, refcoco, prist, jsonl]


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_what_is_read_and_left_out_is_what_the_file_holds(tmp_path: Path, make: Callable[[Path], Made]) -> None:
    path, format, held, readable = make(tmp_path / "set")
    left = LeftOut(lambda _: None)
    assert len(list(read_records(path, format, left))) == readable
    assert {unit: left.total(unit) for unit in held} == held
    assert left.faults > 0
    assert all(entry["first"] for entry in left.to_list())
    with pytest.raises(InputError, match="fault"):
        list(read_records(path, format, LeftOut()))


def test_what_is_given_twice_is_counted(tmp_path: Path) -> None:
    records = singles(tmp_path)
    left = LeftOut()
    gather([*records, records[3], {**records[3], "id": "again"}], Losses(), on_fault=left)
    assert left.line() == "left out: masks given twice (photo, words and pixels): 2 (first: made/3)"
