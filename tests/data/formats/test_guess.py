"""Which format a path is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.data.formats.guess import guess_format

FILES: dict[str, tuple[str, Any, str]] = {
    "parquet": ("a.parquet", "", "miras"),
    "jsonl": ("a.jsonl", "", "jsonl"),
    "pickle": ("refs(unc).p", "", "refcoco"),
    "labelme": ("a.json", {"version": "5", "shapes": []}, "labelme"),
    "reasonseg": ("a.json", {"text": [], "shapes": []}, "reasonseg"),
    "coco": ("a.json", {"images": [], "annotations": [{"segmentation": []}]}, "coco"),
    "panoptic": ("a.json", {"images": [], "annotations": [{"segments_info": []}]}, "coco-panoptic"),
    "prist": ("test.json", [{"img_id": "a", "dialogue": [], "focus": "b"}], "prist"),
    "refs": ("x.json", [{"ref_id": 1, "sentences": []}], "refcoco"),
    "instructpart": ("data_dev.json", [{"image_path": "", "part_list": []}], "instructpart"),
}


@pytest.mark.parametrize(("name", "content", "format"), FILES.values(), ids=FILES)
def test_files_and_folders_with_one(tmp_path: Path, name: str, content: Any, format: str) -> None:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert guess_format(tmp_path / name) == format
    assert guess_format(tmp_path) == format


@pytest.mark.parametrize(
    ("folder", "format"),
    [("instructpart/dev", "instructpart"), ("ccp", "indexed-png"), ("car-parts", "coco"), ("coco128", "coco-panoptic"),
     ("prist", "prist")],
)  # fmt: skip
def test_real_folders(shared_data: Path, folder: str, format: str) -> None:
    assert guess_format(shared_data / folder) == format


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({}, "no format that is known"),
        ({"a.txt": "x"}, "no format that is known"),
        ({"a.json": "[]"}, "no format that is known"),
        ({"a.json": "[["}, "valid JSON"),
        ({"a.jsonl": "", "b.parquet": ""}, "jsonl or miras"),
        ({"a.json": '{"shapes": []}', "b.json": '[{"dialogue": 1}]'}, "labelme or prist"),
    ],
)
def test_unsure(tmp_path: Path, names: dict[str, str], said: str) -> None:
    for name, text in names.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        guess_format(tmp_path)


def test_an_export_as_it_was_downloaded(tmp_path: Path) -> None:
    (tmp_path / "task_1.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="unpack it and name the folder"):
        guess_format(tmp_path / "task_1.zip")


def test_several_folders_with_data(tmp_path: Path) -> None:
    """Two cameras, each with its folder; one folder alone may be another mistake."""
    for name in ("cam1", "notes", "cam2"):
        (tmp_path / name).mkdir()
        content = "[1]" if name == "notes" else '{"shapes": []}'
        (tmp_path / name / "1.json").write_text(content)
        if name != "cam2":
            with pytest.raises(InputError, match="no format that is known"):
                guess_format(tmp_path)
    assert guess_format(tmp_path) == "labelme"
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "labels.txt").write_text("a")
    (tmp_path / "mixed" / "masks").mkdir()
    with pytest.raises(InputError, match="indexed-png or labelme"):
        guess_format(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        guess_format(tmp_path / "x")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="no format that is known"):
        guess_format(tmp_path / "a.png")
