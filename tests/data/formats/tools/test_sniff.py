"""Which tool a folder or file comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.data.formats.guess import guess_format

LAYOUTS: dict[str, tuple[dict[str, str], str, str]] = {
    "cvat": ({"annotations.xml": "<annotations/>", "images/a.jpg": ""}, "annotations.xml", "cvat"),
    "cvat, a folder a task": ({"task_1/annotations.xml": "<annotations/>"}, "task_1/annotations.xml", "cvat"),
    "label studio": ({"p-1.json": '[{"id": 1, "data": {}, "annotations": [{}]}]'}, "p-1.json", "label-studio"),
    "label studio, predictions": ({"p.json": '[{"data": {}, "predictions": []}]'}, "p.json", "label-studio"),
    "label studio, min": ({"m.json": '[{"image": "a.jpg", "annotation_id": 3, "tag": []}]'}, "m.json", "label-studio"),
    "supervisely": ({"meta.json": '{"classes": []}', "ds/ann/a.jpg.json": "{}"}, "meta.json", "supervisely"),
    "supervisely, a dataset": ({"ann/a.jpg.json": "{}", "img/a.jpg": ""}, "ann/a.jpg.json", "supervisely"),
    "yolo": ({"data.yaml": "names: [cup]\ntrain: images\n", "images/a.jpg": ""}, "data.yaml", "yolo"),
    "yolo, another name": ({"my-seg.yml": "names: {0: cup}\nval: images\n"}, "my-seg.yml", "yolo"),
    "yolo, classes.txt": ({"classes.txt": "cup", "labels/a.txt": "", "images/a.jpg": ""}, "classes.txt", "yolo"),
}  # fmt: skip


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(("files", "file", "format"), LAYOUTS.values(), ids=LAYOUTS)
def test_folders_and_files(tmp_path: Path, files: dict[str, str], file: str, format: str) -> None:
    assert guess_format(lay(tmp_path, files)) == format
    assert guess_format(tmp_path / file) == format


NONE: dict[str, dict[str, str]] = {
    "pascal voc": {"a.xml": "<annotation/>"},
    "a recipe": {"own.yaml": "steps: 3\n"},
    "broken YAML": {"own.yaml": "a: [\n"},
    "classes without labels": {"classes.txt": "cup"},
    "meta.json alone": {"meta.json": '{"classes": []}'},
    "a bomb": {"a.xml": '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>'},
}


@pytest.mark.parametrize("files", NONE.values(), ids=NONE)
def test_of_no_tool(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(InputError, match="no format that is known"):
        guess_format(lay(tmp_path, files))


def test_two_tools_in_one_folder(tmp_path: Path) -> None:
    lay(tmp_path, LAYOUTS["yolo"][0] | LAYOUTS["cvat"][0])
    with pytest.raises(InputError, match="cvat or yolo"):
        guess_format(tmp_path)
