"""YOLO for segmentation: lines of every kind, photos without objects, faults; and the example of its documentation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.annotated import read as read_annotations
from miras.data.formats.tools import yolo
from miras.data.formats.tools.labelled import Labelled
from miras.data.io.left_out import LeftOut
from tests.data.made import SIZE, drawn, photo

BLOCK = drawn("####", "####", at=(3, 2))
NAMES = "names:\n  0: lid\n  1: Big_Pot\n  2: background\n"


def line(*corners: tuple[float, float], label: int = 0) -> str:
    return " ".join([str(label), *(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in corners)])


SQUARE = line((2, 3), (6, 3), (6, 5), (2, 5))
BOX = "0 0.5 0.5 0.2 0.2"


def write(
    folder: Path, labels: dict[str, str | None], yaml: str = f"path: .\ntrain: images\n{NAMES}", suffix: str = ".jpg"
) -> Path:
    """labels: stem -> text of its label file, None for none."""
    for stem, text in labels.items():
        photo(folder / "images" / f"{stem}{suffix}")
        file = folder / "labels" / f"{stem}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            file.write_text(text)
    (folder / "data.yaml").write_text(yaml)
    return folder / "data.yaml"


def masks(photos: Iterable[Labelled]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [(note.label, decode_rle(note.rle)) for each in photos for note in each.notes]


HOLE = ((12, 10), (17, 10), (17, 15), (12, 15), (12, 10), (13, 11), (13, 14), (16, 14), (16, 11), (13, 11), (12, 10))
"""A square ring as tools bridge it: out, in, and back the same way."""
PARTS = ((2, 2), (5, 2), (5, 4), (8, 6), (10, 6), (10, 8), (8, 8), (8, 6), (5, 4), (2, 4))
"""Two squares, with a slanting bridge between their nearest corners."""
OUTLINES: dict[str, tuple[str, np.ndarray[Any, Any]]] = {
    "polygon": (SQUARE, BLOCK),
    "spaces and tabs": (f"  {SQUARE}".replace(" ", " \t"), BLOCK),
    "a class as a float": (SQUARE.replace("0 ", "0.0 ", 1), BLOCK),
    "over the border": ("0 -0.005 0 0.0625 0 0.0625 0.04166 0 0.04166", drawn("##")),
    "a hole": (line(*HOLE), drawn("#####", "#...#", "#...#", "#...#", "#####", at=(10, 12))),
    "two parts": (line(*PARTS), drawn("###.....", "###.....", *["........"] * 2, *["......##"] * 2, at=(2, 2))),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), OUTLINES.values(), ids=OUTLINES)
def test_outlines(tmp_path: Path, text: str, expected: np.ndarray[Any, Any]) -> None:
    file = write(tmp_path, {"a": f"{text}\n\n"})
    for path in (file, tmp_path):
        ((label, mask),) = masks(yolo.photos(path))
        assert label == "lid"
        assert np.array_equal(mask, expected)


def test_the_record(tmp_path: Path) -> None:
    (record,) = yolo.read(write(tmp_path, {"deep/a": SQUARE.replace("0 ", "1 ", 1)}))
    assert (record["id"], record["image_id"], record["split"]) == (f"{tmp_path.name}/train/deep/a-1", "deep/a", "train")
    assert record["turns"][0]["text"] == "Show me the big pot."
    assert record["meta"] == {"label": "Big_Pot", "figure": "polygon"}


def test_photos_without_objects(tmp_path: Path) -> None:
    tally = LeftOut()
    file = write(tmp_path, {"a": SQUARE, "empty": "", "blank": "\n \n", "missing": None})
    photos = {each.id: each for each in read_annotations(file, "yolo", tally)}
    assert photos["a"].vocabulary == photos["empty"].vocabulary == photos["blank"].vocabulary == {"lid", "big pot"}
    assert (photos["empty"].annotations, photos["missing"].vocabulary) == ((), frozenset())
    assert [(each["unit"], each["count"]) for each in tally.to_list()] == [("label files", 1)]
    assert (len(list(yolo.read(file, tally))), tally.read["photos"]) == (1, 5)


def test_boxes_are_counted(tmp_path: Path) -> None:
    tally = LeftOut()
    file = write(tmp_path, {"a": f"{BOX}\n{SQUARE}\n{BOX.replace('0 ', '1 ', 1)}\n2 0 0 1 0 1 1"})
    (one,) = yolo.photos(file, tally)
    assert (len(one.notes), one.unsure) == (1, {"lid", "Big_Pot", "background"})
    assert [(each["reason"], each["count"]) for each in tally.to_list()] == [
        (yolo.BOXES, 2), ("figures whose label means no label", 1),
    ]  # fmt: skip
    assert (tally.faults, tally.read["lines"], tally.total("lines")) == (0, 1, 4)


def test_a_dataset_of_boxes_alone_says_so(tmp_path: Path) -> None:
    file = write(tmp_path, {"a": f"{BOX}\n{BOX}", "b": ""})
    with pytest.raises(InputError, match=r"outlines in the label files of .*, got 2 boxes alone; boxes are no masks"):
        list(yolo.photos(file))


FAULTS: dict[str, tuple[str, str]] = {
    "a class beyond the names": ("7 0 0 1 0 1 1", r"a\.txt, line 1: expected a class of 0 to 2, got 7"),
    "a class of text": ("lid 0 0 1 0 1 1", "a number for a class, got 'lid'"),
    "a class below nothing": ("-1 0 0 1 0 1 1", "a whole number from 0"),
    "two points": ("0 0 0", "at least 3 points, got 1"),
    "a number too many": ("0 0 0 1 0 1 1 0.93", "pairs of x and y, got 7 numbers"),
    "a class alone": ("0", "at least 3 points, got 0"),
    "pixels": ("0 20 30 60 30 60 50", "from 0 to 1, .*are these pixels"),
    "NaN": ("0 nan 0 1 0 1 1", "a number for a share"),
    "text": ("0 a 0 1 0 1 1", "a number for a share"),
    "no area": ("0 0.5 0.5 0.5 0.5 0.5 0.5", "with pixels of the photo"),
}


@pytest.mark.parametrize(("text", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_the_rest_goes_on(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, {"a": f"{text}\n{SQUARE.replace('0 ', '1 ', 1)}"})
    heard: list[str] = []
    tally = LeftOut(heard.append)
    assert [label for label, _ in masks(yolo.photos(file, tally))] == ["Big_Pot"]
    assert len(heard) == 1
    assert (tally.read["lines"], tally.total("lines")) == (1, 2)
    with pytest.raises(InputError, match=said):
        list(yolo.photos(file))


def test_faulty_photos_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, dict.fromkeys(("a", "broken", "gone", "twice"), SQUARE))
    (tmp_path / "images" / "gone.jpg").unlink()
    (tmp_path / "images" / "broken.jpg").write_bytes(b"JFIF")
    photo(tmp_path / "images" / "twice.png")
    (tmp_path / "labels" / "classes.txt").write_text("lid\npot\n")
    (tmp_path / "labels" / "notes.md").write_text("x")
    heard: list[str] = []
    tally = LeftOut(heard.append)
    assert [each.id for each in yolo.photos(file, tally)] == ["a"]
    assert [(text.split(": ")[1], said in text) for text, said in zip(
        heard, ("a photo (JPEG", "one photo for a label file", "one photo for a label file", "the photo of this label"),
        strict=True,
    )] == [("broken.jpg", True), ("twice.jpg", True), ("twice.png", True), ("gone.txt", True)]  # fmt: skip
    assert (tally.read["lines"], tally.total("lines")) == (1, 4)
    with pytest.raises(InputError, match="4 faults"):
        list(yolo.photos(file))


def test_one_name_in_two_splits_is_two_photos(tmp_path: Path) -> None:
    write(tmp_path, {"train/0001": SQUARE, "val/0001": ""}, f"train: images/train\nval: images/val\n{NAMES}")
    found = list(yolo.photos(tmp_path))
    assert [(each.id, each.split, len(each.notes)) for each in found] == [("0001", "train", 1), ("val/0001", "val", 0)]
    assert [(each.source, each.split) for each in read_annotations(tmp_path, "yolo")] == [
        (tmp_path.name, "train"),
        (tmp_path.name, "val"),
    ]


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    rows = "0 0.681 0.485 0.670 0.487 0.676 0.487\n1 0.504 0.000 0.501 0.004 0.498 0.004 0.493 0.010 0.492 0.0104\n"
    file = write(tmp_path, {"a": rows})
    Image.new("L", (4000, 3000)).save(tmp_path / "images" / "a.jpg")
    (lid, triangle), (pot, strip) = masks(yolo.photos(file))
    assert (lid, pot) == ("lid", "Big_Pot")
    across, down = np.array([0.681, 0.670, 0.676]) * 4000, np.array([0.485, 0.487, 0.487]) * 3000
    area = abs((across[1] - across[0]) * (down[2] - down[0]) - (across[2] - across[0]) * (down[1] - down[0])) / 2
    rows_of, columns = np.nonzero(triangle)
    assert abs(triangle.sum() - area) < 12
    assert (rows_of.min() >= 1455, rows_of.max() < 1461, columns.min() >= 2680, columns.max() < 2724) == (True,) * 4
    rows_of, columns = np.nonzero(strip)
    assert (rows_of.max() < 32, columns.min() >= 1968, columns.max() < 2016) == (True,) * 3
