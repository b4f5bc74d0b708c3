"""Records as annotated photos: what is one photo, what is lost, where photos go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.data.io.gather import Album, Losses, Picture, by_split, gather
from tests.data.made import SIZE, photo, singles, talk


def test_photos_with_their_regions(tmp_path: Path) -> None:
    pictures, count = gather(singles(tmp_path), Losses())
    assert count == 8
    assert [(p.name, p.size, len(p.shown)) for p in pictures] == [("one", SIZE, 4), ("two", SIZE, 4)]
    assert pictures[0].shown[0].ask == "Show me the block."


def test_one_photo_under_two_paths_and_in_two_splits(tmp_path: Path) -> None:
    records = [*singles(tmp_path / "a", "val"), *singles(tmp_path / "b", "test"), *singles(tmp_path / "c", "test")]
    pictures, count = gather(records, Losses())
    assert (count, len(pictures), len(pictures[0].shown)) == (24, 2, 8)
    split = by_split(pictures)
    assert {name: [len(p.shown) for p in some] for name, some in split.items()} == {"val": [4, 4], "test": [4, 4]}
    album = Album("copy")
    assert {album.put(p, tmp_path / "out") for some in split.values() for p in some} == {"one.jpg", "two.jpg"}
    records[8]["source"] = "elsewhere"
    assert len(gather(records, Losses())[0]) == 3


def test_losses(tmp_path: Path) -> None:
    lost = Losses()
    gather([talk(tmp_path / "t.jpg"), talk(tmp_path / "t.jpg"), *singles(tmp_path)], lost)
    assert lost.lines() == [
        "2 edits (add, cut, undo)", "2 refusals", "history of 2 conversations", "questions of 2 conversations"
    ]  # fmt: skip
    lost = Losses()
    pictures, _ = gather([talk(tmp_path / "t.jpg")], lost, questions=True)
    assert "questions of 1 conversations" not in lost.lines()
    assert [shown.ask for shown in pictures[0].shown] == ["Where can I sit?", "Also the round thing."]


def picture(path: Path, name: str, data: bytes | None = None) -> Picture:
    return Picture(name, name, path, SIZE, data)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a", "b"], ["a.jpg", "b.jpg"]), (["x/a", "x_a"], ["x_a.jpg", "x_a-2.jpg"]),
        (["A", "a"], ["A.jpg", "a-2.jpg"]),
        (["../..", ""], ["_.jpg", "photo.jpg"]), (["Straße 5"], ["Straße_5.jpg"]), (["a.b"], ["a.b.jpg"]),
    ],
)  # fmt: skip
def test_file_names(tmp_path: Path, names: list[str], files: list[str]) -> None:
    path, album = photo(tmp_path / "p.JPG"), Album("copy")
    assert [album.put(picture(path, name), tmp_path / "out") for name in names] == files
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(files)


def test_jpeg_where_it_must_be(tmp_path: Path) -> None:
    lost, album = Losses(), Album("link")
    jpeg, png = photo(tmp_path / "a.jpeg"), photo(tmp_path / "b.png")
    album.place_jpeg(picture(jpeg, "a"), tmp_path / "out", "a", lost)
    assert not lost
    assert (tmp_path / "out" / "a.jpg").samefile(jpeg)
    album.place_jpeg(picture(tmp_path / "c.png", "c", png.read_bytes()), tmp_path / "out", "c", lost)
    assert lost.lines() == ["the exact pixels of 1 photos (encoded as JPEG)"]
    with Image.open(tmp_path / "out" / "c.jpg") as made:
        assert (made.format, made.size) == ("JPEG", (32, 24))
        assert np.abs(np.asarray(made).astype(int) - np.asarray(Image.open(png))).mean() < 12


def test_a_missing_photo(tmp_path: Path) -> None:
    records = singles(tmp_path)
    (tmp_path / "one.jpg").unlink()
    with pytest.raises(InputError, match="the photo, got no file"):
        gather(records, Losses())
    heard: list[str] = []
    assert gather(records, Losses(), on_fault=heard.append)[1] == 4
    assert heard[0].startswith("record made/0: expected the photo")
