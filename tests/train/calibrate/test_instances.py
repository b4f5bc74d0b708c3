from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.model import presets
from miras.model.numeric.pieces import cleaned
from miras.train.calibrate import instances

SIZE = (96, 128)


def photo(rng: np.random.Generator, number: int, label: str = "cup") -> AnnotatedPhoto:
    """Two things of a label beside each other."""
    notes = []
    for x in (int(rng.integers(2, 40)), int(rng.integers(70, 100))):
        mask = np.zeros(SIZE, bool)
        top = int(rng.integers(10, 40))
        mask[top : top + 30, x : x + 24] = True
        notes.append(Annotation(label, label, encode_rle(mask)))
    return AnnotatedPhoto(str(number), Path(f"{number}.jpg"), SIZE, tuple(notes), "drawn")


def test_questions_show_one_among_its_kind_and_the_whole_alone() -> None:
    rng = np.random.default_rng(0)
    asked = [q for n in range(20) for q in instances.questions(photo(rng, n), rng)]
    several, whole = ([q for q in asked if q.several is side] for side in (True, False))
    assert several and all(len(q.meant_N) == 2 and q.meant_N.sum() == 1 for q in several)
    assert whole and all(q.meant_N.all() for q in whole)  # "cups"
    for q in several:
        if "left" in q.phrase.split():
            assert q.facts_NF[q.meant_N.argmax(), 0] == q.facts_NF[:, 0].min()


def test_left_and_right_are_learnt() -> None:
    rng = np.random.default_rng(1)
    model = presets.build("miras-tiny")
    count = instances.learn(model, [photo(rng, n) for n in range(60)], seed=3, epochs=120)
    assert count > 100 and model.config.instances and model.instances is not None
    logits = np.full((1, 64, 64), -2.0, np.float32)
    logits[:, 20:40, 5:20] = logits[:, 22:44, 40:58] = 3.0
    words = instances.Words(model)

    def chosen(phrase: str) -> list[bool]:
        span = torch.nn.functional.pad(words([phrase])[0][0], (0, 0, 1, 1))
        mask = cleaned(logits, partial(model.instances.meant, span_SE=span))[0] > 0
        return [bool(mask[30, 10]), bool(mask[30, 50])]

    assert chosen("left cup") == [True, False]
    assert chosen("right cup") == [False, True]
    assert chosen("cups") == [True, True]


def test_without_masks_of_several_pieces_a_model_stays_as_it_is() -> None:
    model = presets.build("miras-tiny")
    assert instances.learn(model, [], seed=0) == 0
    assert model.instances is None and not model.config.instances
