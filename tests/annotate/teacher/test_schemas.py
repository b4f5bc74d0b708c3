"""The shapes of the three answers: good ones pass, every fault is named in words a teacher can use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from miras.annotate.teacher import schemas
from miras.annotate.teacher.schemas import (
    DialogueDraft,
    Elements,
    Reasoning,
    dialogue_faults,
    json_schema,
    normal,
    parse,
)
from tests.annotate.made import NAMES, TREE, dialogue, elements, node, reasoning, turn


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The Red  Mug.", "red mug", True),
        ("a red mug", "red mugs", False),
        ("mug", "red mug", False),
        ("its handle", "handle", True),
        ("T-shirt", "t-shirt", True),
        ("man's hat", "mans hat", False),
    ],
)
def test_normal(one: str, other: str, same: bool) -> None:
    assert (normal(one) == normal(other)) is same


@pytest.mark.parametrize(
    ("value", "schema"), [(elements(), Elements), (reasoning(), Reasoning), (dialogue(), DialogueDraft)]
)
def test_a_good_answer_passes_bare_and_fenced(value: Any, schema: Any) -> None:
    text = json.dumps(value)
    for written in (text, f"```json\n{text}\n```"):
        parsed, faults = parse(written, schema)
        assert faults == []
        assert parsed is not None
        assert json.loads(parsed.model_dump_json()) == value


def listed(*texts: str, **changes: Any) -> dict[str, Any]:
    return {"elements": [{"text": text, "number": None, "caption": "Seen."} | changes for text in texts]}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no json", "not valid JSON"),
        ('{"elements": [{"text": "a', "not valid JSON"),
        (listed("mug", "cup"), "at least 3"),
        (listed("mug", "cup", "the Mug"), "elements 1 and 3 are both 'the Mug'"),
        (listed("mug", "cup", "shadow of the mug"), "'shadow of the mug', is not an object"),
        (listed("mug", "cup", " . "), "elements[2].text: must not be empty"),
        (
            listed("mug", "cup", "jar", number=0),
            "elements[0].number: Input should be greater than or equal to 1 (got 0)",
        ),
        (listed("mug", "cup", "jar", colour="red"), "elements[0].colour"),
        (listed("x" * 101, "cup", "jar"), "at most 100"),
    ],
)
def test_faults_of_elements(value: Any, says: str) -> None:
    parsed, faults = parse(value if isinstance(value, str) else json.dumps(value), Elements)
    assert parsed is None
    assert says in " | ".join(faults)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([*TREE[:2], node("n1", "n1", [1]), *TREE[3:]], "node id 'n1' is used 2 times"),
        ([node("n0", None, [1, 2, 3]), node("m0", None, [1, 2, 3])], "(the root) is needed, there are 2"),
        ([*TREE, node("n9", "n7", [3])], "the parent 'n7', which is not there"),
        ([*TREE, node("a", "b", [3]), node("b", "a", [3])], "nodes a, b go in a circle"),
        ([TREE[0], node("n1", "n0", [1, 2], shared=False), *TREE[2:]], "'n1' has 2 paths, so shared must be true"),
        ([*TREE[:4], node("n4", "n0", [3], shared=True)], "'n4' has 1 paths, so shared must be false"),
        ([*TREE[:3], node("n3", "n1", [2, 3]), TREE[4]], "paths [3] pass through 'n3' but not through its parent 'n1'"),
        ([*TREE, node("n5", "n0", [3])], "path 3 splits after 'n0' into n4, n5"),
        (TREE[:3] + TREE[4:], "path 2 stops at 'n1', which is no leaf"),
        (TREE[:2] + TREE[4:], "paths [1, 2] end in the same leaf 'n1'"),
        ([*TREE[:4], node("n4", "n0", [])], "'n4' needs each path that passes through it once, got []"),
    ],
)
def test_faults_of_a_tree(tree: list[dict[str, Any]], says: str) -> None:
    parsed, faults = parse(json.dumps(reasoning(tree=tree)), Reasoning)
    assert parsed is None
    assert says in " | ".join(faults)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (reasoning((3, 2, 4)), "questions[2].score: Input should be 1, 2 or 3 (got 4)"),
        (reasoning((3, 2)), "at least 3"),
        (
            reasoning(tree=[node("n0", None, [1, 2]), node("n1", "n0", [1]), node("n2", "n0", [2])]),
            "question 3 has no path",
        ),
        (reasoning(tree=[node("n0", None, [1, 2, 3, 4]), *TREE[1:], node("n5", "n0", [4])]), "there is no question 4"),
    ],
)
def test_faults_of_reasoning(value: Any, says: str) -> None:
    assert says in " | ".join(parse(json.dumps(value), Reasoning)[1])


def test_several_faults_come_at_once() -> None:
    tree = [TREE[0], node("n1", "n0", [1, 2], shared=False), *TREE[2:4], node("n4", "n0", [3], shared=True)]
    assert "; ".join(parse(json.dumps(reasoning(tree=tree)), Reasoning)[1]).count("shared must be") == 2


def test_a_path_goes_from_under_the_root_to_its_leaf() -> None:
    parsed, _ = parse(json.dumps(reasoning()), Reasoning)
    assert parsed is not None
    assert [[n.id for n in parsed.tree.path(number)] for number in (1, 2, 3)] == [["n1", "n2"], ["n1", "n3"], ["n4"]]


LAST = dialogue()["rounds"][1]
FIRST = dialogue()["rounds"][0]


@pytest.mark.parametrize(
    ("rounds", "focus", "says"),
    [
        ([LAST], 2, "at least 2"),
        ([FIRST] * 9, 1, "at most 8"),
        ([FIRST, FIRST], 1, "two rounds ask the same question"),
        ([FIRST, LAST], 1, "the last round is about element 2, but the focus is 1"),
        ([FIRST, turn("And?", "It is warm.", 2, None)], 2, "the last round has no target"),
        ([FIRST, turn("And?", "The mug and spoon.", 1, "mug and spoon")], 1, "joins things"),
        ([turn("Where is the shadow?", "By the red mug.", 1, "red mug"), LAST], 2, "round 1 is about 'shadow'"),
        ([turn("What?", "A cup.", 1, "red mug"), LAST], 2, "'red mug' does not stand in its answer"),
        ([turn("What?", "A mugshot.", 1, "mug"), LAST], 2, "'mug' does not stand in its answer"),
        ([turn("Is it the red mug?", "The red mug.", 1, "red mug"), LAST], 2, "already names its answer, 'red mug'"),
    ],
)
def test_faults_of_a_dialogue(rounds: list[Any], focus: int, says: str) -> None:
    parsed, faults = parse(json.dumps({"rounds": rounds, "focus": focus}), DialogueDraft)
    assert parsed is None
    assert says in " | ".join(faults)


@pytest.mark.parametrize(
    ("rounds", "focus", "says"),
    [
        ([FIRST, LAST], 2, None),
        ([FIRST, turn("And?", "The spoon.", 9, "spoon")], 9, "there is no element 9, only 1 to 4"),
        ([FIRST, turn("And?", "The fork.", 3, "fork")], 3, "'fork' does not name element 3, 'spoon'"),
        ([FIRST, turn("And?", "Both spoons.", 3, "spoons")], 3, None),
        ([FIRST, turn("And?", "The saucer.", 4, "saucer")], 4, "is 2 things"),
    ],
)
def test_a_dialogue_beside_its_elements(rounds: list[Any], focus: int, says: str | None) -> None:
    among = [
        schemas.Element(text=name, number=2 if name == "saucer" else None, caption="Seen.") for name in NAMES
    ]  # fmt: skip
    draft, faults = parse(json.dumps({"rounds": rounds, "focus": focus}), DialogueDraft)
    assert draft is not None, faults
    found = dialogue_faults(draft, among)
    assert (found == []) if says is None else any(says in fault for fault in found)


def test_control_characters_never_reach_a_text() -> None:
    parsed, _ = parse(json.dumps(listed("red\u0000 mug\n", "cup", "jar")), Elements)
    assert parsed is not None
    assert parsed.elements[0].text == "red mug"


@pytest.mark.parametrize("schema", [Elements, Reasoning, DialogueDraft])
def test_the_json_schema_is_strict_everywhere(schema: Any) -> None:
    def objects(value: Any) -> Any:
        if isinstance(value, dict):
            if "properties" in value:
                yield value
            for item in value.values():
                yield from objects(item)
        elif isinstance(value, list):
            for item in value:
                yield from objects(item)

    whole = json_schema(schema)
    found = list(objects(whole))
    assert found
    for value in found:
        assert value["additionalProperties"] is False
        assert value["required"] == list(value["properties"])
    assert '"default"' not in json.dumps(whole)
