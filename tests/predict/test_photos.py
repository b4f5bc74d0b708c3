"""Every kind of source; names of their own; what is named twice, in vain, or lies in the job's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.data.formats.records import write_records
from miras.data.io.single import single
from miras.predict.photos import photos_of
from tests.predict.made import draw

MADE = ("photos/cam1/1.jpg", "photos/cam2/1.jpg", "photos/cam2/2.PNG", "photos/.hidden/3.jpg", "other/1.jpg")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos, which is the current one."""
    for number, name in enumerate(MADE):
        draw(tmp_path / name, number)
    (tmp_path / "photos" / "notes.txt").write_text("no list\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(sources: list[str], **options) -> list[str]:
    return [photo.file for photo in photos_of(sources, out=Path("out"), on_fault=pytest.fail, **options)]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["photos"], ["cam1/1.jpg", "cam2/1.jpg", "cam2/2.png"]),
        (["photos/"], ["cam1/1.jpg", "cam2/1.jpg", "cam2/2.png"]),
        (["photos/cam1/1.jpg"], ["1.jpg"]),
        (["photos/cam2/2.PNG", "photos/cam1/1.jpg"], ["cam2/2.png", "cam1/1.jpg"]),
        (["photos/cam1/1.jpg", "other/1.jpg"], ["photos/cam1/1.jpg", "other/1.jpg"]),
        (["photos/*/1.jpg"], ["cam1/1.jpg", "cam2/1.jpg"]),
        (["photos/**/*.[jp][pn]g"], ["cam1/1.jpg", "cam2/1.jpg"]),
        (["photos/cam1", "photos/cam2"], ["1.jpg", "cam2-1.jpg", "2.png"]),
        (["photos/cam1", "photos", "photos/cam1/1.jpg"], ["1.jpg", "cam2/1.jpg", "cam2/2.png"]),
    ],
)
def test_photos_are_named_by_their_way_from_where_they_were_named(place: Path, sources, expected):
    assert files(sources) == expected


def test_names_differ_where_only_endings_do(place: Path):
    draw(place / "same" / "a.jpg")
    draw(place / "same" / "a.png")
    names = [photo.name for photo in photos_of(["same"], out=Path("out"), on_fault=pytest.fail)]
    assert names[0] == "a"
    assert len(set(names)) == 2


@pytest.mark.parametrize("kind", ["list", "stdin", "list elsewhere"])
def test_lists_keep_what_is_not_there_as_a_photo_that_fails(place: Path, kind):
    lines = ["photos/cam1/1.jpg\n", "\n", "photos/gone.jpg\r\n", "photos/cam1/1.jpg\n"]
    if kind == "stdin":
        found = photos_of(["-"], out=Path("out"), lines=lines, on_fault=pytest.fail)
    else:
        path = place / "list.txt"
        path.write_text("".join(lines))
        if kind == "list elsewhere":
            os.chdir(place / "other")
        found = photos_of([str(path)], out=Path("out"), on_fault=pytest.fail)
    assert [photo.file for photo in found] == ["cam1/1.jpg", "gone.jpg"]
    assert [bool(photo.stamp) for photo in found] == [True, False]


def test_a_coco_file_names_photos_without_annotations_too(place: Path):
    images = [{"id": n, "file_name": name, "height": 48, "width": 64} for n, name in enumerate(["1.jpg", "gone.jpg"])]
    (place / "photos" / "cam2" / "set.json").write_text(json.dumps({"images": images}))
    faults: list[str] = []
    found = photos_of(["photos/cam2/set.json"], out=Path("out"), on_fault=faults.append)
    assert [(photo.name, Path(photo.path).is_file()) for photo in found] == [("1", True)]
    assert len(faults) == 1
    assert "gone.jpg" in faults[0]


@pytest.mark.parametrize("kind", ["parquet", "embedded", "jsonl"])
def test_datasets_name_each_photo_once(place: Path, kind):
    records = [
        single(place / name, (48, 64), phrase, None, id=f"{name}-{phrase}", image_id=Path(name).parent.name, source="s")
        for name in MADE[:2] for phrase in ("cup", "pan")
    ]  # fmt: skip
    if kind == "embedded":
        records = [{**one, "image_bytes": Path(one["image"]).read_bytes(), "image": "in/1.jpg"} for one in records]
    target = place / ("set.jsonl" if kind == "jsonl" else "set")
    write_records(records, target, "jsonl" if kind == "jsonl" else "miras", photos="reference")
    found = photos_of([str(target)], out=place / "out", on_fault=pytest.fail)
    assert [photo.name for photo in found] == ["cam1", "cam2"]
    assert [Path(photo.path).read_bytes() for photo in found] == [(place / name).read_bytes() for name in MADE[:2]]
    again = photos_of([str(target)], out=place / "out", on_fault=pytest.fail)
    assert again == found


def test_what_the_job_wrote_is_not_asked_about(place: Path):
    draw(place / "photos" / "out" / "masks" / "1.png")
    found = photos_of(["photos"], out=Path("photos/out"), on_fault=pytest.fail)
    assert [photo.file for photo in found] == ["cam1/1.jpg", "cam2/1.jpg", "cam2/2.png"]


def test_another_file_of_the_name_has_another_stamp(place: Path):
    (before,) = photos_of(["other"], out=Path("out"), on_fault=pytest.fail)
    draw(place / "other" / "1.jpg", 77, (64, 64))
    (after,) = photos_of(["other"], out=Path("out"), on_fault=pytest.fail)
    assert before.path == after.path
    assert before.stamp != after.stamp


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (["gone.jpg"], "no file or folder gone.jpg"),
        (["gone/*.jpg"], "none in gone"),
        (["photos/.hidden", "-"], "none in"),
        (["empty.txt"], "none in empty.txt"),
        (["plain.json"], "images"),
        (["x" * 300 + ".jpg"], "no file or folder"),
    ],
)
def test_no_photo_is_one_line(place: Path, sources, says):
    (place / "empty.txt").write_text("\n")
    (place / "plain.json").write_text("{}")
    (place / "photos" / ".hidden" / "3.jpg").unlink()
    with pytest.raises(InputError, match=says) as error:
        photos_of(sources, out=Path("out"), on_fault=pytest.fail)
    assert "\n" not in str(error.value)
