"""The sample of an audit and its sheets."""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from miras.annotate.audit import sheets
from miras.annotate.audit.sheets import (
    COLUMNS,
    NOTHING,
    SCALES,
    code_of,
    draw,
    picture_of,
    target_of,
    words_of,
    write_sheets,
)
from miras.core.errors import InputError
from miras.core.types import Conversation, Example, Mark, Name, Operator, Region, Turn, Words
from miras.data.record import Record, record_of

SIZE = (60, 80)
BOXES = {"cup": (10, 10, 40, 40), "spoon": (50, 20, 70, 50), "rim": (20, 20, 24, 23)}


def mask(name: str) -> np.ndarray:
    x1, y1, x2, y2 = BOXES[name]
    whole = np.zeros(SIZE, bool)
    whole[y1:y2, x1:x2] = True
    return whole


def reply(*pieces: str | Operator, turn: int = 1, first: int = 1) -> Turn:
    """A reply of marks and named things."""
    content: list[Any] = [Words("Here:")]
    regions = []
    operator = Operator.REPLACE
    for piece in pieces:
        if isinstance(piece, Operator):
            operator = piece
            content.append(Mark(piece))
        else:
            regions.append(Region(first + len(regions), piece, mask(piece), turn, operator))
            content.append(Name(piece, regions[-1].id))
    return Turn("assistant", tuple(content), tuple(regions))


TALKS: dict[str, tuple[list[Turn], str]] = {
    "one": ([reply("cup")], "cup"),
    "two": ([reply("cup", "spoon")], "cup + spoon"),
    "cut": ([reply("cup"), reply(Operator.CUT, "rim", turn=3, first=2)], "cup - rim"),
    "add": ([reply("cup"), reply(Operator.ADD, "spoon", turn=3, first=2)], "cup + spoon"),
    "undo": ([reply("cup"), reply("spoon", turn=3, first=2), reply(Operator.UNDO, turn=5)], "cup"),
    "refused": ([reply("cup"), reply(Operator.REJECT, turn=3)], NOTHING),
    "refused by name": ([reply("cup"), reply(Operator.REJECT, "spoon", turn=3, first=2)], NOTHING),
    "words": ([reply()], NOTHING),
    "undone to nothing": ([reply("cup"), reply(Operator.UNDO, turn=3)], NOTHING),
}


def example(replies: list[Turn], image: Path = Path("p.jpg"), focus: str = "cup", kind: str = "edit") -> Example:
    turns = tuple(turn for answer in replies for turn in (Turn.user("Where is it?"), answer))
    return Example(image, Conversation(turns), focus, kind, 1, "secret-source")


def record(id: str, image: Path, kind: str = "edit", source: str = "secret-source", talk: str = "one") -> Record:
    made = record_of(example(TALKS[talk][0], kind=kind), id=id, image_id=id[:1], image=image.as_posix(), size=SIZE)
    made["source"] = source
    return made


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret-source.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)
    return path


def many(counts: dict[tuple[str, str], int]) -> list[Record]:
    return [
        record(f"{kind}/{source}/{i}", Path("/p.jpg"), kind, source)
        for (kind, source), n in counts.items() for i in range(n)
    ]  # fmt: skip


STRATA = {("edit", "a"): 60, ("edit", "b"): 30, ("absent", "a"): 9, ("text", "b"): 1}


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [1, 0, 0, 0]),
        (2, [1, 1, 0, 0]),
        (4, [1, 1, 1, 1]),
        (10, [5, 3, 1, 1]),
        (20, [12, 5, 2, 1]),
        (99, [60, 29, 9, 1]),
        (500, [60, 30, 9, 1]),
    ],
)
def test_strata_are_drawn_in_proportion_and_at_least_once(n: int, expected: list[int]) -> None:
    drawn = Counter((r["kind"], r["source"]) for r in draw(many(STRATA), n, seed=1))
    got = [drawn[key] for key in STRATA]
    assert sum(got) == min(n, 100)
    assert all(abs(a - b) <= 1 for a, b in zip(got, expected, strict=True)), got
    assert all(got) or got == expected, "the largest strata where there are not enough for all"


def test_the_sample_depends_on_seed_and_ids_alone() -> None:
    records = many({("edit", "a"): 400, ("shift", "a"): 200})
    ids = [r["id"] for r in draw(records, 30, seed=5)]
    for seed in range(3):
        random.Random(seed).shuffle(records)
        assert [r["id"] for r in draw(iter(records), 30, seed=5)] == ids
    assert len(set(ids)) == 30
    assert [r["id"] for r in draw(records, 30, seed=6)] != ids
    assert {r["kind"] for r in draw(records, 30, 5, strata=("hops",))} == {"edit", "shift"}
    twice = draw(records + records, 600)
    assert sorted(r["id"] for r in twice) == sorted({r["id"] for r in records})


@pytest.mark.parametrize(
    ("n", "strata", "says"), [(0, ("kind",), "at least 1"), (3, ("colour",), "colour"), (3, ("turns",), "turns")]
)
def test_a_sample_that_cannot_be_drawn(n: int, strata: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError) as caught:
        draw(many(STRATA), n, strata=strata)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", list(TALKS))
def test_the_final_target(name: str) -> None:
    replies, words = TALKS[name]
    made = example(replies)
    target = target_of(made)
    assert words_of(target, made) == words
    wanted = np.zeros(SIZE, bool)
    for sign, thing in re.findall(r"([+-]?) ?(cup|spoon|rim)", "" if words == NOTHING else words):
        wanted = wanted & ~mask(thing) if sign == "-" else wanted | mask(thing)
    assert (target is None) == (words == NOTHING)
    assert target is None or np.array_equal(target.mask, wanted)


def test_a_phrase_without_a_mask_is_bad_input() -> None:
    turn = Turn("assistant", (Name("cup", 1),), ())
    with pytest.raises(InputError, match="none for region 1"):
        target_of(example([turn]))


def test_pictures_of_targets() -> None:
    photo = np.full((*SIZE, 3), 200, np.uint8)
    assert np.array_equal(picture_of(photo, None), photo)
    large = picture_of(photo, mask("cup"))
    assert large.shape == photo.shape
    assert large[25, 25, 2] > 200 > large[25, 25, 0], "tinted"
    assert (large[55, 5] < 150).all(), "dimmed"
    small = picture_of(photo, mask("rim"))
    assert small.shape == (60, 80 + 6 + 60, 3)
    blue = small[:, 86:, 2].astype(int) - small[:, 86:, 0] > 40
    assert 60 < blue.sum() < 1500 and blue[30, 30], "the rim again, enlarged, in the middle"
    edge = np.zeros(SIZE, bool)
    edge[0:3, 77:80] = True
    assert picture_of(photo, edge).shape == (60, 146, 3)


def test_sheets(photo_file: Path, tmp_path: Path) -> None:
    records = [record(f"{name}-{i}", photo_file, talk=name) for name in TALKS for i in range(2)]
    records[0]["turns"][0]["text"] = '=cmd("x"), "quoted"\nand Ümläute'
    out = tmp_path / "out"
    written = write_sheets(records, out, raters=2, seed=3)
    assert sorted(p.relative_to(out).as_posix() for p in written) == [
        "label-studio/rater-1.json", "label-studio/rater-2.json", "rater-1.csv", "rater-2.csv",
    ]  # fmt: skip
    codes = {code_of(r["id"]): r for r in records}
    orders = []
    for rater in ("rater-1", "rater-2"):
        raw = (out / f"{rater}.csv").read_bytes()
        assert raw.startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines(keepends=True)))
        assert tuple(rows[0]) == COLUMNS
        orders.append([row["item"] for row in rows])
        assert sorted(orders[-1]) == sorted(codes)
        for row in rows:
            assert Image.open(out / row["photo"]).size == (80, 60)
            assert Image.open(out / row["mask_picture"]).format == "PNG"
            assert row["target"] == TALKS[codes[row["item"]]["id"][:-2]][1]
            assert not any(row[name] for name in (*SCALES, "comment"))
        tasks = json.loads((out / "label-studio" / f"{rater}.json").read_text(encoding="utf-8"))
        assert [task["data"]["item"] for task in tasks] == orders[-1]
        assert all(task["data"]["photo"].startswith("/data/local-files/?d=out/pictures/i") for task in tasks)
    assert orders[0] != orders[1]
    first = next(row for row in rows if codes[row["item"]]["id"] == records[0]["id"])
    assert first["conversation"].startswith('User: =cmd("x"), "quoted" and Ümläute\nAssistant: ')
    content = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"secret" not in content and b"edit" not in b"".join(p.read_bytes() for p in written), "raters are blind"
    again = write_sheets(records[::-1], tmp_path / "again" / "out", raters=2, seed=3)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in written]


def test_a_target_is_no_formula(photo_file: Path, tmp_path: Path) -> None:
    made = record("a", photo_file)
    made["turns"][1]["regions"][0]["phrase"] = "=1+1"
    write_sheets([made], tmp_path / "out", raters=1)
    assert ",'=1+1," in (tmp_path / "out" / "rater-1.csv").read_text(encoding="utf-8-sig")


def test_large_photos_are_shown_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo_file: Path) -> None:
    monkeypatch.setattr(sheets, "MAX_SIDE", 40)
    write_sheets([record("a", photo_file)], tmp_path / "out", raters=1)
    assert [Image.open(path).size for path in sorted((tmp_path / "out" / "pictures").iterdir())] == [(40, 30)] * 2


def test_an_embedded_photo_is_used(tmp_path: Path, photo_file: Path) -> None:
    made = record("a", Path("/nowhere.jpg"))
    made["image_bytes"] = photo_file.read_bytes()
    assert len(write_sheets([made], tmp_path / "out", raters=1)) == 2


def test_bad_records_are_named_and_the_rest_goes_on(tmp_path: Path, photo_file: Path) -> None:
    missing, other, empty = (record(name, photo_file) for name in ("gone", "other-size", "no-mask"))
    missing["image"] = (tmp_path / "gone.jpg").as_posix()
    Image.new("RGB", (20, 20)).save(tmp_path / "other.jpg")
    other["image"] = (tmp_path / "other.jpg").as_posix()
    empty["turns"][1]["regions"] = []
    faults: list[str] = []
    bad = [missing, other, empty]
    write_sheets([*bad, record("good", photo_file)], tmp_path / "out", raters=1, on_fault=faults.append)
    assert [line.split(":")[0] for line in faults] == ["record gone", "record other-size", "record no-mask"]
    assert code_of("good") in (tmp_path / "out" / "rater-1.csv").read_text(encoding="utf-8-sig")
    with pytest.raises(InputError, match="record gone"):
        write_sheets(bad, tmp_path / "raises")
    with pytest.raises(InputError, match="none of 3"):
        write_sheets(bad, tmp_path / "none", on_fault=faults.append)
    with pytest.raises(InputError, match="at least 1 rater"):
        write_sheets([record("good", photo_file)], tmp_path / "zero", raters=0)


def test_codes_are_no_numbers_to_a_spreadsheet() -> None:
    codes = [code_of(f"coco-{i}") for i in range(500)]
    assert len(set(codes)) == 500
    assert all(re.fullmatch("i[0-9a-f]{10}", code) for code in codes)


def test_the_rubric_has_anchors_for_every_scale() -> None:
    text = (Path(sheets.__file__).parent / "rubric.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+): (.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(SCALES)
    for name, section in sections.items():
        assert re.findall(r"^- (\d): \S", section, re.MULTILINE) == list("54321"), name
    assert all(f"`{name}`" in text for name in ("photo", "target", "mask_picture", "own_mask"))


def test_the_labelling_configuration_asks_for_what_is_read() -> None:
    tags = list(ElementTree.fromstring(sheets.label_config()).iter())
    named = {tag.get("name"): tag for tag in tags if tag.get("name")}
    assert {name for name, tag in named.items() if tag.tag == "Rating"} == set(SCALES)
    assert named["comment"].tag == "TextArea" and named["own_mask"].tag == "PolygonLabels"
    assert all(tag.get("toName") in named for tag in tags if tag.get("toName"))
