"""What a run trains on, and what it keeps out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle, rle_area
from miras.data.formats import read_records, write_records
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


@pytest.mark.parametrize("format", ["yolo", "label-studio"])
def test_what_annotation_tools_write_is_trained_on(photos: Path, tmp_path: Path, format: str) -> None:
    write_records(read_records(photos, "labelme"), tmp_path / "out", format)
    expected = {photo.path.stem: photo for photo in corpus.read([photos], Data(split="share", val=0.0)).photos}
    found = corpus.read([tmp_path / "out"], Data(split="share", val=0.0)).photos
    assert {photo.path.stem for photo in found} == set(expected)
    for photo in found:
        same = sorted((note.label, note.rle["counts"]) for note in photo.annotations)
        assert same == sorted((note.label, note.rle["counts"]) for note in expected[photo.path.stem].annotations)
    # YOLO has a list of classes: what a photo has no outline of is absent there. Label Studio has none.
    absent = {label for photo in found for label in photo.vocabulary}
    assert ("rocket" in absent) == (format == "yolo")


def test_splits_of_annotation_tools_are_kept(photos: Path, tmp_path: Path) -> None:
    records = [
        {**record, "split": "val" if record["image_id"] == "rocket" else "train"}
        for record in read_records(photos, "labelme")
    ]
    write_records(records, tmp_path / "out", "yolo")  # type: ignore[arg-type]
    found = corpus.read([tmp_path / "out"], Data(split="given"))
    assert [photo.path.stem for photo in found.kept] == ["rocket"]
    assert {photo.path.stem for photo in found.photos} == {"coffee", "chelsea", "astronaut"}
    assert {photo.source for photo in [*found.photos, *found.kept]} == {"out"}


def test_a_yolo_export_with_a_folder_a_split(photos: Path, tmp_path: Path) -> None:
    """As Roboflow leaves it: data.yaml beside train/ and valid/, each with images/ and labels/."""
    write_records(read_records(photos, "labelme"), tmp_path / "out", "yolo")
    out = tmp_path / "out"
    for kind, ending in (("images", "jpg"), ("labels", "txt")):
        for split in ("train", "valid"):
            (out / split / kind).mkdir(parents=True)
            for file in (out / kind / "train").glob(f"*.{ending}"):
                if (file.stem == "rocket") == (split == "valid"):
                    file.rename(out / split / kind / file.name)
        (out / kind / "train").rmdir()
    names = (out / "data.yaml").read_text().partition("names:")[2]
    (out / "data.yaml").write_text(f"train: ../train/images\nval: ../valid/images\nnames:{names}")
    found = corpus.read([out], Data(split="given"))
    assert [photo.path.stem for photo in found.kept] == ["rocket"]
    assert {photo.path.stem for photo in found.photos} == {"coffee", "chelsea", "astronaut"}


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


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos")
    file = next(folder.glob("coffee.json"))
    document = json.loads(file.read_text())
    line = {"label": "edge", "shape_type": "line", "points": [[1, 1], [9, 9]], "group_id": None}
    file.write_text(json.dumps({**document, "shapes": [*document["shapes"], line, document["shapes"][0]]}))
    (folder / "._coffee.json").write_bytes(b"\x00")
    found = corpus.read([folder], SHARE)
    assert [(entry["reason"], entry["count"]) for entry in found.left.to_list()] == [
        ("hidden files", 1), ("shapes of the kind line", 1), ("masks given twice (photo, words and pixels)", 1)
    ]  # fmt: skip
