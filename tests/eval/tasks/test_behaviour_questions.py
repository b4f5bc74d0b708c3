from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.language import remarks
from miras.eval.tasks.behaviour_questions import REFERRING, REMARKS, SAME, TALK, Question, exists, questions, where

SIZE = (60, 120)


def drawn(label: str, *boxes: tuple[int, int, int, int]) -> list[Annotation]:
    notes = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros(SIZE, bool)
        mask[y0:y1, x0:x1] = True
        notes.append(Annotation(label, label, encode_rle(mask)))
    return notes


TWO = drawn("cup", (5, 10, 20, 30), (60, 8, 90, 45))
ROW = drawn("cup", (2, 20, 14, 40), (30, 20, 42, 40), (60, 20, 72, 40), (100, 20, 112, 40))
DOG = drawn("dog", (30, 45, 60, 60))


def asked(*notes: Annotation, seed: int = 0, vocabulary: tuple[str, ...] = ("cup", "dog", "kite")) -> list[Question]:
    photo = AnnotatedPhoto("p", Path("p.png"), SIZE, notes, "test", frozenset(vocabulary))
    return questions(photo, np.zeros((*SIZE, 3), np.uint8), np.random.default_rng(seed))


def test_each_kind_is_asked_once_where_the_photo_allows_it() -> None:
    kinds = [question.kind for question in asked(*TWO, *DOG)]
    assert set(kinds) == {"place", "size", "any", "pairs", *SAME, TALK}
    assert [kind for kind in kinds if kind != TALK] == sorted(
        set(kinds) - {TALK}, key=[*REFERRING, "pairs", *SAME].index
    )
    assert kinds.count(TALK) == REMARKS
    assert "row" in {question.kind for question in asked(*ROW, *DOG)}
    assert not {"pairs", "any", "place"} & {question.kind for question in asked(*DOG)}


def test_the_masks_are_those_of_the_words() -> None:
    for seed in range(20):
        for question in asked(*TWO, *DOG, seed=seed):
            if question.kind == "pairs":
                left, right = question.right
                assert left[:, :40].any() and not left[:, 40:].any() and right[:, 60:].any() and not right[:, :60].any()
                assert [word in text for word, text in zip(("left", "right"), question.texts, strict=True)] == [
                    True
                ] * 2
            if question.kind in REFERRING:
                assert len(question.kin) == 2 and any(np.array_equal(question.right[0], m) for m in question.kin)
            if question.kind == "absent":
                assert not any(mask.any() for mask in question.right) and question.phrase == "kite"


def test_the_same_is_asked_in_two_ways() -> None:
    for seed in range(20):
        for question in asked(*TWO, *DOG, seed=seed):
            if question.kind in SAME:
                first, second = question.texts
                assert first == where(question.phrase) != second
            if question.kind == "caps":
                assert second == first.upper()


def test_remarks_are_held_out_ones_and_the_first_comes_without_a_selection() -> None:
    for seed in range(10):
        talk = [question for question in asked(*ROW, *DOG, seed=seed) if question.kind == TALK]
        assert [bool(question.before) for question in talk] == [False] + [True] * REMARKS
        assert talk[-1].topic == "which" and len({question.topic for question in talk}) == REMARKS + 1
        assert {question.topic for question in talk[:-1]} <= set(remarks.load().topics)


@pytest.mark.parametrize(
    ("phrase", "asks", "doubts"),
    [
        ("cup", "Where is the cup?", "Is there a cup?"),
        ("shoes", "Where are the shoes?", "Are there any shoes?"),
        ("handle of the cup", "Where is the handle of the cup?", "Is there a cup handle?"),
    ],
)
def test_plain_words(phrase: str, asks: str, doubts: str) -> None:
    assert (where(phrase), exists(phrase)) == (asks, doubts)
