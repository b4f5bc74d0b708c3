"""Label Studio as files: what it imports, and what reads back."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from miras.data.formats.records import read_records, write_records
from tests.data.made import MASKS, masks_of, singles


def test_files_as_written(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos", "val")
    report = write_records(records, tmp_path / "out", "label-studio")
    assert (report.regions, report.losses.lines()) == (8, [])
    files = sorted(file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.*"))
    assert files == ["images/one.jpg", "images/two.jpg", "label_config.xml", "tasks_val.json"]
    tasks = json.loads((tmp_path / "out" / "tasks_val.json").read_text())
    assert [task["id"] for task in tasks] == [1, 2]
    assert tasks[0]["data"] == {"image": "/data/local-files/?d=images/one.jpg"}
    results = [result for task in tasks for result in task["annotations"][0]["result"]]
    kinds = {result["value"][result["type"]][0]: result["type"] for result in results}
    brushes = {"two parts", "corner to corner", "hole", "two holes"}
    assert kinds == {name: "brushlabels" if name in brushes else "polygonlabels" for name in MASKS}
    assert {(result["original_width"], result["original_height"]) for result in results} == {(32, 24)}


def test_the_interface_has_every_label(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos")
    records[0]["turns"][1]["regions"][0]["phrase"] = 'a "big" <cup> & more'
    write_records(records, tmp_path / "out", "label-studio")
    view = ElementTree.parse(tmp_path / "out" / "label_config.xml").getroot()
    for tag, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush")):
        (labels,) = view.findall(tag)
        assert (labels.get("name"), labels.get("toName")) == (name, "image")
        assert 'a "big" <cup> & more' in {label.get("value") for label in labels}


def test_a_photo_with_an_odd_name_is_found_again(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos")
    for record in records:
        record["image_id"] = f"cam 1/50% {record['image_id']}?"
    write_records(records, tmp_path / "out", "label-studio")
    back = masks_of(read_records(tmp_path / "out", "label-studio"))
    assert {(phrase, counts) for _, phrase, counts in back} == {(p, c) for _, p, c in masks_of(records)}
