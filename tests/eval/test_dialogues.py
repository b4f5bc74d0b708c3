from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.chat.load import load
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.eval import dialogues


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
