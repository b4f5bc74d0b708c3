"""LabelMe: every kind of shape, groups, embedded photos, faults, and masks that read back."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.data.formats import labelme
from miras.data.io.gather import Album, Losses, gather
from miras.data.io.left_out import LeftOut
from miras.data.record import Record, regions_of
from tests.data.made import MASKS, SIZE, drawn, masks_of, photo, singles

SQUARE = [[2, 3], [6, 3], [6, 5], [2, 5]]


def shape(points: Any = SQUARE, kind: str | None = "polygon", **changes: Any) -> dict[str, Any]:
    return {"label": "lid", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **changes}


def write(folder: Path, *shapes: Any, name: str = "a", **changes: Any) -> Path:
    photo(folder / f"{name}.jpg")
    content = {
        "version": "5.3.0", "flags": {}, "shapes": list(shapes), "imagePath": f"{name}.jpg", "imageData": None,
        "imageHeight": SIZE[0], "imageWidth": SIZE[1], **changes,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


def mask(record: Record) -> np.ndarray[Any, Any]:
    ((_, region),) = regions_of(record)
    return decode_rle(dict(region["rle"]))


def encoded(values: np.ndarray[Any, Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SOFT = encoded(np.linspace(0, 255, 25).astype(np.uint8).reshape(5, 5))
BLOCK = drawn("####", "####", at=(3, 2))
PNG = labelme.shapes_of("lid", encode_rle(MASKS["hole"]), 1)[0]
CORNER = (PNG["points"][0][1], PNG["points"][0][0])
SHAPES: dict[str, tuple[dict[str, Any], np.ndarray[Any, Any]]] = {
    "polygon": (shape(), BLOCK),
    "polygon, no type (version 3)": (shape(kind=None), BLOCK),
    "polygon over the border": (shape([[-5, -5], [2, -5], [2, 1], [-5, 1]]), drawn("##")),
    "rectangle": (shape([[6, 5], [2, 3]], "rectangle"), BLOCK),
    "rectangle of 4 corners": (shape(SQUARE, "rectangle"), BLOCK),
    "turned rectangle": (shape(SQUARE, "rotation", direction=0.0), BLOCK),
    "rectangle in any direction": (shape(SQUARE, "oriented_rectangle"), BLOCK),
    "circle": (shape([[5, 5], [5, 6.6]], "circle"), drawn(".##.", "####", "####", ".##.", at=(3, 3))),
    "mask": ({**PNG, "group_id": None}, MASKS["hole"]),
    "mask of 0 and 255": ({**PNG, "mask": encoded(np.full((5, 5), 255, np.uint8))}, drawn(*["#" * 5] * 5, at=CORNER)),
}


@pytest.mark.parametrize(("given", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes(tmp_path: Path, given: dict[str, Any], expected: np.ndarray[Any, Any]) -> None:
    (record,) = labelme.read(write(tmp_path, given))
    assert np.array_equal(mask(record), expected)
    assert (record["focus"], record["image_id"], record["id"]) == ("lid", "a", "a/a-1")


def test_a_group_is_one_region(tmp_path: Path) -> None:
    far = [[20, 3], [22, 3], [22, 5], [20, 5]]
    shapes = (shape(group_id=1), shape(far), shape(far, group_id=1), shape(far, group_id=1, label="pot"))
    records = list(labelme.read(write(tmp_path, *shapes)))
    assert [(r["focus"], int(mask(r).sum())) for r in records] == [("lid", 12), ("lid", 4), ("pot", 4)]


@pytest.mark.parametrize("always_mask", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_reads_back(tmp_path: Path, name: str, always_mask: bool) -> None:
    shapes = labelme.shapes_of(name, encode_rle(MASKS[name]), 1, always_mask)
    assert {s["shape_type"] for s in shapes} == {"mask" if always_mask or name in ("hole", "two holes") else "polygon"}
    (record,) = labelme.read(write(tmp_path, *shapes))
    assert np.array_equal(mask(record), MASKS[name])


FAULTS: dict[str, tuple[Any, str]] = {
    "a polygon with 2 points": (shape(SQUARE[:2]), r"shape 0 \(lid\): .*at least 3 points, got 2"),
    "a turned rectangle of 3 corners": (shape(SQUARE[:3], "rotation"), "a rotation of 4 corners, got 3"),
    "no label": (shape(label=" "), "shape 0: .*a label"),
    "a group that is a list": (shape(group_id=[1]), "shape 0: .*group_id"),
    "a point of text": (shape([["a", 1], [2, 3], [4, 5]]), r"points \(x, y\)"),
    "a point without end": (shape([[1e300, 1], [2, 3], [4, 5]]), r"points \(x, y\)"),
    "a shape that is text": ("lid", "shape 0"),
    "outside the photo": (shape([[40, 40], [50, 40], [50, 50]]), "pixels of the photo"),
    "a rectangle of 3 corners": (shape(SQUARE[:3], "rectangle"), "2 corners, got 3"),
    "a circle of 1 point": (shape(SQUARE[:1], "circle"), "2 points"),
    "a mask that is no base64": ({**PNG, "mask": "?"}, "base64"),
    "a mask that is no PNG": ({**PNG, "mask": "aGVsbG8="}, "PNG"),
    "a mask of another size": ({**PNG, "points": [[0, 0], [9, 9]]}, "10 x 10 pixels, got 5 x 5"),
    "a mask of probabilities": ({**PNG, "mask": SOFT}, "threshold it first"),
    "a mask over the border": ({**PNG, "points": [[30, 10], [34, 14]]}, "inside 32 x 24"),
}


@pytest.mark.parametrize(("faulty", "said"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_shape_is_named_and_the_rest_goes_on(tmp_path: Path, faulty: Any, said: str) -> None:
    file = write(tmp_path, faulty, shape(label="pot"))
    heard: list[str] = []
    assert [r["focus"] for r in labelme.read(file, heard.append)] == ["pot"]
    assert len(heard) == 1
    with pytest.raises(InputError, match=said):
        list(labelme.read(file))


def test_faulty_files_of_a_folder_are_named(tmp_path: Path) -> None:
    for name, changes in {
        "b": {}, "size": {"imageHeight": 9}, "none": {"imagePath": "gone.jpg"}, "shapes": {"shapes": 3},
        "data": {"imagePath": "gone.jpg", "imageData": "aGVsbG8="},
    }.items():  # fmt: skip
        write(tmp_path, shape(), name=name, **changes)
    (tmp_path / "latin.json").write_bytes(b'{"caf\x81": 1}')
    heard: list[str] = []
    assert [r["image_id"] for r in labelme.read(tmp_path, heard.append)] == ["b"]
    assert [line.split(": ")[1] for line in heard] == [
        "data.json", "latin.json", "none.json", "shapes.json", "size.json"
    ]  # fmt: skip
    with pytest.raises(InputError, match="5 faults"):
        list(labelme.read(tmp_path))
    with pytest.raises(InputError, match="LabelMe JSON files"):
        list(labelme.read(photo(tmp_path / "empty" / "x.jpg").parent))


def test_an_embedded_photo(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.jpg").read_bytes()
    file = write(tmp_path, shape(), imageData=base64.b64encode(data).decode(), imagePath="..\\gone\\b.jpg")
    (record,) = labelme.read(file)
    assert record["image_bytes"] == data
    assert (record["image_id"], record["height"], record["width"]) == ("b", 24, 32)


def test_files_as_written(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos", "val")
    pictures, _ = gather(records, Losses())
    assert labelme.write(pictures, tmp_path / "out", Album("reference"), Losses(), always_mask=True) == 8
    files = sorted((tmp_path / "out").rglob("*.*"))
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == ["val/one.json", "val/two.json"]
    document = json.loads(files[0].read_text())
    assert (document["imagePath"], document["version"]) == ("../../photos/one.jpg", labelme.VERSION)
    assert {s["shape_type"] for s in document["shapes"]} == {"mask"}
    assert masks_of(labelme.read(tmp_path / "out")) == masks_of(records)


@pytest.mark.parametrize("kind", ["line", "point", "linestrip", "points", "cuboid", 7])
def test_a_shape_without_an_inside_is_left_out_and_is_no_fault(tmp_path: Path, kind: Any) -> None:
    file = write(tmp_path, shape(SQUARE[:2], kind, group_id=1), shape(), shape(group_id=1), shape(label="__ignore__"))
    left = LeftOut()
    assert [int(mask(record).sum()) for record in labelme.read(file, left)] == [8, 8]
    assert (left.faults, left.read["shapes"], left.total("shapes")) == (0, 2, 4)
    assert [(entry["reason"], entry["first"]) for entry in left.to_list()] == [
        (f"shapes of the kind {kind}", "a.json: a.json, shape 0"),
        ("shapes labelled __ignore__", "a.json: a.json, shape 3"),
    ]


PATHS = {
    "a drive": ("C:\\Users\\x\\Desktop\\a.jpg", "a.jpg"), "a home": ("/home/someone/a.jpg", "a.jpg"),
    "images": ("D:/job/images/b.jpg", "images/b.jpg"), "the longest end": ("/data/cam1/a.jpg", "cam1/a.jpg"),
    "backslashes": ("..\\set\\cam1\\a.jpg", "cam1/a.jpg"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), PATHS.values(), ids=PATHS)
def test_photos_named_by_another_machine(tmp_path: Path, given: str, expected: str) -> None:
    root = tmp_path / "set"
    for name in ("images/b.jpg", "cam1/a.jpg", "images/a.jpg"):
        photo(root / name)
    (record,) = labelme.read(write(root, shape(), imagePath=given))
    assert record["image"] == (root / expected).as_posix()


def test_a_photo_that_another_machine_has_alone(tmp_path: Path) -> None:
    file = write(tmp_path, shape(), shape(), imagePath="C:\\x\\gone.jpg")
    left = LeftOut(lambda _: None)
    assert list(labelme.read(file, left)) == []
    assert (left.total("files"), left.total("shapes"), left.read["shapes"]) == (1, 2, 0)
    with pytest.raises(InputError, match=rf"no file {tmp_path / 'gone.jpg'}"):
        list(labelme.read(file))


def test_what_else_lies_in_the_folder_is_counted(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, shape(), name=name)
    write(tmp_path, name="bare")
    photo(tmp_path / "c.jpg")
    photo(tmp_path / "._c.jpg")
    (tmp_path / "._a.json").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "settings.json").write_text('{"classes": ["lid"]}')
    (tmp_path / ".ipynb_checkpoints").mkdir()
    left = LeftOut()
    assert [record["image_id"] for record in labelme.read(tmp_path, left)] == ["a", "b"]
    assert {(entry["reason"], entry["count"], entry["first"].split(": ")[1]) for entry in left.to_list()} == {
        ("hidden files", 1, "._a.json"), ("JSON files of another kind", 1, "settings.json"),
        ("photos without shapes that can be used", 1, "bare.jpg"), ("photos without a JSON", 1, "c.jpg"),
    }  # fmt: skip
    assert (left.total("photos"), left.total("files")) == (4, 5)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030", "cp932"])
def test_files_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    words = {"cp932": "カップ"}.get(encoding, "杯子")
    file = write(tmp_path, shape(label=words))
    file.write_bytes(json.dumps(json.loads(file.read_text()), ensure_ascii=False).encode(encoding))
    (record,) = labelme.read(tmp_path)
    assert (record["focus"], int(mask(record).sum())) == (words, 8)
