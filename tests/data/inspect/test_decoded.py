"""Photos decoded before anything depends on them: all faulty ones at once, each file once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.data.inspect import decoded as module
from miras.data.inspect.decoded import all_of, decoded, faulty
from miras.data.inspect.validate import validate
from tests.data.made import SIZE, photo, singles, talk


@pytest.fixture(autouse=True)
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was decoded, from the start."""
    found: list[Any] = []
    check = module.check_photo
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "check_photo", lambda source: (found.append(source), check(source))[1])
    return found


def cut(path: Path, share: float = 0.5) -> Path:
    """A JPEG whose end is missing; its header is whole."""
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG", quality=95)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_each_photo_is_decoded_once_whatever_asks(tmp_path: Path, looked: list[Any]) -> None:
    records = singles(tmp_path)
    found = list(decoded(records))
    assert [record["id"] for record, _ in found] == [record["id"] for record in records]
    assert {size for _, size in found} == {SIZE}
    assert len(looked) == len({record["image"] for record in records}) == 2
    list(decoded(records))
    assert faulty([(Path(record["image"]), None, SIZE) for record in records]) == {}
    assert len(looked) == 2
    os.utime(records[0]["image"], ns=(1, 1))  # changed since
    list(decoded(records))
    assert len(looked) == 3


def test_embedded_photos_are_told_apart_by_their_bytes(tmp_path: Path, looked: list[Any]) -> None:
    whole, broken = talk(tmp_path / "a.jpg"), talk(tmp_path / "b.jpg")
    whole["image_bytes"] = photo(tmp_path / "c.jpg").read_bytes()
    broken["image_bytes"] = cut(tmp_path / "d.jpg").read_bytes()
    broken["image"] = whole["image"]
    (_, first), (_, again), (_, second) = decoded([whole, {**whole}, broken])
    assert first == again == SIZE and len(looked) == 2
    assert isinstance(second, InputError) and "truncated" in str(second)


def test_a_header_is_not_enough(tmp_path: Path) -> None:
    record = talk(tmp_path / "a.jpg")
    cut(tmp_path / "a.jpg")
    assert list(validate([record])) == []
    (fault,) = validate([record], decode=True)
    assert "complete, undamaged photo" in fault.what and "a.jpg: image file is truncated" in fault.what
    other: Any = {**talk(tmp_path / "b.jpg"), "height": SIZE[0] + 1}
    gone: Any = {**record, "image": str(tmp_path / "gone.jpg"), "id": "gone"}
    bare: Any = {**gone, "meta": {"without": ["photo"]}, "id": "bare"}
    said = [fault.what for fault in validate([other, gone, bare], decode=True)]
    assert any(f"as noted, of 32 x {SIZE[0] + 1} pixels, got 32 x {SIZE[0]}" in what for what in said)
    assert sum("no file" in what for what in said) == 1


def test_all_faulty_files_are_named_at_once(tmp_path: Path) -> None:
    photos: list[tuple[Path, bytes | None, tuple[int, int]]] = []
    found_stems = {f"{number:02}" for number in range(1, 12, 2)} | {"size", "gone"}
    for number in range(12):
        path = tmp_path / f"{number:02}.jpg"
        (cut if number % 2 else photo)(path)
        photos += [(path, None, SIZE)] * 2
    photos.append((photo(tmp_path / "size.png"), None, (5, 5)))
    photos.append((tmp_path / "gone.png", None, SIZE))
    found = faulty(photos)
    assert list(found) == [str(path) for path, *_ in dict.fromkeys(photos) if path.stem in found_stems]
    report = tmp_path / "run" / "faults.txt"
    error = all_of(list(found.values()), "photos that can be read", "mend them", report)
    said = str(error)
    assert said.startswith("expected photos that can be read, got 8: ") and "01.jpg: image file is truncated" in said
    assert "03.jpg" in said and "07.jpg" not in said and "and 5 more" in said and "\n" not in said
    assert said.endswith(f"mend them; all of them: {report}")
    lines = report.read_text().splitlines()
    assert lines == list(found.values()) and "size.png" in lines[6] and "gone.png" in lines[7]
    nowhere = Path(os.devnull) / "no" / "faults.txt"
    assert str(all_of(lines[:1], "photos", "mend them", nowhere)).endswith(f"got 1: {lines[0]}; mend them")
