"""JSON lines: there and back, every broken line of a table, and a line that is too long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.data.formats import jsonl
from miras.data.record import Record
from tests.data.made import singles, talk


def plain(folder: Path, **changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(talk(folder / "a.jpg"))), **changes}


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def test_there_and_back(tmp_path: Path) -> None:
    records: list[Record] = [talk(tmp_path / "photos" / "café.jpg"), *singles(tmp_path / "photos", "val")]
    records[0]["image_bytes"] = b"\xff\xd8 not a photo"
    records[1]["meta"] = {"deep": [1, {"er": None}], "words": "naïve"}
    file = tmp_path / "out" / "a.jsonl"
    assert jsonl.write_jsonl(records, file) == len(records)
    assert list(jsonl.read_jsonl(file)) == records
    assert json.loads(file.read_text().splitlines()[1])["image"] == "../photos/one.jpg"
    before = file.read_bytes()
    assert jsonl.write_jsonl(jsonl.read_jsonl(file), file) == len(records)
    assert file.read_bytes() == before


def test_photos_are_found_where_the_folder_goes(tmp_path: Path) -> None:
    jsonl.write_jsonl([talk(tmp_path / "here" / "a.jpg")], tmp_path / "here" / "a.jsonl")
    (tmp_path / "here").rename(tmp_path / "there")
    (record,) = jsonl.read_jsonl(tmp_path / "there")
    assert record["image"] == (tmp_path / "there" / "a.jpg").as_posix()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (b"{\n", "line 2: expected a JSON object"),
        (b"[" * 5000 + b"\n", "line 2: expected a JSON object"),
        (b"[1, 2]\n", 'line 2: expected a record with "id", got a list'),
        (b'{"id": "caf\xe9"}\n', 'line 2: expected a record with "image_id"'),
        (b'{"id": "caf\x81"}\n', "line 2: expected text in UTF-8, got line 2: byte 0x81 at 12"),
        ({"id": 3}, '"id" to be a text, got 3'),
        ({"focus": None}, '"focus" to be a text, got None'),
        ({"height": True}, '"height" to be a whole number, got True'),
        ({"hops": -1}, '"hops" from 0'),
        ({"width": 2**31}, '"width" from 0'),
        ({"kind": "\ud800"}, '"kind" in valid Unicode'),
        ({"note": 1}, "also ['note']; move them into \"meta\""),
        ({"meta": "{}"}, '"meta" to be a object'),
        ({"turns": [{"role": "user"}]}, 'turn 0: a record with "text"'),
        ({"turns": [{"role": "user", "text": "", "content": [{"type": "words", "text": 1}], "regions": []}]}, "turn 0"),
        ({"turns": [{"role": "user", "text": "", "content": [], "regions": [], "score": 1}]}, "also ['score']"),
        ({"image_bytes": "?"}, '"image_bytes" in base64'),
    ],
    ids=lambda value: str(value)[:30] if not isinstance(value, str) else "",
)
def test_a_broken_line_is_named_and_the_rest_goes_on(tmp_path: Path, broken: Any, said: str) -> None:
    good = plain(tmp_path)
    bad = broken if isinstance(broken, bytes) else line({**good, **broken})
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + line(good) + bad + b"\n  \n" + line({**good, "id": "last"}))
    told: list[str] = []
    assert [record["id"] for record in jsonl.read_jsonl(file, told.append)] == ["talk", "last"]
    assert len(told) == 1
    assert said in told[0]
    assert told[0].startswith("a.jsonl: line 2: ")
    with pytest.raises(InputError, match=r"without faults, got 1 fault"):
        list(jsonl.read_jsonl(file))


@pytest.mark.parametrize(
    ("where", "shape"),
    [("counts", {"size": [1, 1], "counts": [0, 1]}), ("size", {"size": [1, 1.0], "counts": "1"}),
     ("size", {"size": [1], "counts": "1"}), ("size", {"counts": "1"})],
)  # fmt: skip
def test_run_lengths_have_their_shape(tmp_path: Path, where: str, shape: Any) -> None:
    value = plain(tmp_path)
    value["turns"][1]["regions"][0]["rle"] = shape
    with pytest.raises(InputError, match=rf'turn 1: .*"{where}"'):
        jsonl.checked(value)


def test_a_line_past_the_limit_is_skipped_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = line(plain(tmp_path))
    monkeypatch.setattr(jsonl, "MAX_LINE", len(good))
    file = tmp_path / "a.jsonl"
    file.write_bytes(good + b"x" * (3 * len(good) + 5) + b"\n" + good)
    told: list[str] = []
    assert len(list(jsonl.read_jsonl(file, told.append))) == 2
    assert len(told) == 1
    assert "line 2: expected at most" in told[0]


@pytest.mark.parametrize(("names", "got"), [([], "got none"), (["a", "b"], "got a.jsonl, b.jsonl")])
def test_a_folder_holds_one_file(tmp_path: Path, names: list[str], got: str) -> None:
    for name in names:
        (tmp_path / f"{name}.jsonl").write_text("")
    with pytest.raises(InputError, match=got):
        list(jsonl.read_jsonl(tmp_path))


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path) -> None:
    records = [talk(tmp_path / "a.jpg"), {**talk(tmp_path / "a.jpg"), "focus": "\ud800"}]
    with pytest.raises(InputError, match="valid Unicode in record 'talk'"):
        jsonl.write_jsonl(records, tmp_path / "a.jsonl")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    with pytest.raises(InputError, match=r"to write .*a\.jpg"):
        jsonl.write_jsonl([], tmp_path / "a.jpg" / "b.jsonl")
    with pytest.raises(InputError, match=r"a JSONL file, got .*No such file"):
        list(jsonl.read_jsonl(tmp_path / "gone.jsonl"))
