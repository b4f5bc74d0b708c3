"""What a run trains on, and what it keeps out."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle, rle_area
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto
from miras.data.formats.jsonl import write_jsonl
from miras.data.formats.records import read_records, write_records
from miras.data.inspect.validate import validate
from miras.data.record import Record
from miras.train.data import conversations, corpus, held_out
from miras.train.data.photos import Album
from miras.train.recipe.schema import Data
from tests.own_photos import ASSETS, OUTLINES, document, write

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
    """Conversations about two of the photos; chelsea is held out, coffee is trained on."""
    rows = [record for record in read_records(photos, "labelme") if record["focus"] in ("cup", "nose of the cat")]
    write_jsonl([talk(record) for record in rows], photos.parent / "talks.jsonl")
    return photos.parent / "talks.jsonl"


@pytest.mark.parametrize("val", [1e-6, 0.1, 0.5, 0.999])
def test_both_sides_have_a_photo_however_few_there_are(val: float, tmp_path: Path) -> None:
    found = corpus.read([write(tmp_path / "two", ["coffee", "rocket"])], Data(split="share", val=val))
    assert {photo.id for photo in found.photos + found.held_out} == {"coffee", "rocket"}
    assert len(found.photos) == len(found.held_out) == 1


def test_a_share_that_fits_is_taken_as_it_is(photos: Path) -> None:
    found = corpus.read([photos], SHARE)
    assert [photo.id for photo in found.held_out] == ["chelsea"]
    again = corpus.read([photos], Data(split="share", val=0.25))
    assert [photo.id for photo in again.held_out] == ["chelsea"]


def test_no_share_keeps_nothing_out(photos: Path) -> None:
    found = corpus.read([photos], Data(split="share", val=0.0))
    assert (len(found.photos), found.held_out, list(held_out.held_out(found))) == (4, [], [])


def test_what_is_kept_out_as_records(photos: Path) -> None:
    found = corpus.read([photos], SHARE)
    rows = list(held_out.held_out(found))
    assert list(validate(rows)) == []
    assert [(row["id"], row["split"], row["turns"][0]["text"]) for row in rows] == [
        ("photos/val/chelsea-1", "val", "Show me the eyes."),
        ("photos/val/chelsea-2", "val", "Show me the nose of the cat."),
    ]
    both = [note.rle for note in found.held_out[0].annotations if note.label == "eye"]
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
    assert [photo.path.stem for photo in found.held_out] == ["rocket"]
    assert {photo.path.stem for photo in found.photos} == {"coffee", "chelsea", "astronaut"}
    assert {photo.source for photo in [*found.photos, *found.held_out]} == {"out"}


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
    assert [photo.path.stem for photo in found.held_out] == ["rocket"]
    assert {photo.path.stem for photo in found.photos} == {"coffee", "chelsea", "astronaut"}


def test_conversations_go_with_their_photo(photos: Path, talks: Path) -> None:
    found = corpus.read([photos, talks], SHARE)
    assert {name: [row["focus"] for row in rows] for name, rows in found.records.items()} == {"photos/coffee": ["cup"]}
    assert [(row["focus"], row["split"]) for row in held_out.held_out(found)] == [
        ("eyes", "val"), ("nose of the cat", "val"), ("nose of the cat", "val"),
    ]  # fmt: skip


@pytest.mark.parametrize(("given", "trained"), [("", True), ("train", True), ("val", False), ("test", False)])
def test_what_a_dataset_keeps_out_is_not_trained_on_under_another_name(
    given: str, trained: bool, photos: Path, tmp_path: Path
) -> None:
    rows = [record for record in read_records(photos, "labelme") if record["focus"] == "cup"]
    copied = tmp_path / "copied" / "coffee.jpg"
    copied.parent.mkdir()
    with Image.open(rows[0]["image"]) as picture:
        picture.save(copied, quality=80)
    told = [{**talk(row), "image": str(copied), "source": "other", "split": given} for row in rows]
    write_jsonl(told, tmp_path / "told.jsonl")
    found = corpus.read([photos, tmp_path / "told.jsonl"], Data())
    assert (copied in {photo.path for photo in found.photos}) == trained == bool(found.records)


def test_conversations_alone_are_validated_with_what_they_show(talks: Path) -> None:
    found = corpus.read([talks], SHARE)
    assert [[note.phrase for note in photo.annotations] for photo in found.held_out] == [["nose of the cat"]]
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


# Which photo


def camera(folder: Path, stem: str, name: str, label: str) -> Path:
    """One of the photos under a name of its own, with its outlines, of which the first is called `label`."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(ASSETS / f"{stem}.jpg") as image:
        found = document(stem, image.width, image.height)
    shutil.copy(ASSETS / f"{stem}.jpg", folder / f"{name}.jpg")
    found["imagePath"], found["shapes"] = f"{name}.jpg", [{**found["shapes"][0], "label": label}]
    (folder / f"{name}.json").write_text(json.dumps(found))
    return folder


def shown(photos: list[AnnotatedPhoto]) -> dict[str, tuple[str, ...]]:
    """Stem of the original, by the photo's bytes -> its labels."""
    stems = {(ASSETS / f"{stem}.jpg").read_bytes(): stem for stem in OUTLINES}
    read = ((stems[photo.content or photo.path.read_bytes()], photo) for photo in photos)
    return {stem: tuple(note.label for note in photo.annotations) for stem, photo in read}


ALL = Data(split="share", val=0.0)


def test_two_photos_of_one_name_are_trained_on_as_two(tmp_path: Path) -> None:
    """In folders of one dataset, and in two datasets of one name."""
    for place, paths in (("one", [""]), ("two", ["a/photos", "b/photos"])):
        top = tmp_path / place
        camera(top / (paths[0] or "cam1"), "coffee", "0001", "cup")
        camera(top / (paths[-1] or "cam2"), "rocket", "0001", "rocket")
        found = corpus.read([top / path for path in paths], ALL)
        assert shown(found.photos) == {"coffee": ("cup",), "rocket": ("rocket",)}
        assert len({corpus.key(photo) for photo in found.photos}) == len(found.photos)


def test_conversations_find_their_own_photo_not_its_namesake(tmp_path: Path) -> None:
    """Two sets of one name, conversations about a photo of the second: they go with its bytes."""
    paths = [
        camera(tmp_path / "a" / "set", "coffee", "0001", "cup"),
        camera(tmp_path / "b" / "set", "rocket", "0001", "rocket"),
    ]
    rows = [talk(record) for record in read_records(paths[1], "labelme")]
    write_jsonl(rows, tmp_path / "talks.jsonl")
    for order in ([*paths, tmp_path / "talks.jsonl"], [tmp_path / "talks.jsonl", *paths]):
        found = corpus.read(order, ALL)
        ((name, (record,)),) = found.records.items()
        (photo,) = [photo for photo in found.photos if corpus.key(photo) == name]
        assert photo.path.read_bytes() == Path(record["image"]).read_bytes() == (ASSETS / "rocket.jpg").read_bytes()
        versions = [conversations.versions(p, found.records.get(corpus.key(p), ())) for p in found.photos]
        pairs = {(v.photo.path.read_bytes(), len(v.photo.annotations), len(v.talks)) for some in versions for v in some}
        assert pairs == {
            ((ASSETS / "coffee.jpg").read_bytes(), 1, 0), ((ASSETS / "rocket.jpg").read_bytes(), 1, 1)
        }  # fmt: skip


def test_an_embedded_photo_is_the_one_trained_on(tmp_path: Path) -> None:
    """LabelMe's imageData where the named file is gone; Parquet where another file bears the name."""
    folder = camera(tmp_path / "photos", "coffee", "0001", "cup")
    content = json.loads((folder / "0001.json").read_text())
    content["imageData"] = base64.b64encode((folder / "0001.jpg").read_bytes()).decode()
    (folder / "0001.json").write_text(json.dumps(content))
    (folder / "0001.jpg").unlink()
    found = corpus.read([folder], ALL)
    assert shown(found.photos) == {"coffee": ("cup",)}
    records = [{**record, "image": (folder / "0001.jpg").as_posix()} for record in read_records(folder, "labelme")]
    write_jsonl(records, tmp_path / "all.jsonl")  # type: ignore[arg-type]
    shutil.copy(ASSETS / "rocket.jpg", folder / "0001.jpg")
    found = corpus.read([tmp_path / "all.jsonl"], ALL)
    assert shown(found.photos) == {"coffee": ("cup",)}
    (file,) = conversations.versions(found.photos[0], ())
    assert np.abs(Album(600)(file).pixels.astype(int) - read_photo(ASSETS / "coffee.jpg")).mean() < 4


def test_parts_in_several_files_are_of_one_photo(photos: Path, tmp_path: Path) -> None:
    write_records(read_records(photos, "labelme"), tmp_path / "parts", "instructpart")
    found = corpus.read([tmp_path / "parts"], ALL)
    assert sorted(len(photo.annotations) for photo in found.photos) == [2, 2, 3, 3]


def test_splits_that_are_given_by_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two photos of one name on two sides; a copy under another name is told."""
    camera(tmp_path / "set" / "train", "coffee", "0001", "cup")
    camera(tmp_path / "set" / "valid", "rocket", "0001", "rocket")
    for format in ("labelme", "indexed-png", "instructpart"):
        source = tmp_path / "set" if format == "labelme" else tmp_path / format
        if format != "labelme":
            write_records(read_records(tmp_path / "set", "labelme"), source, format)
        found = corpus.read([source], Data(split="given"))
        sides = [
            [note.label.split()[0] for photo in side for note in photo.annotations]
            for side in (found.photos, found.held_out)
        ]
        assert sides == [["cup"], ["rocket"]]
    assert caplog.messages == []
    camera(tmp_path / "set" / "test", "coffee", "9", "cup")
    corpus.read([tmp_path / "set"], Data(split="given"))
    assert caplog.messages == ["set/9 (test) is a copy of set/0001 (train)"]


def test_a_dataset_may_have_any_name(tmp_path: Path) -> None:
    """A source was cut at its first @, behind which its split stood."""
    camera(tmp_path / "me@home" / "train", "coffee", "0001", "cup")
    camera(tmp_path / "me@home" / "val", "rocket", "0002", "rocket")
    found = corpus.read([tmp_path / "me@home"], Data(split="given"))
    assert [(photo.source, photo.split) for photo in (*found.photos, *found.held_out)] == [
        ("me@home", "train"),
        ("me@home", "val"),
    ]


def test_copies_are_divided_only_where_there_is_no_other_photo(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        camera(tmp_path / "set", "coffee", name, "cup")
    found = corpus.read([tmp_path / "set"], SHARE)
    assert len(found.photos) and len(found.held_out)
    assert "copies of one" in caplog.text
    camera(tmp_path / "set", "rocket", "d", "rocket")
    found = corpus.read([tmp_path / "set"], SHARE)
    assert {frozenset(shown(side)) for side in (found.photos, found.held_out)} == {
        frozenset({"coffee"}),
        frozenset({"rocket"}),
    }


def test_records_that_show_text_on_a_copy_stay_with_the_copy(photos: Path, tmp_path: Path) -> None:
    """What is validated with: regions of a file with text on it are no annotations of the photo without."""
    shutil.copy(ASSETS / "rocket.jpg", tmp_path / "photos-coffee.jpg")  # stands for the photo with text on it
    rows = [talk(record) for record in read_records(photos, "labelme") if record["image_id"] == "coffee"][:2]
    rows[1] |= {"image": (tmp_path / "photos-coffee.jpg").as_posix(), "kind": "text", "height": 427, "width": 640}  # type: ignore[typeddict-item]
    photo = AnnotatedPhoto("coffee", photos / "coffee.jpg", (400, 600), (), "photos")
    (filled,) = corpus._filled([photo], rows)
    assert [note.label for note in filled.annotations] == [rows[0]["focus"]]


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
