"""Where the files of a YOLO dataset lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.data.formats.tools import yolo_files
from miras.data.io.checks import Faults
from miras.data.io.left_out import LeftOut
from tests.data.made import photo

NAMES = "names: [lid, pot]\n"
SPLITS: dict[str, tuple[str, list[str], list[tuple[str, str]]]] = {
    "folders": (
        "path: .\ntrain: images/train\nval: images/val\ntest:\n",
        ["images/train/a.jpg", "images/val/b.PNG", "images/val/._c.jpg"],
        [("images/train/a.jpg", "train"), ("images/val/b.PNG", "val")],
    ),
    "above": (
        "train: ../train/images\nval: ../valid/images\n", ["train/images/a.jpg", "valid/images/b.jpg"],
        [("train/images/a.jpg", "train"), ("valid/images/b.jpg", "val")],
    ),
    "another machine": (
        "path: /home/somebody/set\ntrain: images\n", ["images/deep/a.jpg"], [("images/deep/a.jpg", "train")],
    ),
    "a folder as path": ("path: set\nval: images\n", ["set/images/a.jpg"], [("set/images/a.jpg", "val")]),
    "windows": ("path: C:\\set\ntrain: images\\train\n", ["images/train/a.jpg"], [("images/train/a.jpg", "train")]),
    "validation": ("train: images/a\nvalidation: images/b\n", ["images/a/a.jpg", "images/b/b.jpg"],
                   [("images/a/a.jpg", "train"), ("images/b/b.jpg", "val")]),
    "lists": (
        "train: [images/a, images/b]\n", ["images/a/a.jpg", "images/b/b.jpg", "images/c/c.jpg"],
        [("images/a/a.jpg", "train"), ("images/b/b.jpg", "train")],
    ),
    "a text file": (
        "train: train.txt\nval: more/val.txt\n", ["images/a.jpg", "images/b.jpg", "more/images/c.jpg"],
        [("images/b.jpg", "train"), ("more/images/c.jpg", "val")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("yaml", "files", "expected"), SPLITS.values(), ids=SPLITS)
def test_splits(tmp_path: Path, yaml: str, files: list[str], expected: list[tuple[str, str]]) -> None:
    for file in files:
        photo(tmp_path / file)
    (tmp_path / "data.yaml").write_text(yaml + NAMES)
    (tmp_path / "train.txt").write_text("images/b.jpg\n\n")
    (tmp_path / "more").mkdir(exist_ok=True)
    (tmp_path / "more" / "val.txt").write_text("./images/c.jpg\n")
    faults = Faults(tmp_path)
    found = list(yolo_files.opened(tmp_path).photos(faults))
    faults.finish()
    assert [(each.path.relative_to(tmp_path).as_posix(), each.split) for each in found] == expected


def test_a_photo_stays_in_its_first_split(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "images" / "b.jpg")
    (tmp_path / "val.txt").write_text("images/b.jpg\nimages/gone.txt\n")
    (tmp_path / "data.yaml").write_text(f"train: images\nval: [val.txt, gone, 3]\n{NAMES}")
    heard: list[str] = []
    tally = LeftOut(heard.append)
    found = list(yolo_files.opened(tmp_path).photos(Faults(tmp_path / "data.yaml", tally)))
    assert [(each.path.name, each.split) for each in found] == [("a.jpg", "train"), ("b.jpg", "train")]
    assert [line.split("expected ")[1].split(",")[0] for line in heard] == ["a photo", "photos", "a folder"]
    assert [(each["reason"], each["first"]) for each in tally.to_list() if "again" in each["reason"]] == [
        (yolo_files.AGAIN, "data.yaml: b.jpg (train, val)"),
    ]  # fmt: skip


LABELS = {
    "/set/images/a.jpg": "/set/labels/a.txt",
    "/images/set/images/train/a.b.png": "/images/set/labels/train/a.b.txt",
    "/set/train/a.jpg": "/set/train/a.txt",
    "images/a.jpg": "labels/a.txt",
    "/set/images.jpg": "/set/images.txt",
}


@pytest.mark.parametrize(("path", "label"), LABELS.items())
def test_the_label_file(path: str, label: str) -> None:
    assert yolo_files.label_file(Path(path)) == Path(label)


NAMED: dict[str, tuple[str, dict[int, str]]] = {
    "list": ("names: [lid, 'big pot']", {0: "lid", 1: "big pot"}),
    "dict": ("names: {0: lid, 5: pot}", {0: "lid", 5: "pot"}),
    "count": ("nc: 2\nnames: [lid, pot]", {0: "lid", 1: "pot"}),
    "numbers": ("names: [1, 2.5]", {0: "1", 1: "2.5"}),
    "a mark before": ("\ufeffnames: [lid]", {0: "lid"}),
    "no English": ("names: [крышка, 鍋]", {0: "крышка", 1: "鍋"}),
}


@pytest.mark.parametrize(("yaml", "names"), NAMED.values(), ids=NAMED)
def test_names(tmp_path: Path, yaml: str, names: dict[int, str]) -> None:
    (tmp_path / "a.yaml").write_text(f"{yaml}\ntrain: images\n", encoding="utf-8")
    assert yolo_files.opened(tmp_path / "a.yaml").names == names


def test_classes_txt(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "classes.txt").write_text("lid\nbig pot\n")
    dataset = yolo_files.opened(tmp_path)
    assert dataset.names == {0: "lid", 1: "big pot"}
    assert [(each.path.name, each.split) for each in dataset.photos(Faults(tmp_path))] == [("a.jpg", "")]


FAULTS: dict[str, tuple[str, str]] = {
    "no names": ("train: images", "names of the classes"),
    "names of text": ("train: images\nnames: lid", "names of the classes"),
    "no name": ("train: images\nnames: []", "names of the classes"),
    "a name twice": ("train: images\nnames: [lid, lid]", r"different names of classes .*\['lid'\] twice"),
    "yes and no": ("train: images\nnames: [yes, no]", "a name for class 0 .*got True; put it in quotes"),
    "a list as name": ("train: images\nnames: [[lid]]", "a name for class 0"),
    "classes of text": ("train: images\nnames: {lid: 0}", "classes 0, 1, .*got 'lid'"),
    "another count": ("train: images\nnc: 3\nnames: [lid]", r"as many names as nc says .*\(3\), got 1"),
    "no splits": ("names: [lid]", "train, val or test"),
    "empty splits": ("train:\nnames: [lid]", "train, val or test"),
    "keypoints": ("train: images\nkpt_shape: [17, 3]\nnames: [lid]", "one of keypoints"),
    "a path of numbers": ("path: 3\ntrain: images\nnames: [lid]", "a folder as path"),
    "broken": ("names: [lid", "valid YAML"),
    "an odd number": ("names: !!int ''", "valid YAML"),
    "code": ("names: !!python/object/apply:os.system [ls]", "valid YAML"),
    "a list": ("[1, 2]", "a YAML object"),
    "nothing": ("", "a YAML object"),
}


@pytest.mark.parametrize(("yaml", "said"), FAULTS.values(), ids=FAULTS)
def test_faults(tmp_path: Path, yaml: str, said: str) -> None:
    (tmp_path / "data.yaml").write_text(yaml)
    with pytest.raises(InputError, match=said) as raised:
        yolo_files.opened(tmp_path)
    assert "\n" not in str(raised.value)


def test_no_photos_and_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one data\.yaml \(or classes\.txt\)"):
        yolo_files.opened(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text(f"train: images\n{NAMES}")
    with pytest.raises(InputError, match=r"photos in the splits of .*got none"):
        list(yolo_files.opened(tmp_path).photos(Faults(tmp_path)))
