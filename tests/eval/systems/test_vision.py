"""A pair behind the protocol: a talker behind a real HTTP server of our own, a segmenter that fills boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.chat.composed.compose import compose
from miras.core.errors import InputError
from miras.core.llm.answers import EndpointDown, NoAnswer
from miras.data.record import Record
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.systems.vision import Vision
from tests.chat.composed.pairs import Painter
from tests.data.made import MASKS, SIZE, talk
from tests.eval.runs.test_run import progressive
from tests.servers import Server, say, serve, status

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdefghij"


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [talk(tmp_path / "one.png"), progressive(tmp_path / "two.png")]


def model(server: Server, journal: Path | None = None, **options: Any) -> Vision:
    plain: dict[str, Any] = {"timeout": 5.0, "wait": 0.001, "retries": 1, "max_side": 64, "temperature": 0.0, **options}
    pair = compose(
        f"openai:m@{server.url}", Painter(), look=False, endpoint=plain, journal=journal,
        environment={"OPENAI_API_KEY": KEY},
    )  # fmt: skip
    return Vision(pair, label="openai:m")


def region(phrase: str, name: str, number: int = 0) -> dict[str, Any]:
    """Around one of MASKS, in thousandths of the photo."""
    rows, columns = np.nonzero(MASKS[name])
    sides = (columns.min() / 32, rows.min() / 24, (columns.max() + 1) / 32, (rows.max() + 1) / 24)
    return {"id": number, "phrase": phrase, "box": [round(1000 * side) for side in sides], "points": []}


def told(does: str, *regions: dict[str, Any], text: str = "Here.") -> str:
    return json.dumps({"text": text, "steps": [{"do": does, "regions": list(regions)}]})


BLOCK, HOLE = told("replace", region("the block", "block")), told("add", region("the hole", "hole"))
NONE, WORDS = told("refuse", text="There is none."), json.dumps({"text": "Gladly.", "steps": []})


def test_a_conversation_and_its_selection(records):
    """Replace, add, refuse, cut, undo, words, as they are measured."""
    said = [BLOCK, HOLE, NONE, told("cut", region("the block", "block")), told("undo"), WORDS]
    with serve(*map(say, said)) as server:
        system = model(server)
        talking = system.start(Path(records[0]["image"]))
        got = [talking.ask(f"message {n}") for n in range(1, 7)]
        system.close()
    block, hole = np.zeros(SIZE, np.bool_), np.zeros(SIZE, np.bool_)
    block[2:5, 3:7], hole[10:15, 12:17] = True, True
    wanted = [block, block | hole, block | hole, hole, block | hole, block | hole]
    assert all(np.array_equal(answer.mask, mask) for answer, mask in zip(got, wanted, strict=True))
    assert [answer.operator for answer in got] == ["replace", "add", "reject", "cut", "undo", None]
    assert [answer.refused for answer in got] == [False, False, True, False, False, False]
    assert [answer.score for answer in got] == [pytest.approx(0.9)] * 2 + [None, pytest.approx(0.9), None, None]
    assert [answer.text for answer in got][2:6:3] == ["There is none.", "Gladly."]
    assert [[r.id for r in answer.regions] for answer in got] == [[1], [2], [], [3], [], []]
    assert system.spent() == {
        "prompt_tokens": 66, "completion_tokens": 30, "cost": 0.0, "questions": 6, "calls": 6
    }  # fmt: skip


def test_a_model_that_never_fits_is_a_fault_of_its_row(tmp_path, records):
    with serve(say("no"), say("no"), say(HOLE), say(NONE)) as server:
        system = model(server)
        figures = evaluate(records[:1], system, out=tmp_path / "run")
        system.close()
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert [(row.blame, row.has_mask) for row in rows] == [("system", False), (None, True), (None, True)]
    assert rows[0].iou == 0
    assert "that fits" in str(rows[0].fault) and rows[1].predicted == 25 and rows[2].refused
    assert (figures["faults"]["system"], figures["turns"], figures["spent"]["calls"]) == (1, 3, 4)
    assert len(server.asked[2]["messages"]) == 4  # what failed is not part of the talk


@pytest.mark.parametrize("history", ["own", "gold"])
def test_a_whole_run(tmp_path, records, history):
    """In gold history the data's replies stand in the calls as if the talker had given them."""
    said = [BLOCK, HOLE, NONE, BLOCK, told("replace", region("hole", "hole")), told("replace", region("hole", "hole"))]
    with serve(*map(say, said)) as server:
        system = model(server)
        figures = evaluate(records, system, history=history, out=tmp_path / "run")
        system.close()
    assert (figures["n"], figures["model"]) == (4, "openai:m")
    assert figures["refusals"]["right"] == 1 and figures["operators_obeyed"]["obeyed"] == 1
    assert figures["alone"]["gap"] == 0 and figures["facts"]["sampling"].startswith("openai:m:side=64")
    before = server.asked[1]["messages"][4]
    assert before["role"] == "assistant"
    assert json.loads(before["content"])["text"] == ("Here." if history == "own" else "On the block.")
    assert KEY not in (tmp_path / "run" / "run.json").read_text()


def test_a_server_that_stays_away_stops_the_run_and_nothing_is_paid_twice(tmp_path, records):
    journal, out = tmp_path / "answers.jsonl", tmp_path / "run"
    Image.new("RGB", SIZE[::-1]).save(records[1]["image"])  # of an equal photo the same words are the same question
    with serve(say(BLOCK), say(HOLE), say(NONE), say(BLOCK), status(401)) as server:
        system = model(server, journal)
        with pytest.raises(EndpointDown, match="OPENAI_API_KEY"):
            evaluate(records, system, out=out)
        system.close()
    assert [row.record for row in samples.read(out / samples.FILE)] == ["talk"] * 3
    only = told("replace", region("hole", "hole"))
    with serve(say(only), say(only)) as server:
        system = model(server, journal)
        figures = evaluate(records, system, out=out)
        system.close()
        assert len(server.asked) == 2  # the answer to turn 1 of the second talk is in the journal
    assert figures["turns"] == 5 and figures["faults"]["system"] == 0 and figures["giou"] > 50
    assert figures["spent"]["prompt_tokens"] == 6 * 11 and figures["spent"]["questions"] == 3
    with serve() as server:
        system = model(server, tmp_path / "other.jsonl")
        again = evaluate(records, system, out=out)  # whole: nothing is asked
        system.close()
        assert not server.asked and again["giou"] == figures["giou"]


def test_no_server_at_all(tmp_path, records):
    with serve() as server:
        pass
    system = model(server)
    with pytest.raises(EndpointDown, match="expected an answer from"):
        evaluate(records, system, out=tmp_path / "run")
    system.close()


def test_a_fork_does_not_hear_the_other(records):
    with serve(say(BLOCK), say(HOLE), say(HOLE)) as server:
        system = model(server)
        talking = system.start(Path(records[0]["image"]))
        talking.ask("one")
        fork = talking.fork()
        assert fork.ask("two").mask.sum() == talking.ask("two").mask.sum() == 37
        assert [len(asked["messages"]) for asked in server.asked] == [4, 6, 6]
        system.close()


def test_a_refused_request_is_no_answer(records):
    with serve(status(413)) as server:
        system = model(server)
        with pytest.raises(NoAnswer, match="413"):
            system.start(Path(records[0]["image"])).ask("one")
        system.close()


def test_an_unusable_photo_is_told(tmp_path):
    (tmp_path / "none.png").write_bytes(b"no picture")
    with serve() as server, pytest.raises(InputError):
        model(server).start(tmp_path / "none.png")
