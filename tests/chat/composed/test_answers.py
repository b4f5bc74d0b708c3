"""Answers of a talker: what fits, what is sent back with which words, and a reply in its words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.chat.composed.answers import Rules, look_schema, read_look, talk_schema, value_of
from miras.chat.composed.families import Grid
from miras.core.types import Mark, Name, Operator, Region, Turn, Words
from tests.chat.composed.pairs import SIZE, answer, filled, look, new, old, step

RULES = Rules(Grid(), frozenset({1, 2}), selected=True)
CUP = new("cup")

UNFIT = [
    ("", "JSON"),
    ("Here it is.", "JSON"),
    ("[1, 2]", "object"),
    ('{"text": "x"}', "steps"),
    (answer("x", step("erase", CUP)), "do"),
    (answer("x", step("replace")), '"replace" needs at least one region'),
    (answer("x", step("cut")), '"cut" needs at least one region'),
    (answer("x", step("undo", CUP)), "names no regions"),
    (answer("x", step("refuse", CUP)), "names no regions"),
    (answer("x", step("refuse"), step("undo")), "stands alone"),
    (answer("x", step("add", CUP), step("replace", CUP)), "first step"),
    (answer("x", step("add", old(3))), "there is no region 3; there are: 1, 2"),
    (answer("x", step("add", {**CUP, "id": -1})), "id"),
    (answer("x", step("add", {**CUP, "phrase": " "})), "needs a name"),
    (answer("x", step("add", {**CUP, "box": [1, 2, 3]})), "must have four numbers"),
    (answer("x", step("add", {**CUP, "box": [5, 5, 5, 9]})), "x1 must be less than x2"),
    (answer("x", step("add", {**CUP, "box": [-1, 0, 5, 9]})), "box"),
    (answer("x", step("add", {**CUP, "box": [0, 0, 5, 1001]})), "box"),
    (answer("x", step("add", {**CUP, "points": [{"x": 1001, "y": 1, "inside": True}]})), "points"),
    (answer("x", step("add", {**CUP, "points": [{"x": 1, "y": 1, "inside": True}] * 9})), "points"),
    (answer("x", step("add", *[CUP] * 31)), "regions"),
    (answer("x", *[step("add", CUP)] * 9), "steps"),
]


@pytest.mark.parametrize(("text", "says"), UNFIT, ids=range(len(UNFIT)))
def test_answers_that_do_not_fit(text: str, says: str) -> None:
    value, faults = RULES.read(text)
    assert value is None and says in " ".join(faults)


@pytest.mark.parametrize(
    ("prompts", "region", "says"),
    [
        ({"phrase"}, {**CUP, "box": []}, None),
        ({"phrase"}, CUP, None),
        ({"box", "points"}, {**CUP, "box": []}, "needs box or a point inside"),
        ({"box", "points"}, new("cup", (1, 1, False), box=False), "needs box or a point inside"),
        ({"box", "points"}, new("cup", (1, 1, True), box=False), None),
        ({"box"}, new("cup", (1, 1, True), box=False), "needs box"),
    ],
)
def test_what_the_segmenter_can_be_asked(prompts: set[str], region: dict[str, Any], says: str | None) -> None:
    value, faults = Rules(Grid(), (), prompts).read(answer("x", step("replace", region)))
    assert (value is not None) == (says is None) and (says or "") in " ".join(faults)


def test_all_but_needs_something_to_leave_out() -> None:
    text = answer("x", step("all_but"))
    assert RULES.read(text)[0] is not None
    assert "nothing is selected" in " ".join(Rules(Grid()).read(text)[1])


def test_pixels_run_to_each_side() -> None:
    rules = Rules(Grid(84, 56))
    assert rules.read(answer("x", step("replace", {**CUP, "box": [0, 0, 84, 56]})))[0] is not None
    assert "in the picture" in " ".join(rules.read(answer("x", step("replace", {**CUP, "box": [0, 0, 56, 84]})))[1])


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (look("accept"), True),
        (look("give_up"), True),
        (look("refine", (1, 2, True)), True),
        (look("refine"), False),
        (look("exclude", (1, 2, True)), False),
        (look("exclude", (1, 2, False)), True),
        (look("perhaps"), False),
        ("yes", False),
    ],
)
def test_what_is_said_of_a_mask(text: str, fits: bool) -> None:
    value, faults = read_look(Grid())(text)
    assert (value is not None) == fits == (not faults)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["text", "steps", "do", "regions", "id", "box", "points"]), inner, max_size=4),
                    max_leaves=12))  # fmt: skip
@settings(max_examples=60)
def test_whatever_a_model_says_is_read_or_told_wrong(value: Any) -> None:
    read, faults = RULES.read(json.dumps(value))
    assert (read is None) == bool(faults)


def test_every_key_is_required_as_strict_servers_want_it() -> None:
    def objects(schema: Any) -> Any:
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                yield schema
            for inner in schema.values():
                yield from objects(inner)

    found = [each for schema in (talk_schema(Grid()), look_schema(Grid())) for each in objects(schema)]
    assert len(found) == 6
    assert all(each["required"] == list(each["properties"]) and not each["additionalProperties"] for each in found)


CUP_1, LID_2 = Region(1, "cup", filled("cup"), 1), Region(2, "lid", np.zeros(SIZE, np.bool_), 1, Operator.ADD)
REPLIES = [
    ((Words("The "), Name("cup", 1)), [("replace", [1])]),
    ((Name("cup", 1), Mark(Operator.ADD), Name("", 2)), [("replace", [1]), ("add", [2])]),
    ((Mark(Operator.EXCEPT),), [("all_but", [])]),
    ((Mark(Operator.UNDO), Words("Back."), Mark(Operator.CUT), Name("lid", 2)), [("undo", []), ("cut", [2])]),
    ((Mark(Operator.REJECT), Words("None.")), [("refuse", [])]),
    ((Words("Hello."),), []),
]


@pytest.mark.parametrize(("content", "steps"), REPLIES)
def test_a_reply_in_the_talkers_words(content: Any, steps: Any) -> None:
    value = value_of(Turn("assistant", content), {1: CUP_1, 2: LID_2}, Grid())
    assert [(one["do"], [region["id"] for region in one["regions"]]) for one in value["steps"]] == steps
    assert RULES.read(json.dumps(value))[1] == []
    boxes = [region["box"] for one in value["steps"] for region in one["regions"]]
    assert all(box in ([167, 250, 333, 500], []) for box in boxes)
