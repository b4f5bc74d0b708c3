from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miras.chat.load import load
from miras.chat.reply import Reply
from miras.core.errors import InputError
from miras.core.types import Mark, Name, Operator, Region, Selection, Turn, Words
from miras.data.record import turn_of
from miras.eval.protocol import Ours, answer_of, operator_wanted, told
from miras.eval.runs.hold import hold
from miras.eval.runs.run import evaluate
from tests.data.made import MASKS, SIZE, photo
from tests.eval.runs.test_run import progressive


@pytest.fixture(scope="module")
def ours() -> Ours:
    return Ours(load("miras-tiny", threads=1))


@pytest.mark.parametrize(
    ("content", "operator"),
    [
        ((Words("Hello."),), None),
        ((Name("cup", 1),), Operator.REPLACE),
        ((Mark(Operator.ADD), Name("cup", 1)), Operator.ADD),
        ((Mark(Operator.UNDO), Words("Gone.")), Operator.UNDO),
        ((Mark(Operator.REJECT), Words("None.")), Operator.REJECT),
    ],
)
def test_what_a_reply_does(content, operator):
    regions = tuple(Region(1, "cup", MASKS["block"], 1) for piece in content if isinstance(piece, Name))
    assert operator_wanted(Turn("assistant", content, regions)) == operator


def test_the_answer_of_a_reply():
    regions = tuple(Region(i, "cup", MASKS["block"], 1, score=score) for i, score in ((1, 0.4), (2, 0.8)))
    answer = answer_of(Reply("", "Two cups.", regions, Selection(MASKS["block"], "1 + 2")), 0.5)
    assert (answer.operator, answer.refused, answer.score) == (Operator.REPLACE, False, pytest.approx(0.6))
    assert answer.mask is not None and answer.mask.sum() == MASKS["block"].sum()
    none = answer_of(Reply("", "None.", (), Selection(np.zeros(SIZE, bool)), (Operator.REJECT,)), 0.5)
    assert (none.mask, none.operator, none.refused, none.score) == (None, Operator.REJECT, True, None)


def test_our_model_behind_the_protocol(tmp_path: Path, ours: Ours):
    """One encoding a photo, the same rows again, and gold history starts from the data's own masks."""
    records = [progressive(tmp_path / "two.png", name) for name in ("first", "second")]
    before = ours._loaded.model.encoded_photos
    figures = evaluate(records, ours, history="gold", out=tmp_path / "run")
    assert ours._loaded.model.encoded_photos - before == 1
    assert figures["model"] == "miras-tiny" and figures["turns"] == 4 and not figures["faults"]["named"]
    rows = [list(hold(record, ours, history="gold")) for record in records]
    assert [row.rle for row in rows[0]] == [row.rle for row in rows[1]]
    assert [row.text for row in rows[0]] == [row.text for row in rows[1]]


def test_told_history_is_what_is_selected(tmp_path: Path, ours: Ours):
    record = progressive(tmp_path / "two.png")
    talk = ours.start(Path(record["image"]))
    twin = talk.fork()
    talk.append_exchange(record["turns"][0]["text"], turn_of(record["turns"][1], 1))
    assert np.array_equal(talk._session.selection.mask, MASKS["block"])
    assert not twin._session.selection.mask.any()


def test_facts_change_with_the_weights(ours: Ours):
    assert ours.facts() == {}


def test_no_photo(tmp_path: Path, ours: Ours):
    with pytest.raises(InputError, match="does not exist"):
        ours.start(tmp_path / "none.jpg")
    photo(tmp_path / "some.png")
    ours.start((tmp_path / "some.png").read_bytes()).ask("Where is the cup?")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("---\ntrained_on: three photos\n---\n# Card\n", "three photos"),
        ("---\nlicence: none\n---\n", ""),
        ("# No head\n---\ntrained_on: x\n---\n", ""),
        ("---\n: [\n---\n", ""),
        ("---\n- a list\n---\n", ""),
    ],
)
def test_the_head_of_a_card(tmp_path, text, wanted):
    (tmp_path / "README.md").write_text(text)
    assert told(tmp_path / "README.md", "trained_on") == wanted
    assert told(tmp_path / "none.md", "trained_on") == ""
