"""A few hundred damaged datasets; the long run is benchmarks/mutate_annotations.py. And that its checks find faults."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.data.io.left_out import LeftOut
from miras.data.record import Record

CASES = 24
SEED = 7
BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
mutate = importlib.import_module("mutate_annotations")
sets = importlib.import_module("damaged_sets")


@pytest.mark.parametrize("reader", sets.SETS)
def test_damaged_files_are_told_in_one_line(reader: str) -> None:
    found = mutate.cases(SEED, reader, range(CASES))
    assert [each for each in found if each["outcome"] == "failed"] == []
    assert len(found) == CASES


def test_every_format_that_is_read_is_damaged() -> None:
    from miras.data.formats.records import FORMATS

    assert {about.format for about in sets.SETS.values()} == {name for name, format in FORMATS.items() if format.reads}


def test_whole_datasets_are_counted_right(tmp_path: Path) -> None:
    for name, about in sets.SETS.items():
        about.make(tmp_path / name)
        tally = LeftOut(lambda line: None)
        records = mutate._read(tmp_path / name / about.path, about.format, tally)
        assert len(records) >= 3
        held = sets.held(tmp_path / name, about)
        assert held is None or (held, held > 0) == (tally.total(about.unit), True), name


Reader = Callable[..., Iterator[Record]]


def loses_one(read: Reader) -> Reader:
    def reads(path: Path, format: str, tally: LeftOut) -> Iterator[Record]:
        yield from list(read(path, format, tally))[1:]
        tally.read["shapes"] -= 1

    return reads


def breaks(read: Reader) -> Reader:
    def reads(path: Path, format: str, tally: LeftOut) -> Iterator[Record]:
        raise KeyError("shapes")

    return reads


def moves_masks(read: Reader) -> Reader:
    def reads(path: Path, format: str, tally: LeftOut) -> Iterator[Record]:
        records = list(read(path, format, tally))
        for record, other in zip(records, reversed(records), strict=True):
            yield {**record, "image": other["image"]}

    return reads


def takes_a_stranger(read: Reader) -> Reader:
    def reads(path: Path, format: str, tally: LeftOut) -> Iterator[Record]:
        for record in read(path, format, tally):
            yield {**record, "image": str(Path(record["image"]).with_name("nobody.jpg"))}

    return reads


def tells_many_lines(read: Reader) -> Reader:
    def reads(path: Path, format: str, tally: LeftOut) -> Iterator[Record]:
        tally.fault("one\ntwo")
        yield from read(path, format, tally)

    return reads


def refuses_in_two_lines(read: Reader) -> Reader:
    def reads(path: Path, format: str, tally: LeftOut) -> Iterator[Record]:
        error = InputError("a", "b")
        error.args = ("a\nb",)
        raise error

    return reads


BAD: list[tuple[Callable[[Reader], Reader], str]] = [
    (loses_one, "read and left out"), (breaks, "KeyError"), (moves_masks, "a mask moved"),
    (takes_a_stranger, "which no file names"), (tells_many_lines, "no line"), (refuses_in_two_lines, "no line"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "why"), BAD, ids=[bad.__name__ for bad, _ in BAD])
def test_the_checks_find_readers_that_are_wrong(
    bad: Callable[[Reader], Reader], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = sets.SETS["labelme"]
    real, calls = mutate.read_records, iter(range(10**6))

    def read(path: Path, format: str, tally: Any) -> Any:
        return (real if next(calls) == 0 else bad(real))(path, format, tally)  # the first one is of the whole dataset

    monkeypatch.setattr(mutate, "read_records", read)
    monkeypatch.setattr(about, "photo_of", {})
    failed = [each["why"] for each in mutate.cases(SEED, "labelme", range(30)) if each["outcome"] == "failed"]
    assert any(why in each for each in failed), failed
