"""What people answered in a study: the key, and the raters' CSV files, unblinded.

In: key.json and the files. Out: `Answer` values, and every fault by file and line; nothing that is at fault is used.
Knows no figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.text import read_text
from miras.eval.people.balance import Unit
from miras.eval.people.design import VERSION, Card
from miras.eval.people.questions import Question, questions_of
from miras.eval.rating import sheets

_VALUES = {"yes": 1.0, "no": 0.0, "left": 1.0, "equal": 0.0, "right": -1.0}


@dataclass(frozen=True, slots=True)
class Answer:
    """One usable answer. value: 1 to 5; yes 1, no 0; in a pair 1: the system first in the alphabet is better, 0, -1."""

    card: Card
    question: str
    given: str
    value: float

    @property
    def unit(self) -> Unit:
        """What was judged, the systems in alphabetical order."""
        return self.card.record, tuple(sorted(self.card.shown))


@dataclass(frozen=True, eq=False)
class Key:
    """The key of a study, read. cards: id -> card."""

    study: str
    kind: str
    systems: Mapping[str, Mapping[str, str]]
    cards: Mapping[str, Card]
    settings: Mapping[str, int]

    @property
    def questions(self) -> dict[str, Question]:
        """Name -> question."""
        return {question.name: question for question in questions_of(self.kind)}


def read_key(file: Path) -> Key:
    """A key.json. Raises InputError when it is missing, or not one."""
    try:
        raw = json.loads(read_text(file))
        cards = [_card(card) for card in raw["cards"]]
        if raw["version"] != VERSION:
            raise InputError(f"a key of version {VERSION}", str(raw["version"]))
        return Key(raw["study"], raw["kind"], raw["systems"], {card.id: card for card in cards}, raw["settings"])
    except OSError as error:
        raise InputError(f"the key of a study at {file}", error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the key of a study at {file}", f"{type(error).__name__}: {error}",
                         "it is written by miras people sheets") from error  # fmt: skip


def _card(raw: Mapping[str, Any]) -> Card:
    """Lists of the file as tuples."""
    right = raw.get("right")
    right = right and {name: tuple(answers) for name, answers in right.items()}
    return Card(**{**raw, "shown": tuple(raw["shown"]), "right": right})


def read_answers(files: Iterable[Path], key: Key) -> tuple[list[Answer], list[str]]:
    """The usable answers, and each fault with file and line; blank answers are neither.

    Left out: an id that is not in the study, a question that is not, an answer that is none of the question's, another
    rater's card, a question answered twice in different ways (both answers). The same answer again counts once.
    Raises InputError for a file that is no sheet.
    """
    found: dict[tuple[str, str], Answer] = {}
    spoilt: set[tuple[str, str]] = set()
    faults: list[str] = []
    for file in files:
        for number, row in sheets.sheet_rows(file, False):
            if not row["score"]:
                continue
            answer = _answer(row, key)
            at = (row["record"], row["criterion"].lower())
            if isinstance(answer, str):
                faults.append(f"{file}, line {number}: {answer}")
            elif at not in found:
                found[at] = answer
            else:
                same = found[at].given == answer.given
                faults.append(f"{file}, line {number}: {at[0]} {at[1]} answered twice"
                              + ("" if same else ", in different ways: left out"))  # fmt: skip
                spoilt |= set() if same else {at}
    return [answer for at, answer in found.items() if at not in spoilt], faults


def _answer(row: Mapping[str, str], key: Key) -> Answer | str:
    """An answer, or what is wrong with it."""
    card, question = key.cards.get(row["record"]), key.questions.get(row["criterion"].lower())
    if card is None:
        return f"{row['record']!r} is no card of study {key.study}"
    if question is None:
        return f"{row['criterion']!r} is no question of study {key.study}"
    if row["rater"] and row["rater"].lstrip("0") != card.rater.lstrip("0"):
        return f"{row['record']} belongs to rater {card.rater}, not {row['rater']!r}"
    given = row["score"].lower()
    if given not in question.answers:
        return f"{question.name} is answered by {', '.join(question.answers)}, not {row['score']!r}"
    value = _VALUES.get(given)
    if value is None:
        value = float(given)
    elif len(card.shown) == 2 and card.shown[0] > card.shown[1]:
        value = -value
    return Answer(card, question.name, given, value)
