"""Files as other systems write and name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.data.io.checks import Faults, end_of, field, files_in, hidden_in, inside, is_foreign, key_of, load_json
from miras.data.io.left_out import LeftOut


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    return root


FOUND = {
    "a.jpg": "a.jpg", "x/a.jpg": "x/a.jpg", "x\\a.jpg": "x/a.jpg", "./x/a.jpg": "x/a.jpg",
    "C:\\Users\\me\\x\\a.jpg": "x/a.jpg", "/home/me/x/a.jpg": "x/a.jpg", "D:/b/a.jpg": "a.jpg",
    "\\\\server\\share\\x\\a.jpg": "x/a.jpg", "gone.jpg": "gone.jpg", "x\\gone.jpg": "x/gone.jpg",
    "with\\backslash.jpg": "with\\backslash.jpg",
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), FOUND.items())
def test_a_name_inside_a_folder(tmp_path: Path, name: str, expected: str) -> None:
    root = files(tmp_path, "a.jpg", "x/a.jpg", "with\\backslash.jpg")
    assert inside(root, name) == root / expected


@pytest.mark.parametrize("name", ["", " ", "..", "../a.jpg", "x\\..\\..\\a.jpg", "/etc/passwd", "C:\\gone.jpg", "/"])
def test_a_name_outside(tmp_path: Path, name: str) -> None:
    root = files(tmp_path / "root", "a.jpg", "x/a.jpg")
    files(tmp_path, "a.jpg")
    with pytest.raises(InputError, match="a file name inside"):
        inside(root, name)


def test_the_longest_end_of_a_path_in_any_of_the_folders(tmp_path: Path) -> None:
    root = files(tmp_path, "a.jpg", "images/cam2/a.jpg")
    assert end_of("C:\\d\\cam2\\a.jpg", root, root / "images") == root / "images" / "cam2" / "a.jpg"
    assert end_of("/d/cam1/a.jpg", root, root / "images") == root / "a.jpg"
    assert end_of("/d/b.jpg", root) is None
    assert [is_foreign(name) for name in ("/a", "C:\\a", "C:a", "\\\\s\\h\\a", "a/b", "a\\b", "../a")] == [
        True, True, True, True, False, False, False
    ]  # fmt: skip


def test_hidden_files_are_none(tmp_path: Path) -> None:
    root = files(
        tmp_path, "b.json", "a.JSON", "._a.json", ".ipynb_checkpoints/b.json", "__MACOSX/._b.json", "Thumbs.db"
    )
    (tmp_path / "folder.json").mkdir()
    assert [file.name for file in files_in(root, "*.json")] == ["a.JSON", "b.json"]
    assert [file.name for file in hidden_in(root, "*.json")] == ["._a.json"]
    assert [file.name for file in files_in(root, "*")] == ["a.JSON", "b.json"]
    assert files_in(root / "nowhere", "*") == []
    left = LeftOut()
    assert len(Faults(root, left).files(root, "*.json")) == 2
    assert left.line() == f"left out: hidden files: 1 (first: {tmp_path.name}: ._a.json)"


def test_what_lies_beside_the_folders_that_are_read(tmp_path: Path) -> None:
    root = files(tmp_path, "train/a.json", "b.json", "rest/c.json", "rest/d.json", ".hidden/e.json", "empty/f.txt")
    left = LeftOut()
    Faults(root, left).unread(root, [root / "train"], "*.json")
    assert [(entry["reason"], entry["count"], entry["first"]) for entry in left.to_list()] == [
        ("files beside the folders that are read", 1, f"{root.name}: b.json"),
        ("files in folders that are not read", 2, f"{root.name}: rest/"),
    ]


def test_whole_numbers() -> None:
    record = {"one": 1.0, "half": 0.5, "text": "1.0", "yes": True, "nan": float("nan")}
    assert (key_of(record, "one"), key_of(record, "text"), field(record, "one", int)) == (1, "1.0", 1)
    assert type(key_of(record, "one")) is int
    for key in ("half", "yes", "nan", "none"):
        with pytest.raises(InputError):
            key_of(record, key)
        with pytest.raises(InputError):
            field(record, key, int)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_json_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_bytes('{"label": "杯子"}'.encode(encoding))
    assert load_json(tmp_path / "a.json", dict) == {"label": "杯子"}
