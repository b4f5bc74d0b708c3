"""COCO as pycocotools reads it: instances, and panoptic PNGs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from miras.core.masks import decode_rle, encode_rle
from miras.data.formats.coco.write import polygons, stack
from miras.data.formats.records import read_records, write_records
from miras.data.io.gather import Losses
from tests.data.made import MASKS, SIZE, drawn, masks_of, singles


@pytest.mark.parametrize("name", MASKS)
def test_pycocotools_reads_the_same_masks(tmp_path: Path, name: str) -> None:
    records = [r for r in singles(tmp_path / "p") if r["focus"] == name]
    write_records(records, tmp_path / "out", "coco")
    api = COCO(str(tmp_path / "out" / "instances.json"))
    ((number, note),) = api.anns.items()
    assert np.array_equal(api.annToMask(note).astype(bool), MASKS[name])
    assert (number, api.cats[note["category_id"]]["name"]) == (1, name)
    rows, columns = np.nonzero(MASKS[name])
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert (note["area"], note["bbox"]) == (MASKS[name].sum(), [float(side) for side in box])
    assert isinstance(note["segmentation"], dict) == ("holes" in name or name == "hole")


def test_random_blobs_are_polygons_only_where_exact() -> None:
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(40):
        coarse = rng.random((8, 11)) < 0.4
        mask = np.kron(coarse, np.ones((3, 3), bool)) & (rng.random((24, 33)) < 0.98)
        rings = polygons(encode_rle(mask))
        kinds.add(rings is None)
        if rings is not None:
            api = COCO()
            api.imgs = {1: {"height": 24, "width": 33}}
            assert np.array_equal(api.annToMask({"image_id": 1, "segmentation": rings}).astype(bool), mask)
    assert kinds == {True, False}


def test_categories_and_splits(tmp_path: Path) -> None:
    records = [*singles(tmp_path / "p", "train"), *singles(tmp_path / "p", "val")]
    records[0]["turns"][1]["regions"][0]["phrase"] = "Traffic Light"
    records[1]["turns"][1]["regions"][0]["phrase"] = "background"
    report = write_records(records, tmp_path / "out", "coco")
    assert report.losses.lines() == [
        "1 regions whose words mean no label", "questions of 2 conversations", "spelling of 1 phrases"
    ]  # fmt: skip
    files = sorted((tmp_path / "out").glob("*.json"))
    assert [file.name for file in files] == ["instances_train.json", "instances_val.json"]
    named = [{c["name"]: c["id"] for c in json.loads(file.read_text())["categories"]} for file in files]
    assert named[0] == named[1] == {name: i for i, name in enumerate(sorted([*MASKS, "traffic light"]), 1)}
    assert sorted(p.name for p in (tmp_path / "out" / "images").iterdir()) == ["one.jpg", "two.jpg"]
    back = list(read_records(tmp_path / "out", "coco"))
    assert [r["split"] for r in back].count("val") == 8
    assert len(back) == 15 == report.regions


def test_panoptic_pixels(tmp_path: Path) -> None:
    write_records(singles(tmp_path / "p"), tmp_path / "out", "coco-panoptic")
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    note = content["annotations"][0]
    pixels = np.asarray(Image.open(tmp_path / "out" / "panoptic" / note["file_name"])).astype(int)
    ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    for segment in note["segments_info"]:
        assert np.array_equal(ids == segment["id"], MASKS[names[segment["category_id"]]])
        assert segment["area"] == MASKS[names[segment["category_id"]]].sum()


def test_of_two_masks_the_later_lies_on_top(tmp_path: Path) -> None:
    lost = Losses()
    low, high, small = drawn("####", "####"), drawn("##", at=(0, 1)), drawn("#", at=(0, 2))
    layers = stack([encode_rle(m) for m in (small, low, high)], SIZE, lost)
    assert layers[:2, :4].tolist() == [[2, 3, 3, 2], [2, 2, 2, 2]]
    assert lost.lines() == ["1 masks that others cover wholly", "parts of 1 masks that others cover"]
    records = singles(tmp_path / "p")[:4:2]
    for record, mask in zip(records, (small, low), strict=True):
        record["turns"][1]["regions"][0]["rle"] = encode_rle(mask)  # type: ignore[typeddict-item]
    report = write_records(records, tmp_path / "out", "coco-panoptic")
    assert (report.regions, report.losses.lines()) == (1, ["1 masks that others cover wholly"])
    (kept,) = masks_of(read_records(tmp_path / "out", "coco-panoptic"))
    assert np.array_equal(decode_rle({"size": [*SIZE], "counts": kept[2]}), low)
