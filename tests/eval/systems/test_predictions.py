"""A folder of predictions, scored like any system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import Operator
from miras.data.formats import labelme
from miras.data.formats.records import read_records
from miras.data.record import Record, regions_of, turn_of
from miras.eval.runs import samples
from miras.eval.runs.hold import hold
from miras.eval.runs.run import evaluate
from miras.eval.systems.predictions import Predictions
from miras.eval.systems.predictions_format import write
from tests.data.made import MASKS, SIZE, talk
from tests.eval.runs.test_run import Parrot, progressive

FINE = {"missing", "twice", "broken", "other_size", "bad_scores", "unknown", "unplaced"}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [talk(tmp_path / "one.png"), progressive(tmp_path / "two.png")]


def lines(records: list[Record], score: float | None = 0.9) -> list[dict[str, Any]]:
    """What the data says, as predictions; the last target of "step" alone, too."""
    found: list[dict[str, Any]] = []
    for record in records:
        for turn in range(1, len(record["turns"]) // 2 + 1):
            gold = turn_of(record["turns"][2 * turn - 1], 2 * turn - 1)
            masks = [{"phrase": r.phrase, "mask": r.mask, "score": score} for r in gold.regions]
            marks = [piece["text"] for piece in record["turns"][2 * turn - 1]["content"] if piece["type"] == "mark"]
            found.append({"record": record["id"], "turn": turn, "text": gold.text, "masks": masks,
                          "operator": marks[0] if marks else None, "refused": marks[:1] == ["reject"]})  # fmt: skip
    hole = {"phrase": "hole", "rle": encode_rle(MASKS["hole"]), "score": score}
    return [*found, {"record": "step", "turn": 2, "history": "alone", "masks": [hole]}]


def scored(folder: Path, records: list[Record], out: Path, **options: Any) -> tuple[dict[str, Any], list[samples.Row]]:
    figures = evaluate(records, Predictions(folder), out=out, **options)
    return figures, samples.read(out / samples.FILE)


@pytest.mark.parametrize("history", ["own", "gold"])
def test_right_predictions_are_scored_as_the_system_that_gave_them(tmp_path, records, history):
    write(tmp_path / "p", lines(records), name="other", made="by hand")
    figures, rows = scored(tmp_path / "p", records, tmp_path / "run", history=history)
    said = evaluate(records, Parrot(records), history=history, out=tmp_path / "parrot")
    for key in ("n", "giou", "ciou", "boundary_iou", "operators", "refusals", "alone", "calibration", "by"):
        assert figures[key] == said[key], key
    assert figures["model"] == "other" and figures["facts"]["meta"]["made"] == "by hand"
    report = figures["predictions"]
    assert (report["asked"], report["answered"], report["not_asked"], report["alone"]) == (6, 6, 0, True)
    assert all(report[name] == {"n": 0} for name in FINE)
    assert [row.phrase_got for row in rows] == ["block", "hole", "", "block", "hole", "hole"]


def test_operators_work_on_the_predictions_own_selection(tmp_path, records):
    """The first answer takes another mask: the second adds to it; undo goes back; cut takes away."""
    rows = lines(records)
    rows[0]["masks"] = [{"mask": MASKS["comb"]}]
    rows[2] |= {"operator": "undo", "refused": False}
    write(tmp_path / "p", rows)
    _, found = scored(tmp_path / "p", records[:1], tmp_path / "run")
    assert found[1].predicted == MASKS["comb"].sum() + MASKS["hole"].sum()
    assert found[1].intersection == MASKS["hole"].sum()
    third = Predictions(tmp_path / "p").start(records[0]["image"], record="talk")
    assert [third.ask("").mask.sum() for _ in range(3)] == [MASKS["comb"].sum(), found[1].predicted,
                                                            MASKS["comb"].sum()]  # fmt: skip
    rows[1] |= {"operator": "cut", "masks": [{"mask": MASKS["comb"]}]}
    write(tmp_path / "q", rows)
    talked = Predictions(tmp_path / "q").start(records[0]["image"], record="talk")
    talked.ask("")
    cut = talked.ask("")
    assert not cut.mask.any() and cut.operator is Operator.CUT and len(cut.regions) == 1


def test_a_selection_stands_for_itself(tmp_path, records):
    both = MASKS["block"] | MASKS["hole"]
    rows = [{"record": "talk", "turn": 1, "selection": {"mask": MASKS["block"], "score": 0.5}},
            {"record": "talk", "turn": 2, "operator": "add", "selection": {"mask": both}},
            {"record": "talk", "turn": 3, "operator": "undo", "selection": {"mask": MASKS["block"]}}]  # fmt: skip
    write(tmp_path / "p", rows)
    figures, found = scored(tmp_path / "p", records[:1], tmp_path / "run")
    assert figures["giou"] == 100 and figures["operators"]["add"]["obeyed"] == 1
    assert (found[0].score, found[0].region_iou, found[0].operator_got) == (0.5, None, "replace")
    assert (found[2].operator_got, found[2].refused) == ("undo", False)


# Faults: named, IoU 0, never averaged away


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        (None, "missing", "one prediction for talk, turn 1, got none"),
        ([{}, {}], "twice", "one prediction for talk, turn 1, got 2"),
        ([{"masks": [{"rle": {"size": [24, 32], "counts": "0d0"}}]}], "broken", "runs that fill 24 x 32"),
        ([{"masks": [{"rle": {"size": [24], "counts": "0d0"}}]}], "broken", "run lengths"),
        ([{"masks": [{"rle": {"size": [24, 32], "counts": [1, "x"]}}]}], "broken", "run lengths"),
        ([{"masks": [{"png": "none.png"}]}], "broken", "no file"),
        ([{"masks": [{"png": "../one.png"}]}], "broken", "inside the folder"),
        ([{"masks": [{"png": "torn.png"}]}], "broken", "a PNG at"),
        ([{"masks": [{"png": "cut.png"}]}], "broken", "a whole PNG"),
        ([{"masks": [{"png": "soft.png"}]}], "broken", "threshold it first"),
        ([{"selection": {"png": "labels.png"}}], "broken", "choose one label"),
        ([{"masks": [{"phrase": "cup"}]}], "broken", "a mask"),
        ([{"masks": {"png": "x.png"}}], "broken", "a list"),
        ([{"mask": {"png": "x.png"}}], "broken", "'mask'"),
        ([{"operator": "swap"}], "broken", "swap"),
        ([{"refused": True}], "broken", "a refusal, or masks"),
        ([{"refused": True, "masks": [], "operator": "add"}], "broken", "reject"),
        ([{"text": 7}], "broken", "text"),
        ([{"masks": [{"png": "small.png"}]}], "other_size", r"photo's size (24, 32), got (3, 4)"),
        ([{"selection": {"rle": {"size": [9, 9], "counts": [81]}}}], "other_size", "got (9, 9)"),
    ],
)  # fmt: skip
def test_an_answer_at_fault_counts_as_no_mask(tmp_path, records, change, where, says):
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "torn.png").write_bytes(b"\x89PNG and no more")
    Image.new("L", (4, 3)).save(folder / "small.png")
    noise = np.random.default_rng(0).integers(0, 2, SIZE, np.uint8)
    Image.fromarray(noise * np.uint8(255)).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:90])
    Image.fromarray(MASKS["block"] * np.uint8(200) + np.uint8(3)).save(folder / "soft.png")
    Image.fromarray(MASKS["block"] * np.uint8(1) + MASKS["hole"] * np.uint8(2)).save(folder / "labels.png")
    first = {"record": "talk", "turn": 1, "masks": [{"rle": encode_rle(MASKS["block"])}]}
    rest = [{**line, "masks": [{"rle": encode_rle(m["mask"])} for m in line["masks"]]}
            for line in lines(records)[1:5]]  # fmt: skip
    kept = [{**first, **one} for one in change or []]
    (folder / "predictions.jsonl").write_text("\n".join(json.dumps(line) for line in [*kept, *rest]))
    figures, rows = scored(folder, records, tmp_path / "run")
    report = figures["predictions"]
    assert report[where]["n"] == 1 and "talk, turn 1" in report[where]["named"][0]
    assert all(report[name] == {"n": 0} for name in FINE - {where})
    assert report["answered"] == 4
    assert (rows[0].iou, rows[0].has_mask, rows[0].blame) == (0.0, False, "system")
    assert says in str(rows[0].fault)
    assert figures["n"] == 4 and figures["faults"]["system"] == 1 and figures["giou"] < 100
    assert "alone" not in figures and not report["alone"]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.5])
def test_a_score_that_is_none_is_named_and_the_mask_counts(tmp_path, records, score):
    rows = lines(records)
    masks = [{"phrase": "", "rle": encode_rle(MASKS["block"]), "score": s} for s in (0.5, score)]
    (tmp_path / "p").mkdir()
    text = json.dumps({"record": "talk", "turn": 1, "masks": masks})
    write(tmp_path / "p", rows[1:])
    with (tmp_path / "p" / "predictions.jsonl").open("a") as file:
        file.write(text + "\n")
    figures, found = scored(tmp_path / "p", records, tmp_path / "run")
    assert (found[0].iou, found[0].score, found[0].blame) == (1.0, None, "system")
    assert figures["predictions"]["bad_scores"]["n"] == 1 and figures["giou"] == 100
    assert figures["calibration"]["n"] == 3


def test_what_the_data_does_not_ask(tmp_path, records):
    extra = [{"record": "ghost", "turn": 1}, {"record": "talk", "turn": 9}, {"record": "elsewhere", "turn": 1},
             {"record": "talk", "turn": 1, "history": "gold"}]  # fmt: skip
    write(tmp_path / "p", [*lines(records), *extra])
    with (tmp_path / "p" / "predictions.jsonl").open("a") as file:
        file.write('{"record": \n{"turn": 1}\n[]\n{"record": "talk", "turn": true}\n\n')
    system = Predictions(tmp_path / "p", others={"elsewhere"})
    report = system.prepare(records, "own")
    assert report["unknown"] == {"n": 2, "named": ["ghost, turn 1", "talk, turn 9"]}
    assert report["unplaced"]["n"] == 4 and report["unplaced"]["named"][0].startswith("line 11")
    assert (report["not_asked"], report["answered"], report["missing"]["n"]) == (2, 6, 0)
    assert system.prepare(records, "gold")["twice"]["n"] == 1


def test_a_run_goes_on_with_the_same_predictions_alone(tmp_path, records):
    write(tmp_path / "p", lines(records))
    figures, rows = scored(tmp_path / "p", records, tmp_path / "run")
    file = tmp_path / "run" / samples.FILE
    file.write_text("".join(samples.line(row) for row in rows[:4]))
    again, _ = scored(tmp_path / "p", records, tmp_path / "run")
    assert again["giou"] == figures["giou"] and again["predictions"] == figures["predictions"]
    write(tmp_path / "p", lines(records, score=0.1))
    with pytest.raises(InputError, match="facts"):
        scored(tmp_path / "p", records, tmp_path / "run")


def test_pictures_alone(tmp_path, records):
    """RECORD/TURN.png, whatever the PNG's mode; an id may hold a slash."""
    records[0]["id"] = "made/talk"
    both = MASKS["block"] | MASKS["hole"]
    pictures = {
        "made/talk/1": Image.fromarray(MASKS["block"]),
        "made/talk/2": Image.fromarray(both.astype(np.uint8)),
        "made/talk/3": Image.fromarray(both.astype(np.uint8) * 255),
        "step/1": Image.fromarray(np.stack([MASKS["block"] * np.uint8(9)] * 3, 2)),
        "step/02": Image.fromarray(np.dstack([*[MASKS["hole"] * np.uint8(9)] * 3, np.full(SIZE, 255, np.uint8)])),
        "step/alone": Image.fromarray(MASKS["hole"].astype(np.uint8)).convert("P"),
        "step/cover": Image.new("L", (9, 9)),
    }  # fmt: skip
    for name, picture in pictures.items():
        path = tmp_path / "p" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    figures, _ = scored(tmp_path / "p", records, tmp_path / "run")
    assert figures["giou"] == 100 and figures["alone"]["gap"] == 0 and figures["model"] == "p"
    assert figures["predictions"]["unplaced"]["named"] == ["step/cover.png: not RECORD/TURN.png"]


def test_meta_says_which_history(tmp_path, records):
    write(tmp_path / "p", lines(records)[:-1], history="gold")
    assert scored(tmp_path / "p", records, tmp_path / "run", history="gold")[0]["giou"] == 100
    with pytest.raises(InputError, match=r"predictions of own history .* it has talk, turn 1"):
        scored(tmp_path / "p", records, tmp_path / "other", history="own")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "neither"),
        ({"meta.json": "{"}, "meta.json"),
        ({"meta.json": '{"history": "alone"}'}, "history"),
        ({"meta.json": "[]"}, "JSON object"),
        ({"predictions.jsonl": ""}, "neither"),
        ({"predictions.jsonl": b"\xff{}"}, "UTF-8"),
    ],
)
def test_no_predictions(tmp_path, files, says):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=says):
        Predictions(tmp_path)


def test_without_being_told_what_is_asked(tmp_path, records):
    """`hold` alone: the photo tells the size."""
    write(tmp_path / "p", lines(records))
    assert [row.iou for row in hold(records[1], Predictions(tmp_path / "p"))] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("form", ["lines", "pictures"])
def test_predictions_go_to_their_own_photo_of_two_with_one_name(tmp_path, form):
    """cam1/1.png and cam2/1.png: each answer is compared with the mask of its own photo, and there are two photos."""
    for camera, word in (("cam1", "block"), ("cam2", "hole")):
        path = tmp_path / "in" / camera / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (SIZE[1], SIZE[0]), (90, 90, 90 if word == "block" else 200)).save(path)
        shapes = labelme.shapes_of(word, encode_rle(MASKS[word]), 1)
        content = labelme.document(shapes, f"{camera}/1.png", SIZE)
        (tmp_path / "in" / f"{camera}_1.json").write_text(json.dumps(content))
    records = list(read_records(tmp_path / "in", "labelme"))
    for record in records:
        ((_, region),) = regions_of(record)
        mask = MASKS[region["phrase"]]
        if form == "pictures":
            (tmp_path / "p" / record["id"]).mkdir(parents=True)
            Image.fromarray(mask).save(tmp_path / "p" / record["id"] / "1.png")
    if form == "lines":
        write(tmp_path / "p", [line for line in lines(records) if line["record"] != "step"])
    figures, rows = scored(tmp_path / "p", records[::-1], tmp_path / "run")
    assert (figures["giou"], figures["predictions"]["answered"]) == (100.0, 2)
    assert {row.cluster: Path(row.image).parent.name for row in rows} == {"in/1": "cam1", "in/cam2/1": "cam2"}
