"""ReasonSeg: drawn as LISA draws it, read, written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats import reasonseg
from miras.data.formats.records import read_records, write_records
from miras.data.record import Record, regions_of
from tests.data.made import MASKS, SIZE, drawn, photo

TEXTS = ["What can one sit on?", "Where to rest?"]
BIG = [[2, 2], [12, 2], [12, 12], [2, 12]]
SMALL = [[4, 4], [6, 4], [6, 6], [4, 6]]


def shape(points: Any = BIG, label: str = "target") -> dict[str, Any]:
    return {"label": label, "labels": [label], "shape_type": "polygon", "points": points}


def write(folder: Path, *shapes: Any, name: str = "a", **changes: Any) -> Path:
    photo(folder / f"{name}.jpg")
    content = {"text": TEXTS, "is_sentence": True, "shapes": list(shapes), **changes}
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


def mask(record: Record) -> np.ndarray[Any, Any]:
    ((_, region),) = regions_of(record)
    return decode_rle(dict(region["rle"]))


# Drawn by OpenCV 4: polylines (8-connected, 1 pixel) and fillPoly on 24 x 32, points cut to whole numbers; as COCO run
# lengths. Every pixel must be equal: no tolerance, as long as the points lie in the photo (OpenCV clips lines first).
OPENCV: list[tuple[list[list[float]], str]] = [
    ([[3, 2], [20, 5], [9, 17]], 'Z22f02N3N1N3M2N2NO1O2N1O1O1N2O1O2N1O1OT8'),
    ([[2, 2], [28, 3], [5, 19], [25, 21], [4, 8]],
     'b12f03M2N1HIM72JN71IO70J07NJ27MI37LK3=00000HMK43'
     'MM33NL230L031MO32LN34MK26NJ18NH28NH1:NF1a000OV2'),
    ([[1, 1], [1, 20], [14, 4]], 'i0d04O1O2M2O1O1O2M2O1O1O2N1N2Oe<'),
    ([[30, 22], [0, 0], [31, 1], [7, 23]],
     '01g01O001O1O1O001N2N2N1O2N2N2O0O2NEM41MO30N0=0E0M1'
     '21MO22NN14NL16NJ18NH28NH1:NF1<ND1>NB1?OA0a0O_O0d0'),
    ([[10, 10], [10, 10], [10, 10]], 'j71U`0'),
    ([[0, 12], [31, 11], [31, 13], [2, 12]], '<1g000000000000000000000000000000O101O000000000000000000000000000E'),
    ([[5.9, 3.2], [17.8, 9.99], [11.5, 21.7], [2.1, 14.4]], 'm12b05K5M20100O10O0100ON3M2N3M2N3MY:'),
]  # fmt: skip


@pytest.mark.parametrize(("points", "counts"), OPENCV)
def test_outlines_are_those_of_opencv(points: list[list[float]], counts: str) -> None:
    expected = decode_rle({"size": [*SIZE], "counts": counts})
    assert np.array_equal(reasonseg.outline(shape(points), 0, SIZE), expected)


def test_larger_shapes_first(tmp_path: Path) -> None:
    square, hole = drawn(*["#" * 11] * 11, at=(2, 2)), drawn("###", "###", "###", at=(4, 4))
    rows: list[tuple[list[dict[str, Any]], Any, Any]] = [
        ([shape()], square, None),
        ([shape(), shape(SMALL, "ignore")], square & ~hole, hole),
        ([shape(SMALL, "ignore"), shape()], square & ~hole, hole),
        ([shape(BIG, "ignore"), shape(SMALL)], hole, square & ~hole),
        ([shape(SMALL), shape(BIG, "Ignored area")], hole, square & ~hole),
        ([shape(), shape(SMALL, "flag")], square, None),
    ]
    for shapes, target, ignored in rows:
        (record,) = reasonseg.read(write(tmp_path, *shapes))
        assert np.array_equal(mask(record), target)
        assert ("ignore" in record["meta"]) == (ignored is not None)
        if ignored is not None:
            assert np.array_equal(decode_rle(record["meta"]["ignore"]), ignored)


def test_what_is_asked(tmp_path: Path) -> None:
    write(tmp_path / "val", shape(), name="b")
    write(tmp_path / "train", shape(), name="a", is_sentence=False, text=["the dog's  bowl"])
    first, second = reasonseg.read(tmp_path)
    assert (first["split"], first["turns"][0]["text"]) == ("train", "Show me the dog's bowl.")
    assert first["focus"] == "the dog's bowl"
    assert (second["split"], second["turns"][0]["text"], second["focus"]) == ("val", TEXTS[0], "target")
    assert second["meta"] == {"instructions": TEXTS, "instruction": 0, "is_sentence": True}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_reads_back(name: str) -> None:
    target, ignored = reasonseg.draw(reasonseg.shapes_of(MASKS[name]), SIZE)
    assert np.array_equal(target, MASKS[name])
    assert not ignored.any()


def test_random_masks_read_back() -> None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9, 1.0):
        for _ in range(5):
            made = rng.random((15, 19)) < share
            target, _ = reasonseg.draw(reasonseg.shapes_of(made), (15, 19))
            assert np.array_equal(target, made)


def test_a_file_passes_through_unchanged_in_content(tmp_path: Path) -> None:
    write(tmp_path / "in" / "test", shape(), shape(SMALL, "ignore"), name="b")
    write(tmp_path / "in" / "test", shape(SMALL), name="c", is_sentence=False, text=["bowl", "dish"])
    records = list(read_records(tmp_path / "in", "reasonseg"))
    write_records(records, tmp_path / "out", "reasonseg")
    again = list(read_records(tmp_path / "out", "reasonseg"))
    for one, other in zip(records, again, strict=True):
        assert (one["turns"], one["meta"], one["split"]) == (other["turns"], other["meta"], other["split"])


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "2 points": ({"shapes": [shape(BIG[:2])]}, "at least 3 points in shape 0, got 2"),
    "no text": ({"text": []}, "at least one text"),
    "text that is no list": ({"text": "sit"}, '"text" to be a list'),
    "only to ignore": ({"shapes": [shape(label="ignore")]}, "a target with pixels"),
    "no shapes": ({"shapes": []}, "a target with pixels"),
    "a shape without label": ({"shapes": [{"points": BIG}]}, '"label"'),
    "a point of text": ({"shapes": [shape([["a", 1], [2, 3], [4, 5]])]}, r"points \(x, y\)"),
}


@pytest.mark.parametrize(("changes", "said"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_named_and_the_rest_goes_on(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write(tmp_path, name="a", **{"shapes": [shape()], **changes})
    write(tmp_path, shape(), name="b")
    heard: list[str] = []
    assert [r["image_id"] for r in reasonseg.read(tmp_path, heard.append)] == ["b"]
    assert len(heard) == 1
    with pytest.raises(InputError, match=f"a.json: .*{said}"):
        list(reasonseg.read(tmp_path))


def test_encodings_and_missing_photos(tmp_path: Path) -> None:
    file = write(tmp_path, shape(), text=["caf?"])
    text = file.read_bytes()
    file.write_bytes(text.replace(b"?", b"\xe9"))  # the official files are partly cp1252
    assert next(reasonseg.read(file))["turns"][0]["text"] == "café"
    file.write_bytes(text.replace(b"?", b"\x81"))  # neither
    with pytest.raises(InputError, match="text in UTF-8"):
        list(reasonseg.read(file))
    file.write_bytes(text)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"the photo, got no file .*a\.jpg"):
        list(reasonseg.read(file))
    with pytest.raises(InputError, match="ReasonSeg JSON files"):
        list(reasonseg.read(photo(tmp_path / "empty" / "x.jpg").parent))
