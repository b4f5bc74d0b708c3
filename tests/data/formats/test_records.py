"""Every format: what is written reads back, bit for bit where the format can hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.records import FORMATS, guess_format, read_records, write_records
from miras.data.record import Record, regions_of
from tests.data.made import masks_of, singles, talk

ANNOTATIONS = (
    "reasonseg", "instructpart", "coco", "coco-panoptic", "indexed-png", "refcoco", "labelme", "yolo", "label-studio",
)  # fmt: skip
EXACT = ("miras", "jsonl", *ANNOTATIONS)
READ_ONLY = ("cvat", "supervisely", "pascal-part", "llava")
TRAIN = ("refcoco", "yolo")
"""Formats in which everything is in a split: what was in none is written as train."""


def place(folder: Path, format: str) -> Path:
    return folder / ("out.jsonl" if format == "jsonl" else "out")


def phrases(format: str, found: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """ReasonSeg has one target a photo, so the further ones are on copies."""
    return {(i.partition("-")[0], p, c) for i, p, c in found} if format == "reasonseg" else found


@pytest.mark.parametrize("split", ["", "val"])
@pytest.mark.parametrize("format", EXACT)
def test_masks_come_back_bit_for_bit(tmp_path: Path, format: str, split: str) -> None:
    records = singles(tmp_path / "photos", split)
    out = place(tmp_path, format)
    report = write_records(records, out, format)
    assert (report.records, report.regions) == (8, 8)
    assert guess_format(out) == format
    back = list(read_records(out, format))
    assert phrases(format, masks_of(back)) == masks_of(records)
    assert {r["split"] for r in back} == {split or ("train" if format in TRAIN else "")}
    assert len({r["id"] for r in back}) == 8
    assert all(Path(r["image"]).is_file() and Path(r["image"]).is_absolute() for r in back)
    for record in back:
        assert record["turns"][0]["text"] == f"Show me the {record['focus']}."
        assert [decode_rle(dict(g["rle"])).shape for _, g in regions_of(record)] == [(24, 32)]


def test_prist_takes_one_target_in_the_last_reply(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos")
    out = tmp_path / "out"
    report = write_records(records, out, "prist")
    assert (report.records, report.losses.lines()) == (8, ["kind and hops of 8 conversations"])
    assert guess_format(out / "test.json") == "prist"
    assert {c for _, _, c in masks_of(read_records(out, "prist"))} == {c for _, _, c in masks_of(records)}
    heard: list[str] = []
    again = write_records([talk(tmp_path / "t.jpg"), records[0]], tmp_path / "two", "prist", on_fault=heard.append)
    assert (again.records, again.regions, again.losses.lines()) == (1, 1, ["kind and hops of 1 conversations"])
    assert "talk" in heard[0]


METADATA = ("stripped", "kept", "linked")
LOSSES: dict[str, list[str]] = {
    "reasonseg": ["1 edits (add, cut, undo)", "1 refusals", "history of 1 conversations",
                  "that 1 photos are one each (copied, for a file has one target)"],
    "labelme": ["1 edits (add, cut, undo)", "1 refusals", "history of 1 conversations", "questions of 1 conversations"],
    "miras": [],
}  # fmt: skip


@pytest.mark.parametrize(("format", "lost"), LOSSES.items(), ids=LOSSES)
def test_what_a_format_cannot_hold_is_counted(tmp_path: Path, format: str, lost: list[str]) -> None:
    report = write_records([talk(tmp_path / "t.jpg")], tmp_path / "out", format)
    assert (report.records, report.regions, report.losses.lines()) == (1, 2, lost)
    assert report.to_dict() == {"records": 1, "regions": 2, "losses": lost, "metadata": dict.fromkeys(METADATA, 0)}


@pytest.mark.parametrize("format", ANNOTATIONS)
def test_equal_regions_are_written_once_and_empty_ones_not(tmp_path: Path, format: str) -> None:
    records = singles(tmp_path / "photos")
    empty = singles(tmp_path / "photos")[0]
    empty["turns"][1]["regions"][0]["rle"]["counts"] = "PX1"  # 768 pixels, none selected
    again = {**records[0], "id": "again"}
    report = write_records([*records, empty, again], tmp_path / "out", format)  # type: ignore[list-item]
    assert (report.records, report.regions) == (10, 8)
    assert "1 empty masks" in report.losses.lines()


@pytest.mark.parametrize("photos", ["copy", "link", "reference"])
@pytest.mark.parametrize("format", ["coco", "labelme", "miras"])
def test_what_becomes_of_the_photos(tmp_path: Path, format: str, photos: Any) -> None:
    records = singles(tmp_path / "photos")
    if (format, photos) == ("coco", "reference"):
        with pytest.raises(InputError, match="choose link"):
            write_records(records, tmp_path / "out", format, photos=photos)
        return
    write_records(records, tmp_path / "out", format, photos=photos)
    found = {Path(record["image"]) for record in read_records(tmp_path / "out", format)}
    originals = {Path(record["image"]) for record in records}
    if photos == "reference":
        assert {path.resolve() for path in found} == originals
    else:
        assert all(tmp_path / "out" in path.parents for path in found)
        original = tmp_path / "photos" / "one.jpg"
        assert any(path.samefile(original) for path in found) == (photos == "link")


@pytest.mark.parametrize("format", ANNOTATIONS)
def test_a_record_without_its_photo_is_left_out(tmp_path: Path, format: str) -> None:
    records = singles(tmp_path / "photos")
    (tmp_path / "photos" / "two.jpg").unlink()
    with pytest.raises(InputError, match=r"two\.jpg"):
        write_records(records, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()
    heard: list[str] = []
    assert write_records(records, tmp_path / "out", format, on_fault=heard.append).records == 4
    assert len(heard) == 4
    assert "made/1" in heard[0]


def test_embedded_photos_are_written(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos")
    for record in records:
        record["image_bytes"] = Path(record["image"]).read_bytes()
    for path in (tmp_path / "photos").iterdir():
        path.unlink()
    write_records(records, tmp_path / "out", "labelme")
    assert masks_of(read_records(tmp_path / "out", "labelme")) == masks_of(records)


def test_bad_calls(tmp_path: Path) -> None:
    records = singles(tmp_path / "photos")
    with pytest.raises(InputError, match="did you mean 'labelme'"):
        write_records(records, tmp_path / "out", "label_me")
    with pytest.raises(InputError, match="did you mean 'coco'"):
        read_records(tmp_path, "cocoo")
    with pytest.raises(InputError, match="no file or folder"):
        read_records(tmp_path / "nowhere", "coco")
    with pytest.raises(InputError, match="at least one record"):
        write_records([], tmp_path / "out", "coco")
    refused = talk(tmp_path / "t.jpg")
    refused["turns"] = refused["turns"][4:]
    with pytest.raises(InputError, match="at least one mask"):
        write_records([refused], tmp_path / "out", "coco")
    with pytest.raises(InputError, match="holds something"):
        write_records(records, tmp_path / "photos", "coco")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "t.jpg"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    records = [{**singles(tmp_path / "photos")[0], "id": str(i)} for i in range(2)]
    for number in range(300):
        record = {**records[0], "id": f"n{number}", "turns": [dict(turn) for turn in records[0]["turns"]]}
        record["turns"][1]["regions"] = [{**records[0]["turns"][1]["regions"][0], "phrase": f"thing {number}"}]
        records.append(record)
    with pytest.raises(InputError, match="at most 255 labels, got 301"):
        write_records(records, tmp_path / "out", "indexed-png")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.fixture(scope="module")
def parts(shared_data: Path) -> list[Record]:
    """Seven real parts."""
    return [r for n, r in enumerate(read_records(shared_data / "instructpart" / "dev", "instructpart")) if n % 42 == 0]


def test_instructions_come_on_request(parts: list[Record], tmp_path: Path) -> None:
    write_records(parts, tmp_path / "out", "instructpart", photos="link")
    human, bare = (next(read_records(tmp_path / "out", "instructpart", instruction=k)) for k in (0, 4))
    assert (
        human["turns"][0]["text"] == "If I want to open the drawer, which part in the picture should I interact with?"
    )
    assert bare["turns"][0]["text"] == "handle of the cabinet" == bare["focus"]
    assert (human["meta"]["instruction"], bare["meta"]["instruction"]) == (0, 4)
    assert human["meta"]["instructions"] == bare["meta"]["instructions"]
    with pytest.raises(InputError, match="0 to 5"):
        list(read_records(tmp_path / "out", "instructpart", instruction=6))


@pytest.mark.parametrize("format", ANNOTATIONS)
def test_real_parts_pass_through_every_format(tmp_path: Path, parts: list[Record], format: str) -> None:
    report = write_records(parts, tmp_path / "out", format, photos="link")
    assert report.regions == len(parts) == 7
    back = list(read_records(tmp_path / "out", format))
    assert {c for _, _, c in masks_of(back)} == {c for _, _, c in masks_of(parts)}
    if format == "instructpart":
        assert [r["meta"] for r in back] == [r["meta"] for r in parts]
        assert [r["turns"][0] for r in back] == [r["turns"][0] for r in parts]


def test_every_format_says_what_it_is() -> None:
    assert {*EXACT, *READ_ONLY, "prist"} == set(FORMATS)
    assert all(format.reads and format.what for format in FORMATS.values())
    assert {name for name, format in FORMATS.items() if not format.writes} == set(READ_ONLY)


@pytest.mark.parametrize("format", READ_ONLY)
def test_what_is_only_read_is_not_written(tmp_path: Path, format: str) -> None:
    with pytest.raises(InputError, match=rf"a format that can be written \(miras, .*\), got '{format}'"):
        write_records(singles(tmp_path / "photos"), tmp_path / "out", format)
