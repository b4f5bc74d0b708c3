"""`miras data`: exit codes, one object, faults named and the rest done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.cli import main
from miras.core.photo import read_photo
from miras.data.formats.records import FORMATS, read_records, write_records
from tests.data.formats.test_labelme import SQUARE, shape
from tests.data.formats.test_labelme import write as labelled
from tests.data.made import SIZE, coco, masks_of, note, photo, singles, talk


@pytest.fixture
def call():
    """`miras data` with some words."""
    return lambda *arguments: main.call(["data", *(str(word) for word in arguments)])


def last(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_records(singles(tmp_path / "photos", "val"), tmp_path / "set", "coco")
    return tmp_path / "set"


def test_convert(call, capsys, tmp_path, folder):
    assert call("convert", folder, tmp_path / "out", "--to", "labelme", "--photos", "link") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{tmp_path / 'out'} (labelme): 8 conversations, 8 masks"]
    assert captured.err == ""
    assert masks_of(read_records(tmp_path / "out", "labelme")) == masks_of(read_records(folder, "coco"))


def test_convert_in_processes_and_over_ray_the_same_bytes(call, tmp_path, folder):
    ray = pytest.importorskip("ray", reason="needs the extra scale")
    ways = {"here": (), "processes": ("--jobs", "2"), "ray": ("--ray", "--jobs", "2")}
    try:
        for name, options in ways.items():
            assert call("convert", folder, tmp_path / f"{name}.jsonl", "--to", "jsonl", *options) == 0
    finally:
        ray.shutdown()
    written = [(tmp_path / f"{name}.jsonl").read_bytes() for name in ways]
    assert written[0] == written[1] == written[2]
    assert written[0]


def test_convert_names_records_that_no_reader_minds(call, capsys, tmp_path):
    records = singles(tmp_path / "photos", "val")
    records[2]["hops"] = 0
    write_records(records, tmp_path / "a.jsonl", "jsonl")
    assert call("convert", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--to", "jsonl", "--json") == 1
    captured = capsys.readouterr()
    assert f"({records[2]['id']!r}): expected" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["records"] == len(records) - 1


def test_convert_one_split_and_count_what_is_lost(call, capsys, tmp_path):
    path = tmp_path / "a.jsonl"
    write_records([talk(tmp_path / "t.jpg"), *singles(tmp_path / "p", "test")], path, "jsonl")
    assert call("convert", path, tmp_path / "one", "--to", "coco", "--json") == 0
    report = last(capsys)
    assert report == {
        "format": "coco", "out": str(tmp_path / "one"), "records": 9, "regions": 10, "faults": 0,
        "losses": ["1 edits (add, cut, undo)", "1 refusals", "history of 1 conversations",
                   "questions of 1 conversations"],
        "metadata": {"stripped": 0, "kept": 0, "linked": 0},
        "read": {"lines": 9, "conversations": 9}, "left_out": [],
    }  # fmt: skip
    assert call("convert", path, tmp_path / "two", "--to", "coco", "--from", "jsonl", "--split", "test", "--json") == 0
    assert last(capsys)["records"] == 8
    assert call("convert", path, tmp_path / "three", "--to", "coco", "--split", "val") == 2
    assert "at least one record" in capsys.readouterr().err


def test_faulty_records_are_named_and_the_rest_goes_on(call, capsys, tmp_path):
    file = coco(tmp_path, annotations=[note(1), note(2, segmentation=[[1, 1, 2, 2]]), note(3, category_id=9), note(4)])
    assert call("convert", file, tmp_path / "out", "--to", "jsonl", "--json") == 1
    captured = capsys.readouterr()
    assert [line.split(": ")[3] for line in captured.err.splitlines()] == ["annotation 2", "annotation 3"]
    report = json.loads(captured.out.splitlines()[-1])
    assert (report["records"], report["faults"]) == (2, 2)


def lines_and_points(folder: Path) -> tuple[Path, list[str], int, int]:
    """LabelMe: two shapes without an inside, a hidden file, a photo that nobody drew on."""
    labelled(folder, shape(), shape(SQUARE[:2], "line"), shape(SQUARE[:1], "point"))
    photo(folder / "b.jpg")
    (folder / "._a.json").write_bytes(b"\x00\x05")
    return folder, ["hidden files: 1", "shapes of the kind line: 1", "shapes of the kind point: 1",
                    "photos without a JSON: 1"], 1, 0  # fmt: skip


def coco_with_faults(folder: Path) -> tuple[Path, list[str], int, int]:
    """COCO: a category that is none, a flat polygon, a photo without annotations, and a crowd, which is read."""
    bare = {"id": 8, "file_name": "one.jpg", "height": 24, "width": 32}
    images = [{**bare, "id": 7.0}, {**bare, "id": 8, "file_name": "images\\two.jpg"}]
    photo(folder / "images" / "two.jpg")
    photo(folder / "images" / "images" / "two.jpg")
    notes = [note(1, iscrowd=1), note(2, category_id=4), note(3, segmentation=[1, 1, 9, 1, 9, 9])]
    return coco(folder, images=images, annotations=notes), [
        "annotations whose category names nothing: 1", "annotations with faults: 1", "photos without annotations: 1"
    ], 1, 1  # fmt: skip


@pytest.mark.parametrize("make", [lines_and_points, coco_with_faults])
def test_whatever_is_left_out_is_told_in_one_line(call, capsys, tmp_path, make):
    path, reasons, kept, code = make(tmp_path / "set")
    assert call("convert", path, tmp_path / "out.jsonl", "--to", "jsonl") == code
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith(f"{kept} conversations, {kept} masks")
    assert told[1].startswith("left out: ") and len(told) == 2
    assert [part.partition(" (first: ")[0] for part in told[1].removeprefix("left out: ").split("; ")] == reasons
    assert call("stats", path) == code
    assert capsys.readouterr().out.splitlines()[-1] == told[1]
    assert call("validate", path) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith("left out: ")
    for arguments in (("stats", path), ("validate", path), ("convert", path, tmp_path / "two.jsonl", "--to", "jsonl")):
        assert call(*arguments, "--json") == code
        found = last(capsys)
        assert [f"{entry['reason']}: {entry['count']}" for entry in found["left_out"]] == reasons
        assert all(entry["first"] for entry in found["left_out"]) and found["read"]


def test_where_everything_is_left_out_the_error_says_why(call, capsys, tmp_path):
    labelled(tmp_path / "set", shape(SQUARE[:2], "line"))
    for command in (("convert", tmp_path / "set", tmp_path / "out", "--to", "coco"), ("stats", tmp_path / "set")):
        assert call(*command) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "left out: shapes of the kind line: 1" in told


GPS = {1: "N", 2: (47.0, 22.0, 33.0), 3: "E", 4: (8.0, 32.0, 1.0)}


@pytest.mark.parametrize("format", ["labelme", "coco", "miras", "prist", "reasonseg", "indexed-png"])
@pytest.mark.parametrize("embedded", [False, True])
def test_photos_are_copied_without_the_place_where_they_were_taken(call, capsys, tmp_path, format, embedded):
    records = singles(tmp_path / "photos", "", ".jpg")
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(GPS)
    exif[0x0112] = 3
    for record in records:
        path = Path(record["image"])
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path, exif=exif, comment=path.stem)
        if embedded:
            record["image_bytes"] = path.read_bytes()
    write_records(records, tmp_path / "src", "miras", photos="reference", keep_metadata=True)
    ways = {"copy": (), "keep": ("--keep-metadata",), "link": ("--photos", "link")}
    for way, options in ways.items():
        assert call("convert", tmp_path / "src", tmp_path / way, "--to", format, "--json", *options) == 0
        report = last(capsys)
        photos = [path for path in (tmp_path / way).rglob("*.jpg") if path.is_file()]
        assert len(photos) >= 2
        for file in photos:
            with Image.open(file) as image:
                place = dict(image.getexif().get_ifd(0x8825))
                assert (place == GPS) is (way == "keep" or (way == "link" and not embedded)), way
                assert image.getexif()[0x0112] == 3
        stripped = 0 if way == "keep" or (way == "link" and not embedded) else 2
        linked = len(photos) if way == "link" and not embedded else 0
        assert report["metadata"] == {"stripped": stripped, "kept": 0, "linked": linked}
    assert call("convert", tmp_path / "src", tmp_path / "said", "--to", format) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "metadata (place, time, camera, comments) left out of 2 photos; --keep-metadata keeps it"


def test_validate(call, capsys, tmp_path, folder):
    assert call("validate", folder) == 0
    assert capsys.readouterr().out.splitlines() == [f"{folder}: 8 records, no faults; 2 photos decoded"]
    records = [*read_records(folder, "coco"), *singles(tmp_path / "photos", "test")]
    records[1]["id"] = records[0]["id"]
    records[2]["hops"] = 0
    write_records(records, tmp_path / "a.jsonl", "jsonl")
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"id": "caf\xe9"}\n')
    assert call("validate", tmp_path / "a.jsonl", "--format", "jsonl") == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("a.jsonl: line 17:")
    assert any("record 1" in line for line in lines)
    assert any("record 2" in line and "hops" in line for line in lines)
    notes = [f"made/{name} (test) is a copy of set/one (val)" for name in ("one", "two")]
    assert [line for line in captured.err.splitlines() if "note" in line] == [f"miras: note: {note}" for note in notes]
    assert lines[-1].endswith(f"16 records, 1 that cannot be read, {len(lines) - 1} faults; 4 photos decoded")
    assert call("validate", tmp_path / "a.jsonl", "--json") == 1
    report = last(capsys)
    assert (report["records"], report["unread"], report["ok"], report["faults"]) == (16, 1, False, lines[:-1])
    assert report["copies"] == notes
    assert report["left_out"] == [
        {"reason": "lines with faults", "count": 1, "first": "a.jsonl: line 17", "unit": "lines"}
    ]  # fmt: skip


def test_validate_decodes_and_fast_says_that_it_does_not(call, capsys, tmp_path):
    records = singles(tmp_path / "p", "", ".jpg")
    write_records(records, tmp_path / "a.jsonl", "jsonl")
    path = Path(records[0]["image"])
    path.write_bytes(path.read_bytes()[:-200])
    assert call("validate", tmp_path / "a.jsonl", "--fast") == 0
    assert (
        capsys.readouterr().out.strip()
        == f"{tmp_path / 'a.jsonl'}: 8 records, no faults; 2 photos by their headers alone (--fast)"
    )
    assert call("validate", tmp_path / "a.jsonl", "--fast", "--json") == 0
    assert (report := last(capsys))["decoded"] is False and report["photos"] == 2
    assert call("validate", tmp_path / "a.jsonl", "--json") == 1
    report = last(capsys)
    assert report["decoded"] is True and len(report["faults"]) == 4  # every record of it
    assert all("truncated" in fault and path.name in fault for fault in report["faults"])


def test_progress_is_on_standard_error(call, capsys, tmp_path, folder, monkeypatch):
    monkeypatch.setattr("miras.cli.data.PAUSE", 0.0)
    assert call("validate", folder, "--json") == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "checking 8" and len(captured.out.splitlines()) == 1


def test_stats(call, capsys, tmp_path, folder):
    assert call("stats", folder, "--json") == 0
    report = last(capsys)
    assert {"conversations", "images", "utterances", "turns", "fine_grained_share", "kinds", "hops"} <= set(report)
    assert (report["conversations"], report["kinds"]) == (8, {"single": 8})
    assert call("stats", folder) == 0
    assert "conversations" in capsys.readouterr().out
    assert call("stats", folder, "--split", "train") == 2
    pytest.importorskip("matplotlib")
    assert call("stats", folder, "--page", tmp_path / "page.html") == 0
    assert "<html" in (tmp_path / "page.html").read_text()


def test_show(call, capsys, tmp_path, folder):
    pytest.importorskip("miras.data.inspect.sheet")
    assert call("show", folder, tmp_path / "sheets", "--limit", "5") == 0
    files = capsys.readouterr().out.split()
    assert files and all(Path(file).is_file() for file in files)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["convert", "SET", "NEW"], "--to"),
        (["convert", "SET", "NEW", "--to", "coc"], "did you mean 'coco'"),
        (["convert", "SET", "SET", "--to", "coco"], "holds something"),
        (["convert", "SET", "NEW", "--to", "coco", "--photos", "move"], "move"),
        (["convert", "SET", "NEW", "--to", "coco", "--photos", "reference"], "choose link"),
        (["convert", "SET", "NEW", "--to", "jsonl", "--split", "dev"], "train, val, test"),
        (["convert", "nowhere", "NEW", "--to", "coco"], "nowhere"),
        (["validate", "nowhere"], "nowhere"),
        (["validate", "SET/images"], "no format"),
        (["validate", "SET", "--format", "prist"], "test.json"),
        (["stats", "SET", "--page", "x.pdf"], ".html"),
        (["show", "SET", "NEW", "--limit", "0"], "--limit"),
        (["frob"], "frob"),
    ],
)
def test_bad_input_is_one_line_and_two(call, capsys, tmp_path, folder, arguments, says):
    words = [word.replace("SET", str(folder)).replace("NEW", str(tmp_path / "new")) for word in arguments]
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    assert says in captured.err
    assert not (tmp_path / "new").exists()


def test_help_names_every_format(call, capsys):
    assert call("convert", "--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(name in said for name in FORMATS)


def test_photos_of_one_name_stay_two(call, capsys, tmp_path):
    """The whole way of a person who has two cameras: convert, count, check, and what is noted."""
    make = {"cam1": ("cup", 240), "cam2": ("spoon", 40)}
    for name, (word, shade) in make.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (40, 30), (shade,) * 3).save(tmp_path / "in" / name / "000001.png")
        shape = {"label": word, "points": [[4, 3], [14, 3], [14, 9], [4, 9]], "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": f"{name}/000001.png", "imageHeight": 30, "imageWidth": 40}
        (tmp_path / "in" / f"{name}_000001.json").write_text(json.dumps(content))
    assert call("stats", tmp_path / "in", "--json") == 0
    assert last(capsys)["images"] == 2
    for to in (name for name, format in FORMATS.items() if format.writes):
        out = tmp_path / f"{to}.jsonl" if to == "jsonl" else tmp_path / to
        assert call("convert", tmp_path / "in", out, "--to", to) == 0
        capsys.readouterr()
        assert call("validate", out, "--json") == 0
        assert (last(capsys)["records"], last_stats(call, capsys, out)["images"]) == (2, 2)
        masks = {
            read_photo(r.get("image_bytes") or r["image"])[0, 0, 0] // 100: r["focus"] for r in read_records(out, to)
        }
        assert {shade: focus.split()[-1] for shade, focus in masks.items()} == {2: "cup", 0: "spoon"}


def last_stats(call, capsys, path) -> dict:
    assert call("stats", path, "--json") == 0
    return last(capsys)


def test_copies_in_two_splits_are_noted(call, capsys, tmp_path):
    records = [*singles(tmp_path / "photos", "train")[:1], *singles(tmp_path / "photos", "val")[1:2]]
    write_records(records, tmp_path / "a.jsonl", "jsonl")
    assert call("validate", tmp_path / "a.jsonl") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{tmp_path / 'a.jsonl'}: 2 records, no faults; 2 photos decoded"]
    assert captured.err.splitlines()[-1:] == ["miras: note: made/two (val) is a copy of made/one (train)"]
    assert call("validate", tmp_path / "a.jsonl", "--json") == 0
    assert last(capsys)["copies"] == ["made/two (val) is a copy of made/one (train)"]
