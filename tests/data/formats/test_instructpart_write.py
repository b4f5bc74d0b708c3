"""InstructPart as files: parts, six instructions, names that would meet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miras.core.masks import encode_rle
from miras.data.formats import instructpart
from miras.data.formats.records import write_records
from miras.data.io.single import single
from tests.data.made import MASKS, SIZE, photo

SIX = ["Which part opens?", "And now?", "Where?", "Which?", "lid of the pot", "lid"]


def made(path: Path, phrase: str, mask: str = "block", ask: str = "Which part opens?", **meta: Any) -> Any:
    return single(
        path, SIZE, phrase, encode_rle(MASKS[mask]), id=f"{phrase} {mask}", image_id="my photo", source="s", ask=ask,
        meta=meta,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("phrase", "meta", "part", "instructions"),
    [
        ("handle of the cup", {}, ("cup", "handle"), ["Which part opens?"] * 4 + ["handle of the cup"] * 2),
        ("hood on the car", {}, ("car", "hood"), None),
        ("cup", {}, ("cup", "whole"), None),
        ("a/b of the ../c", {}, ("--c", "a-b"), None),
        ("lid of the pot", {"instructions": SIX, "instructpart": {"object": "big pot", "part": "lid"}},
         ("big pot", "lid"), SIX),
        ("lid of the pot", {"instructions": SIX[:2]}, ("pot", "lid"), [SIX[0]] * 4 + ["lid of the pot"] * 2),
    ],
)  # fmt: skip
def test_parts(
    tmp_path: Path, phrase: str, meta: dict[str, Any], part: tuple[str, str], instructions: list[str] | None
) -> None:  # fmt: skip
    report = write_records([made(photo(tmp_path / "a.jpg"), phrase, **meta)], tmp_path / "out", "instructpart")
    (item,) = json.loads((tmp_path / "out" / "data_all.json").read_text())
    assert item["image_path"] == "my_photo.jpg"
    (entry,) = item["part_list"]
    assert (entry["object"], entry["part"]) == part
    assert instructions in (None, entry["instruction"])
    assert ("that 1 regions are no part of something" in report.losses.lines()) == (part[1] == "whole")
    (read,) = instructpart.read(tmp_path / "out")
    assert (read.id, read.annotations[0].phrase) == ("my_photo", phrase)


def test_a_second_mask_of_the_same_part_is_left_out_and_counted(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    records = [made(path, "lid of the pot", mask) for mask in ("block", "hole")]
    report = write_records(records, tmp_path / "out", "instructpart")
    assert report.regions == 1
    assert report.losses.lines() == [
        "1 masks beside another of the same object and part", "the exact pixels of 1 photos (encoded as JPEG)"
    ]  # fmt: skip
