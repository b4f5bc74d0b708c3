"""YOLO as files: bridged outlines that read back exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from miras.core.masks import encode_rle, mask_to_polygons, polygons_to_mask
from miras.data.formats.records import read_records, write_records
from miras.data.formats.tools import yolo_write
from miras.data.io.gather import Losses
from tests.data.made import MASKS, masks_of, singles


@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_any_mask_is_one_outline(mask: np.ndarray[Any, Any]) -> None:
    rings = mask_to_polygons(mask)
    if not rings:
        return
    size = (int(mask.shape[0]), int(mask.shape[1]))
    assert np.array_equal(polygons_to_mask([yolo_write.bridged(rings)], size), mask)
    # The same through the text of a label file, whose shares are no whole pixels.
    text = yolo_write._outline(encode_rle(mask), Losses()).split()
    corners = [(float(x) * size[1], float(y) * size[0]) for x, y in zip(text[::2], text[1::2], strict=True)]
    assert np.array_equal(polygons_to_mask([corners], size), mask)


@pytest.mark.parametrize("width", [640, 1999, 4032])
def test_shares_of_wide_photos_come_back(width: int) -> None:
    mask = np.zeros((3, width), np.bool_)
    mask[1, ::3] = True
    mask[0, width - 1] = True
    text = yolo_write._outline(encode_rle(mask), Losses()).split()
    corners = [(float(x) * width, float(y) * 3) for x, y in zip(text[::2], text[1::2], strict=True)]
    assert np.array_equal(polygons_to_mask([corners], (3, width)), mask)


def test_files_as_written(tmp_path: Path) -> None:
    records = [*singles(tmp_path / "a", "val"), *singles(tmp_path / "b")]
    for record in records[:8]:
        record["source"] = "other"
    report = write_records(records, tmp_path / "out", "yolo")
    files = sorted(file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.*"))
    assert files == ["data.yaml"] + [
        f"{kind}/{split}/{name}{ending}" for kind, ending in (("images", ".jpg"), ("labels", ".txt"))
        for split, folder in (("train", "b"), ("val", "a")) for name in (f"{folder}-one", f"{folder}-two")
    ]  # fmt: skip
    document = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert document == {
        "path": ".", "val": "images/val", "train": "images/train", "names": dict(enumerate(sorted(MASKS))),
    }  # fmt: skip
    assert (
        (tmp_path / "out" / "labels" / "val" / "a-one.txt")
        .read_text()
        .startswith("0 0.09375 0.083333333 0.21875 0.083333333")
    )
    assert report.losses.lines() == [
        "that 2 photos are in no split (written as train)",
        "that the outlines of 8 masks are several (parts and holes are bridged by lines without width)",
    ]  # fmt: skip
    back = masks_of(read_records(tmp_path / "out", "yolo"))
    assert {(phrase, counts) for _, phrase, counts in back} == {(p, c) for _, p, c in masks_of(records)}


def test_spelling_and_words_that_mean_no_label_are_counted(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos", "train")[:3]
    for record, phrase in zip(records, ("Big_Pot", "void", "lid"), strict=True):
        record["turns"][1]["regions"][0]["phrase"] = phrase
    report = write_records(records, tmp_path / "out", "yolo")
    assert "1 regions whose words mean no label" in report.losses.lines()
    assert "spelling of 1 phrases" in report.losses.lines()
    assert {phrase for _, phrase, _ in masks_of(read_records(tmp_path / "out", "yolo"))} == {"big pot", "lid"}
