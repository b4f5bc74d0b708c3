"""Names asked for: which ones, how, and what is told of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.inspect.validate import validate
from miras.eval.runs.samples import Row
from miras.eval.tasks import phrases


def shown(folder: Path, *boxes: tuple[str, tuple[int, int, int, int]], source: str = "coco128", id: str = "a",
          vocabulary: frozenset[str] = frozenset()) -> AnnotatedPhoto:  # fmt: skip
    """A grey photo of 100 x 100 with boxes (XYXY)."""
    file = folder / f"{id}.png"
    Image.new("RGB", (100, 100), (90, 90, 90)).save(file)
    notes = []
    for label, (x0, y0, x1, y1) in boxes:
        mask = np.zeros((100, 100), np.bool_)
        mask[y0:y1, x0:x1] = True
        notes.append(Annotation(label, label, encode_rle(mask)))
    return AnnotatedPhoto(id, file, (100, 100), tuple(notes), source, vocabulary)


def asked(record: dict) -> str:
    return record["turns"][0]["text"]


def test_every_class_of_a_hundredth_of_the_photo_is_asked_once_with_all_its_instances(tmp_path):
    photo = shown(tmp_path, ("cup", (0, 0, 10, 10)), ("cup", (50, 0, 60, 10)), ("dog", (0, 50, 40, 90)),
                  ("book", (90, 90, 99, 99)))  # fmt: skip
    found = list(phrases.records([photo]))
    assert list(validate(found)) == []
    there = {record["focus"]: record for record in found if record["kind"] == "single"}
    assert set(there) == {"cups", "dog"}  # the book covers 81 of 10,000 pixels
    assert np.count_nonzero(decode_rle(there["cups"]["turns"][1]["regions"][0]["rle"])) == 200
    assert len({record["id"] for record in found}) == len(found)


def test_what_is_surely_not_there_is_asked_a_few_times(tmp_path):
    photo = shown(tmp_path, ("dog", (0, 50, 40, 90)), vocabulary=frozenset({"dog", "kite", "toaster", "zebra", "sofa"}))
    found = [record for record in phrases.records([photo]) if record["kind"] == "absent"]
    sorts = [record["meta"]["sort"] for record in found]
    assert sorts.count("likely") == phrases.MOST_ABSENT["likely"]
    assert sorts.count("unlikely") <= phrases.MOST_ABSENT["unlikely"]
    assert not [record for record in found if "dog" in asked(record)]


def test_a_question_depends_on_its_photo_alone(tmp_path):
    first = shown(tmp_path, ("dog", (0, 50, 40, 90)), ("cup", (50, 0, 80, 30)))
    other = shown(tmp_path, ("cat", (0, 0, 40, 40)), id="b")
    alone, both = list(phrases.records([first])), list(phrases.records([other, first]))
    assert [record for record in both if record["image_id"] == "a"] == alone


@pytest.mark.parametrize(
    ("phrase", "where", "the"),
    [("dog", "Where is the dog?", "the dog"), ("shoes", "Where are the shoes?", "the shoes"),
     ("handle of the cup", "Where is the handle of the cup?", "the handle of the cup")],
)  # fmt: skip
def test_forms(phrase, where, the):
    assert [form(phrase) for form in phrases.FORMS.values()] == [where, phrase, the]


@pytest.mark.parametrize(
    ("source", "label", "sort"),
    [
        ("coco-more", "dog", "things"), ("coco128", "potted plant", "things"), ("coco128", "sky", "stuff"),
        ("facades", "vegetation", "stuff"), ("ccp", "jeans", "garments"), ("ccp", "hair", "parts"),
        ("faces", "nose", "parts"), ("nails", "fingernail", "parts"), ("instructpart", "knife handle", "instructpart"),
        ("coco128", "knife handle", "parts"), ("mine", "never heard of", "things"),
    ],
)  # fmt: skip
def test_sorts(tmp_path, source, label, sort):
    (record, *_) = phrases.records([shown(tmp_path, (label, (0, 0, 50, 50)), source=source)])
    assert record["meta"]["sort"] == sort
    assert record["id"].startswith(f"{sort}/")


def row(name: str, photo: str, *, iou: float | None = None, refused: bool = False) -> Row:
    blank = Row(f"{name}/coco128/{photo}/x", photo, "x.jpg", "coco128", "", "single", 1, (9, 9), "x", 1, 1, True, "own",
                "m", 0, "x")  # fmt: skip
    return replace(blank, iou=iou, refused=refused)


def test_figures_by_sort_and_form_with_intervals_over_photos():
    rows = [row("things/bare", f"p{n}", iou=n / 10, refused=n == 0) for n in range(10)]
    rows += [row("stuff/the", "p0", iou=1.0), row("likely/bare", "p1", refused=True), row("unlikely/the", "p2")]
    rows += [replace(row("things/bare", "p3", iou=0.0), blame="data", fault="gone")]
    told = phrases.told(rows)
    things = told["there"]["things"]
    assert (things["n"], things["photos"], things["refused"]) == (10, 10, pytest.approx(0.1))
    assert things["giou"] == pytest.approx(45.0)
    low, high = things["giou_interval"]
    assert 20 < low < 45 < high < 70
    assert told["there"]["all"]["n"] == 11
    assert told["there"]["stuff"]["giou_interval"] is None  # one photo tells nothing of others
    assert [told["absent"][name]["refused"] for name in ("all", "likely", "unlikely")] == [0.5, 1.0, 0.0]
    assert set(told["by_form"]["there"]) == {"bare", "the"}
    assert "parts" not in told["there"]


def test_the_real_val_side_is_large_enough_to_steer_by(shared_data):
    from miras.data.formats.annotated import read_sources
    from miras.data.photos.split import recipe_sides

    found = list(phrases.records(recipe_sides(read_sources(shared_data))["val"]))
    there = [record for record in found if record["kind"] == "single"]
    assert len(there) >= 600
    assert sum(record["meta"]["sort"] == "things" for record in there) >= 200
    assert len(found) - len(there) >= 300
