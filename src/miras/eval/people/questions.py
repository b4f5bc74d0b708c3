"""What people are asked about a conversation, or about two: the questions, their anchors, the answers that count.

In: the rubrics of the judge (prompts/criteria.md), so that people and judges rate by one text. Out: `Question` values.
Knows no run, no rater and no page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from miras.core.errors import InputError
from miras.core.llm.prompts import read_prompt
from miras.eval.rating.criteria import CRITERIA, HIGHEST, LOWEST

Kind = Literal["pairwise", "rating"]
KINDS: tuple[Kind, ...] = ("pairwise", "rating")
SIDES = ("left", "equal", "right")
SCALE = tuple(str(value) for value in range(LOWEST, HIGHEST + 1))
_HEAD = re.compile(r"^### (\w+): (.+)$")
_ANCHOR = re.compile(r"^- (\d): (.+)$")


@dataclass(frozen=True, slots=True)
class Question:
    """One question. name: as in a sheet's column `criterion`. answers: those that count, in the order shown.

    anchors: answer -> what it stands for. note: what else holds; "" for nothing.
    """

    name: str
    text: str
    answers: tuple[str, ...]
    anchors: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def is_scale(self) -> bool:
        """Answers are the numbers 1 to 5."""
        return self.answers == SCALE


MASK = Question(
    "mask",
    "how well do the selections fit what was asked for, whatever the words say?",
    SCALE,
    (
        ("5", "the outline follows the thing or part everywhere; nothing is missing, nothing is too much."),
        ("4", "the right thing; small bits are missing or too much, seen only when looked for."),
        ("3", "the right thing, with clear gaps or spills, or one of several things missing."),
        ("2", "less than half of it, or more than as much again around it."),
        ("1", "another thing, nothing, or the whole photo."),
    ),
    "Nothing selected is right, and a 5, where nothing was asked for or it is not in the photo.",
)
ASKED = Question("asked", "at the end, is what is selected the thing that was asked for?", ("yes", "no"))
PAIRWISE = (
    Question("mask", "which selections are better?", SIDES),
    Question("words", "which words are better?", SIDES),
    Question("overall", "which conversation would you rather have had?", SIDES),
)


def questions_of(kind: str) -> tuple[Question, ...]:
    """The questions of a sheet: for "rating" the judge's criteria, `MASK` and `ASKED`; for "pairwise" three.

    Raises InputError for another kind, and for criteria without all five anchors.
    """
    if kind not in KINDS:
        raise InputError(f"a kind of {', '.join(KINDS)}", repr(kind))
    return PAIRWISE if kind == "pairwise" else (*_criteria(), MASK, ASKED)


@lru_cache
def _criteria() -> tuple[Question, ...]:
    found = {question.name: question for question in parse(read_prompt("miras.eval.rating", "criteria").user.template)}
    if tuple(found) != CRITERIA:
        raise InputError(f"the criteria {', '.join(CRITERIA)}", ", ".join(found))
    return tuple(found.values())


def parse(text: str) -> list[Question]:
    """Criteria in Markdown: `### name: question`, a line `- 5: anchor` for each score, then a note.

    Raises InputError for one without an anchor for each of 1 to 5.
    """
    found = []
    for block in re.split(r"\n(?=### )", text.strip()):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        head = _HEAD.match(lines[0]) if lines else None
        anchors = [match.groups() for line in lines[1:] if (match := _ANCHOR.match(line))]
        note = " ".join(line for line in lines[1:] if not _ANCHOR.match(line))
        if head is None or sorted(score for score, _ in anchors) != list(SCALE):
            raise InputError("a criterion with anchors from 1 to 5", repr(block[:60]))
        found.append(Question(head[1], head[2], SCALE, tuple((score, words) for score, words in anchors), note))
    return found
