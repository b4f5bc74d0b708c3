"""The talker that knows the data: what it says is the data's reply, whatever draws; only the segmenter can err."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.chat.composed.answers import Rules
from miras.chat.composed.families import Grid
from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.segmenter import Candidates, Prompt
from miras.core.types import Mark, Name, Operator, Region, Turn, Words
from miras.data.record import Record
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.systems.gold_talker import GoldTalker, answer_for
from tests.chat.composed.pairs import Painter
from tests.data.made import MASKS, talk
from tests.eval.runs.test_run import progressive
from tests.eval.systems.test_baselines import edits


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [edits(talk(tmp_path / "one.png")), progressive(tmp_path / "two.png")]


@pytest.mark.parametrize("history", ["own", "gold"])
def test_only_the_segmenter_can_err(tmp_path: Path, records: list[Record], history: Any) -> None:
    """With one that fills boxes; what is named again is the region that it was, and costs no mask."""
    painter = Painter()
    figures = evaluate(records, GoldTalker(painter), history=history, out=tmp_path / "run")
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert figures["model"] == "baseline:gold-talker" and figures["facts"]["sees_the_data"]
    assert figures["faults"]["system"] == figures["faults"]["data"] == 0
    assert figures["operators_obeyed"]["obeyed"] == 1.0
    assert [row.text for row in rows if row.history != "alone"] == [
        row.gold_text for row in rows if row.history != "alone"
    ]
    block, hole = box_of(MASKS["block"]), box_of(MASKS["hole"])
    boxes = [asked.box for asked in painter.asked]
    np.testing.assert_allclose(boxes, [block, hole, block, hole, hole], atol=0.01)  # "without the block": no new mask
    assert painter.encoded == 1  # both photos have the same pixels
    cut = next(row for row in rows if row.operator_wanted == Operator.CUT)
    assert cut.iou is not None and cut.has_mask


class Blind(Painter):
    """Finds nothing in the first box that it is given."""

    def segment(self, encoding: tuple[int, int], prompt: Prompt) -> Candidates:
        found = super().segment(encoding, prompt)
        if len(self.asked) > 1:
            return found
        return Candidates(found.masks & False, found.scores)


def test_what_was_not_drawn_is_asked_anew(tmp_path: Path, records: list[Record]) -> None:
    """The numbers of the session's regions, not the data's, are what is pointed at."""
    blind = Blind()
    figures = evaluate(records[:1], GoldTalker(blind), out=tmp_path / "run")
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert figures["faults"]["system"] == 0 and rows[0].has_mask is False and rows[1].has_mask
    assert all(row.operator_got == Operator.CUT for row in rows if row.operator_wanted == Operator.CUT)


def test_a_record_that_was_not_told(records: list[Record]) -> None:
    with pytest.raises(InputError, match="prepare"):
        GoldTalker(Painter()).start(Path(records[0]["image"]), record="x")


def region(number: int, box: tuple[int, int, int, int], size: tuple[int, int] = (400, 3000)) -> Region:
    mask = np.zeros(size, np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Region(number, "left shoe", mask, 1)


SAID: list[tuple[Turn, dict[int, int], list[tuple[str, list[int]]]]] = [
    (Turn("assistant", (Words("The"), Name("left shoe", 1)), (region(1, (7, 3, 8, 4)),)), {}, [("replace", [0])]),
    (Turn("assistant", (Mark(Operator.CUT), Name("left shoe", 1))), {1: 4}, [("cut", [4])]),
    (Turn("assistant", (Mark(Operator.CUT), Name("left shoe", 1))), {}, [("cut", [0])]),
    (Turn("assistant", (Mark(Operator.EXCEPT), Name("left shoe", 2))), {2: 1}, [("all_but", [1])]),
    (Turn("assistant", (Mark(Operator.UNDO), Words("Back."))), {}, [("undo", [])]),
    (Turn("assistant", (Mark(Operator.REJECT), Words("None."))), {}, [("refuse", [])]),
    (Turn("assistant", (Words("Gladly."),)), {}, []),
]


@pytest.mark.parametrize(("gold", "ids", "steps"), SAID, ids=range(len(SAID)))
def test_a_reply_as_a_talker_says_it(gold: Turn, ids: dict[int, int], steps: list[tuple[str, list[int]]]) -> None:
    """A box of one pixel in a wide photo still is one, and what is said fits the schema."""
    known = {number: region(number, (7, 3, 8, 4)) for number in (1, 2)}
    text = answer_for(gold, ids, known)
    value, faults = Rules(Grid(), frozenset(ids.values()), ("phrase", "box"), selected=True).read(text)
    assert not faults and value == json.loads(text)
    assert [(step["do"], [one["id"] for one in step["regions"]]) for step in value["steps"]] == steps
    for one in (one for step in value["steps"] for one in step["regions"] if one["box"]):
        np.testing.assert_allclose(Grid().box(one["box"], (400, 3000)), (7, 3, 8, 4), atol=0.01)
