"""Supervisely: figures as the tool draws them, projects and datasets, faults, the documentation's examples."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.tools import supervisely
from miras.data.formats.tools.labelled import Labelled
from miras.data.io.left_out import LeftOut
from tests.data.made import MASKS, SIZE, drawn, photo

DOCUMENTED = (
    "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTwebo4hlTMSa44cOHAB6DqY0yORgq8YkAZBk9XP5d1Tgl"
    "NANAFGzA="
)
"""The bitmap of the documentation: 3 x 3, two pixels of its middle row are not set."""


def packed(mask: np.ndarray[Any, Any], mode: str = "P") -> str:
    """A bitmap's data, as a palette with a transparent colour, as RGBA, or in grey."""
    image = Image.fromarray(mask.astype(np.uint8))
    buffer = io.BytesIO()
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(buffer, format="PNG", transparency=0)
    elif mode == "RGBA":
        Image.fromarray(np.repeat(mask[..., None].astype(np.uint8) * 255, 4, axis=2)).save(buffer, format="PNG")
    else:
        Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG")
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


def thing(kind: str, label: str = "lid", **changes: Any) -> dict[str, Any]:
    return {"id": 1, "classTitle": label, "geometryType": kind, "tags": [], "description": "", **changes}


def outline(*exterior: Any, interior: Any = (), kind: str = "polygon", **changes: Any) -> dict[str, Any]:
    return thing(kind, points={"exterior": [list(p) for p in exterior], "interior": list(interior)}, **changes)


def bitmap(data: Any, origin: Any = (0, 0), **changes: Any) -> dict[str, Any]:
    return thing("bitmap", bitmap={"data": data, "origin": list(origin)}, **changes)


BLOCK = drawn("####", "####", at=(3, 2))
SQUARE = ((2, 3), (5, 3), (5, 4), (2, 4))
RING = drawn("#####", "#...#", "#...#", "#...#", "#####", at=(10, 12))
FIGURES: dict[str, tuple[dict[str, Any], np.ndarray[Any, Any]]] = {
    "polygon": (outline(*SQUARE), BLOCK),
    "polygon with a hole": (
        outline((12, 10), (16, 10), (16, 14), (12, 14), interior=[[[13, 11], [15, 11], [15, 13], [13, 13]]]), RING,
    ),
    "polygon between pixels": (outline((2.0, 3.0), (6.0, 3.0), (6.0, 4.6), (2.0, 4.6)), BLOCK),
    "rectangle": (outline((2, 3), (5, 4), kind="rectangle"), BLOCK),
    "rectangle, other corners": (outline((5, 4), (2, 3), kind="rectangle"), BLOCK),
    "rectangle between pixels": (outline((2.2, 3.4), (6.4, 5.4), kind="rectangle"), BLOCK),
    "rectangle of one pixel": (outline((7, 9), (7, 9), kind="rectangle"), drawn("#", at=(9, 7))),
    "bitmap": (bitmap(packed(MASKS["hole"])), MASKS["hole"]),
    "bitmap, RGBA": (bitmap(packed(MASKS["hole"], "RGBA")), MASKS["hole"]),
    "bitmap, grey": (bitmap(packed(MASKS["hole"], "L")), MASKS["hole"]),
    "bitmap of the documentation": (bitmap(DOCUMENTED, (20, 5)), drawn("###", "#..", "###", at=(5, 20))),
}  # fmt: skip


def write(
    folder: Path, *things: Any, name: str = "a.jpg", dataset: str = "ds", classes: Any = None, **changes: Any
) -> Path:
    photo(folder / dataset / "img" / name)
    (folder / dataset / "ann").mkdir(exist_ok=True)
    document = {
        "description": "",
        "tags": [],
        "size": {"height": SIZE[0], "width": SIZE[1]},
        "objects": list(things),
        **changes,
    }
    (folder / dataset / "ann" / f"{name}.json").write_text(json.dumps(document))
    titles = [
        {"title": "lid", "shape": "polygon", "color": "#fff"},
        {"title": "Big_Pot", "shape": "any"},
        {"title": "road", "shape": "line"},
    ]
    (folder / "meta.json").write_text(json.dumps({"classes": titles if classes is None else classes, "tags": []}))
    return folder


def masks(photos: Iterable[Labelled]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [(note.label, decode_rle(note.rle)) for each in photos for note in each.notes]


@pytest.mark.parametrize(("figure", "expected"), FIGURES.values(), ids=FIGURES)
def test_figures(tmp_path: Path, figure: dict[str, Any], expected: np.ndarray[Any, Any]) -> None:
    root = write(tmp_path, figure)
    for path in (root, root / "ds", root / "meta.json", root / "ds" / "ann" / "a.jpg.json"):
        ((label, mask),) = masks(supervisely.photos(path))
        assert label == "lid"
        assert np.array_equal(mask, expected)


def test_the_record_and_what_is_absent(tmp_path: Path) -> None:
    tagged = outline(*SQUARE, description="the top one", tags=[{"name": "steel"}, 3])
    (record,) = supervisely.read(write(tmp_path, tagged, dataset="val"))
    assert (record["id"], record["image_id"], record["split"]) == (f"{tmp_path.name}/val/val/a-1", "val/a", "val")
    assert record["meta"] == {"label": "lid", "figure": "polygon", "description": "the top one", "tags": ["steel"]}
    (one,) = supervisely.photos(tmp_path)
    assert one.vocabulary == {"lid", "big pot"}


OTHERS = {
    "point": "points (no masks)", "line": "lines (no masks)", "graph": "graphs of keypoints (no masks)",
    "cuboid_2d": "cuboids (no masks)", "alpha_mask": "masks of shades (alpha_mask)",
    "oriented_bbox": "turned boxes (oriented_bbox)",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "reason"), OTHERS.items(), ids=OTHERS)
def test_what_is_no_mask_is_counted(tmp_path: Path, kind: str, reason: str) -> None:
    tally = LeftOut()
    (one,) = supervisely.photos(write(tmp_path, thing(kind, "road"), outline(*SQUARE)), tally)
    assert (len(one.notes), one.unsure) == (1, {"road"})
    assert [(each["reason"], each["count"]) for each in tally.to_list()] == [(reason, 1)]
    assert (tally.faults, tally.read["figures"]) == (0, 1)


def test_several_datasets(tmp_path: Path) -> None:
    for dataset in ("train", "Validation", "deep/datasets/more"):
        write(tmp_path, outline(*SQUARE), dataset=dataset)
    write(tmp_path, dataset="train", name="empty.png")
    found = list(supervisely.photos(tmp_path))
    assert [(each.id, each.split, len(each.notes)) for each in found] == [
        ("Validation/a", "val", 1), ("deep/datasets/more/a", "", 1), ("train/a", "train", 1),
        ("train/empty", "train", 0),
    ]  # fmt: skip


def test_old_names_without_the_ending_of_the_photo(tmp_path: Path) -> None:
    write(tmp_path, outline(*SQUARE))
    (tmp_path / "ds" / "ann" / "a.jpg.json").rename(tmp_path / "ds" / "ann" / "a.json")
    assert len(masks(supervisely.photos(tmp_path))) == 1
    photo(tmp_path / "ds" / "img" / "a.png")
    with pytest.raises(InputError, match=r"one photo of that name, got a\.jpg, a\.png"):
        list(supervisely.photos(tmp_path))


def test_without_meta_nothing_is_called_absent(tmp_path: Path) -> None:
    (write(tmp_path, outline(*SQUARE)) / "meta.json").unlink()
    (one,) = supervisely.photos(tmp_path / "ds")
    assert (one.vocabulary, one.id) == (frozenset(), "a")


def large_png() -> str:
    buffer = io.BytesIO()
    Image.new("1", (3000, 3000)).save(buffer, format="PNG")
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


FAULTS: dict[str, tuple[Any, str]] = {
    "text": ("lid", "object 0: .*classTitle"),
    "no class": (outline(*SQUARE, classTitle=None), '"classTitle" to be a text'),
    "an empty class": (outline(*SQUARE, label=" "), "a classTitle, got an empty one"),
    "another kind": (thing("spline"), r"object 0 \(lid\): .*a bitmap, polygon or rectangle, got a spline"),
    "no kind": (thing("polygon", geometryType=3), '"geometryType" to be a text'),
    "no points": (thing("polygon"), '"points"'),
    "two points": (outline((1, 1), (2, 2)), "at least 3 points, got 2"),
    "a hole of two points": (outline(*SQUARE, interior=[[[1, 1], [2, 2]]]), "at least 3 points, got 2"),
    "holes of numbers": (outline(*SQUARE, interior=[3]), "a list of rings as interior"),
    "a hole as large as the figure": (outline(*SQUARE, interior=[[list(p) for p in SQUARE]]), "pixels of the photo"),
    "text for x": (outline(("a", 3), (5, 3), (5, 4)), "a number for x"),
    "NaN": (outline((float("nan"), 3), (5, 3), (5, 4)), "a number for x"),
    "a corner of three": (outline((1, 2, 3), (5, 3), (5, 4)), r"points \(x, y\)"),
    "a rectangle of 3": (outline((1, 1), (2, 2), (3, 3), kind="rectangle"), "a rectangle of 2 corners, got 3"),
    "outside": (outline((40, 40), (50, 40), (50, 50)), "with pixels of the photo"),
    "no base64": (bitmap("?"), "compressed by zlib, in base64"),
    "no zlib": (bitmap("aGVsbG8="), "compressed by zlib, in base64"),
    "no PNG": (bitmap(base64.b64encode(zlib.compress(b"hello")).decode()), "compressed by zlib, in base64"),
    "a bomb": (bitmap(base64.b64encode(zlib.compress(bytes(50_000_000), 9)).decode()), "compressed by zlib, in base64"),
    "a PNG too large": (bitmap(large_png()), "inside 32 x 24 pixels, got 3000 x 3000"),
    "data of numbers": (bitmap(3), '"data" to be a text'),
    "an origin of one number": (bitmap(DOCUMENTED, (3,)), r"an origin \(x, y\)"),
    "an origin below nothing": (bitmap(DOCUMENTED, (-1, 0)), "a whole number from 0 for origin"),
    "over the border": (bitmap(DOCUMENTED, (30, 0)), "inside 32 x 24"),
    "no pixels": (bitmap(packed(drawn(".", size=(2, 2)))), "with pixels of the photo"),
}  # fmt: skip


@pytest.mark.parametrize(("faulty", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_the_rest_goes_on(tmp_path: Path, faulty: Any, said: str) -> None:
    root = write(tmp_path, faulty, outline(*SQUARE, label="pot"))
    heard: list[str] = []
    tally = LeftOut(heard.append)
    assert [label for label, _ in masks(supervisely.photos(root, tally))] == ["pot"]
    assert len(heard) == 1
    assert "\n" not in heard[0]
    assert (tally.read["figures"], tally.total("figures")) == (1, 2)
    with pytest.raises(InputError, match=said):
        list(supervisely.photos(root))


def test_faulty_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, outline(*SQUARE), name="b.jpg")
    for name, changes in {
        "size.jpg": {"size": {"height": 9, "width": 9}}, "nosize.jpg": {"size": None}, "objects.jpg": {"objects": 3},
        "gone.jpg": {},
    }.items():  # fmt: skip
        write(tmp_path, outline(*SQUARE), name=name, **changes)
    (tmp_path / "ds" / "img" / "gone.jpg").unlink()
    (tmp_path / "ds" / "ann" / "list.jpg.json").write_text("[]")
    heard: list[str] = []
    tally = LeftOut(heard.append)
    assert [each.id for each in supervisely.photos(tmp_path, tally)] == ["ds/b"]
    assert [line.split(": ")[1] for line in heard] == [
        f"ds/ann/{name}.jpg.json" for name in ("gone", "list", "nosize", "objects", "size")
    ]  # fmt: skip
    assert (tally.read["figures"], tally.total("figures")) == (1, 4)
    with pytest.raises(InputError, match="5 faults"):
        list(supervisely.photos(tmp_path))


def test_nothing_of_supervisely(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a project of Supervisely"):
        list(supervisely.photos(photo(tmp_path / "a.jpg").parent))
    write(tmp_path, outline(*SQUARE), classes=[{"name": "lid"}])
    with pytest.raises(InputError, match='"title"'):
        list(supervisely.photos(tmp_path))
