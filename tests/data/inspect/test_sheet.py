"""Contact sheets: which records, how many pages, what is drawn, what cannot be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.palette import PALETTE
from miras.data.inspect import sheet
from miras.data.record import Record
from tests.data.made import singles, talk


def many(folder: Path, count: int) -> list[Record]:
    one = talk(folder / "a.jpg")
    return [{**one, "id": f"r{n}"} for n in range(count)]


def has(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == colour).all(axis=2).sum())


@pytest.mark.parametrize(
    ("count", "columns", "limit", "pages"), [(0, 3, 60, 0), (1, 3, 60, 1), (7, 2, 60, 2), (7, 2, 6, 1), (9, 3, 9, 1)]
)
def test_pages(tmp_path: Path, count: int, columns: int, limit: int, pages: int) -> None:
    records = many(tmp_path, count)
    files = sheet.contact_sheet(iter(records), tmp_path / "out", columns, limit)
    assert [file.name for file in files] == [f"sheet-{n + 1:02d}.png" for n in range(pages)]
    assert sorted(path for path in (tmp_path / "out").glob("*")) == files
    for file in files:
        with Image.open(file) as image:
            assert image.width == columns * (sheet.WIDTH + sheet.GAP) + sheet.GAP


def test_the_choice_follows_the_seed(tmp_path: Path) -> None:
    records = many(tmp_path, 200)
    chosen = [[number for number, _ in sheet._choose(iter(records), 20, seed)] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] == sorted(set(chosen[0]))
    assert len(chosen[0]) == 20
    counts = np.zeros(10)
    for seed in range(400):
        counts[[number for number, _ in sheet._choose(iter(records[:10]), 3, seed)]] += 1
    assert counts.min() > 80
    assert counts.max() < 160


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    pages = [sheet.contact_sheet(many(tmp_path, 2), tmp_path / name)[0].read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_regions_have_their_colours_in_the_photo_and_in_the_words(tmp_path: Path) -> None:
    record = talk(tmp_path / "a.jpg")
    card = sheet._card(0, record)
    picture, said = sheet._picture(record)
    assert said == []
    for colour in PALETTE[:2]:
        assert has(picture, colour) > 30
        assert has(card, colour) > has(picture, colour) + 300
    assert has(card, PALETTE[2]) == 0
    bare: Any = {**record, "turns": record["turns"][4:], "focus": ""}
    assert has(sheet._card(0, bare), PALETTE[0]) == 0


def test_a_small_final_target_is_shown_larger_in_a_corner(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    Image.new("RGB", (800, 600), (40, 40, 40)).save(path)
    record: Any = {**singles(tmp_path)[0], "image": path.as_posix(), "height": 600, "width": 800}
    areas = []
    for side in (20, 400):
        mask = np.zeros((600, 800), np.bool_)
        mask[300 : 300 + side, 400 : 400 + side] = True
        record["turns"][1]["regions"][0]["rle"] = encode_rle(mask)
        picture, _ = sheet._picture(record)
        areas.append(has(picture.crop((0, 0, 160, 160)), PALETTE[0]))
    assert areas[0] > 100
    assert areas[1] == 0


@pytest.mark.parametrize("name", ["photo", "size", "broken"])
def test_what_cannot_be_drawn_is_said_on_the_card(tmp_path: Path, name: str) -> None:
    record: Any = copy.deepcopy(talk(tmp_path / "a.jpg"))
    region = record["turns"][1]["regions"][0]
    if name == "photo":
        record["image"] = "/gone.jpg"
    elif name == "size":
        region["rle"] = encode_rle(np.ones((5, 5), np.bool_))
    else:
        region["rle"]["counts"] = "??"
    picture, said = sheet._picture(record)
    assert len(said) == 1
    assert ("/gone.jpg" if name == "photo" else "turn 1, region 1") in said[0]
    assert has(picture, PALETTE[1]) > 30
    assert len(sheet.contact_sheet([record], tmp_path / "out")) == 1


def test_words_are_wrapped_whatever_they_are(tmp_path: Path) -> None:
    record: Any = talk(tmp_path / "a.jpg")
    height = sheet._card(0, record).height
    record["turns"][0] |= {"text": "word " * 100}
    longer = sheet._card(0, record).height
    record["turns"][0] |= {"text": "W" * 100_000 + "\ud800 日本語 \x00"}
    assert height < longer < sheet._card(0, record).height < height + 4000
    tokens = sheet._tokens({**record["turns"][3], "content": [{"type": "words", "text": "x" * 300, "region": 0}]})
    lines = sheet._broken(tokens, 16, 200)
    assert "".join(token.text for line in lines for _, token in line) == "x" * 300
    assert all(x + sheet._font(16).getlength(token.text) <= 200 for line in lines for x, token in line)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1 column and 1 record, got 0 and 5"):
        sheet.contact_sheet([], tmp_path, 0, 5)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="to write"):
        sheet.contact_sheet(many(tmp_path, 1), tmp_path / "file")
