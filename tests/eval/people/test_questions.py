"""The judge's rubrics, word by word, and what is no rubric."""

from __future__ import annotations

import pytest

from miras.core.errors import InputError
from miras.core.llm.prompts import read_prompt
from miras.eval.people.questions import parse, questions_of
from miras.eval.rating.criteria import CRITERIA


def test_people_rate_by_the_judges_text():
    questions = questions_of("rating")
    assert [question.name for question in questions] == [*CRITERIA, "mask", "asked"]
    text = " ".join(read_prompt("miras.eval.rating", "criteria").user.template.split())
    for question in questions[:4]:
        assert [score for score, _ in question.anchors] == list("54321")
        assert f"### {question.name}: {question.text}" in text
        assert all(f"- {score}: {words}" in text for score, words in question.anchors)
    assert questions[0].note in text and questions[0].note.startswith("A conversation of one exchange")
    assert {question.answers for question in questions_of("pairwise")} == {("left", "equal", "right")}


@pytest.mark.parametrize("text", ["", "no head", "### a: b?\n- 5: x\n- 4: x\n- 3: x\n- 2: x"])
def test_what_is_no_criterion(text):
    with pytest.raises(InputError, match="anchors from 1 to 5"):
        parse(text)


def test_no_other_kind():
    with pytest.raises(InputError, match="'stars'"):
        questions_of("stars")
