from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.chat.load import Loaded, load
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.eval.tasks import dialogues
from miras.model.presets import build


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


def test_gold_history_gives_gold_selections_to_gold_replies(photos):
    figures = dialogues.evaluate(load("miras-tiny", threads=1), photos, n=4, seed=0, heldout=True)
    again = dialogues.evaluate(load("miras-tiny"), photos, n=4, seed=0, heldout=True)
    assert figures == again
    assert figures["n"] == 4


def test_a_model_that_says_what_the_data_says_is_right(photos, monkeypatch):
    """Replies forced to the gold ones: every operator is obeyed, every refusal right."""
    loaded = load("miras-tiny")
    talks = list(dialogues.talks(loaded, photos, n=6, seed=1, heldout=False, history="gold"))
    assert len(talks) == 6
    assert all(turn.wanted is not None for talk in talks for turn in talk.turns)
    assert {talk.source for talk in talks} == {"ccp"}


class _Forced:
    """A session that says the gold reply."""

    def __init__(self, session, gold):
        self._session, self._gold = session, gold
        self.selection, self.size = session.selection, session.size

    def ask(self, text):
        grammar = self._session.model.grammar
        ids = self._session.backend.context.reply(self._gold)
        return self._session.ask(text, forced=[i for i in ids if i != grammar.id("<mask>")])


@pytest.mark.parametrize("history", ["own", "gold"])
def test_what_is_remembered_is_counted(photos, monkeypatch, history):
    """With the words of the data a model that points remembers to the pixel; one that draws anew does not."""
    exchange = dialogues._exchange

    def forced(session, user, gold, *rest):
        return exchange(_Forced(session, gold), user, gold, *rest)

    monkeypatch.setattr(dialogues, "_exchange", forced)
    found = {}
    for able in (True, False):
        model = build("miras-tiny")
        model.learn_to_talk(points=able, complements=True)
        loaded = Loaded(model, "tiny", 0.0)
        held = list(dialogues.talks(loaded, photos, n=24, seed=3, heldout=False, history=history, recalls=True))
        found[able] = dialogues.figures(held)["memory"]
        assert any("same" in line for talk in held for line in talk.to_dict()["turns"])
    assert found[True]["same"]["n"] == found[False]["same"]["n"] >= 10
    assert min(found[True][name]["n"] for name in ("gone", "exact", "talks")) >= 2
    assert [found[True][name]["share"] for name in ("same", "gone", "exact", "talks")] == [1.0] * 4
    assert found[False]["same"]["share"] < 1.0
    assert found[False]["exact"]["share"] == 1.0
