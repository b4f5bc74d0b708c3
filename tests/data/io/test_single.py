"""A plain annotation as a record: one question, one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.inspect.validate import validate
from miras.data.io.single import id_of, records_of, request, single, split_folders, split_of
from miras.data.record import example_of
from tests.data.made import MASKS, SIZE, photo

RLE = encode_rle(MASKS["hole"])


def test_one_exchange(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg")
    record = single(path, SIZE, "cup", RLE, id="x", image_id="a", source="s", split="val", meta={"k": 1})
    assert [turn["text"] for turn in record["turns"]] == ["Show me the cup.", "cup."]
    assert (record["kind"], record["hops"], record["focus"], record["meta"]) == ("single", 1, "cup", {"k": 1})
    (region,) = example_of(record, tmp_path).conversation.regions
    assert (region.id, region.phrase, region.turn, region.area) == (1, "cup", 1, int(MASKS["hole"].sum()))
    assert not list(validate([record]))


def test_a_refusal(tmp_path: Path) -> None:
    record = single(photo(tmp_path / "a.jpg"), SIZE, "umbrella", None, id="x", image_id="a", source="s")
    assert (record["kind"], record["focus"]) == ("absent", "")
    assert record["turns"][1]["text"] == "There is not an umbrella in the photo."
    assert record["turns"][1]["content"][0] == {"type": "mark", "text": "reject", "region": 0}
    assert not list(validate([record]))


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("cup", "Show me the cup."), ("all cups", "Show me all the cups."), ("the left man.", "Show me the left man."),
        ("A dog", "Show me A dog."), ("anchor", "Show me the anchor."), ("theatre", "Show me the theatre."),
    ],
)  # fmt: skip
def test_what_a_person_says(phrase: str, said: str) -> None:
    assert request(phrase) == said


def test_annotations_are_counted_in_their_photo(tmp_path: Path) -> None:
    notes = (Annotation("lid", "lid of the can", RLE, ("Which part opens?", "lid")), Annotation("can", "can", RLE))
    photos = [AnnotatedPhoto(name, tmp_path / f"{name}.jpg", SIZE, notes, "set") for name in ("a", "b", "a")]
    records = list(records_of(photos, "test", 1))
    ids = ["a-1", "a-2", "b-1", "b-2", "a-3", "a-4"]
    assert [r["id"] for r in records] == [f"set/test/{name}" for name in ids]
    assert [r["turns"][0]["text"] for r in records[:2]] == ["lid", "Show me the can."]
    assert records[0]["meta"] == {"label": "lid", "instructions": ["Which part opens?", "lid"], "instruction": 1}
    with pytest.raises(InputError, match="an instruction of 0 to 1, got 2"):
        list(records_of(photos, instruction=2))


@pytest.mark.parametrize(
    ("name", "split"),
    [("val", "val"), ("instances_val2017", "val"), ("data_dev", ""), ("panoptic", ""), ("x_test", "test")],
)
def test_the_split_in_a_name(name: str, split: str) -> None:
    assert split_of(name) == split


def test_folders_of_splits(tmp_path: Path) -> None:
    assert split_folders(tmp_path) == [(tmp_path, "")]
    for name in ("val", "train", "other"):
        (tmp_path / name).mkdir()
    assert split_folders(tmp_path) == [(tmp_path / "train", "train"), (tmp_path / "val", "val")]
    assert id_of("s", "", "n") == "s/n"
