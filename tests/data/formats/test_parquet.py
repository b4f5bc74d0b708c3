"""The dataset on disk: there and back, equal bytes, photos in every way, `datasets`, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.data.record import Record
from tests.data.made import photo, singles, talk

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra data: pip install 'miras[data]'")
from miras.data.formats import parquet  # noqa: E402


def made(folder: Path, count: int = 12) -> list[Record]:
    """Talks about two photos in three splits and none, in turns."""
    splits = ("test", "train", "", "val")
    one = talk(folder / "a b.jpg")
    records = [{**one, "id": f"r{i}", "split": splits[i % 4], "meta": {"n": [i, "é"]}} for i in range(count)]
    records[1] |= {"image": photo(folder / "deep" / "a b.jpg", (30, 20)).as_posix(), "source": "other/one"}
    return records  # type: ignore[return-value]


def by_split(records: list[Record]) -> list[Record]:
    return [r for split in ("train", "val", "test", "") for r in records if r["split"] == split]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back_in_the_order_of_the_splits(tmp_path: Path) -> None:
    records = made(tmp_path / "photos")
    assert parquet.write(iter(records), tmp_path / "out", shard=2) == 12
    assert list(parquet.read(tmp_path / "out")) == by_split(records)
    for split in ("train", "val", "test", ""):
        assert list(parquet.read(tmp_path / "out", split=split)) == [r for r in records if r["split"] == split]
    names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert names[:2] == ["all-00000-of-00002.parquet", "all-00001-of-00002.parquet"]
    assert len(names) == 8
    single_file = tmp_path / "out" / "data" / "val-00001-of-00002.parquet"
    assert list(parquet.read(single_file)) == [r for r in records if r["split"] == "val"][2:]


def test_columns_are_typed_and_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 5)
    parquet.write([{**r, "split": "train"} for r in made(tmp_path)], tmp_path / "out")  # type: ignore[misc]
    file = pq.ParquetFile(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert str(file.schema_arrow.field("image").type) == "struct<bytes: binary, path: string>"
    turn = file.schema_arrow.field("turns").type.value_type
    assert str(turn.field("regions").type.value_type.field("rle").type).startswith("struct<size: list<")
    assert (file.schema_arrow.field("hops").type, file.metadata.num_row_groups) == ("int32", 3)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    records = made(tmp_path / "photos")
    for name in ("one", "two"):
        parquet.write(records, tmp_path / name, photos="copy", shard=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert len(tree(tmp_path / "one")) == 8 + 1 + 2


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_photos_come_along(tmp_path: Path, mode: Any) -> None:
    records = made(tmp_path / "photos")
    parquet.write(records, tmp_path / "out", photos=mode)
    (tmp_path / "out").rename(tmp_path / "moved")
    back = {record["id"]: record for record in parquet.read(tmp_path / "moved")}
    names = {back[f"r{i}"]["image"] for i in range(12)}
    images = tmp_path / "moved" / "images"
    assert names == {(images / "made" / "a_b.jpg").as_posix(), (images / "other_one" / "a_b.jpg").as_posix()}
    for record in records:
        before, after = Path(record["image"]), Path(back[record["id"]]["image"])
        assert before.read_bytes() == after.read_bytes()
        assert os.path.samefile(before, after) == (mode == "link")


def test_two_photos_of_one_name_stay_two(tmp_path: Path) -> None:
    records = [{**talk(tmp_path / name / "A.jpg"), "id": name} for name in ("x", "y")]
    photo(tmp_path / "y" / "A.jpg", (40, 40))
    parquet.write(records, tmp_path / "out", photos="copy")  # type: ignore[arg-type]
    first, second = (Path(record["image"]) for record in parquet.read(tmp_path / "out"))
    assert (first.name, second.name) == ("A.jpg", "A-2.jpg")
    assert second.read_bytes() == (tmp_path / "y" / "A.jpg").read_bytes()


def test_embedded_photos_and_back_to_files(tmp_path: Path) -> None:
    records = made(tmp_path / "photos")
    parquet.write(records, tmp_path / "in", embed=True)
    assert not (tmp_path / "in" / "images").exists()
    back = list(parquet.read(tmp_path / "in"))
    assert [r["image_bytes"] for r in back] == [Path(r["image"]).read_bytes() for r in by_split(records)]
    parquet.write(back, tmp_path / "again")
    assert [r["image_bytes"] for r in parquet.read(tmp_path / "again")] == [r["image_bytes"] for r in back]
    parquet.write(back, tmp_path / "out", photos="copy")
    for record, before in zip(parquet.read(tmp_path / "out"), back, strict=True):
        assert "image_bytes" not in record
        assert Path(record["image"]).read_bytes() == before["image_bytes"]


def test_a_dataset_is_replaced_in_place_its_photos_stay(tmp_path: Path) -> None:
    parquet.write(made(tmp_path / "photos"), tmp_path / "out", photos="copy", card="# Mine\n")
    kept = (r for r in parquet.read(tmp_path / "out") if r["split"] == "train")
    assert parquet.write(kept, tmp_path / "out") == 3
    assert [r["id"] for r in parquet.read(tmp_path / "out")] == ["r1", "r5", "r9"]
    assert all(Path(r["image"]).is_file() for r in parquet.read(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data", "images", "README.md"}


def test_nothing_is_written_when_the_records_fail(tmp_path: Path) -> None:
    def failing() -> Iterator[Record]:
        yield from made(tmp_path / "photos")
        raise InputError("more", "less")

    with pytest.raises(InputError, match="expected more"):
        parquet.write(failing(), tmp_path / "out", photos="copy")
    assert not (tmp_path / "out").exists()
    parquet.write(made(tmp_path / "photos", 4), tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(InputError):
        parquet.write(failing(), tmp_path / "out", photos="copy")
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "/gone/a.jpg"}, "record 1 ('r1'): expected the photo, got no file /gone/a.jpg"),
        ({"split": "dev"}, "a split of train, val, test, or none, got 'dev'"),
        ({"hops": None}, '"hops" to be a whole number'),
        ({"meta": {"x": "\ud800"}}, '"meta" in valid Unicode'),
    ],
)
def test_a_record_that_cannot_be_written_is_a_fault(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    records: Any = made(tmp_path / "photos", 3)
    records[1] |= changes
    with pytest.raises(InputError, match="1 fault"):
        parquet.write(records, tmp_path / "out", photos="copy")
    assert not (tmp_path / "out").exists()
    told: list[str] = []
    assert parquet.write(records, tmp_path / "out", photos="copy", on_fault=told.append) == 2
    assert len(told) == 1
    assert said in told[0]


def test_what_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.parquet").write_text("my work")
    with pytest.raises(InputError, match=r"empty or a miras dataset, got data/thesis\.parquet"):
        parquet.write([], tmp_path)
    with pytest.raises(InputError, match="got the file"):
        parquet.write([], tmp_path / "data" / "thesis.parquet")


def test_an_empty_dataset(tmp_path: Path) -> None:
    assert parquet.write([], tmp_path / "out") == 0
    assert list(parquet.read(tmp_path / "out")) == []


def test_rows_that_are_no_records_are_faults(tmp_path: Path) -> None:
    parquet.write(made(tmp_path, 2)[:1], tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "data" / "test-00000-of-00001.parquet")
    (row,) = table.to_pylist()
    rows = [row, {**row, "id": None}, {**row, "meta": "{"}, {**row, "image": None}, {**row, "id": "last"}]
    file = tmp_path / "mine.parquet"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), file)
    told: list[str] = []
    assert [r["id"] for r in parquet.read(file, told.append)] == ["r0", "last"]
    assert [line.split(": ")[1] for line in told] == ["record 1 (None)", "record 2 ('r0')", "record 3 ('r0')"]
    pq.write_table(table.drop_columns(["turns", "meta"]), file)
    with pytest.raises(InputError, match=r"mine\.parquet without turns, meta"):
        list(parquet.read(file))
    pq.write_table(table.replace_schema_metadata({"miras": '{"version": 99}'}), file)
    with pytest.raises(InputError, match="version 1 of the format miras, got 99"):
        list(parquet.read(file))
    pq.write_table(table.set_column(3, "height", [["tall"]]), file)
    with pytest.raises(InputError, match="a Parquet file of the format miras"):
        list(parquet.read(file))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "got no file or folder"),
        (lambda path: path.mkdir(), "got a folder without"),
        (lambda path: path.write_text("text"), "a Parquet file of the format miras"),
    ],
    ids=["missing", "empty folder", "text"],
)
def test_what_is_no_dataset(tmp_path: Path, make: Any, said: str) -> None:
    make(tmp_path / "it")
    with pytest.raises(InputError, match=said):
        list(parquet.read(tmp_path / "it"))


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a split of train, val, test, got 'dev'"):
        list(parquet.read(tmp_path, split="dev"))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'miras\[data\]'"):
        parquet.write(singles(tmp_path), tmp_path / "out")


def test_datasets_reads_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    datasets.disable_progress_bars()
    records = made(tmp_path / "photos")
    for record in records:
        record["split"] = record["split"] or "val"
    out = tmp_path / "out"
    parquet.write(records, out, embed=True, shard=2)
    cache = str(tmp_path / "cache")
    folder = datasets.load_dataset(str(out), cache_dir=cache)
    assert {name: len(rows) for name, rows in folder.items()} == {"train": 3, "val": 6, "test": 3}
    files = {"test": str(out / "data" / "test-*.parquet")}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=cache)["test"]
    streamed = datasets.load_dataset("parquet", data_files=files, streaming=True)["test"]
    ours = list(parquet.read(out, split="test"))
    assert loaded.to_list() == list(streamed)
    for theirs, record in zip(streamed, ours, strict=True):
        assert {k: theirs[k] for k in ("id", "turns", "focus")} == {k: record[k] for k in ("id", "turns", "focus")}  # type: ignore[literal-required]
        assert theirs["image"]["bytes"] == record["image_bytes"]
    pictures = loaded.cast_column("image", datasets.Image())
    assert pictures[0]["image"].size == (32, 24)
