"""Sheets of `miras people sheets`: one row a card and question; what is shown stands in a JSON beside the CSV.

In: `rater_01.csv`, `rater_01.json` and their pictures. Out: a `Sheet`. Whose an answer is stands in none of them.
"""

from __future__ import annotations

import json
from typing import Any

from miras.core.errors import InputError
from miras.core.text import read_text
from miras.data.io.checks import inside
from miras.eval.people.questions import questions_of
from miras.eval.people.sheets import SHOWN
from miras.serve.rating.sheets import Question, Row, Sheet, Table

INTRO = {
    "pairwise": "Two assistants got the same messages about the same photograph. Their answers stand left and right; "
    "the sides are by chance and tell nothing. Say for each question which is better; equal is an answer.",
    "rating": "An assistant answered messages about a photograph. Take for each question the description that fits "
    "best; where two fit, the lower one. Use the whole scale, and let one question not decide another.",
}
MEANT = (
    "What is selected is tinted and outlined, the rest is darker. Meant is what the author of the conversation noted; "
    "the assistant was not told. Longer replies are not better, neither are politer ones."
)


class PeopleSheet(Sheet):
    """A row has one question of a card."""

    def cell(self, row: Row) -> tuple[str, dict[str, str], str]:
        """One answer."""
        return row["record"].strip(), {row["criterion"].strip().lower(): row["score"].strip().lower()}, ""

    def put(self, row: Row, item: str, question: str, value: str) -> bool:
        """Its score."""
        if row["record"].strip() != item or row["criterion"].strip().lower() != question:
            return False
        row["score"] = value
        return True


def open_people(table: Table) -> Sheet:
    """Raises InputError for a sheet whose JSON or pictures are not beside it."""
    file = table.path.with_suffix(".json")
    try:
        shown = json.loads(read_text(file))
        if shown["version"] != SHOWN:
            raise InputError(f"what a sheet of version {SHOWN} shows", f"version {shown['version']}")
        items = {card["id"]: {key: value for key, value in card.items() if key != "id"} for card in shown["cards"]}
        questions = [_question(one) for one in questions_of(shown["kind"])]
        rater, title, kind = str(shown["rater"]), f"Study {shown['study']}", str(shown["kind"])
    except OSError as error:
        cure = "take it from the study's folder, with its pictures"
        raise InputError(f"{file.name} beside {table.path.name}", error.strerror or str(error), cure) from error
    except (ValueError, KeyError, TypeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"what is shown in {file}", got, "it is written by miras people sheets") from error
    pictures = {name: inside(file.parent, name) for name in _names(items)}
    if lost := [name for name, path in pictures.items() if not path.is_file()]:
        raise InputError(f"the pictures of {table.path.name} beside it", f"no {lost[0]}", "keep the folder together")
    return PeopleSheet(table, rater, title, (INTRO[kind], MEANT), questions, items, pictures, comments=False)


def _question(question: Any) -> Question:
    anchors = dict(question.anchors)
    order = tuple(reversed(question.answers)) if question.is_scale else question.answers
    return Question(question.name, question.text, tuple((one, anchors.get(one, "")) for one in order), question.note)


def _names(items: dict[str, Any]) -> set[str]:
    """Every picture that is shown."""
    found: set[str] = set()
    for card in items.values():
        found |= {card["photo"], *(answer["picture"] for turn in card["turns"] for answer in turn["answers"])} - {None}
    return found
