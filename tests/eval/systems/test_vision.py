"""A vision model behind a real HTTP server of our own, its boxes drawn by a decoder that fills them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miras.chat.load import Loaded
from miras.core.errors import InputError
from miras.core.llm.answers import EndpointDown, NoAnswer
from miras.core.llm.endpoint import Settings
from miras.core.types import Mark, Mask, Name, Operator, Region, Turn, Words
from miras.data.record import Record
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.systems import vision
from miras.eval.systems.vision import Endpoint, Vision, pixels_of, read_answer, value_of
from tests.data.made import MASKS, SIZE, talk
from tests.eval.runs.test_run import progressive
from tests.servers import Server, say, serve, status

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdefghij"


class Painter:
    """Fills the box it is given; without one the pixels of the points inside. Keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, Any]] = []

    def refine(self, *, phrase: str, points: Any, box: Any) -> tuple[Mask, float | None]:
        self.given.append((points, box))
        mask = np.zeros(SIZE, np.bool_)
        if box is None:
            for x, y, inside in points:
                if inside:
                    mask[int(y), int(x)] = True
        else:
            x1, y1, x2, y2 = (round(side) for side in box)
            mask[y1:y2, x1:x2] = True
        return mask, 0.5


@pytest.fixture
def painter(monkeypatch) -> Painter:
    painter = Painter()
    monkeypatch.setattr(vision, "OurDecoder", lambda session: painter)
    return painter


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [talk(tmp_path / "one.png"), progressive(tmp_path / "two.png")]


def model(server: Server, tiny: Any, journal: Path | None = None, **options: Any) -> Vision:
    plain: dict[str, Any] = {"timeout": 5.0, "wait": 0.001, "retries": 1, "max_side": 64, "temperature": 0.0, **options}
    endpoint = Endpoint(Settings("m", KEY, server.url, **plain))
    return Vision(endpoint, Loaded(tiny, "tiny", 0.0), label="openai:m", journal=journal)


def region(phrase: str, name: str = "", *points: tuple[int, int, bool]) -> dict[str, Any]:
    """Around one of MASKS, in thousandths of the photo."""
    box: list[int] = []
    if name:
        rows, columns = np.nonzero(MASKS[name])
        sides = (columns.min() / 32, rows.min() / 24, (columns.max() + 1) / 32, (rows.max() + 1) / 24)
        box = [round(1000 * side) for side in sides]
    return {"phrase": phrase, "box": box, "points": [{"x": x, "y": y, "inside": i} for x, y, i in points]}


def told(operation: str, *regions: dict[str, Any], text: str = "Here.", found: bool = True) -> str:
    return json.dumps({"text": text, "found": found, "operation": operation, "regions": list(regions)})


BLOCK, HOLE = told("replace", region("the block", "block")), told("add", region("the hole", "hole"))
NONE = told("none", text="There is none.", found=False)


def test_a_conversation_and_its_selection(tiny, records, painter):
    """Replace, add, refuse, cut, undo, words: `core.selection` does the sums; all that was said stands in each call."""
    said = [BLOCK, HOLE, NONE, told("cut", region("the block", "block")), told("undo"), told("none", text="Gladly.")]
    with serve(*map(say, said)) as server:
        system = model(server, tiny)
        talking = system.start(Path(records[0]["image"]))
        got = [talking.ask(f"message {n}") for n in range(1, 7)]
        system.close()
    block, hole = np.zeros(SIZE, np.bool_), np.zeros(SIZE, np.bool_)
    block[2:5, 3:7], hole[10:15, 12:17] = True, True
    wanted = [block, block | hole, block | hole, hole, block | hole, block | hole]
    assert all(np.array_equal(answer.mask, mask) for answer, mask in zip(got, wanted, strict=True))
    assert [answer.operator for answer in got] == ["replace", "add", "reject", "cut", "undo", None]
    assert [answer.refused for answer in got] == [False, False, True, False, False, False]
    assert [answer.score for answer in got] == [0.5, 0.5, None, 0.5, None, None]
    assert [answer.text for answer in got][2:6:3] == ["There is none.", "Gladly."]
    assert [[r.id for r in answer.regions] for answer in got] == [[1], [2], [], [3], [], []]
    assert system.spent() == {
        "prompt_tokens": 66, "completion_tokens": 30, "cost": 0.0, "questions": 6, "calls": 6
    }  # fmt: skip
    last = server.asked[-1]["messages"]
    assert [message["role"] for message in last] == ["system", *["user", "assistant"] * 5, "user"]
    assert last[1]["content"][1]["text"].endswith("message 1") and last[-1]["content"].endswith("message 6")
    assert json.loads(last[2]["content"]) == json.loads(BLOCK)
    picture = last[1]["content"][0]["image_url"]["url"]
    assert Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).size == (32, 24)


def test_points_and_boxes_reach_the_decoder_in_pixels(tiny, records, painter):
    answer = told(
        "replace", region("a", "", (500, 250, True), (0, 1000, False)), region("b", "block", (125, 125, True))
    )
    with serve(say(answer)) as server:
        system = model(server, tiny)
        got = system.start(Path(records[0]["image"])).ask("both")
        system.close()
    (first, no_box), (second, box) = painter.given
    assert first.tolist() == [[16, 6, 1], [0, 24, 0]] and no_box is None
    assert second.tolist() == [[4, 3, 1]] and box == pytest.approx((3, 2, 7, 5), abs=0.05)
    assert got.mask.sum() == 1 + 12 and [r.phrase for r in got.regions] == ["a", "b"]


def test_an_answer_that_does_not_fit_goes_back(tiny, records, painter):
    """Broken JSON, then a box the wrong way round; the third fits."""
    crossed = json.loads(BLOCK)
    crossed["regions"][0]["box"] = [500, 0, 400, 100]
    with serve(say('{"text": "He'), say(json.dumps(crossed)), say(BLOCK)) as server:
        system = model(server, tiny)
        assert system.start(Path(records[0]["image"])).ask("the block").mask.sum() == 12
        system.close()
        assert system.spent()["questions"] == 1 and system.spent()["calls"] == 3
    assert "cannot be used" in server.asked[1]["messages"][-1]["content"]
    assert "x1 must be less than x2" in server.asked[2]["messages"][-1]["content"]


def test_a_model_that_never_fits_is_a_fault_of_its_row(tmp_path, tiny, records, painter):
    with serve(say("no"), say("no"), say("no"), say(HOLE), say(NONE)) as server:
        system = model(server, tiny)
        figures = evaluate(records[:1], system, out=tmp_path / "run")
        system.close()
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert [(row.blame, row.has_mask) for row in rows] == [("system", False), (None, True), (None, True)]
    assert rows[0].iou == 0
    assert "that fits" in str(rows[0].fault) and rows[1].predicted == 25 and rows[2].refused
    assert (figures["faults"]["system"], figures["turns"], figures["spent"]["calls"]) == (1, 3, 5)
    assert "select" not in str(server.asked[3]["messages"][1:-1])  # what failed is not part of the talk


@pytest.mark.parametrize("history", ["own", "gold"])
def test_a_whole_run(tmp_path, tiny, records, painter, history):
    """In gold history the data's replies stand in the calls as if the model had given them."""
    said = [BLOCK, HOLE, NONE, BLOCK, told("replace", region("hole", "hole")), told("replace", region("hole", "hole"))]
    with serve(*map(say, said)) as server:
        system = model(server, tiny)
        figures = evaluate(records, system, history=history, out=tmp_path / "run")
        system.close()
    assert (figures["n"], figures["model"]) == (4, "openai:m")
    assert figures["refusals"]["right"] == 1 and figures["operators_obeyed"]["obeyed"] == 1
    assert figures["alone"]["gap"] == 0 and figures["facts"]["endpoint"].startswith("openai:m:side=64")
    before = server.asked[1]["messages"][2]
    assert before["role"] == "assistant"
    assert json.loads(before["content"])["text"] == ("Here." if history == "own" else "On the block.")
    assert KEY not in (tmp_path / "run" / "run.json").read_text()


def test_a_server_that_stays_away_stops_the_run_and_nothing_is_paid_twice(tmp_path, tiny, records, painter):
    journal, out = tmp_path / "answers.jsonl", tmp_path / "run"
    Image.new("RGB", SIZE[::-1]).save(records[1]["image"])  # of an equal photo the same words are the same question
    with serve(say(BLOCK), say(HOLE), say(NONE), say(BLOCK), status(401)) as server:
        system = model(server, tiny, journal)
        with pytest.raises(EndpointDown, match="OPENAI_API_KEY"):
            evaluate(records, system, out=out)
        system.close()
    assert [row.record for row in samples.read(out / samples.FILE)] == ["talk"] * 3
    only = told("replace", region("hole", "hole"))
    with serve(say(only), say(only)) as server:
        system = model(server, tiny, journal)
        figures = evaluate(records, system, out=out)
        system.close()
        assert len(server.asked) == 2  # the answer to turn 1 of the second talk is in the journal
    assert figures["turns"] == 5 and figures["faults"]["system"] == 0 and figures["giou"] > 50
    assert figures["spent"]["prompt_tokens"] == 6 * 11 and figures["spent"]["questions"] == 3
    with serve() as server:
        system = model(server, tiny, tmp_path / "other.jsonl")
        again = evaluate(records, system, out=out)  # whole: nothing is asked
        system.close()
        assert not server.asked and again["giou"] == figures["giou"]


def test_no_server_at_all(tmp_path, tiny, records, painter):
    with serve() as server:
        pass
    system = model(server, tiny)
    with pytest.raises(EndpointDown, match="expected an answer from"):
        evaluate(records, system, out=tmp_path / "run")
    system.close()


def test_a_fork_does_not_hear_the_other(tiny, records, painter):
    with serve(say(BLOCK), say(HOLE), say(HOLE)) as server:
        system = model(server, tiny)
        talking = system.start(Path(records[0]["image"]))
        talking.ask("one")
        fork = talking.fork()
        assert fork.ask("two").mask.sum() == talking.ask("two").mask.sum() == 37
        assert [len(asked["messages"]) for asked in server.asked] == [2, 4, 4]
        system.close()


def test_a_refused_request_is_no_answer(tiny, records, painter):
    with serve(status(413)) as server:
        system = model(server, tiny)
        with pytest.raises(NoAnswer, match="413"):
            system.start(Path(records[0]["image"])).ask("one")
        system.close()


def test_a_blind_model_cannot_be_asked():
    with pytest.raises(InputError, match="sees the photos"):
        Endpoint(Settings("m", KEY, "http://127.0.0.1:9/v1", photos=False))


def test_an_estimate_counts_words_and_pictures(tiny):
    settings = Settings("m", KEY, "http://127.0.0.1:9/v1", max_side=512, price_in=1.0, price_out=2.0)
    question = vision.Question((), 0, np.zeros((4, 4, 3), np.uint8), "d")
    found = Endpoint(settings).estimate([question, question])
    assert (found.requests, found.completion_tokens) == (2, 2 * vision.WRITTEN) and found.prompt_tokens > 2 * 255
    assert found.cost == pytest.approx((found.prompt_tokens + 2 * found.completion_tokens) / 1e6)


@pytest.mark.parametrize("phrase", ["", "cup", "a " * 5000])
def test_our_decoder_stays_in_the_box(tiny, photo, phrase):
    """With words, without, and with words too long to be asked; points alone cut nothing."""
    session = Loaded(tiny, "tiny", 0.0).chat(photo)
    mask, score = vision.OurDecoder(session).refine(phrase=phrase, points=None, box=(100.5, 50.0, 300.0, 250.2))
    assert mask.shape == photo.shape[:2] and score is not None and not session.turns
    mask[50:251, 100:300] = False
    assert not mask.any()
    points = np.array([[20, 30, 1]], np.float32)
    pointed, _ = vision.OurDecoder(session).refine(phrase="", points=points, box=None)
    assert np.array_equal(pointed, session.fork().refine(points=points).regions[0].mask)


# Answers


def broken(**changes: Any) -> str:
    value = json.loads(BLOCK)
    value["regions"][0] |= changes.pop("region", {})
    return json.dumps({**value, **changes})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON"),
        ("Here it is.", "JSON"),
        ("[1, 2]", "object"),
        ('{"text": "x"}', "found"),
        (broken(operation="erase"), "operation"),
        (broken(found=False), "found is false"),
        (broken(regions=[]), "needs at least one region"),
        (broken(operation="undo"), "names no regions"),
        (broken(operation="none"), "names no regions"),
        (broken(region={"box": [1, 2, 3]}), "must be [x1, y1, x2, y2]"),
        (broken(region={"box": [5, 5, 5, 9]}), "x1 must be less than x2"),
        (broken(region={"box": [-1, 0, 5, 9]}), "box"),
        (broken(region={"box": [0, 0, 5, 1001]}), "box"),
        (broken(region={"box": [0.5, 0, 5, 9]}), "box"),
        (broken(region={"box": []}), "needs a box or a point inside"),
        (broken(region={"box": [], "points": [{"x": 1, "y": 1, "inside": False}]}), "a point inside"),
        (broken(region={"points": [{"x": 1, "y": 1, "inside": True}] * 9}), "points"),
        (broken(regions=[region("x", "block")] * 31), "regions"),
    ],
)  # fmt: skip
def test_answers_that_do_not_fit(text, says):
    value, faults = read_answer(text)
    assert value is None and faults
    assert says in " ".join(faults)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["text", "found", "operation", "regions", "box", "points"]), inner, max_size=4),
                    max_leaves=12))  # fmt: skip
@settings(max_examples=40)
def test_whatever_a_model_says_is_read_or_told_wrong(value):
    read, faults = read_answer(json.dumps(value))
    assert (read is None) == bool(faults)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.integers(1, 4000), st.integers(1, 4000))
def test_a_box_stays_inside_the_photo(sides, height, width):
    box = [min(sides[0], sides[2]), min(sides[1], sides[3]), max(sides[0], sides[2]), max(sides[1], sides[3])]
    _, found = pixels_of({"box": box, "points": []}, (height, width))
    assert found is not None
    x1, y1, x2, y2 = found
    assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
    assert (x2, y2) == (width, height) or max(box[2:]) < 1000 or min(box[2:]) < 1000


def reply(*pieces: Any, regions: tuple[Region, ...] = ()) -> Turn:
    return Turn("assistant", pieces, regions)


@pytest.mark.parametrize(
    ("turn", "operation", "found", "boxes"),
    [
        (reply(Name("block", 1), regions=(Region(1, "block", MASKS["block"], 1),)), "replace", True,
         [[94, 83, 219, 208]]),
        (reply(Mark(Operator.ADD), Name("x", 1), regions=(Region(1, "x", MASKS["pixel"], 1, Operator.ADD),)), "add",
         True, [[969, 958, 1000, 1000]]),
        (reply(Mark(Operator.REJECT), Words("None.")), "none", False, []),
        (reply(Mark(Operator.UNDO), Words("Back.")), "undo", True, []),
        (reply(Words("Hello.")), "none", True, []),
        (reply(Name("x", 1), regions=(Region(1, "x", np.zeros(SIZE, np.bool_), 1),)), "replace", True, []),
    ],
)  # fmt: skip
def test_the_datas_reply_in_the_models_words(turn, operation, found, boxes):
    value = value_of(turn)
    assert (value["operation"], value["found"]) == (operation, found)
    assert [one["box"] for one in value["regions"]] == boxes
    if boxes or operation != "replace":
        assert read_answer(json.dumps(value))[1] == []
