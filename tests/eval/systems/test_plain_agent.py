"""A plain agent: rounds of tools, what is sent anew, what is kept of masks (nothing)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.chat.composed.asking import Asking, Question
from miras.chat.composed.compose import Asked
from miras.chat.composed.families import family_of
from miras.chat.composed.scripted import Scripted
from miras.cli import main
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, NoAnswer
from miras.core.types import Operator
from miras.eval.systems import registry
from miras.eval.systems.plain_agent import MOST_ROUNDS, AgentDialogue, opened
from tests.chat.composed.pairs import Painter, filled, photo
from tests.data.made import talk
from tests.servers import say, serve, status


def call(tool: str, phrase: str = "", *masks: int) -> str:
    return json.dumps({"thought": "", "tool": tool, "phrase": phrase, "masks": list(masks)})


CUP, EGG, DOG = (call("segment_phrase", phrase) for phrase in ("cup", "egg", "dog"))
FIRST, SECOND, BOTH = (call("select_masks_and_return", "", *masks) for masks in ((1,), (2,), (1, 2)))
NONE, EXAMINE = call("report_no_mask"), call("examine_each_mask")


class Heard(Scripted):
    """Keeps what it was asked. verdicts: of masks that are examined."""

    verdicts: tuple[str, ...] = ()

    async def answer(self, question: Question, /) -> Answer:
        self.__dict__.setdefault("asked", []).append(question)
        if question.step == "look":
            looks = sum(one.step == "look" for one in self.asked) - 1
            return Answer(json.dumps({"thought": "", "verdict": self.verdicts[looks]}))
        return await super().answer(question)


def agent(tmp_path: Path, *lines: str, past: Any = "whole") -> tuple[AgentDialogue, Heard]:
    script = Heard.of(lines, "x")
    asked = Asked("scripted:x", Asking(script), family_of(""))
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    return opened(asked, Painter(), past=past).start(tmp_path / "photo.png"), script


def test_a_request_is_rounds_of_tools(tmp_path: Path) -> None:
    """Several things of a name, one of them returned; a phrase that finds nothing; nothing at all."""
    dialogue, script = agent(tmp_path, EGG, SECOND, DOG, CUP, FIRST, DOG, NONE)
    answer = dialogue.ask("the right egg")
    np.testing.assert_array_equal(answer.mask, filled("right egg"))
    assert (answer.operator, answer.refused, answer.text) == (Operator.REPLACE, False, "")
    np.testing.assert_array_equal(dialogue.ask("the cup").mask, filled("cup"))
    answer = dialogue.ask("a dog")
    assert answer.mask is None and answer.refused and answer.operator is Operator.REJECT
    texts = [question.messages[-1].text for question in script.asked]
    assert "2 masks" in texts[1] and "'egg'" in texts[1] and "No mask fits" in texts[3] and "'dog', 'cup'" in texts[4]


@pytest.mark.parametrize(("past", "pictures"), [("whole", [1, 2, 2, 3]), ("words", [1, 2, 1, 2])])
def test_everything_is_sent_anew(tmp_path: Path, past: Any, pictures: list[int]) -> None:
    """The photo and all that was said; of a request only the newest picture; with "words" no picture of before."""
    dialogue, script = agent(tmp_path, CUP, FIRST, EGG, BOTH, past=past)
    dialogue.ask("the cup")
    dialogue.ask("the eggs")
    got = [sum(len(message.pictures) for message in question.messages) for question in script.asked]
    assert got == pictures
    first, last = script.asked[0].messages, script.asked[-1].messages
    assert last[:2] == first[:2] and last[1].pictures and "The request: the cup" in last[1].text
    said = [message.text for message in last]
    assert any('"select_masks_and_return"' in text for text in said) and said[-3] == "The request: the eggs"


def test_masks_are_deleted_at_every_call(tmp_path: Path) -> None:
    """A number of an earlier call cannot be returned; a phrase is not given twice: sent back once, then a fault, and
    nothing was said."""
    dialogue, script = agent(tmp_path, EGG, CUP, SECOND, CUP, FIRST)
    with pytest.raises(NoAnswer, match="there are 1 masks"):
        dialogue.ask("the right egg")
    assert len(script.asked) == 4
    dialogue, script = agent(tmp_path, CUP, CUP)
    with pytest.raises(NoAnswer, match="'cup' was given before"):
        dialogue.ask("the cup")


def test_each_mask_is_examined(tmp_path: Path) -> None:
    dialogue, script = agent(tmp_path, EGG, EXAMINE, FIRST)
    script.verdicts = ("reject", "accept")
    np.testing.assert_array_equal(dialogue.ask("the right egg").mask, filled("right egg"))
    looks = [question for question in script.asked if question.step == "look"]
    assert [len(look.messages[1].pictures) for look in looks] == [2, 2]
    assert "1 masks" in script.asked[-1].messages[-1].text


def test_a_fork_has_the_same_past(tmp_path: Path) -> None:
    dialogue, _ = agent(tmp_path, CUP, FIRST, EGG, BOTH)
    dialogue.ask("the cup")
    twin = dialogue.fork()
    np.testing.assert_array_equal(twin.ask("the eggs").mask, filled("left egg", "right egg"))
    np.testing.assert_array_equal(dialogue.ask("the eggs").mask, filled("left egg", "right egg"))


def test_an_agent_that_never_returns_gives_up(tmp_path: Path) -> None:
    lines = [call("segment_phrase", f"dog {number}") for number in range(MOST_ROUNDS)]
    dialogue, script = agent(tmp_path, *lines)
    assert dialogue.ask("a dog").mask is None and len(script.asked) == MOST_ROUNDS


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ({"talker": "miras-mini"}, "a segmenter for a composed model"),
        ({"talker": "scripted:{file}", "segmenter": "sam9:x"}, "a segmenter"),
        ({}, "a talker for a composed model"),
    ],
)
def test_parts_that_are_none(pair: dict[str, str], line: str, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(CUP)
    with pytest.raises(InputError, match=line):
        registry.open_system("baseline:plain-agent", pair={
            name: spec.format(file=tmp_path / "s.jsonl") for name, spec in pair.items()
        })  # fmt: skip


def test_parts_that_do_not_fit() -> None:
    asked = Asked("scripted:x", Asking(Scripted.of([], "x")), family_of(""))
    with pytest.raises(InputError, match="takes phrases"):
        opened(asked, Painter(frozenset(["box"])))


def test_the_command_resumes_and_pays_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openai")
    from miras.data.formats.records import write_records

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghij")
    monkeypatch.setattr(registry, "segmenter_of", lambda *_, **__: Painter())
    write_records([talk(tmp_path / "one.png")], tmp_path / "data", "miras")
    arguments = ["eval", str(tmp_path / "data"), "--model", "baseline:plain-agent", "--segmenter", "miras-mini",
                 "--out", str(tmp_path / "run"), "--retries", "0", "--json"]  # fmt: skip
    with serve(say(CUP), say(FIRST), status(401), content=NONE) as server:
        talker = ["--talker", f"openai:m@{server.url}"]
        assert main.call([*arguments, *talker]) == 2 and len(server.asked) == 3
        capsys.readouterr()
        assert main.call([*arguments, *talker]) == 0
        told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert told["model"] == "baseline:plain-agent" and told["spent"]["prompt_tokens"] > 0
        assert told["facts"]["past"] == "whole" and len(server.asked) == 5
