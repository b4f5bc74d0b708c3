"""Reference systems: what needs no understanding, and what sees the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.chat.load import Loaded
from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.types import Conversation, Example, Mark, Mask, Name, Operator, Turn, Words
from miras.data.record import Record, record_of, turn_of
from miras.eval.protocol import Ours
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.systems import baselines
from tests.data.made import MASKS, talk
from tests.eval.runs.test_run import progressive


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [talk(tmp_path / "one.png"), progressive(tmp_path / "two.png")]


@pytest.fixture
def loaded(tiny) -> Loaded:
    return Loaded(tiny, "miras-tiny", 0.0)


def no_model() -> Loaded:
    raise AssertionError("this one needs no model")


@pytest.mark.parametrize("name", ["ellipse", "photo", "salient"])
@pytest.mark.parametrize("history", ["own", "gold"])
def test_a_fixed_mask_at_every_turn(tmp_path, records, name, history):
    system = baselines.baseline(name, no_model)
    figures = evaluate(records, system, history=history, out=tmp_path / "run")
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert (figures["model"], figures["n"], figures["no_mask_rate"]) == (f"baseline:{name}", 4, 0.0)
    assert figures["faults"]["system"] == figures["faults"]["data"] == 0
    assert figures["refusals"]["right"] == 0 and "calibration" not in figures
    assert {(row.text, row.operator_got, row.refused) for row in rows} == {("", Operator.REPLACE, False)}
    by_photo = {row.photo: row.rle for row in rows}
    assert all(row.rle == by_photo[row.photo] for row in rows)
    if name == "photo":
        assert rows[0].predicted == 24 * 32 and rows[0].iou == MASKS["block"].sum() / (24 * 32)
    assert figures["alone"]["gap"] == 0


def test_the_same_photo_is_looked_at_once(records, monkeypatch):
    seen: list[Any] = []
    monkeypatch.setitem(baselines.MASKS, "photo", lambda pixels: seen.append(1) or baselines.whole(pixels))
    system = baselines.baseline("photo", no_model)
    first, second = (Path(record["image"]) for record in records)
    for path in (first, first, second):
        system.start(path)
    assert len(seen) == 2
    with pytest.raises(InputError, match="nowhere"):
        system.start(Path("nowhere.png"))


def test_a_phrase_has_no_past(loaded, records):
    """The answer to a message is the same whatever was said before; our model's own is that of a first message."""
    photo = Path(records[0]["image"])
    talk = baselines.baseline("phrase", lambda: loaded).start(photo)
    first = talk.ask("the block")
    talk.ask("also the hole")
    talk.append_exchange("Where can I sit?", turn_of(records[0]["turns"][1], 1))
    for again in (talk.ask("the block"), talk.fork().ask("the block"), Ours(loaded).start(photo).ask("the block")):
        assert (again.text, again.refused, again.score) == (first.text, first.refused, first.score)
        assert (again.mask is None) == (first.mask is None)
        assert first.mask is None or np.array_equal(again.mask, first.mask)


class Painter:
    """A decoder that fills the box it is given; keeps the boxes."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size, self.boxes = size, []

    def refine(self, *, phrase: str, points: Any, box: Any) -> tuple[Mask, float | None]:
        assert points is None
        self.boxes.append(box)
        mask = np.zeros(self.size, np.bool_)
        x1, y1, x2, y2 = map(int, box)
        mask[y1:y2, x1:x2] = True
        return mask, 0.75


def edits(record: Record) -> Record:
    """The talk, then: take the block away, one step back, words only."""
    turns = [turn_of(turn, index) for index, turn in enumerate(record["turns"])]
    block = turns[1].regions[0]
    again = replace(block, id=3, turn=7, operator=Operator.CUT)
    more = (
        Turn.user("Without the block."), Turn("assistant", (Mark(Operator.CUT), Name("block", 3)), (again,)),
        Turn.user("Undo."), Turn("assistant", (Mark(Operator.UNDO), Words("Back."))),
        Turn.user("Thanks."), Turn("assistant", (Words("Gladly."),)),
    )  # fmt: skip
    example = Example(Path(record["image"]), Conversation((*turns, *more)), "hole", "edit", 2, "made")
    return record_of(example, id="edits", image_id=record["image_id"], image=record["image"], size=(24, 32))


def test_the_gold_box_leaves_the_decoder_alone_to_err(tmp_path, records, loaded, monkeypatch):
    """With a decoder that fills boxes: every selection is made of boxes, by the data's operators."""
    painter = Painter((24, 32))
    monkeypatch.setattr(baselines, "OurDecoder", lambda session: painter)
    system = baselines.baseline("gold-box", lambda: loaded)
    figures = evaluate([edits(records[0]), records[1]], system, out=tmp_path / "run")
    rows = samples.read(tmp_path / "run" / samples.FILE)
    block, hole = box_of(MASKS["block"]), box_of(MASKS["hole"])
    assert painter.boxes == [block, hole, block, block, hole, hole]
    assert [row.predicted for row in rows] == [12, 12 + 25, None, 25, 12 + 25, None, 12, 25, 25]
    assert [row.iou for row in rows[:2]] == [1.0, pytest.approx((12 + MASKS["hole"].sum()) / 37)]
    assert [row.operator_got for row in rows[:6]] == ["replace", "add", None, "cut", "undo", None]
    assert not any(row.refused or row.fault for row in rows) and rows[0].score == 0.75
    assert rows[2].rle == rows[1].rle  # the data refuses: the selection stays
    assert figures["facts"]["sees_the_data"] is True and figures["predictions"]["records"] == 2
    assert figures["alone"]["gap"] == 0


def test_the_gold_box_after_the_datas_own_past(tmp_path, records, loaded, monkeypatch):
    """Gold history: what was selected before is the data's mask, what is added is the decoder's."""
    monkeypatch.setattr(baselines, "OurDecoder", lambda session: Painter((24, 32)))
    evaluate(records, baselines.baseline("gold-box", lambda: loaded), history="gold", out=tmp_path / "run")
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert rows[1].predicted == MASKS["block"].sum() + 25 and rows[1].intersection == rows[1].gold


def test_the_gold_box_with_a_real_decoder_and_unprepared(records, loaded):
    system = baselines.GoldBox(loaded)
    with pytest.raises(InputError, match="told beforehand"):
        system.start(Path(records[0]["image"]), record="talk")
    system.prepare(records, "own")
    talk = system.start(Path(records[0]["image"]), record="talk")
    answer = talk.ask("anything")
    assert answer.regions[0].phrase == "block" and answer.mask.shape == (24, 32) and 0 <= answer.score <= 1
    for _ in range(2):
        talk.ask("more")
    with pytest.raises(InputError, match="at most 3 messages"):
        talk.ask("one too many")


def test_an_unknown_baseline():
    with pytest.raises(InputError, match="ellipse, photo, salient, phrase, gold-box"):
        baselines.baseline("moon", no_model)
