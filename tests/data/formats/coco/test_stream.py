"""COCO instances one by one: the same whole and streamed, every fault named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.data.formats.coco import stream as coco_stream
from miras.data.formats.coco.annotated import read_instances
from miras.data.io import stream
from miras.data.record import regions_of
from tests.data.made import MASKS, SIZE, coco, masks_of, note, photo


@pytest.fixture(params=["whole", "streamed"])
def big(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "streamed":
        pytest.importorskip("ijson")
        monkeypatch.setattr(stream, "STREAM_FROM", 0)
    return str(request.param)


def test_a_record_for_each_instance(tmp_path: Path, big: str) -> None:
    records = list(coco_stream.read(coco(tmp_path, "instances_val2017.json")))
    assert [r["id"] for r in records] == [f"{tmp_path.name}/val/one-{n}" for n in (1, 2, 3)]
    assert {(r["focus"], r["split"], r["image_id"]) for r in records} == {("big dog", "val", "one")}
    masks = [decode_rle(dict(g["rle"])) for r in records for _, g in regions_of(r)]
    assert masks[0].sum() == 64
    assert np.array_equal(masks[1], MASKS["hole"])
    assert (masks[2].sum(), records[2]["meta"]["iscrowd"]) == (9, 1)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a polygon with 2 points": (note(9, segmentation=[[1, 1, 5, 5]]), "annotation 9: .*at least 3 points"),
    "run lengths of another size": (note(9, segmentation=encode_rle(np.ones((4, 4)))), "annotation 9: .*size"),
    "an empty mask": (note(9, segmentation=encode_rle(np.zeros(SIZE))), "annotation 9: .*selected pixels"),
    "a label not in the list": (note(9, category_id=8), "annotation 9: .*categories, got 8"),
    "no such image": (note(9, image_id=8), "annotation 9: .*images, got 8"),
    "no record": (5, "annotation number 1: .*image_id"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("faulty", "said"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_annotation_is_named_and_the_rest_goes_on(tmp_path: Path, big: str, faulty: Any, said: str) -> None:
    file = coco(tmp_path, annotations=[note(1), faulty, note(2)])
    heard: list[str] = []
    assert len(list(coco_stream.read(file, on_fault=heard.append))) == 2
    assert len(heard) == 1
    with pytest.raises(InputError, match=said):
        list(coco_stream.read(file))


def test_a_faulty_image_is_one_fault(tmp_path: Path) -> None:
    image = {"id": 7, "file_name": "one.jpg", "height": 24, "width": 32}
    images = [{**image, "height": 9}, image, {**image, "id": 8, "file_name": "../x.jpg"}, {"file_name": "one.jpg"}]
    heard: list[str] = []
    file = coco(tmp_path, images=images, annotations=[note(1), note(2)])
    assert list(coco_stream.read(file, on_fault=heard.append)) == []
    assert [line.split(":")[1] for line in heard] == [" image 7", " image 7", " image 8", " image number 3"]


@pytest.mark.parametrize("where", ["images", "JPEGImages", ".", "../val2017", "../images/mscoco/images/train2014"])
def test_where_the_photos_lie(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "annotations"
    file = coco(folder, "instances_val2017.json")
    (folder / "images" / "one.jpg").unlink()
    photo((folder / where).resolve() / "one.jpg")
    assert len(list(coco_stream.read(file))) == 3


def test_the_same_masks_as_the_reader_of_whole_files(shared_data: Path) -> None:
    folder = shared_data / "car-parts"
    photos = read_instances(folder / "annotations.json", folder / "JPEGImages", source="x")
    whole = {(p.id, a.phrase, a.rle["counts"]) for p in photos for a in p.annotations}
    assert masks_of(coco_stream.read(folder / "annotations.json")) == whole
