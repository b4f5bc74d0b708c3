"""Photos with labelled masks as records and as annotated photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.data.formats.tools.labelled import Ids, Labelled, Note, annotated, records, split_named, without_suffix
from miras.data.io.left_out import LeftOut
from tests.data.made import MASKS, SIZE


def photo(split: str = "", *labels: str, unsure: set[str] | None = None) -> Labelled:
    notes = [Note(label, encode_rle(MASKS["block"]), {"figure": "box"}) for label in labels]
    words = frozenset({"cup", "traffic light", "bag"})
    return Labelled("a/1", Path("/a/1.jpg"), SIZE, split, "mine", words, notes, unsure or set())


def test_records() -> None:
    tally = LeftOut()
    tally.read["photos"] = 2
    first, second = records([photo("val", "Traffic_Light", "cup"), photo()], tally)
    assert (first["id"], first["image_id"], first["split"], first["focus"]) == (
        "mine/val/a/1-1", "a/1", "val", "traffic light",
    )  # fmt: skip
    assert first["meta"] == {"label": "Traffic_Light", "figure": "box"}
    assert second["turns"][0]["text"] == "Show me the cup."
    assert tally.read["photos"] == 1
    assert [(each["reason"], each["count"]) for each in tally.to_list()] == [("photos without masks", 1)]


def test_what_is_absent() -> None:
    shown, empty, unsure = annotated([photo("val", "cup"), photo(), photo(unsure={"Bag"})])
    assert [(one.source, one.split) for one in (shown, empty)] == [("mine", "val"), ("mine", "")]
    assert [note.phrase for note in shown.annotations] == ["cup"]
    assert shown.vocabulary == {"cup", "traffic light", "bag"}
    assert empty.vocabulary == {"cup", "traffic light", "bag"}
    assert unsure.vocabulary == {"cup", "traffic light"}


def test_names_are_no_other_photos() -> None:
    ids = Ids()
    one, two = Path("/x/a.jpg"), Path("/x/a.png")
    assert [ids.of(one, "a", "a.jpg"), ids.of(two, "a", "a.png"), ids.of(one, "a")] == ["a", "a.png", "a"]
    with pytest.raises(InputError, match="a name of its own"):
        ids.of(two, "a")


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("valid", "val"), ("Validation", "val"), (" test ", "test"), ("default", ""), ("", "")],
)
def test_splits(name: str, split: str) -> None:
    assert split_named(name) == split


@pytest.mark.parametrize(
    ("name", "plain"), [("a/b.c.JPG", "a/b.c"), ("frame_1", "frame_1"), ("v1.2", "v1.2"), (".jpg", ".jpg")]
)
def test_endings(name: str, plain: str) -> None:
    assert without_suffix(name) == plain
