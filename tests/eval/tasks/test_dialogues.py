from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from miras.chat.load import Loaded, load
from miras.core.masks import encode_rle
from miras.core.recall import pointing
from miras.core.selection import Steps, advance
from miras.core.types import AnnotatedPhoto, Annotation, Conversation, Mark, Operator, Turn
from miras.data.record import Record, turn_of
from miras.eval.protocol import Answer, History, Ours, System, operator_wanted
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.runs.samples import Row
from miras.eval.systems.baselines import baseline
from miras.eval.tasks import dialogues
from miras.model.presets import build

PINNED = {
    "own": {"n": 6, "turns": 21, "giou": 0.0, "ciou": 0.0, "operators_obeyed": 0.0, "refused": 0.0, "alone": 0.0},
    "gold": {
        "n": 6,
        "turns": 21,
        "giou": 13.8889,
        "ciou": 17.0213,
        "operators_obeyed": 0.0,
        "refused": 0.0,
        "alone": 0.0,
    },
}
"""What the engine that sampled dialogues had of their own gave."""


@pytest.fixture
def photos(tmp_path: Path) -> list[AnnotatedPhoto]:
    """A photograph with four garments."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    notes = []
    for i, label in enumerate(("hat", "coat", "pants", "shoes")):
        mask = np.zeros((64, 64), bool)
        mask[16 * i : 16 * i + 16, 16:48] = True
        notes.append(Annotation(label, label, encode_rle(mask)))
    vocabulary = frozenset({"hat", "coat", "pants", "shoes", "bag", "scarf"})
    return [AnnotatedPhoto("p", tmp_path / "p.png", (64, 64), tuple(notes), "ccp", vocabulary)]


def held(records: list[Record], system: System, out: Path, history: History = "own") -> list[Row]:
    evaluate(records, system, out=out, history=history)
    return samples.read(out / samples.FILE)


def test_the_same_dialogues_have_the_same_figures(photos, tmp_path):
    first, again = (dialogues.records(photos, n=4, seed=0, heldout=True) for _ in range(2))
    assert first == again and [record["meta"]["index"] for record in first] == [0, 1, 2, 3]
    assert {record["source"] for record in first} == {"ccp"}
    system = Ours(load("miras-tiny", threads=1))
    rows = [held(first, system, tmp_path / name) for name in ("a", "b")]
    figures = [dialogues.figures(first, some) for some in rows]
    assert figures[0] == figures[1] and figures[0]["n"] == 4
    assert [line["index"] for line in dialogues.lines(first, rows[0])] == [0, 1, 2, 3]


@dataclass
class Gold:
    """Says what the data says, of records that it knows; `wrong`: another mask for what is named again."""

    records: dict[str, Record]
    wrong: bool = False
    name: str = "gold"

    def facts(self) -> dict[str, Any]:
        return {}

    def start(self, photo: Any, *, record: str = "", history: str = "own") -> GoldDialogue:
        turns = [turn_of(turn, number) for number, turn in enumerate(self.records[record]["turns"])]
        return GoldDialogue(self, pointing(Conversation(tuple(turns))).turns[1::2], history == "alone")


@dataclass
class GoldDialogue:
    system: Gold
    replies: tuple[Turn, ...]
    alone: bool
    said: int = 0
    steps: Steps = ()

    def ask(self, text: str) -> Answer:
        if self.alone:
            return Answer("", self.replies[-1].regions[0].mask, self.replies[-1].regions, Operator.REPLACE)
        reply, before = self.replies[self.said], self.replies[: self.said]
        self.append_exchange(text, reply)
        known = {region.id: region for turn in (*before, reply) for region in turn.regions}
        regions = tuple(known[number] for number in reply.names)
        if self.system.wrong:
            regions = tuple(
                replace(one, mask=np.roll(one.mask, 1, 0)) if one.id in reply.recalled else one for one in regions
            )
        marks = tuple(piece.operator for piece in reply.content if isinstance(piece, Mark))
        mask = self.steps[-1].mask if self.steps else None
        return Answer(reply.text, mask, regions, operator_wanted(reply), Operator.REJECT in marks, operators=marks)

    def append_exchange(self, user: str, gold: Turn) -> None:
        earlier = [region for turn in self.replies[: self.said] for region in turn.regions]
        self.said, self.steps = self.said + 1, advance(self.steps, self.replies[self.said], earlier)

    def fork(self) -> GoldDialogue:
        return replace(self)


@pytest.mark.parametrize("history", ["own", "gold"])
@pytest.mark.parametrize("wrong", [False, True])
def test_one_who_says_what_the_data_says_is_right(photos, tmp_path, history, wrong):
    """And remembers to the pixel, unless what is named again has another mask."""
    records = dialogues.records(photos, n=24, seed=3, heldout=False, recalls=True)
    system = Gold({record["id"]: record for record in records}, wrong)
    figures = dialogues.figures(records, held(records, system, tmp_path / "run", history))
    assert (figures["n"], figures["giou"], figures["ciou"]) == (24, 100.0, 100.0)
    assert figures["operators_obeyed"] == figures["refusals"]["right"] == 1 and not figures["false_refusals"]["rate"]
    assert figures["final"]["gap"] == 0 and figures["final"]["n"] >= 2
    assert set(figures["giou_by_move"]) > {"ask", "undo"} and figures["giou_by_turn"][0]["giou"] == 100
    memory = figures["memory"]
    assert memory["same"]["n"] >= 10 and min(memory[name]["n"] for name in ("gone", "exact", "talks")) >= 2
    assert memory["same"]["share"] == (0 if wrong else 1) and memory["gone"]["share"] == 1
    assert memory["exact"]["share"] == 1 or wrong


def test_every_baseline_can_be_asked(photos, tmp_path):
    records = dialogues.records(photos, n=3, seed=1, heldout=False)
    rows = held(records, baseline("photo", lambda: pytest.fail("loads nothing")), tmp_path / "run")
    figures = dialogues.figures(records, rows)
    assert 0 < figures["giou"] < 60 and figures["recall"] == 100


def test_what_a_tiny_model_gives_is_what_it_gave(photos, tmp_path):
    """Pinned when the dialogues became records of the one evaluation: the engine before gave the same."""
    torch.manual_seed(0)
    loaded = Loaded(build("miras-tiny"), "miras-tiny", 0.0)
    for history, pinned in PINNED.items():
        records = dialogues.records(photos, n=6, seed=1, heldout=False)
        figures = dialogues.figures(records, held(records, Ours(loaded), tmp_path / history, history))
        found = {name: figures[name] for name in ("n", "turns", "giou", "ciou", "operators_obeyed")}
        found |= {"refused": figures["false_refusals"]["rate"], "alone": figures["final"]["giou_alone"]}
        assert found == pytest.approx(pinned, abs=1e-3)
