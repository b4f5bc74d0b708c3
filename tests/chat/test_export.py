"""Every format gives the mask back exactly, read as its readers read it."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from miras.chat.export import FORMATS, Item, png, write
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import CUT, OBJ, SEG
from miras.core.masks import decode_rle, polygons_to_mask
from miras.core.types import Mask

Says = Callable[..., tuple[int, ...]]

SIZE = (12, 16)


def drawn(*lines: str) -> Mask:
    mask = np.zeros(SIZE, dtype=np.bool_)
    for row, line in enumerate(lines):
        for column, char in enumerate(line):
            mask[row + 2, column + 3] = char == "#"
    return mask


ITEMS = [
    Item("cup <&> \x01", drawn("##..##", "##..##", "####.."), 0.5),
    Item("ring", drawn("####", "#..#", "####")),
]


@pytest.mark.parametrize("mask", [ITEMS[0].mask * 0.4, ITEMS[0].mask * 3, np.full(SIZE, np.nan)])
def test_what_is_no_mask_is_not_written(mask: Mask) -> None:
    with pytest.raises(InputError, match="threshold"):
        Item("cup", mask)
    with pytest.raises(InputError, match="threshold"):
        png(mask)
    assert png(ITEMS[0].mask * np.float32(1)) == png(ITEMS[0].mask)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "deep" / "out", ITEMS, SIZE, "cup.jpg")
    return tmp_path / "deep" / "out"


def test_the_files(folder: Path) -> None:
    names = sorted(entry.name for entry in folder.iterdir())
    assert names == ["cup.coco.json", "cup.json", "cup.mask-2.png", "cup.mask.png", "cup.rle.json", "cup.svg"]


def test_png(folder: Path) -> None:
    for name, item in zip(("cup.mask.png", "cup.mask-2.png"), ITEMS, strict=True):
        picture = np.asarray(Image.open(folder / name))
        assert set(np.unique(picture)) == {0, 255}
        np.testing.assert_array_equal(picture > 0, item.mask)


def test_run_lengths(folder: Path) -> None:
    document = json.loads((folder / "cup.rle.json").read_text(encoding="utf-8"))
    assert (document["image"], document["size"]) == ("cup.jpg", list(SIZE))
    for entry, item in zip(document["masks"], ITEMS, strict=True):
        np.testing.assert_array_equal(decode_rle(entry["rle"]), item.mask)
        assert (entry["label"], entry["score"], entry["area"]) == (item.label, item.score, item.mask.sum())


def test_coco_as_pycocotools_reads_it(folder: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "cup.coco.json"))
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["file_name"], image["height"], image["width"]) == ("cup.jpg", *SIZE)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
    for annotation, item in zip(annotations, ITEMS, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), item.mask)
        assert coco.loadCats([annotation["category_id"]])[0]["name"] == item.label
    assert annotations[1]["bbox"] == [3, 2, 4, 3]


def test_labelme_as_it_draws_shapes(folder: Path) -> None:
    document = json.loads((folder / "cup.json").read_text(encoding="utf-8"))
    assert (document["imageHeight"], document["imageWidth"], document["imagePath"]) == (*SIZE, "cup.jpg")
    assert {"version", "flags", "imageData"} <= set(document)
    seen = {item.label: np.zeros(SIZE, dtype=np.bool_) for item in ITEMS}
    for shape in document["shapes"]:
        if shape["shape_type"] == "polygon":
            seen[shape["label"]] |= polygons_to_mask([shape["points"]], SIZE)
        else:
            (x1, y1), (x2, y2) = shape["points"]
            crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
            seen[shape["label"]][y1 : y2 + 1, x1 : x2 + 1] |= crop
    assert [shape["shape_type"] for shape in document["shapes"]] == ["polygon", "polygon", "mask"]
    for item in ITEMS:
        np.testing.assert_array_equal(seen[item.label], item.mask)


def test_svg_paths(folder: Path) -> None:
    root = ElementTree.fromstring((folder / "cup.svg").read_text(encoding="utf-8"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("viewBox") == "0 0 16 12"
    for path, item, title in zip(root.iter(f"{space}path"), ITEMS, ("cup <&> ", "ring"), strict=True):
        assert path.findtext(f"{space}title") == title
        rings = [part.split() for part in str(path.get("d")).replace("M", "").split("Z") if part.strip()]
        corners = [[(float(x), float(y)) for x, y in zip(r[::2], r[1::2], strict=True)] for r in rings]
        np.testing.assert_array_equal(polygons_to_mask(corners, SIZE), item.mask)


def test_an_empty_mask_is_written_as_nothing(tmp_path: Path) -> None:
    write(tmp_path, [Item("air", np.zeros(SIZE, dtype=np.bool_))], SIZE, "a.png")
    assert json.loads((tmp_path / "a.coco.json").read_text())["annotations"] == []
    assert json.loads((tmp_path / "a.json").read_text())["shapes"] == []


def test_a_session_exports_its_selection_or_each_region(session: ChatSession, says: Says, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="something selected"):
        session.export(tmp_path)
    session.ask("cup, no lid", forced=says(OBJ, " cup", SEG, OBJ, " pan", SEG, CUT, OBJ, " lid", SEG))
    paths = session.export(tmp_path / "one", ["png", "rle"])
    assert [path.name for path in paths] == ["photo.mask.png", "photo.rle.json"]
    np.testing.assert_array_equal(np.asarray(Image.open(paths[0])) > 0, session.selection.mask)
    assert json.loads(paths[1].read_text())["masks"][0]["label"] == "cup + pan"
    assert len(session.export(tmp_path / "each", each=True)) == 3 + len(FORMATS) - 1


@pytest.mark.parametrize("formats", [[], ["png", "psd"]])
def test_unknown_formats(formats: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="formats out of png"):
        write(tmp_path, ITEMS, SIZE, "cup.jpg", formats)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="room to write"):
        write(tmp_path / "file" / "out", ITEMS, SIZE, "cup.jpg")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
