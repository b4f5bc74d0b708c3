"""What a run trains on, and what it keeps out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle, rle_area
from miras.data.formats import read_records
from miras.data.jsonl import write_jsonl
from miras.data.record import Record
from miras.data.validate import validate
from miras.train import corpus
from miras.train.recipe import Data
from tests.own_photos import write

SHARE = Data(split="share", val=0.2)


def talk(record: Record) -> Record:
    """The same question as a conversation that a person recorded."""
    turns = [dict(turn) for turn in record["turns"]]
    turns[0] |= {"text": "Which one?", "content": [{"type": "words", "text": "Which one?", "region": 0}]}
    return {**record, "id": f"talk/{record['id']}", "kind": "progressive", "turns": turns}  # type: ignore[typeddict-item]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write(tmp_path / "photos")


@pytest.fixture
def talks(photos: Path) -> Path:
    """Conversations about two of the photos; chelsea is kept out, coffee is trained on."""
    rows = [record for record in read_records(photos, "labelme") if record["focus"] in ("cup", "nose of the cat")]
    write_jsonl([talk(record) for record in rows], photos.parent / "talks.jsonl")
    return photos.parent / "talks.jsonl"


@pytest.mark.parametrize("val", [1e-6, 0.1, 0.5, 0.999])
def test_both_sides_have_a_photo_however_few_there_are(val: float, tmp_path: Path) -> None:
    found = corpus.read([write(tmp_path / "two", ["coffee", "rocket"])], Data(split="share", val=val))
    assert {photo.id for photo in found.photos + found.kept} == {"coffee", "rocket"}
    assert len(found.photos) == len(found.kept) == 1


def test_a_share_that_fits_is_taken_as_it_is(photos: Path) -> None:
    found = corpus.read([photos], SHARE)
    assert [photo.id for photo in found.kept] == ["chelsea"]
    again = corpus.read([photos], Data(split="share", val=0.25))
    assert [photo.id for photo in again.kept] == ["chelsea"]


def test_no_share_keeps_nothing_out(photos: Path) -> None:
    found = corpus.read([photos], Data(split="share", val=0.0))
    assert (len(found.photos), found.kept, list(corpus.held_out(found))) == (4, [], [])


def test_what_is_kept_out_as_records(photos: Path) -> None:
    found = corpus.read([photos], SHARE)
    rows = list(corpus.held_out(found))
    assert list(validate(rows)) == []
    assert [(row["id"], row["split"], row["turns"][0]["text"]) for row in rows] == [
        ("photos/val/chelsea-1", "val", "Show me the eyes."),
        ("photos/val/chelsea-2", "val", "Show me the nose of the cat."),
    ]
    both = [note.rle for note in found.kept[0].annotations if note.label == "eye"]
    mask = decode_rle(dict(rows[0]["turns"][1]["regions"][0]["rle"]))
    assert mask.sum() == sum(rle_area(rle) for rle in both)


def test_conversations_go_with_their_photo(photos: Path, talks: Path) -> None:
    found = corpus.read([photos, talks], SHARE)
    assert {name: [row["focus"] for row in rows] for name, rows in found.records.items()} == {"photos/coffee": ["cup"]}
    assert [(row["focus"], row["split"]) for row in corpus.held_out(found)] == [
        ("eyes", "val"), ("nose of the cat", "val"), ("nose of the cat", "val"),
    ]  # fmt: skip


def test_conversations_alone_are_validated_with_what_they_show(talks: Path) -> None:
    found = corpus.read([talks], SHARE)
    assert [[note.phrase for note in photo.annotations] for photo in found.kept] == [["nose of the cat"]]
    assert [photo.annotations for photo in found.photos] == [()]


def without_outlines(folder: Path) -> list[Path]:
    for file in write(folder).glob("*.json"):
        file.write_text(json.dumps({"shapes": [], "imagePath": f"{file.stem}.jpg"}))
    return [folder]


@pytest.mark.parametrize(
    ("make", "expected", "cure"),
    [
        (lambda folder: [], "data to train on", "--data"),
        (lambda folder: [folder / "gone"], "data to train on", ""),
        (without_outlines, "photos with masks to train on", "outline something"),
        (lambda folder: [write(folder, ["coffee"])], "two photos at least", "data.val=0"),
        (lambda folder: [write(folder / "labelme").parent], "photos with masks in", "name the file itself"),
    ],
    ids=["none", "gone", "no outlines", "one photo", "no format"],
)
def test_bad_input(make, expected: str, cure: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        corpus.read(make(tmp_path / "data"), SHARE)
    assert caught.value.expected.startswith(expected)
    assert cure in caught.value.cure


def cut(path: Path) -> None:
    """A photo that is cut off behind its header."""
    path.write_bytes(path.read_bytes()[:-2000])


def test_everything_that_is_wrong_is_told_at_once(photos: Path, talks: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", ["coffee", "rocket", "chelsea", "astronaut"])
    for name in ("coffee", "rocket"):
        cut(other / f"{name}.jpg")
    cut(photos / "coffee.jpg")
    (other / "chelsea.jpg").unlink()
    document = json.loads((other / "astronaut.json").read_text())
    document["shapes"][0]["points"] = [[1, 1], [2, 2]]
    (other / "astronaut.json").write_text(json.dumps(document))
    report = tmp_path / "run" / "faults.txt"
    with pytest.raises(InputError) as caught:
        corpus.read([photos, other, talks], SHARE, report)
    lines = report.read_text().splitlines()
    for what in ("photos/coffee.jpg: image file is truncated", "other/coffee.jpg: image", "other/rocket.jpg: image",
                 "chelsea.json: expected the photo, got no file", "astronaut.json, shape 0"):  # fmt: skip
        assert sum(what in line for line in lines) == 1, what
    said = str(caught.value)
    assert said.startswith(
        f"expected data without faults, got {len(lines)}: {lines[0]} | {lines[1]} | {lines[2]} | and "
    )
    assert f"`miras data validate {other} --format labelme` lists them all; all of them: {report}" in said
    with pytest.raises(InputError, match=f"got {len(lines) - 3}: "):
        corpus.read([photos, other, talks], SHARE, report, decode=False)
    corpus.read([write(tmp_path / "whole")], SHARE, report)
    assert not report.exists()
