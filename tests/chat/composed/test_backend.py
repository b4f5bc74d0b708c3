"""A conversation with a pair: the talker plans, the segmenter draws, the session does the sums."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from miras.chat.session import POINTED
from miras.core.errors import InputError
from miras.core.llm.answers import NoAnswer
from miras.core.segmenter import PROMPTS
from miras.core.types import Operator, Region
from tests.chat.composed.pairs import Painter, answer, filled, look, new, old, photo, scripted, step

CUP = answer("Here is the cup.", step("replace", new("cup")))
WITH_LID = answer("I added the lid.", step("add", new("lid")))


def test_the_operators_are_the_sessions(tmp_path: Path) -> None:
    """Replace, add, cut, all but, undo, refuse, words; earlier regions by their numbers, which cost no mask."""
    said = [
        (CUP, filled("cup"), "1"),
        (WITH_LID, filled("cup", "lid"), "1 + 2"),
        (answer("Without it.", step("cut", old(1))), filled("cup", "lid") & ~filled("cup"), "(1 + 2) - 1"),
        (answer("Back.", step("undo")), filled("cup", "lid"), "1 + 2"),
        (answer("No dog here.", step("refuse")), filled("cup", "lid"), "1 + 2"),
        (answer("All but the lid.", step("all_but", old(2))), ~filled("lid"), "~2"),
        (answer("The other way round.", step("all_but")), filled("lid"), "2"),
        (answer("You are welcome."), filled("lid"), "2"),
        (answer("The table without the cup.", step("replace", new("table")), step("cut", old(1))),
         filled("table") & ~filled("cup"), "3 - 1"),
        (answer("The cup again, and the spoon.", step("undo"), step("replace", old(1), new("spoon")))
         .replace('"replace"', '"add"'), filled("lid", "cup", "spoon"), "2 + 1 + 4"),
    ]  # fmt: skip
    painter = Painter()
    session = scripted(tmp_path, *(text for text, _, _ in said), segmenter=painter).chat(photo())
    for number, (text, mask, expression) in enumerate(said):
        reply = session.ask(f"message {number}")
        assert reply.text == json.loads(text)["text"]
        np.testing.assert_array_equal(reply.selection.mask, mask)
        assert reply.selection.expression == expression
    assert [region.phrase for region in session.regions] == ["cup", "lid", "table", "spoon"]
    assert len(painter.asked) == 4 and painter.encoded == 1
    assert session.history[4].operators == (Operator.REJECT,) and session.history[2].recalled == (1,)
    assert [region.operator for region in session.regions] == ["replace", "add", "replace", "add"]


def test_a_stream_is_the_reply(tmp_path: Path) -> None:
    session = scripted(tmp_path, answer("Here is  the CUP, and more.", step("replace", new("cup")))).chat(photo())
    *parts, reply = session.stream("the cup")
    assert "".join(part for part in parts if isinstance(part, str)) == reply.text == "Here is the CUP, and more."
    assert tuple(part for part in parts if isinstance(part, Region)) == reply.regions
    assert [piece.phrase for piece in session.turns[1].content if hasattr(piece, "phrase")] == ["CUP"]
    assert reply.regions[0].phrase == "cup"


def test_one_name_may_be_several_things(tmp_path: Path) -> None:
    """Where nothing says which, each becomes a region; a box or a point says which."""
    said = [
        answer("The eggs.", step("replace", {**new("cup"), "phrase": "egg", "box": []})),
        answer("The right one.", step("replace", {**new("right egg"), "phrase": "egg"})),
        answer("This.", step("replace", {**new("cup", (866, 100, True), box=False), "phrase": "egg"})),
    ]
    painter = Painter(frozenset({"phrase"}))
    session = scripted(tmp_path, *said[:2], segmenter=painter).chat(photo())
    first = session.ask("all of them")
    assert [region.id for region in first.regions] == [1, 2] and first.selection.expression == "1 + 2"
    np.testing.assert_array_equal(first.selection.mask, filled("left egg", "right egg"))
    np.testing.assert_array_equal(session.ask("the right one").selection.mask, filled("right egg"))
    assert painter.asked[1].kinds == {"phrase"}
    session = scripted(tmp_path, said[2], segmenter=Painter(frozenset({"phrase"}))).chat(photo())
    np.testing.assert_array_equal(session.ask("this").selection.mask, filled("right egg"))


def test_what_is_not_found_is_told(tmp_path: Path) -> None:
    """Nothing at all: a refusal; some of it: the rest stands, and its operator is left out with it."""
    gone = {**new("cup"), "phrase": "dog", "box": []}
    said = [
        answer("Here is the dog.", step("replace", gone)),
        answer("The cup and the dog.", step("replace", new("cup"), gone)),
        answer("Without the dog, but with the lid.", step("cut", gone), step("add", new("lid"))),
        answer("All but the dog.", step("all_but", gone)),
    ]
    session = scripted(tmp_path, *said).chat(photo())
    first = session.ask("the dog")
    assert first.text == "I cannot find the dog in this photo." and first.operators == (Operator.REJECT,)
    assert not session.regions and not first.selection.expression
    second = session.ask("both")
    assert second.text == "The cup and the dog. I do not see the dog." and second.selection.expression == "1"
    third = session.ask("less and more")
    assert third.operators == (Operator.ADD,) and third.selection.expression == "1 + 2"
    fourth = session.ask("all but the dog")
    assert fourth.operators == (Operator.REJECT,) and fourth.selection.expression == "1 + 2"


def test_a_thing_that_the_segmenter_does_not_see(tmp_path: Path) -> None:
    lone = {**new("cup"), "box": []}
    talks = [answer("The cup.", step("replace", lone)), CUP]
    session = scripted(tmp_path, *talks, segmenter=Painter(presence=0.2)).chat(photo())
    assert session.ask("the cup").operators == (Operator.REJECT,)
    assert session.ask("there!").selection.expression == "1"  # where it is said where, it is believed


LOOKS = [
    (look("accept"), "same", 1),
    (look("give_up"), "none", 1),
    (look("exclude", (500, 500, False)), "less", 2),
    (look("refine", (0, 0, True)), "more", 2),
]


@pytest.mark.parametrize(("verdict", "becomes", "prompts"), LOOKS, ids=lambda value: str(value)[:24])
def test_each_new_mask_is_looked_at_once(tmp_path: Path, verdict: str, becomes: str, prompts: int) -> None:
    """In a crop, whose coordinates become those of the photo; and its cost is told."""
    painter = Painter()
    line = json.dumps({"look": "cup", **json.loads(verdict)})
    model = scripted(tmp_path, CUP, answer("Again.", step("replace", old(1))), line, segmenter=painter, looks=True)
    reply = model.chat(photo()).ask("the cup")
    assert len(painter.asked) == prompts
    assert reply.spent is not None and (reply.spent.calls, reply.spent.looks) == (2, 1)
    assert reply.timings.look > 0 and reply.to_dict()["seconds"]["look"] == reply.timings.look
    if becomes == "none":
        assert reply.operators == (Operator.REJECT,) and "cannot find the cup" in reply.text
        return
    got = reply.selection.mask
    if becomes == "less":  # the middle of the crop is the middle of the cup
        assert got.sum() == 100 - 16 and not got[13:17, 13:17].any()
    elif becomes == "more":  # the crop's upper left corner
        assert got.sum() == 100 + 4 * 4 and got[0:4, 0:4].any()
    else:
        np.testing.assert_array_equal(got, filled("cup"))


def test_what_is_there_already_is_not_looked_at(tmp_path: Path) -> None:
    model = scripted(tmp_path, CUP, answer("Again.", step("replace", old(1))), looks=True)
    session = model.chat(photo())
    session.ask("the cup")
    again = session.ask("again")
    assert again.spent is not None and (again.spent.calls, again.spent.looks) == (1, 0) and again.recalled == (1,)


def test_refine_undo_fork_tell_and_export(tmp_path: Path) -> None:
    painter = Painter()
    session = scripted(tmp_path, CUP, WITH_LID, WITH_LID, segmenter=painter).chat(photo())
    session.ask("the cup")
    twin = session.fork()
    session.refine(points=[(30, 30, 1)])
    prompt = painter.asked[-1]
    assert prompt.kinds == {"phrase", "points", "mask"} and session.selection.mask.sum() == 116
    session.refine(box=(2, 2, 9, 8), region=1)
    outside = session.selection.mask.copy()
    outside[2:8, 2:9] = False
    assert not outside.any()
    session.undo()
    session.undo()
    np.testing.assert_array_equal(session.selection.mask, filled("cup"))
    twin.ask("and the lid")
    assert len(session.regions) == 1 and twin.selection.expression == "1 + 2" and painter.encoded == 1
    files = twin.export(tmp_path / "out")
    assert len(files) == 5
    pointed = scripted(tmp_path, CUP, WITH_LID).chat(photo())
    assert pointed.refine(box=(0, 0, 5, 5)).regions[0].phrase == POINTED
    assert pointed.ask("and the lid").selection.expression == "1 + 2"


@pytest.mark.parametrize("kinds", [{"phrase"}, {"points", "box", "mask"}, {"box"}])
def test_a_gesture_that_the_segmenter_does_not_take(tmp_path: Path, kinds: set[str]) -> None:
    session = scripted(tmp_path, CUP, segmenter=Painter(frozenset(kinds))).chat(photo())
    session.ask("the cup")
    before = session.to_json()
    if "points" not in kinds:
        with pytest.raises(InputError, match="a gesture that painter takes, got points") as error:
            session.refine(points=[(1, 1, 1)])
        assert "\n" not in str(error.value) and session.to_json() == before
    assert session.refine(box=(10, 10, 15, 15)).selection.mask.sum() == 25


@pytest.mark.parametrize("kinds", [set(PROMPTS), {"points", "box", "mask"}, {"phrase"}, {"box"}])
def test_a_saved_session_goes_on_the_same(tmp_path: Path, kinds: set[str]) -> None:
    said = [CUP, WITH_LID, answer("Without.", step("cut", old(1))), answer("The spoon.", step("add", new("spoon")))]
    model = scripted(tmp_path, *said, segmenter=Painter(frozenset(kinds)), looks=True)
    session = model.chat(photo(), seed=4)
    session.ask("the cup")
    session.refine(box=(8, 8, 22, 22))
    session.ask("the lid")
    session.ask("without the cup")
    twin = model.restore(session.to_json(), photo())
    assert [reply.to_dict() for reply in twin.history] == [reply.to_dict() for reply in session.history]
    assert twin.to_json() == session.to_json() and twin.options == session.options
    ours, theirs = session.ask("the spoon"), twin.ask("the spoon")
    np.testing.assert_array_equal(ours.selection.mask, theirs.selection.mask)
    assert (ours.text, ours.spent) == (theirs.text, theirs.spent)
    for one in (session, twin):
        one.undo()
        one.undo()
    assert twin.to_json() == session.to_json()


def test_another_pairs_session_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    text = scripted(tmp_path, CUP).chat(photo()).to_json()
    with pytest.raises(InputError, match="a session of this model") as error:
        scripted(tmp_path / "other", WITH_LID).restore(text, photo())
    assert "\n" not in str(error.value)


def spoiled(text: str, spoil: object) -> str:
    document = json.loads(text)
    spoil(document["events"][0])  # type: ignore[operator]
    return json.dumps(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.pop("content"),
        lambda event: event["content"].append({"name": "x", "region": 7}),
        lambda event: event["content"].append({"name": "x", "region": -1}),
        lambda event: event["content"].append({"mark": "explode"}),
        lambda event: event["content"].append(3),
        lambda event: event["regions"].clear(),
        lambda event: event["regions"][0].update(turn=5),
        lambda event: event["spent"].pop("calls"),
    ],
)
def test_a_spoiled_text_is_refused(tmp_path: Path, spoil: object) -> None:
    model = scripted(tmp_path, CUP)
    session = model.chat(photo())
    session.ask("the cup")
    with pytest.raises(InputError, match="the JSON text of a session") as error:
        model.restore(spoiled(session.to_json(), spoil), photo())
    assert "\n" not in str(error.value)


def test_a_message_without_an_answer_changes_nothing(tmp_path: Path) -> None:
    session = scripted(tmp_path, CUP).chat(photo())
    session.ask("the cup")
    before = session.to_json()
    with pytest.raises(NoAnswer, match="add a line"):
        session.ask("more")
    with pytest.raises(InputError, match="ids of a reply"):
        session.ask("more", forced=[1])
    with pytest.raises(InputError):
        session.ask("  ")
    assert session.to_json() == before
