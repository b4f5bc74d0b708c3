from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.core.errors import DataWarning, InputError
from miras.core.former import FormerNameWarning
from miras.core.masks import encode_rle
from miras.core.selection import Steps, advance
from miras.core.types import Conversation, Example, Mark, Name, Operator, Region, Turn, Words
from miras.data.record import Record, record_of, turn_of
from miras.eval.protocol import Answer, History, operator_wanted
from miras.eval.runs import samples
from miras.eval.runs.hold import hold, keys
from miras.eval.runs.run import choose, evaluate
from tests.data.made import MASKS, SIZE, photo, talk

PLAIN = ("record", "history", "turn")


def progressive(path: Path, name: str = "step") -> Record:
    """From a block to the hole in it."""
    regions = [Region(i, phrase, MASKS[phrase], 2 * i - 1) for i, phrase in ((1, "block"), (2, "hole"))]
    turns = []
    for said, region in zip(("Where can I sit?", "Only the round one."), regions, strict=True):
        turns += [Turn.user(said), Turn("assistant", (Words("The"), Name(region.phrase, region.id)), (region,))]
    example = Example(photo(path), Conversation(tuple(turns)), "hole", "progressive", 2, "made")
    return record_of(example, id=name, image_id=path.stem, image=path.as_posix(), size=SIZE)


class Parrot:
    """Says what the data says; `changes`: of its answers, by (record, exchange from 1)."""

    name = "parrot"

    def __init__(self, records: list[Record], changes: Mapping[tuple[str, int], Any] | None = None) -> None:
        self.records = {record["id"]: record for record in records}
        self.changes, self.heard = dict(changes or {}), []

    def facts(self) -> dict[str, Any]:
        return {"plumage": "green"}

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> Line:
        assert isinstance(photo, Path)
        if not photo.is_file():
            raise InputError("a photo", str(photo))
        return Line(self, self.records[record], history)


class Line:
    def __init__(self, parrot: Parrot, record: Record, history: History, said: int = 0, steps: Steps = ()) -> None:
        self.parrot, self.record, self.history, self.said, self.steps = parrot, record, history, said, steps

    def ask(self, text: str) -> Answer:
        self.parrot.heard.append((self.record["id"], self.history, text))
        index = len(self.record["turns"]) // 2 - 1 if self.history == "alone" else self.said
        gold = turn_of(self.record["turns"][2 * index + 1], 2 * index + 1)
        Line.append_exchange(self, text, gold)
        change = self.parrot.changes.get((self.record["id"], index + 1), {})
        if isinstance(change, Exception):
            raise change
        operator = operator_wanted(gold)
        answer = Answer(gold.text, self.steps[-1].mask if self.steps else None, gold.regions, operator,
                        operator is Operator.REJECT, 0.9 if gold.regions else None, 0.01)  # fmt: skip
        return replace(answer, **change)

    def append_exchange(self, user: str, gold: Turn) -> None:
        self.said, self.steps = self.said + 1, advance(self.steps, gold)

    def fork(self) -> Line:
        return Line(self.parrot, self.record, self.history, self.said, self.steps)


class Former(Line):
    """A dialogue that knows `tell` alone."""

    append_exchange = property()  # type: ignore[assignment]
    tell = Line.append_exchange

    def fork(self) -> Former:
        return Former(self.parrot, self.record, self.history, self.said, self.steps)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [talk(tmp_path / "one.png"), progressive(tmp_path / "two.png")]


@pytest.mark.parametrize("history", ["own", "gold"])
def test_who_says_what_the_data_says_is_right(tmp_path, records, history):
    figures = evaluate(records, Parrot(records), history=history, out=tmp_path / "run")
    assert (figures["n"], figures["turns"], figures["giou"], figures["ciou"]) == (4, 5, 100.0, 100.0)
    assert figures["history"] == history
    assert figures["alone"]["n"] == 1 and figures["alone"]["gap"] == 0
    assert figures["refusals"] == {"n": 1, "right": 1.0}
    assert figures["operators"]["add"]["obeyed"] == 1.0
    assert figures["calibration"]["ece"] == pytest.approx(0.1)
    assert figures["faults"] == {"data": 0, "system": 0, "records": 0, "named": [], "unread": 0}
    rows = samples.read(tmp_path / "run" / samples.FILE)
    assert [row.key for row in rows] == [
        ("talk", history, 1), ("talk", history, 2), ("talk", history, 3), ("step", history, 1), ("step", history, 2),
        ("step", "alone", 2),
    ]  # fmt: skip
    assert rows[1].gold == MASKS["block"].sum() + MASKS["hole"].sum()
    assert rows[1].region_iou == 1 and rows[1].phrase == "hole" and rows[1].operator_wanted == "add"
    assert (rows[2].graded, rows[2].iou, rows[2].refused_wanted, rows[2].refused) == (False, None, True, True)
    assert rows[5].user == "Select the hole."


def test_a_system_of_before_is_told_by_its_former_name(records):
    class Owl(Parrot):
        def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> Line:
            return Former(self, self.records[record], history)

    with pytest.warns(FormerNameWarning, match=r"'Dialogue\.append_exchange'"):
        ious = [row.iou for row in hold(records[0], Owl(records), history="gold")]
    assert ious == [row.iou for row in hold(records[0], Parrot(records), history="gold")]


def test_own_history_keeps_a_mistake_and_gold_history_does_not(tmp_path, records):
    """The block is missed in the first turn; the second adds to what is selected then."""

    class Forgetful(Line):
        def ask(self, text: str) -> Answer:
            answer = super().ask(text)
            if self.said == 1:
                self.steps = ()
                return replace(answer, mask=None, regions=())
            return answer

    class Owl(Parrot):
        def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> Line:
            return Forgetful(self, self.records[record], history)

    Forgetful.fork = lambda self: Forgetful(self.parrot, self.record, self.history, self.said, self.steps)  # type: ignore[method-assign]
    ious = {
        history: [row.iou for row in hold(records[0], Owl(records), history=history)] for history in ("own", "gold")
    }
    assert ious["own"][0] == ious["gold"][0] == 0
    assert 0 < ious["own"][1] < 1
    assert ious["gold"][1] == 1


@pytest.mark.parametrize(
    ("change", "says", "iou"),
    [
        ({"mask": np.ones((3, 3), bool)}, r"photo's size \(24, 32\), got \(3, 3\)", 0.0),
        ({"score": float("nan")}, "score from 0 to 1, got nan", 1.0),
        ({"score": 7.0}, "got 7.0", 1.0),
        (InputError("a message that fits", "a long one"), "a message that fits", 0.0),
        ({"mask": None}, None, 0.0),
        ({"mask": np.full(SIZE, 0.3)}, "threshold it first", 0.0),
        ({"mask": np.full(SIZE, np.nan)}, "with NaN", 0.0),
        ({"mask": MASKS["block"] * np.float32(255)}, None, 1.0),
        ({"regions": (Region(1, "cup", np.full(SIZE, 0.3), 1),)}, None, 1.0),
    ],
)
def test_an_answer_at_fault_is_named_and_counts_as_no_mask(records, change, says, iou):
    first = next(iter(hold(records[1], Parrot(records, {("step", 1): change}))))
    assert first.iou == iou
    assert (first.blame, first.fault is None) == (("system", False) if says else (None, True))
    if says:
        with pytest.raises(AssertionError, match=says):
            raise AssertionError(first.fault)
    assert first.score is None or 0 <= first.score <= 1


def broken(record: Record, what: str) -> Record:
    changed: Any = json.loads(json.dumps(record))
    region = changed["turns"][1]["regions"][0]
    if what == "photo":
        Path(record["image"]).unlink()
    elif what == "cut":
        path = Path(record["image"])
        path.write_bytes(path.read_bytes()[:-200])
    elif what == "size":
        changed["height"] += 1
    elif what == "mask":
        region["rle"] = {"size": [9, 9], "counts": [81]}
    elif what == "empty":
        region["rle"] = encode_rle(np.zeros(SIZE, bool))
    elif what == "turns":
        changed["turns"] = []
    return changed


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("photo", "no file"),
        ("cut", "image file is truncated"),
        ("size", "32 x 25"),
        ("mask", "9 x 9"),
        ("empty", "an empty one"),
        ("turns", "no turns"),
    ],
)
def test_a_record_at_fault_is_named_and_left_out_of_the_figures(tmp_path, records, what, says):
    records[1] = broken(records[1], what)
    parrot = Parrot(records)
    with pytest.warns(DataWarning, match=f"2 conversations without faults, got 1: step: .*{says}.*not asked") as told:
        figures = evaluate(records, parrot, out=tmp_path / "run")
    assert str(told[0].message).endswith(f"all of them: {tmp_path / 'run' / 'faults.txt'}")
    assert (tmp_path / "run" / "faults.txt").read_text().startswith("step: expected ")
    assert figures["giou"] == 100 and figures["n"] == 2
    assert figures["faults"]["records"] == 1
    assert figures["faults"]["data"] == len(keys(records[1], "own"))
    assert says in figures["faults"]["named"][0]
    assert not any(heard[0] == "step" for heard in parrot.heard)


def test_a_run_that_was_cut_off_goes_on(tmp_path, records):
    out = tmp_path / "run"
    whole = evaluate(records, Parrot(records), out=out)
    file = out / samples.FILE
    lines = file.read_bytes()
    file.write_bytes(lines[: len(lines) * 3 // 4])
    left = len(file.read_bytes().split(b"\n")) - 1
    parrot = Parrot(records)
    again = evaluate(records, parrot, out=out)
    assert file.read_bytes() == lines
    assert again["giou"] == whole["giou"] and again["n"] == whole["n"]
    assert 0 < left < 6 and {heard[0] for heard in parrot.heard} == {"step"}
    parrot.heard.clear()
    evaluate(records, parrot, out=out)
    assert parrot.heard == []


@pytest.mark.parametrize(
    ("changes", "says"), [({"seed": 1}, "seed"), ({"history": "gold"}, "history"), ({"limit": 1}, "data.*limit")]
)
def test_a_folder_holds_one_run(tmp_path, records, changes, says):
    evaluate(records, Parrot(records), out=tmp_path / "run")
    with pytest.raises(InputError, match=says):
        evaluate(records, Parrot(records), out=tmp_path / "run", **changes)


def test_bad_input(tmp_path, records):
    words = {**records[0], "id": "words", "turns": records[0]["turns"][:1]}
    for given, changes, says in (
        ([], {}, "none"), ([records[0], records[0]], {}, "'talk' twice"), ([words], {}, "masks or refusals"),
        (records, {"limit": 0}, "at least 1"), (records, {"history": "alone"}, "own, gold"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            evaluate(given, Parrot(records), out=tmp_path / "none", **changes)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="to write"):
        evaluate(records, Parrot(records), out=tmp_path / "file" / "run")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / samples.FILE).write_text("")
    with pytest.raises(InputError, match=r"run\.json"):
        evaluate(records, Parrot(records), out=tmp_path / "strange")


def test_what_is_drawn_is_spread_over_kinds_and_photos():
    kinds = {"progressive": 60, "absent": 3, "edit": 10}
    made: Any = [
        {"id": f"{kind}{i}", "kind": kind, "image_id": str(i % 10), "image": str(i % 10)}
        for kind, count in kinds.items() for i in range(count)
    ]  # fmt: skip
    drawn = choose(made, 9, seed=1)
    assert sorted(record["kind"] for record in drawn) == ["absent"] * 3 + ["edit"] * 3 + ["progressive"] * 3
    assert drawn == choose(made, 9, seed=1) != choose(made, 9, seed=2)
    assert len({record["image"] for record in choose(made[:60], 10)}) == 10
    together = [record["image"] for record in choose(made, None)]
    assert len(together) == 73 and sum(a != b for a, b in pairwise(together)) == 9


def test_words_alone_and_an_undo_to_nothing(tmp_path):
    """Words are not compared; after the undo nothing is selected, which is right and not in gIoU."""
    region = Region(1, "block", MASKS["block"], 1)
    turns = (
        Turn.user("The block."), Turn("assistant", (Name("block", 1),), (region,)),
        Turn.user("What is it for?"), Turn("assistant", (Words("To sit."),)),
        Turn.user("Undo."), Turn("assistant", (Mark(Operator.UNDO), Words("Gone."))),
    )  # fmt: skip
    example = Example(photo(tmp_path / "p.png"), Conversation(turns), "", "edit", 1, "made")
    record = record_of(example, id="e", image_id="p", image=(tmp_path / "p.png").as_posix(), size=SIZE)
    figures = evaluate([record], Parrot([record]), out=tmp_path / "run")
    assert (figures["n"], figures["emptied"], figures["giou"]) == (1, {"n": 1, "right": 1.0}, 100.0)
    assert figures["operators"]["words"]["obeyed"] == 1
