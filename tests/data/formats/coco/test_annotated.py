"""COCO: every way to write a mask, panoptic ids, crowds, faults by record, and the real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.data.formats.annotated import read as read_folder
from miras.data.formats.coco import annotated, stream
from miras.data.io.left_out import LeftOut
from miras.data.language.vocabulary import COCO_IDS

SIZE = (20, 30)
SQUARE = [4, 5, 10, 5, 10, 9, 4, 9]
RUNS = [20 * 4 + 5, 4, 16, 4, 20 * 24 + 11]
"""Two columns of four pixels, from x = 4, y = 5."""
CATEGORIES = [
    {"id": 1, "name": "_background_"}, {"id": 2, "name": "back_left_door"}, {"id": 3, "name": "wheel"},
    {"id": 4, "name": "wall-brick"},
]  # fmt: skip
LABELS = {"back left door", "wheel", "wall-brick"}
IMAGES = [{"id": 7, "file_name": "a.jpg", "height": 20, "width": 30}]


def record(segmentation: Any = None, **changes: Any) -> dict[str, Any]:
    given_or_square = [SQUARE] if segmentation is None else segmentation
    return {"id": 1, "image_id": 7, "category_id": 2, "iscrowd": 0, "segmentation": given_or_square, **changes}


def write(folder: Path, annotations: list[Any], images: list[Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / name)
    content = {"images": images or IMAGES, "annotations": annotations, "categories": CATEGORIES}
    (folder / "c.json").write_text(json.dumps(content))
    return folder / "c.json"


def read(folder: Path, annotations: list[Any], images: list[Any] | None = None, **options: Any) -> Any:
    return annotated.read_instances(write(folder, annotations, images), folder, **options)


def test_what_was_looked_for_where_only_some_things_were(tmp_path: Path) -> None:
    """LVIS and PACO label what they happened upon: absent is what an image says was looked for in vain."""
    federated = {"neg_category_ids": [4, 99], "not_exhaustive_category_ids": [2]}
    (photo,) = read(tmp_path, [record(category_id=3)], [IMAGES[0] | federated])
    assert photo.vocabulary == {"wheel", "wall-brick"} and photo.uncounted == {"back left door"}
    (photo,) = read(tmp_path, [record()], [IMAGES[0] | {"neg_category_ids": []}])
    assert photo.vocabulary == {"back left door"} and not photo.uncounted
    with pytest.raises(InputError, match="neg_category_ids"):
        read(tmp_path, [record()], [IMAGES[0] | {"neg_category_ids": 4}])


PARTS = [
    (1, "bottle"),
    (2, "bottle:cap"),
    (3, "bus:license plate"),
    (4, "glass_(drink_container):rim"),
    (5, "laptop_computer:touchpad"),
]


def test_parts_of_things_are_named_as_parts(tmp_path: Path) -> None:
    """Names of PACO and VLPart; one name with a colon alone stays."""
    names = {1: "bottle", 2: "cap of the bottle", 3: "license plate of the bus", 4: "rim of the glass"}
    file = write(tmp_path, [record(category_id=number) for number in names])
    held = json.loads(file.read_text())
    held["categories"] = [{"id": number, "name": name} for number, name in PARTS]
    file.write_text(json.dumps(held))
    (photo,) = annotated.read_instances(file, tmp_path)
    assert [note.phrase for note in photo.annotations] == list(names.values())
    assert {one["focus"] for one in stream.read(file)} == set(names.values())
    held["categories"] = [{"id": number, "name": name.replace(":", " ", number > 2)} for number, name in PARTS]
    file.write_text(json.dumps(held))
    assert annotated.read_instances(file, tmp_path)[0].annotations[1].label == "bottle:cap"


def test_one_annotation_an_instance(tmp_path: Path) -> None:
    (photo,) = read(tmp_path, [record(), record(id=2), record(id=3, category_id=3)], part_of="car")
    assert (photo.id, photo.path, photo.size, photo.source) == ("a", tmp_path / "a.jpg", SIZE, tmp_path.name)
    assert [a.label for a in photo.annotations] == ["back left door", "back left door", "wheel"]
    assert photo.annotations[0].phrase == "back left door of the car"
    assert photo.vocabulary == LABELS


def drawn(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[rows, columns] = True
    return mask


WRITTEN: dict[str, tuple[Any, np.ndarray]] = {
    "polygon": ([SQUARE], drawn(slice(5, 9), slice(4, 10))),
    "two polygons": (
        [SQUARE, [20, 5, 24, 5, 24, 9, 20, 9]],
        drawn(slice(5, 9), slice(4, 10)) | drawn(slice(5, 9), slice(20, 24)),
    ),
    "beyond the border": ([[-3, 5, 10, 5, 10, 9, -3, 9]], drawn(slice(5, 9), slice(0, 10))),
    "runs": ({"size": [20, 30], "counts": RUNS}, drawn(slice(5, 9), slice(4, 6))),
    "compressed": (encode_rle(drawn(slice(5, 9), slice(4, 6))), drawn(slice(5, 9), slice(4, 6))),
}


@pytest.mark.parametrize(("segmentation", "expected"), WRITTEN.values(), ids=WRITTEN.keys())
def test_every_way_to_write_a_mask(tmp_path: Path, segmentation: Any, expected: np.ndarray) -> None:
    (photo,) = read(tmp_path, [record(segmentation)])
    assert np.array_equal(decode_rle(photo.annotations[0].rle), expected)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20)), min_size=3, max_size=8))
@settings(max_examples=30)
def test_polygons_are_those_of_pycocotools(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[int, int]]
) -> None:
    flat = [n for corner in corners for n in corner]
    (photo,) = read(tmp_path_factory.mktemp("p"), [record([flat])])
    expected = decode_rle(rle_tools.frPyObjects([flat], *SIZE)[0])
    if expected.any():
        assert np.array_equal(decode_rle(photo.annotations[0].rle), expected)
    else:
        assert not photo.annotations


def test_specks_and_background_are_no_annotations_and_not_absent(tmp_path: Path) -> None:
    notes = [record(id=2, category_id=1), record([[0, 0, 2, 0, 2, 2, 0, 2]], id=3)]
    left = LeftOut()
    (photo,) = read(tmp_path, notes, min_share=0.02, on_fault=left)
    assert photo.annotations == ()
    assert photo.vocabulary == {"wheel", "wall-brick"}
    assert [(entry["reason"], entry["count"], entry["first"]) for entry in left.to_list()] == [
        ("annotations whose category names nothing", 1, "c.json: annotation 2"),
        ("annotations on too few pixels", 1, "c.json: annotation 3"),
    ]


@pytest.mark.parametrize("flag", [1, True, "1"])
def test_a_crowd_is_a_mask(tmp_path: Path, flag: Any) -> None:
    crowd = record({"size": [20, 30], "counts": RUNS}, iscrowd=flag)
    (photo,) = read(tmp_path, [crowd])
    assert [(a.label, int(decode_rle(a.rle).sum())) for a in photo.annotations] == [("back left door", 8)]


def coco_file(folder: Path, notes: list[Any], names: dict[int, str] | None = None, **above: str) -> Path:
    """A file with COCO's own categories, or those of `names`; above: supercategories by name."""
    file = write(folder, notes)
    names = names or {number: name for name, number in COCO_IDS.items()}
    content = json.loads(file.read_text())
    content["categories"] = [{"id": i, "name": n, "supercategory": above.get(n, "")} for i, n in names.items()]
    file.write_text(json.dumps(content))
    return file


def test_a_crowd_of_coco_is_left_out_and_not_absent(tmp_path: Path) -> None:
    file = coco_file(tmp_path, [record(category_id=1, iscrowd=1), record(id=2, category_id=74)])
    left = LeftOut()
    (photo,) = annotated.read_instances(file, tmp_path, on_fault=left)
    assert [a.label for a in photo.annotations] == ["computer mouse"]
    assert not {"person", "mouse"} & photo.vocabulary
    assert photo.uncounted == {"person"}
    assert (left.read["annotations"], left.line()) == (
        1, "left out: annotations that are crowds in a file of COCO's: 1 (first: c.json: annotation 1)"
    )  # fmt: skip


ELSE = {number + 100: name for name, number in COCO_IDS.items() if name != "mouse"}
OWN_WORDS = {
    "animals of a laboratory": ({1: "mouse", 2: "cat"}, "mouse"),
    "COCO without one thing": ({1: "mouse", **{k: name for k, name in ELSE.items() if name != "cup"}}, "mouse"),
    "COCO's things, numbered anew": ({1: "mouse", **ELSE}, "computer mouse"),
}


@pytest.mark.parametrize(("names", "label"), OWN_WORDS.values(), ids=OWN_WORDS)
def test_the_words_of_a_file_stay(tmp_path: Path, names: dict[int, str], label: str) -> None:
    file = coco_file(tmp_path, [record(category_id=1, iscrowd=1)], names)
    (photo,) = annotated.read_instances(file, tmp_path)
    assert [(a.label, a.phrase) for a in photo.annotations] == [(label, label)]


def test_a_supercategory_is_nothing_that_was_looked_for(tmp_path: Path) -> None:
    roboflow = coco_file(tmp_path, [record(category_id=1)], {0: "cups", 1: "cup", 2: "spoon"}, cup="cups", spoon="cups")
    assert annotated.read_instances(roboflow, tmp_path)[0].vocabulary == {"cup", "spoon"}
    root = coco_file(tmp_path, [record(category_id=1)], {0: "things", 1: "cup"})
    assert annotated.read_instances(root, tmp_path)[0].vocabulary == {"cup"}
    used = coco_file(tmp_path, [record(category_id=0)], {0: "saucer", 1: "cup"})
    assert annotated.read_instances(used, tmp_path)[0].vocabulary == {"saucer", "cup"}
    own = coco_file(tmp_path, [record(category_id=1)], {1: "person", 2: "kite"}, person="person", kite="sports")
    assert annotated.read_instances(own, tmp_path)[0].vocabulary == {"person", "kite"}


def test_what_a_supercategory_may_stand_for_is_not_absent(tmp_path: Path) -> None:
    names = {1: "vehicle", 2: "tram", 3: "kite"}
    file = coco_file(tmp_path, [record(category_id=1)], names, tram="vehicle", kite="toy")
    (photo,) = annotated.read_instances(file, tmp_path)
    assert ([a.label for a in photo.annotations], photo.vocabulary) == (["vehicle"], {"kite"})


def test_whole_numbers_are_ids_and_sizes(tmp_path: Path) -> None:
    image = {"id": 7.0, "file_name": "a.jpg", "height": 20.0, "width": 30.0}
    file = write(tmp_path, [record(id=1.0, image_id=7.0, category_id=2.0)], [image])
    (photo,) = annotated.read_instances(file, tmp_path)
    assert ([a.label for a in photo.annotations], photo.size) == (["back left door"], SIZE)
    assert len(list(stream.read(file, tmp_path))) == 1
    heard: list[str] = []
    assert read(tmp_path, [record(image_id=7.5)], on_fault=heard.append)[0].annotations == ()
    assert "image_id" in heard[0]


NAMES = {
    "backslashes": "images\\a.jpg", "a drive": "C:\\Users\\x\\a.jpg", "a drive and slashes": "D:/data/images/a.jpg",
    "another home": "/home/someone/a.jpg", "a share": "\\\\nas\\photos\\images\\a.jpg",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_file_names_of_other_systems(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, [record()], [{**IMAGES[0], "file_name": name}])
    (tmp_path / "images").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "images" / "a.jpg")
    for photo in (*read_folder(file, "coco"), *stream.read(file)):
        path = Path(photo["image"]) if isinstance(photo, dict) else photo.path
        assert path == tmp_path / "images" / "a.jpg"


def test_of_two_whole_paths_the_longest_end_counts_and_no_photo_is_two(tmp_path: Path) -> None:
    images = [{**IMAGES[0], "id": n, "file_name": f"/data/cam{n}/a.jpg"} for n in (1, 2)]
    file = write(tmp_path, [record(image_id=1), record(image_id=2)], images)
    for number in (1, 2):
        (tmp_path / f"cam{number}").mkdir()
        Image.fromarray(np.full((*SIZE, 3), number, np.uint8)).save(tmp_path / f"cam{number}" / "a.jpg")
    (tmp_path / "a.jpg").unlink()
    assert [p.path.parent.name for p in annotated.read_instances(file, tmp_path)] == ["cam1", "cam2"]
    (tmp_path / "cam1" / "a.jpg").rename(tmp_path / "a.jpg")
    (tmp_path / "cam2" / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"image 2: expected a photo of its own, got a\.jpg, which is also"):
        annotated.read_instances(file, tmp_path)


def test_a_photo_without_annotation_stays_and_sub_folders_are_part_of_its_id(tmp_path: Path) -> None:
    write(tmp_path, [])
    (tmp_path / "x").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "x" / "a.jpg")
    (tmp_path / "c.json").write_text(
        json.dumps({"images": [{**IMAGES[0], "file_name": "x/a.jpg"}], "annotations": [], "categories": CATEGORIES})
    )
    (photo,) = annotated.read_instances(tmp_path / "c.json", tmp_path, source="mine")
    assert (photo.id, photo.annotations, photo.source, len(photo.vocabulary)) == ("x/a", (), "mine", 3)


FAULTS: dict[str, tuple[Any, str]] = {
    "two points": (record([[1, 1, 5, 5]]), "at least 3 points"),
    "odd polygon": (record([[1, 1, 5, 5, 9, 9, 2]]), "at least 3 points"),
    "flat polygon": (record(SQUARE), "in brackets: [[x, y, ...]]"),
    "text in a polygon": (record([[1, 1, 5, 5, 9, "9"]]), "coordinates"),
    "a coordinate far away": (record([[1, 1, 5, 5, 9, 1e12]]), "coordinates"),
    "not a number": (record([[1, 1, 5, 5, 9, float("nan")]]), "coordinates"),
    "no polygon": (record([]), "polygons or RLE"),
    "no segmentation": ({"id": 1, "image_id": 7, "category_id": 2}, "polygons or RLE"),
    "runs of another size": (record({"size": [30, 20], "counts": RUNS}), "size [20, 30]"),
    "runs that do not add up": (record({"size": [20, 30], "counts": [5, 5]}), "600 pixels"),
    "broken compressed runs": (record({"size": [20, 30], "counts": "~~~"}), "run lengths"),
    "no such category": (record(category_id=99), "category_id"),
    "no such image": (record(image_id=99), "image_id"),
    "no category": ({"id": 1, "image_id": 7, "segmentation": [SQUARE]}, '"category_id"'),
    "a list for a record": ([1, 2], '"image_id"'),
}


@pytest.mark.parametrize(("broken", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_annotation_is_named_or_left_out(tmp_path: Path, broken: Any, said: str) -> None:
    notes = [record(id=5, category_id=3), broken]
    with pytest.raises(InputError, match=r"1 fault: c\.json: annotation ") as error:
        read(tmp_path, notes)
    assert said in str(error.value)
    heard: list[str] = []
    (photo,) = read(tmp_path, notes, on_fault=heard.append)
    assert [a.label for a in photo.annotations] == ["wheel"]
    assert len(heard) == 1


def test_after_a_fault_its_label_is_not_called_absent(tmp_path: Path) -> None:
    (known,) = read(tmp_path, [record([])], on_fault=lambda _: None)
    assert known.vocabulary == {"wheel", "wall-brick"}
    (unknown,) = read(tmp_path, [record(category_id=99)], on_fault=lambda _: None)
    assert unknown.vocabulary == frozenset()


PHOTO_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no file": ({"id": 8, "file_name": "z.jpg", "height": 20, "width": 30}, "no file"),
    "another size": ({"id": 8, "file_name": "b.jpg", "height": 30, "width": 20}, "20 x 30 pixels, got 30 x 20"),
    "outside": ({"id": 8, "file_name": "../b.jpg", "height": 20, "width": 30}, "inside"),
    "an id twice": ({"id": 7, "file_name": "b.jpg", "height": 20, "width": 30}, "each image id once"),
    "no size": ({"id": 8, "file_name": "b.jpg"}, '"height"'),
}


@pytest.mark.parametrize(("image", "said"), PHOTO_FAULTS.values(), ids=PHOTO_FAULTS.keys())
def test_a_faulty_photo_is_one_fault_whatever_is_drawn_in_it(tmp_path: Path, image: dict[str, Any], said: str) -> None:
    notes = [record(), record(id=2, image_id=image["id"])]
    with pytest.raises(InputError, match=r"1 fault: c.json: image ") as error:
        read(tmp_path, notes, [*IMAGES, image])
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"images": [], "annotations": {}, "categories": []}'], ids=["list", "nothing", "no list"]
)
def test_a_file_of_another_kind(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError):
        annotated.read_instances(tmp_path / "c.json", tmp_path)


def test_exif_turned_photo_is_measured_as_the_person_sees_it(tmp_path: Path) -> None:
    file = write(tmp_path, [record()])
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying down
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    (photo,) = annotated.read_instances(file, tmp_path)
    assert photo.size == SIZE


# Panoptic


def ids_png(path: Path, cells: np.ndarray) -> None:
    """A PNG of segment ids."""
    Image.fromarray(np.stack([cells & 255, cells >> 8 & 255, cells >> 16], -1).astype(np.uint8)).save(path)


def panoptic(folder: Path, segments: list[Any], cells: np.ndarray | None = None, **changes: Any) -> Path:
    """One photo a.jpg, whose left third is segment 70000, middle segment 300, right unlabelled."""
    note = {"image_id": 7, "file_name": "seg.png", "segments_info": segments, **changes}
    file = write(folder, [note])
    if cells is None:
        cells = np.repeat([70_000, 300, 0], 10)[None].repeat(20, 0)
    ids_png(folder / "seg.png", cells)
    return file


WALL = {"id": 70_000, "category_id": 4, "iscrowd": 0}
WHEEL = {"id": 300, "category_id": 3, "iscrowd": 0}


def test_one_annotation_a_segment_in_words(tmp_path: Path) -> None:
    (photo,) = annotated.read_panoptic(panoptic(tmp_path, [WALL, WHEEL]), tmp_path, tmp_path)
    assert photo.path == tmp_path / "a.jpg"
    assert [(a.label, a.phrase) for a in photo.annotations] == [("wall-brick", "wall-brick"), ("wheel", "wheel")]
    assert np.array_equal(decode_rle(photo.annotations[0].rle), drawn(slice(0, 20), slice(0, 10)))
    assert np.array_equal(decode_rle(photo.annotations[1].rle), drawn(slice(0, 20), slice(10, 20)))
    assert photo.vocabulary == LABELS


def test_a_crowd_segment_is_one_and_in_a_file_of_coco_left_out(tmp_path: Path) -> None:
    file = panoptic(tmp_path, [WALL, {**WHEEL, "iscrowd": 1}])
    (photo,) = annotated.read_panoptic(file, tmp_path, tmp_path)
    assert [a.label for a in photo.annotations] == ["wall-brick", "wheel"]
    content = json.loads(file.read_text())
    names = {**{number: name for name, number in COCO_IDS.items()}, 171: "wall-brick"}
    content["categories"] = [{"id": number, "name": name} for number, name in names.items()]
    content["annotations"][0]["segments_info"][0]["category_id"] = 171
    file.write_text(json.dumps(content))
    left = LeftOut()
    (photo,) = annotated.read_panoptic(file, tmp_path, tmp_path, on_fault=left)
    assert [a.label for a in photo.annotations] == ["brick wall"]
    assert "car" not in photo.vocabulary  # category 3
    assert (left.read["segments"], left.total("segments")) == (1, 2)


SEGMENT_FAULTS: dict[str, tuple[list[Any], str, set[str]]] = {
    "pixels without segment": ([WALL], "pixels of [300]", set()),
    "segment without pixels": ([WALL, WHEEL, {**WHEEL, "id": 5}], "none of segment 5", LABELS),
    "no such category": ([WALL, {**WHEEL, "category_id": 99}], "category_id", set()),
}


@pytest.mark.parametrize(("segments", "said", "vocabulary"), SEGMENT_FAULTS.values(), ids=SEGMENT_FAULTS.keys())
def test_faults_of_segments(tmp_path: Path, segments: list[Any], said: str, vocabulary: set[str]) -> None:
    file = panoptic(tmp_path, segments)
    with pytest.raises(InputError, match=r"c\.json: annotation 0 \(seg\.png\)") as error:
        annotated.read_panoptic(file, tmp_path, tmp_path)
    assert said in str(error.value)
    (photo,) = annotated.read_panoptic(file, tmp_path, tmp_path, on_fault=lambda _: None)
    assert photo.annotations[0].label == "wall-brick"
    assert photo.vocabulary == vocabulary


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file_name": "other.png"}, "no file"),
        ({"file_name": "../seg.png"}, "inside"),
        ({"image_id": 99}, "image_id"),
        ({"segments_info": 3}, '"segments_info"'),
        ({"cells": np.zeros((5, 5), int)}, "30 x 20 pixels, got 5 x 5"),
    ],
    ids=["no png", "outside", "no image", "no segments", "another size"],
)
def test_a_photo_whose_segments_cannot_be_read_is_left_out(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = panoptic(tmp_path, changes.pop("segments_info", [WALL, WHEEL]), **changes)
    heard: list[str] = []
    assert annotated.read_panoptic(file, tmp_path, tmp_path, on_fault=heard.append) == []
    assert said in heard[0]
    assert len(heard) == (2 if "image_id" in changes else 1)  # an annotation of no photo leaves a photo without one


def test_a_photo_without_or_with_two_annotations_is_a_fault(tmp_path: Path) -> None:
    file = panoptic(tmp_path, [WALL, WHEEL])
    content = json.loads(file.read_text())
    content["annotations"] *= 2
    content["images"].append({"id": 8, "file_name": "b.jpg", "height": 20, "width": 30})
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"2 faults: .*second one for image 7.*image 8: expected an annotation"):
        annotated.read_panoptic(file, tmp_path, tmp_path)


def test_the_real_file(shared_data: Path) -> None:
    cars = shared_data / "car-parts"
    parts = annotated.read_instances(cars / "annotations.json", cars / "JPEGImages", part_of="car")
    assert (len(parts), sum(len(p.annotations) for p in parts)) == (400, 3073)
    assert all(a.phrase == f"{a.label} of the car" for p in parts for a in p.annotations)
    assert len({a.label for p in parts for a in p.annotations}) == 18
