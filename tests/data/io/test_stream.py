"""Lists in JSON files: the same whole and streamed."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.data.io import stream

VALUE = {"info": {"a": [1]}, "images": [{"id": 1}], "annotations": [{"id": 1, "bbox": [0.5, 2], "q": "é"}, 3], "n": 1}


@pytest.fixture(params=["whole", "streamed"])
def big(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "streamed":
        pytest.importorskip("ijson")
        monkeypatch.setattr(stream, "STREAM_FROM", 0)
    return str(request.param)


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_items(tmp_path: Path, big: str) -> None:
    file = write(tmp_path / "a.json", VALUE)
    assert list(stream.items(file, "annotations")) == VALUE["annotations"]
    assert list(stream.items(file, "images")) == [{"id": 1}]
    assert list(stream.items(write(tmp_path / "b.json", [1.5, {"x": "y"}]))) == [1.5, {"x": "y"}]
    assert list(stream.items(write(tmp_path / "c.json", []))) == []
    assert isinstance(next(stream.items(tmp_path / "b.json")), float)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('{"images": [', "images", "JSON"), ("", "", "JSON"), ('{"a": 1}', "images", "images"),
        ('{"images": {"a": 1}}', "images", "images"), ('{"a": []}', "", "list"), ("[1, 2", "", "JSON"),
        ("\ufeffnull", "", "JSON"), ('[{"a": "\\ud800', "", "JSON"),
    ],
)  # fmt: skip
def test_what_is_no_such_list(tmp_path: Path, big: str, text: str, key: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(stream.items(write(tmp_path / "a.json", text), key))


def test_what_is_not_utf_8(tmp_path: Path, big: str) -> None:
    (tmp_path / "a.json").write_bytes(b'["caf\x81"]')
    with pytest.raises(InputError, match="save it as UTF-8"):
        list(stream.items(tmp_path / "a.json"))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        list(stream.items(tmp_path / "a.json"))


def test_the_last_good_item_comes_before_the_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ijson")
    monkeypatch.setattr(stream, "STREAM_FROM", 0)
    # Longer than what is read at once: the start must come without the end.
    items = stream.items(write(tmp_path / "a.json", '{"a": [' + '{"n": 1}, ' * 20_000 + '{"n": '), "a")
    assert next(items) == {"n": 1}
    with pytest.raises(InputError, match="valid JSON"):
        list(items)


def test_keys(tmp_path: Path, big: str) -> None:
    found = stream.keys(write(tmp_path / "a.json", VALUE))
    assert {"info", "images", "annotations", "bbox"} <= found
    assert stream.keys(write(tmp_path / "b.json", [{"x": 1, "y": {"z": 2}}, {"w": 1}])) == {"x", "y"}
    assert stream.keys(write(tmp_path / "c.json", "[]")) == set()


def test_a_large_file_without_ijson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "ijson":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(stream, "STREAM_FROM", 0)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"miras\[data\]"):
        list(stream.items(write(tmp_path / "a.json", VALUE), "images"))
