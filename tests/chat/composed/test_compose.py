"""A talker behind a real HTTP server of our own: what is sent, what is sent back, and what a fault leaves."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from miras.chat.composed.compose import Composed, compose, presets
from miras.core.errors import InputError, MirasError
from miras.core.llm.answers import EndpointDown, NoAnswer
from tests.chat.composed.pairs import Painter, answer, filled, look, new, old, photo, step
from tests.servers import Server, cut, garble, hang, say, serve, status

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdefghij"
CUP = answer("Here is the cup.", step("replace", new("cup")))
LID = answer("I added the lid.", step("add", new("lid")))
LESS = answer("Without the cup.", step("cut", old(1)))
BACK, NONE = answer("Back.", step("undo")), answer("There is no dog.", step("refuse"))


def pair(server: Server, segmenter: Any = None, *, model: str = "m", looks: bool = False, **options: Any) -> Composed:
    journal = options.pop("journal", None)
    endpoint = {"timeout": 5.0, "wait": 0.001, "retries": 1, "temperature": 0.0, **options}
    return compose(
        f"openai:{model}@{server.url}", segmenter or Painter(), look=looks, endpoint=endpoint, journal=journal,
        environment={"OPENAI_API_KEY": KEY},
    )  # fmt: skip


def picture(part: dict[str, Any]) -> Image.Image:
    url = part["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_a_conversation_through_a_server(tmp_path: Path) -> None:
    """Replace, add, cut, undo, refuse, refine, fork, save, restore, export."""
    with serve(*map(say, [CUP, LID, LESS, BACK, NONE, LID, LESS])) as server:
        model = pair(server)
        session = model.chat(photo())
        wanted = [filled("cup"), filled("cup", "lid"), filled("cup", "lid") & ~filled("cup"), filled("cup", "lid"),
                  filled("cup", "lid")]  # fmt: skip
        for number, mask in enumerate(wanted):
            reply = session.ask(f"message {number}")
            np.testing.assert_array_equal(reply.selection.mask, mask)
            assert reply.spent is not None and (reply.spent.calls, reply.spent.read, reply.spent.written) == (1, 11, 5)
        session.refine(box=(0, 0, 4, 4), region=1)
        twin = session.fork()
        restored = model.restore(session.to_json(), photo())
        assert twin.ask("and the lid").selection.expression == "1 + 2 + 3"
        assert restored.ask("without the cup").selection.expression == "(1 + 2) - 1"
        np.testing.assert_array_equal(restored.selection.mask, filled("lid"))  # the cup is elsewhere now
        assert len(twin.export(tmp_path)) == 5 and session.selection.expression == "1 + 2"
        assert model.spent() == {
            "prompt_tokens": 77, "completion_tokens": 35, "cost": 0.0, "questions": 7, "calls": 7
        }  # fmt: skip
        model.close()
    assert KEY not in session.to_json() and server.url not in session.to_json()


def test_what_the_talker_is_told() -> None:
    """An opening that stays, what was said in words, and what is there now: drawn, numbered, named."""
    with serve(*map(say, [CUP, LID, NONE])) as server:
        session = pair(server).chat(photo())
        for text in ("the cup", "and the lid", "the dog"):
            session.ask(text)
    first, second, third = (asked["messages"] for asked in server.asked)
    assert [message["role"] for message in third] == ["system", *["user", "assistant"] * 3, "user"]
    assert first[:3] == second[:3] == third[:3]
    assert picture(first[1]["content"][0]).size == (60, 40) and "60 x 40" in first[1]["content"][1]["text"]
    assert first[3] == {"role": "user", "content": "the cup"} == third[3]
    told = json.loads(third[4]["content"])
    assert told["text"] == "Here is the cup." and told["steps"][0]["regions"][0]["id"] == 1
    assert told["steps"][0]["regions"][0]["box"] == [167, 250, 333, 500]
    shown, words = third[-1]["content"]
    assert words["text"].startswith("the dog\n") and words["text"].endswith("Selected now: 1 + 2")
    assert "1: cup [167, 250, 333, 500]\n2: lid [200, 200, 300, 300]" in words["text"]
    plain, drawn = (np.asarray(picture(part).convert("RGB"), np.int64) for part in (first[1]["content"][0], shown))
    assert drawn.shape == plain.shape and (abs(drawn - plain).max(2) > 40)[10:20, 10:20].mean() > 0.5
    assert server.asked[0]["response_format"]["json_schema"]["schema"]["required"] == ["text", "steps"]


def test_a_family_in_pixels() -> None:
    """Qwen2.5-VL answers in pixels of the picture as it sees it, whose sides are multiples of 28."""
    boxed = answer("The cup.", step("replace", {**new("cup"), "box": [9, 7, 19, 14]}))
    with serve(say(boxed), say(answer("x"))) as server:
        session = pair(server, model="qwen2.5vl:3b").chat(photo())
        reply = session.ask("the cup")
        session.ask("thanks")
    content = server.asked[0]["messages"][1]["content"]
    assert picture(content[0]).size == (56, 28) and "to 56" in server.asked[0]["messages"][0]["content"]
    assert abs(int(reply.selection.mask.sum()) - 110) < 25
    told = json.loads(server.asked[1]["messages"][4]["content"])["steps"][0]["regions"][0]["box"]
    assert np.allclose(told, [9, 7, 19, 14], atol=1)


def test_looks_go_through_the_server_too() -> None:
    with serve(say(CUP), say(look("exclude", (500, 500, False))), say(LID), say(look("give_up"))) as server:
        session = pair(server, looks=True).chat(photo())
        reply = session.ask("the cup")
        assert reply.selection.mask.sum() == 84
        assert reply.spent is not None and (reply.spent.calls, reply.spent.looks, reply.spent.read) == (2, 1, 22)
        refused = session.ask("the lid")
        assert refused.selection.expression == "1" and refused.text == "I cannot find the lid in this photo."
    asked = server.asked[1]["messages"]
    assert [message["role"] for message in asked] == ["system", "user"]
    assert "cup" in asked[1]["content"][1]["text"] and picture(asked[1]["content"][0]).size == (26, 26)


SAYS = [
    ([say('{"text": "He'), say(CUP)], None, 2),
    ([garble, say(CUP)], None, 2),
    ([say(answer("x", step("add", old(9)))), say(CUP)], None, 2),
    ([say('{"text": "He'), say("no")], "the talk step that fits, got 2 unfit ones, the last: not valid", 2),
    ([say(answer("x", step("add", old(9))))] * 2, "there is no region 9; there are: none", 2),
    ([say(answer("x", step("add", {**new("cup"), "box": [0, 0, 9, 1001]})))] * 2, "at most 1000", 2),
    ([status(401)], "check OPENAI_API_KEY", 1),
    ([status(404)], "the model 'm' at", 1),
    ([status(413)], "a request that the server takes", 1),
    ([status(500), say(CUP)], None, 2),
    ([status(429), say(CUP)], None, 2),
    ([cut, say(CUP)], None, 2),
    ([cut, cut], "the connection failed", 2),
    ([hang(2.0)] * 2, "no answer in 0.5 s", 2),
]  # fmt: skip


@pytest.mark.parametrize(("faults", "line", "calls"), SAYS, ids=range(len(SAYS)))
def test_faults_of_a_server(faults: list[Any], line: str | None, calls: int) -> None:
    """One clear line, and the session as it was; what can be mended is."""
    with serve(say(LID), *faults, content=CUP) as server:
        model = pair(server, timeout=0.5 if line and "no answer" in line else 5.0)
        session = model.chat(photo())
        session.ask("the lid")
        before = session.to_json()
        if line is None:
            np.testing.assert_array_equal(session.ask("the cup").selection.mask, filled("cup"))
        else:
            fault = line.replace("there are: none", "there are: 1")
            with pytest.raises((NoAnswer, EndpointDown)) as error:
                session.ask("the cup")
            assert fault in str(error.value) and "\n" not in str(error.value) and KEY not in str(error.value)
            assert session.to_json() == before
            assert session.ask("the cup").selection.expression == "2"  # it goes on
        assert len(server.asked) - 1 - (line is not None) == calls


def test_a_server_that_goes_away_in_the_middle() -> None:
    """While a mask is looked at: the whole turn is taken back. Then altogether; undo and export still work."""
    with serve(say(CUP), say(look("accept")), say(LID), status(401)) as server:
        model = pair(server, looks=True)
        session = model.chat(photo())
        session.ask("the cup")
        before = session.to_json()
        with pytest.raises(EndpointDown):
            session.ask("the lid")
        assert session.to_json() == before
        stream = session.stream("the lid")
    with pytest.raises(MirasError) as error:
        list(stream)
    assert "\n" not in str(error.value) and session.to_json() == before
    session.undo()
    assert not session.regions


def test_no_answer_is_paid_twice(tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    with serve(say(CUP), say(LID), status(401)) as server:
        model = pair(server, journal=journal)
        session = model.chat(photo())
        session.ask("the cup")
        session.ask("and the lid")
        with pytest.raises(EndpointDown):
            session.ask("less")
        model.close()
    with serve(say(LESS)) as server:
        model = pair(server, journal=journal)
        session = model.chat(photo())
        for text in ("the cup", "and the lid", "less"):
            session.ask(text)
        assert len(server.asked) == 1 and session.selection.expression == "(1 + 2) - 1"
        assert model.spent()["prompt_tokens"] == 33 and KEY not in journal.read_text()
        model.close()


def test_long_talks_keep_the_opening_and_the_regions() -> None:
    """Old turns leave the context, by the regions that they name; the regions stay known by their numbers."""
    with serve(*[say(LID)] * 20, say(LESS), content=LID) as server:
        session = pair(server).chat(photo())
        for number in range(20):
            session.ask(f"message {number}")
        assert session.ask("without the first").selection.expression.endswith("- 1")
    lengths = [len(asked["messages"]) for asked in server.asked]
    assert max(lengths) == 3 + 2 * 16 + 1 and lengths[17] == 3 + 2 * 8 + 1 and lengths[18] == lengths[17] + 2
    assert all(asked["messages"][:3] == server.asked[0]["messages"][:3] for asked in server.asked)
    words = server.asked[-1]["messages"][-1]["content"][1]["text"]
    assert all(f"\n{number}: lid" in words for number in range(1, 21))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "expected a talker for a composed model, got none"),
        ({"talker": "scripted:x"}, "a segmenter for a composed model"),
        ({"talker": "opnai:m", "segmenter": Painter()}, "expected a talker: openai:MODEL@URL"),
        ({"talker": "openai:", "segmenter": Painter()}, "say which behind openai:"),
        ({"talker": "openai:m", "segmenter": Painter(), "environment": {}}, "a key for the server"),
        ({"talker": "openai:m@http://u:p@h/v1", "segmenter": Painter(), "environment": {}}, "without a user"),
        ({"talker": "hf:no/such/place", "segmenter": Painter()}, "a folder that is there, or a name on the hub"),
        ({"talker": "scripted:no.jsonl", "segmenter": Painter()}, "a file of answers"),
        ({"preset": "best"}, "expected a preset: "),
    ],
)
def test_a_pair_that_cannot_be_made(arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(MirasError) as error:
        compose(**arguments)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_options_that_a_pair_has_not(tmp_path: Path) -> None:
    with serve() as server, pytest.raises(InputError, match="recompute"):
        pair(server).chat(photo(), recompute="turn")


def test_every_preset_names_a_pair() -> None:
    assert {"qwen3-vl+sam3", "ollama+sam2.1"} <= set(presets())
    for name in presets():
        told = yaml.safe_load(files("miras.chat.composed").joinpath("presets", f"{name}.yaml").read_text())
        assert set(told) >= {"talker", "segmenter", "look", "about"}, name
        assert told["talker"].partition(":")[0] in ("openai", "hf", "miras-mini")
        assert isinstance(told["look"], bool) and told.get("dtype") in (None, "bfloat16", "float32")
