"""Indexed PNG as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from miras.core.masks import encode_rle
from miras.data.formats.records import read_records, write_records
from tests.data.made import MASKS, drawn, masks_of, singles


def test_files(tmp_path: Path) -> None:
    write_records(singles(tmp_path / "p", "val"), tmp_path / "out", "indexed-png")
    folder = tmp_path / "out" / "val"
    labels = (folder / "labels.txt").read_text().splitlines()
    assert labels == ["background", *sorted(MASKS)]
    with Image.open(folder / "masks" / "one.png") as image:
        assert image.mode == "L"
        pixels = np.asarray(image)
    for name in list(MASKS)[::2]:
        assert np.array_equal(pixels == labels.index(name), MASKS[name])


def test_instances_of_one_label_are_one(tmp_path: Path) -> None:
    records = singles(tmp_path / "p")[:5:2]
    for record, mask in zip(records, (drawn("##"), drawn("##", at=(5, 5)), drawn("#", at=(9, 9))), strict=True):
        record["turns"][1]["regions"][0] |= {"rle": encode_rle(mask), "phrase": "dog"}  # type: ignore[typeddict-item]
    report = write_records(records, tmp_path / "out", "indexed-png")
    assert report.regions == 1
    assert "that 2 regions are instances of their own (one mask a label)" in report.losses.lines()
    whole = drawn("##") | drawn("##", at=(5, 5)) | drawn("#", at=(9, 9))
    assert masks_of(read_records(tmp_path / "out", "indexed-png")) == {("one", "dog", encode_rle(whole)["counts"])}


def test_what_is_to_be_ignored_stays_void(tmp_path: Path) -> None:
    records = singles(tmp_path / "p")[:2]
    void = MASKS["block"] | drawn("###", at=(20, 20))
    records[0]["meta"]["ignore"] = encode_rle(void)
    write_records(records, tmp_path / "out", "indexed-png")
    pixels = np.asarray(Image.open(tmp_path / "out" / "masks" / "one.png"))
    assert np.array_equal(pixels == 255, void & ~MASKS["block"])
    again = list(read_records(tmp_path / "out", "indexed-png"))
    assert masks_of(again) == masks_of(records)
    write_records(again, tmp_path / "twice", "indexed-png")
    assert np.array_equal(pixels, np.asarray(Image.open(tmp_path / "twice" / "masks" / "one.png")))
