"""The lines that predictions are written in, and the questions that they answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.core.types import Operator
from miras.eval.systems.predictions_format import parse, place_of, questions, write
from tests.data.made import MASKS, talk
from tests.eval.runs.test_run import progressive

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("record", "turn", "history", "text", "masks", "selection", "operator", "refused", "seconds", "rle", "png")


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(KEYS), anything), anything)
def test_any_line_is_read_or_refused(line, mask):
    for value in (line, mask, {"record": "r", "turn": 1, **line}, {"record": "r", "turn": 1, "selection": mask},
                  {"record": "r", "turn": 1, "masks": [{"rle": mask}]}):  # fmt: skip
        try:
            found = parse(value)
            assert found.record and found.turn >= 0
            for shape in found.shapes:
                shape.check()
        except InputError:
            continue


@pytest.mark.parametrize(
    ("more", "operator", "refused"),
    [
        ({}, None, False),
        ({"masks": [{"rle": {"size": [1, 1], "counts": [1]}}]}, Operator.REPLACE, False),
        ({"selection": {"rle": {"size": [1, 1], "counts": [1]}}}, Operator.REPLACE, False),
        ({"refused": True}, Operator.REJECT, True),
        ({"operator": "reject"}, Operator.REJECT, True),
        ({"operator": "undo"}, Operator.UNDO, False),
        ({"operator": None, "masks": None, "text": None}, None, False),
    ],
)
def test_what_an_answer_does(more, operator, refused):
    found = parse({"record": "r", "turn": 1, **more})
    assert (found.operator, found.refused) == (operator, refused)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"turn": 1}, "record"),
        ({"record": "", "turn": 1}, "record"),
        ({"record": "r"}, "turn"),
        ({"record": "r", "turn": 0}, "turn"),
        ({"record": "r", "turn": "1"}, "turn"),
        ({"record": "r", "turn": 1, "history": "both"}, "own, gold, alone"),
        ("r", "object"),
    ],
)
def test_a_line_without_a_place(line, says):
    with pytest.raises(InputError, match=says):
        place_of(line)


def test_what_is_written_comes_back(tmp_path):
    rows = [{"record": "r", "turn": 1, "text": "a\u2028b", "masks": [{"phrase": "cup", "mask": MASKS["hole"]}]}]
    (line,) = write(tmp_path / "p", rows, name="n").read_text().split("\n")[:-1]
    found = parse(json.loads(line))
    assert found.text == "a\u2028b" and (found.masks[0].mask() == MASKS["hole"]).all()
    assert json.loads((tmp_path / "p" / "meta.json").read_text()) == {"name": "n"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"record": "r", "turn": 1, "masks": [{"score": float("nan"), "mask": np.ones((2, 2))}]}, "finite"),
        ({"record": "r", "turn": 1, "masks": [{"mask": np.ones(3)}]}, "mask"),
        ({"record": "r", "turn": 1, "masks": [{"mask": np.array([[0.02, 0.9]])}]}, "threshold"),
        ({"record": "r", "turn": 1, "selection": {"mask": np.array([[-3.0, 4.0]])}}, "threshold"),
        ({"record": "r", "turn": 1, "selection": {"mask": np.array([[np.nan, 1.0]])}}, "NaN"),
        ({"record": "r", "turn": 1, "masks": [{"mask": np.array([[0, 1, 2]])}]}, "choose one label"),
        ({"record": "r", "turn": 1, "selection": {"png": "soft.png"}}, "threshold"),
        ({"record": "r", "turn": 1, "selection": {"png": "none.png"}}, "no file"),
        ({"record": "r", "turn": 1, "words": "x"}, "words"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, row, says):
    (tmp_path / "p").mkdir()
    Image.fromarray(np.array([[0, 90, 255]], np.uint8)).save(tmp_path / "p" / "soft.png")
    with pytest.raises(InputError, match=says):
        write(tmp_path / "p", [row])
    assert not (tmp_path / "p" / "predictions.jsonl").exists()


@pytest.mark.parametrize("history", ["own", "gold"])
def test_questions(tmp_path, history):
    records = [talk(tmp_path / "one.png"), progressive(tmp_path / "two.png")]
    file = tmp_path / "q" / "questions.jsonl"
    assert questions(records, file, history=history) == 6
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["record"], line["turn"], line["history"]) for line in found] == [
        ("talk", 1, history), ("talk", 2, history), ("talk", 3, history), ("step", 1, history), ("step", 2, history),
        ("step", 2, "alone"),
    ]  # fmt: skip
    third, alone = found[2], found[5]
    assert third["user"] == "And the dog?" and alone["user"] == "Select the hole." and not alone["before"]
    assert [exchange["user"] for exchange in third["before"]] == ["Where can I sit?", "Also the round thing."]
    assert third["photo"] == str(tmp_path / "one.png") and third["size"] == [24, 32]
    if history == "gold":
        both = decode_rle(third["before"][1]["selection"])
        assert (both == MASKS["block"] | MASKS["hole"]).all() and third["before"][1]["operator"] == "add"
    else:
        assert all(set(exchange) == {"user"} for exchange in third["before"])
    assert questions(records, file, alone=False) == 5


def test_embedded_photos_are_written_beside_the_questions(tmp_path):
    record = talk(tmp_path / "one.png")
    record["image_bytes"] = (tmp_path / "one.png").read_bytes()
    questions([record], tmp_path / "q.jsonl")
    line = json.loads((tmp_path / "q.jsonl").read_text().splitlines()[0])
    assert (tmp_path / line["photo"]).read_bytes() == record["image_bytes"]
    with pytest.raises(InputError, match="own, gold"):
        questions([record], tmp_path / "q.jsonl", history="alone")
