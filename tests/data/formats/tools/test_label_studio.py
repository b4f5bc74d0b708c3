"""Label Studio: figures of every kind, which annotation is read, JSON_MIN, faults, the documentation's example."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.tools import brush, label_studio
from miras.data.formats.tools.labelled import Labelled
from miras.data.io.left_out import LeftOut
from tests.data.made import MASKS, SIZE, drawn, photo

NUMBERS = count()
BLOCK = drawn("####", "####", at=(3, 2))
ACROSS, DOWN = 100 / SIZE[1], 100 / SIZE[0]
POINTS = [[2 * ACROSS, 3 * DOWN], [6 * ACROSS, 3 * DOWN], [6 * ACROSS, 5 * DOWN], [2 * ACROSS, 5 * DOWN]]
ROUND = {"x": 5 * ACROSS, "y": 5 * DOWN, "radiusX": 1.6 * ACROSS, "radiusY": 1.6 * DOWN, "rotation": 0}
BOX = {"x": 2 * ACROSS, "y": 3 * DOWN, "width": 4 * ACROSS, "height": 2 * DOWN, "rotation": 0}


def result(value: dict[str, Any], kind: str = "polygonlabels", label: str = "lid", **changes: Any) -> dict[str, Any]:
    named = {**value, kind: [label]} if kind.endswith("labels") else value
    return {
        "id": f"r{next(NUMBERS)}", "type": kind, "from_name": "tag", "to_name": "img", "value": named,
        "original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0, **changes,
    }  # fmt: skip


POLYGON = result({"points": POINTS, "closed": True})
FIGURES: dict[str, tuple[dict[str, Any], np.ndarray[Any, Any]]] = {
    "polygon": (POLYGON, BLOCK),
    "box": (result(BOX, "rectanglelabels"), BLOCK),
    "box, turned about its corner": (
        result({**BOX, "x": 6 * ACROSS, "rotation": 90}, "rectanglelabels"), drawn("##", "##", "##", "##", at=(3, 4)),
    ),
    "ellipse": (
        result(ROUND, "ellipselabels"),
        drawn(".##.", "####", "####", ".##.", at=(3, 3)),
    ),
    "ellipse, turned": (
        result({**ROUND, "radiusX": 3.2 * ACROSS, "radiusY": 0.6 * DOWN, "rotation": 90}, "ellipselabels"),
        drawn("##", "##", "##", "##", at=(3, 4)),
    ),
    "brush": (result({"format": "rle", "rle": brush.pack(MASKS["hole"])}, "brushlabels"), MASKS["hole"]),
    "no sizes told": (result({"points": POINTS}, original_width=None, original_height=None), BLOCK),
}  # fmt: skip


def task(*results: Any, image: Any = "/data/upload/1/a.jpg", number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "annotations": [{"id": 9, "result": list(results)}], **changes}


def write(folder: Path, *tasks: Any, name: str = "project.json") -> Path:
    photo(folder / "images" / "a.jpg")
    (folder / name).write_text(json.dumps(list(tasks)))
    return folder / name


def masks(photos: Iterable[Labelled]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [(note.label, decode_rle(note.rle)) for each in photos for note in each.notes]


def left(tally: LeftOut, unit: str = "figures") -> dict[str, int]:
    return {each["reason"]: each["count"] for each in tally.to_list() if each["unit"] == unit}


@pytest.mark.parametrize(("figure", "expected"), FIGURES.values(), ids=FIGURES)
def test_figures(tmp_path: Path, figure: dict[str, Any], expected: np.ndarray[Any, Any]) -> None:
    file = write(tmp_path, task(figure))
    for path in (file, tmp_path):
        ((label, mask),) = masks(label_studio.photos(path))
        assert label == "lid"
        assert np.array_equal(mask, expected)


def test_the_record(tmp_path: Path) -> None:
    both = result({"points": POINTS})
    both["value"]["polygonlabels"] = ["Pot_Lid", "steel"]
    tally = LeftOut()
    (record,) = label_studio.read(write(tmp_path, task(both), name="tasks_val.json"), tally)
    assert (record["id"], record["image_id"], record["split"]) == (f"{tmp_path.name}/val/a-1", "a", "val")
    assert record["turns"][0]["text"] == "Show me the pot lid."
    assert record["meta"] == {"label": "Pot_Lid", "figure": "polygon", "labels": ["Pot_Lid", "steel"]}
    assert left(tally, "labels") == {label_studio.MORE: 1}


def test_labels_as_a_tag_of_their_own(tmp_path: Path) -> None:
    """`<Polygon>` with `<Labels>`: two results of one id."""
    shape = result({"points": POINTS}, "polygon", id="x")
    named = result({"points": POINTS}, "labels", id="x")
    for results in ((shape, named), (named, shape)):
        tally = LeftOut()
        assert len(masks(label_studio.photos(write(tmp_path, task(*results)), tally))) == 1
        assert (tally.read["figures"], tally.total("figures")) == (1, 1)


OTHERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "keypoint": (result({"x": 1, "y": 1, "width": 0.3}, "keypointlabels"), "figures", label_studio.KEYPOINT),
    "open": (result({"points": POINTS, "closed": False}), "figures", label_studio.OPEN),
    "no label": (result({"points": POINTS}, "polygon"), "figures", label_studio.NAMELESS),
    "an empty label": (result({"points": POINTS}, label=" "), "figures", label_studio.NAMELESS),
    "background": (result({"points": POINTS}, label="Background"), "figures", "figures whose label means no label"),
    "choices": ({"type": "choices", "value": {"choices": ["good"]}}, "results", "results of other kinds (choices)"),
    "relation": ({"type": "relation", "from_id": "a", "to_id": "b"}, "results", "results of other kinds (relation)"),
}


@pytest.mark.parametrize(("other", "unit", "reason"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_mask_is_counted(tmp_path: Path, other: dict[str, Any], unit: str, reason: str) -> None:
    tally = LeftOut()
    assert len(masks(label_studio.photos(write(tmp_path, task(other, POLYGON)), tally))) == 1
    assert left(tally, unit) == {reason: 1}
    assert (tally.faults, tally.read["figures"]) == (0, 1)


# Which annotation is read


def annotation(label: str, times: int = 1, **changes: Any) -> dict[str, Any]:
    return {"result": [result({"points": POINTS}, label=label) for _ in range(times)], **changes}


ANNOTATIONS: dict[str, tuple[list[dict[str, Any]], str, dict[str, int]]] = {
    "the last": ([annotation("a"), annotation("b")], "b", {label_studio.OTHER: 1}),
    "the one changed last": (
        [annotation("a", 2, updated_at="2024-05-02T10:00:00Z"), annotation("b", 3, updated_at="2024-05-01T10:00:00Z")],
        "a", {label_studio.OTHER: 3},
    ),
    "the ground truth": (
        [annotation("a", ground_truth=True, updated_at="2023"), annotation("b", updated_at="2024")], "a",
        {label_studio.OTHER: 1},
    ),
    "not one that was skipped": (
        [annotation("a"), annotation("b", 2, was_cancelled=True)], "a", {label_studio.SKIPPED: 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "label", "lost"), ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_one_annotation_is_read(tmp_path: Path, given: list[Any], label: str, lost: dict[str, int]) -> None:
    tally = LeftOut()
    found = masks(
        label_studio.photos(write(tmp_path, {"id": 1, "data": {"image": "a.jpg"}, "annotations": given}), tally)
    )
    assert {name for name, _ in found} == {label}
    assert left(tally) == lost


def test_what_a_model_guessed_is_not_read(tmp_path: Path) -> None:
    tally = LeftOut()
    guess = task(number=2, annotations=[], predictions=[annotation("b")], drafts=[annotation("c", 2)])
    file = write(tmp_path, task(POLYGON, predictions=[annotation("b", 2)]), guess)
    assert [label for label, _ in masks(label_studio.photos(file, tally))] == ["lid"]
    assert left(tally) == {label_studio.GUESSED: 3, label_studio.DRAFTED: 2}
    assert left(tally, "photos") == {"photos without figures": 1}


# JSON_MIN


def item(label: str, value: Any, kind: str, image: str = "/data/upload/1/a.jpg", **changes: Any) -> dict[str, Any]:
    entry = {**value, kind: [label], "original_width": SIZE[1], "original_height": SIZE[0]}
    return {"image": image, "id": 1, "tag": [entry], "annotator": 1, "annotation_id": 3, "comment": "good", **changes}


def test_min(tmp_path: Path) -> None:
    photo(tmp_path / "b.jpg")
    items = [
        item("lid", {"points": POINTS}, "polygonlabels"), item("pot", BOX, "rectanglelabels", image="b.jpg"),
        item("old", BOX, "rectanglelabels", updated_at="2023"),
        item("new", {"format": "rle", "rle": brush.pack(MASKS["hole"])}, "brushlabels", updated_at="2024"),
    ]  # fmt: skip
    tally = LeftOut()
    found = masks(label_studio.photos(write(tmp_path, *items), tally))
    assert [label for label, _ in found] == ["pot", "new"]
    assert np.array_equal(found[1][1], MASKS["hole"])
    assert left(tally) == {label_studio.OTHER: 2}


def test_what_stands_beside_figures_in_min_is_counted(tmp_path: Path) -> None:
    broken = item("lid", {"points": POINTS}, "polygonlabels")
    broken["tag"] += ["lid", {"choices": ["good"]}]
    tally = LeftOut()
    assert len(masks(label_studio.photos(write(tmp_path, broken), tally))) == 1
    assert left(tally, "results") == {"results of other kinds (None)": 2}


# Faults

FAULTS: dict[str, tuple[Any, str]] = {
    "no photo": (task(POLYGON, image="gone.jpg"), r"task 1: expected the photo, got no file for 'gone\.jpg'"),
    "a photo inside": (task(POLYGON, image="data:image/png;base64,AAAA"), "a photo inside the JSON"),
    "two photos": (task(POLYGON, data={"left": "a.jpg", "right": "b.jpg"}), r"one photo in the task, got a\.jpg, b"),
    "no address": (task(POLYGON, data={"text": "hello"}), "the address of one photo in the task, got none"),
    "data that is text": (task(POLYGON, data="a.jpg"), '"data" to be an object'),
    "another size": (task(result({"points": POINTS}, original_width=33)), "33 x 24 pixels, got 32 x 24"),
    "a size of text": (task(result({"points": POINTS}, original_width="wide")), "original size"),
    "a turned photo": (task(result({"points": POINTS}, image_rotation=90)), "image_rotation 0, got 90"),
    "two points": (task(result({"points": POINTS[:2]})), "at least 3 points, got 2"),
    "points of text": (task(result({"points": [["a", 1], [2, 3], [4, 5]]})), "a number for x"),
    "points that are none": (task(result({"points": 3})), '"points" to be a list'),
    "NaN": (task(result({"points": [[float("nan"), 1], [2, 3], [4, 5]]})), "a number for x"),
    "a box without y": (task(result({**BOX, "y": None}, "rectanglelabels")), "a number for y"),
    "outside": (task(result({**BOX, "x": 120}, "rectanglelabels")), "with pixels of the photo"),
    "a brush of another size": (task(result({"rle": brush.pack(BLOCK[:9])}, "brushlabels")), "= 3072 values"),
    "a brush of text": (task(result({"rle": "abc"}, "brushlabels")), "a list of bytes"),
    "a brush without pixels": (task(result({"rle": brush.pack(BLOCK & False)}, "brushlabels")), "pixels of the photo"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_the_rest_goes_on(tmp_path: Path, given: Any, said: str) -> None:
    photo(tmp_path / "b.jpg")
    file = write(tmp_path, given, task(POLYGON, image="b.jpg", number=2))
    heard: list[str] = []
    tally = LeftOut(heard.append)
    assert [each.id for each in label_studio.photos(file, tally) if each.notes] == ["b"]
    assert len(heard) == 1
    assert "\n" not in heard[0]
    assert (tally.read["figures"], tally.total("figures")) == (1, 2)
    with pytest.raises(InputError, match=said):
        list(label_studio.photos(file))


def test_a_task_that_is_no_object(tmp_path: Path) -> None:
    heard: list[str] = []
    assert len(masks(label_studio.photos(write(tmp_path, task(POLYGON), "task", None), heard.append))) == 1
    assert [line.rpartition(": ")[2] for line in heard] == [
        "expected a task, an object, got 'task'",
        "expected a task, an object, got None",
    ]


def test_two_addresses_of_one_file_belong_to_nobody(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "000001.jpg")
    tasks = [task(POLYGON, image=f"https://x.org/{cam}/000001.jpg", number=n) for n, cam in enumerate(("cam1", "cam2"))]
    heard: list[str] = []
    assert list(label_studio.photos(write(tmp_path, *tasks), heard.append)) == []
    assert len(heard) == 2
    assert "a photo of its own for each address, got 000001.jpg" in heard[0]
    for cam in ("cam1", "cam2"):
        photo(tmp_path / cam / "000001.jpg")
    assert [each.id for each in label_studio.photos(tmp_path)] == ["cam1/000001", "cam2/000001"]


def test_nothing_of_label_studio(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a JSON of Label Studio, got none"):
        list(label_studio.photos(photo(tmp_path / "a.jpg").parent))
    (tmp_path / "a.json").write_text('{"id": 1}')
    with pytest.raises(InputError, match="a JSON list"):
        list(label_studio.photos(tmp_path / "a.json"))


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """A box of 12.4 by 10.46 percent at 50.8, 5.87 percent; two predictions beside it."""
    value = {"height": 10.458911419423693, "rectanglelabels": ["Moonwalker"], "rotation": 0, "width": 12.4, "x": 50.8,
             "y": 5.869797225186766}  # fmt: skip
    guess = {"model_version": "model 1", "result": [{"id": "t5sp3TyXPo", "type": "rectanglelabels", "value": value}]}
    document = {
        "id": 1, "data": {"image": "https://example.com/opensource/label-studio/examples/images/nick-owuor.jpg"},
        "annotations": [{"id": "1001", "result": [{"id": "Dx", "type": "rectanglelabels", "value": value}],
                         "was_cancelled": False, "ground_truth": False, "updated_at": "2021-03-09T22:16:08.728378Z"}],
        "predictions": [guess, guess],
    }  # fmt: skip
    Image.new("L", (1000, 500)).save(tmp_path / "nick-owuor.jpg")
    tally = LeftOut()
    ((label, mask),) = masks(label_studio.photos(write(tmp_path, document), tally))
    expected = np.zeros((500, 1000), np.bool_)
    expected[29:82, 508:632] = True  # 29.35 to 81.64 down, 508 to 632 across; centres inside
    assert label == "Moonwalker"
    assert np.array_equal(mask, expected)
    assert left(tally) == {label_studio.GUESSED: 2}
