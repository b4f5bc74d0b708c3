"""The door to the readers: formats by name, where files lie, and the training folder as a whole."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.data.formats.annotated import FORMATS, SOURCES, TOOLS, read, read_sources
from miras.data.io.left_out import LeftOut


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path)


def street(folder: Path) -> None:
    """One photo and its indexed mask: all road."""
    photo(folder / "images" / "a.jpg")
    (folder / "masks").mkdir()
    Image.fromarray(np.ones((16, 16), np.uint8)).save(folder / "masks" / "a.png")
    (folder / "labels.txt").write_text("sky\nroad\n")


def coco(path: Path, panoptic: bool = False) -> None:
    """One photo a.jpg (not written here), one dog."""
    path.parent.mkdir(parents=True, exist_ok=True)
    note: dict[str, object] = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    if panoptic:
        note = {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 1}]}
    images = [{"id": 1, "file_name": "a.jpg", "height": 16, "width": 16}]
    content = {"images": images, "annotations": [note], "categories": [{"id": 1, "name": "dog"}]}
    path.write_text(json.dumps(content))


def ids(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = 1
    Image.fromarray(pixels).save(path)


def test_formats() -> None:
    assert set(FORMATS) == {"instructpart", "indexed-png", "coco", "coco-panoptic", "pascal-part", *TOOLS}


@pytest.mark.parametrize(
    ("format", "near"),
    [("instruct-part", "instructpart"), ("COCO", "coco"), ("coco_panoptic", "coco-panoptic"), ("png", "")],
)
def test_an_unknown_format_names_all_and_the_nearest(tmp_path: Path, format: str, near: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, format)
    assert all(name in str(error.value) for name in FORMATS)
    assert (f"did you mean {near!r}?" in str(error.value)) if near else ("did you mean" not in str(error.value))


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_path_that_is_not_there(tmp_path: Path, format: str) -> None:
    with pytest.raises(InputError, match=r"no file or folder"):
        read(tmp_path / "nowhere", format)


def test_indexed_png(tmp_path: Path) -> None:
    street(tmp_path)
    assert [a.label for a in read(str(tmp_path), "indexed-png")[0].annotations] == ["road"]


COCO_LAYOUTS = {
    "beside": ("c.json", "a.jpg"),
    "images": ("c.json", "images/a.jpg"),
    "JPEGImages": ("c.json", "JPEGImages/a.jpg"),
    "COCO's archives": ("annotations/instances_val2017.json", "val2017/a.jpg"),
    "images beside annotations": ("annotations/instances_val2017.json", "images/val2017/a.jpg"),
}


@pytest.mark.parametrize(("json_name", "photo_name"), COCO_LAYOUTS.values(), ids=COCO_LAYOUTS.keys())
def test_where_coco_photos_lie(tmp_path: Path, json_name: str, photo_name: str) -> None:
    coco(tmp_path / json_name)
    photo(tmp_path / photo_name)
    for path in (tmp_path / json_name, (tmp_path / json_name).parent):
        (found,) = read(path, "coco")
        assert found.path == tmp_path / photo_name
        assert [a.label for a in found.annotations] == ["dog"]


@pytest.mark.parametrize("folder", ["panoptic", "panoptic_val2017"])
def test_where_panoptic_pngs_lie(tmp_path: Path, folder: str) -> None:
    coco(tmp_path / "annotations" / "panoptic_val2017.json", panoptic=True)
    photo(tmp_path / "val2017" / "a.jpg")
    ids(tmp_path / "annotations" / folder / "a.png")
    (found,) = read(tmp_path / "annotations", "coco-panoptic")
    assert [a.label for a in found.annotations] == ["dog"]


def test_a_folder_with_several_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one JSON file .*got none"):
        read(tmp_path, "coco")
    coco(tmp_path / "a.json")
    coco(tmp_path / "b.json")
    with pytest.raises(InputError, match=r"got a.json, b.json; name the file itself"):
        read(tmp_path, "coco")


def test_photos_that_lie_nowhere_are_faults(tmp_path: Path) -> None:
    coco(tmp_path / "c.json")
    with pytest.raises(InputError, match=r"1 fault: c.json: image 1: .*no file"):
        read(tmp_path, "coco")


def test_on_fault_is_handed_on(tmp_path: Path) -> None:
    street(tmp_path)
    photo(tmp_path / "images" / "b.jpg")
    heard: list[str] = []
    assert len(read(tmp_path, "indexed-png", heard.append)) == 1
    assert len(heard) == 1
    assert "b.jpg" in heard[0]


def test_missing_sources_are_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "camvid").mkdir()
    street(tmp_path / "camvid")
    with caplog.at_level(logging.WARNING):
        (found,) = read_sources(tmp_path)
    assert found.source == "camvid"
    assert [record.args[0] for record in caplog.records if record.args] == [n for n in SOURCES if n != "camvid"]


def test_no_source_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least one of instructpart, ccp"):
        read_sources(tmp_path)


def test_reading_needs_no_torch() -> None:
    code = "import sys, miras.data.formats.annotated; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_real_coco_files(shared_data: Path) -> None:
    cars = read(shared_data / "car-parts", "coco")
    assert {(p.source, p.path.parent.name) for p in cars} == {("car-parts", "JPEGImages")}
    street = read(shared_data / "coco128", "coco-panoptic")
    assert {(p.source, p.path.parent.name) for p in street} == {("coco128", "images")}
    assert (len(street), sum(len(p.annotations) for p in street)) == (100, 1105)
    assert not any("-" in a.label for p in street for a in p.annotations)


READ = {
    "instructpart": (269, 294, 0), "ccp": (904, 6539, 22979), "car-parts": (400, 3073, 7068),
    "camvid": (235, 2312, 2492), "coco128": (100, 1105, 12177), "coco-more": (314, 2880, 23869),
    "tools": (630, 3368, 0), "furniture": (450, 470, 0), "facades": (269, 9213, 807), "pantry": (179, 1360, 0),
    "animals": (270, 398, 0), "faces": (113, 678, 0), "beasts": (156, 156, 0), "pets": (130, 130, 0),
    "bottles": (94, 825, 0), "flowers": (140, 140, 0), "nails": (100, 447, 0),
}  # fmt: skip
"""Source -> photos, annotations, labels looked for (of all photos together): what the published figures stand on."""


def test_the_training_sets_are_read_as_they_were(shared_data: Path) -> None:
    left = LeftOut()
    found = dict.fromkeys(SOURCES, (0, 0, 0))
    for photo in read_sources(shared_data, left):
        photos, notes, labels = found[photo.source]
        found[photo.source] = (photos + 1, notes + len(photo.annotations), labels + len(photo.vocabulary))
    assert found == READ
    assert left.faults == 0
    assert {(e["reason"], e["count"]) for e in left.to_list()} >= {("segments that are crowds in a file of COCO's", 6)}
    assert sum(left.read[unit] for unit in ("annotations", "segments", "labels", "parts")) == sum(
        notes for _, notes, _ in READ.values()
    )


def test_every_real_source_has_its_place(shared_data: Path) -> None:
    assert [name for name, (where, _) in SOURCES.items() if not (shared_data / where).is_dir()] == []
