"""A sheet to be rated: what is shown, what is asked, and the CSV that answers go into, at once and for good.

In: a CSV and what stands beside it. Out: views for the page; the same CSV with an answer more. Cells that are not asked
for stay as they are. Knows no audit and no study: `audit.py` and `people.py` do.
"""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.text import read_text
from miras.serve.problems import Problem, not_found

Json = dict[str, Any]
Row = dict[str, str]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COMMENT = 2000
"""Characters of a comment, at most."""


@dataclass(frozen=True)
class Question:
    """answers: (what is written down, what it stands for), in the order shown. note: what else holds."""

    name: str
    text: str
    answers: tuple[tuple[str, str], ...]
    note: str = ""

    @property
    def view(self) -> Json:
        """As the page takes it."""
        kind = "scale" if all(words for _, words in self.answers) else "choice"
        answers = [{"value": value, "words": words} for value, words in self.answers]
        return {"name": self.name, "text": self.text, "kind": kind, "answers": answers, "note": self.note}


@dataclass
class Table:
    """A CSV file as its writer left it: separator, byte order mark, columns."""

    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> tuple[list[str], list[Row], str]:
        """(columns, rows, separator). Raises InputError for what is no table."""
        try:
            text = read_text(self.path)
        except OSError as error:
            raise InputError(f"a rating sheet at {self.path}", error.strerror or str(error)) from error
        head = text.partition("\n")[0]
        separator = max(",;\t", key=head.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restkey="", restval="")
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = [{name: str(row.get(name) or "") for name in columns} for row in reader]
        return columns, rows, separator

    def change(self, act: Callable[[list[Row]], None]) -> None:
        """Read it, change its rows, and write it whole: what others wrote meanwhile stays."""
        with self._lock:
            columns, rows, separator = self.read()
            act(rows)
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, columns, delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)
            mark = "\ufeff" if self.path.read_bytes().startswith(b"\xef\xbb\xbf") else ""
            write_whole(self.path, (mark + text.getvalue()).encode("utf-8", "replace"))


class Sheet:
    """One rater's sheet. items: what is shown, by id, in order; pictures: those that may be asked for, by name.

    comments: whether each item takes a comment.
    """

    def __init__(
        self, table: Table, rater: str, title: str, intro: Sequence[str], questions: Sequence[Question],
        items: Mapping[str, Json], pictures: Mapping[str, Path], *, comments: bool,
    ) -> None:  # fmt: skip
        self.table, self.rater, self.title, self.intro = table, rater, title, list(intro)
        self.questions = {question.name: question for question in questions}
        self.items, self.pictures, self.comments = items, pictures, comments

    @property
    def name(self) -> str:
        """What it goes by."""
        return self.table.path.stem

    def cell(self, row: Row) -> tuple[str, dict[str, str], str]:
        """(item, answers by question, comment) of a row. One row may have one question or several."""
        raise NotImplementedError

    def put(self, row: Row, item: str, question: str, value: str) -> bool:
        """Write an answer into a row, when it belongs there; "comment" is a question, too."""
        raise NotImplementedError

    def answers(self) -> dict[str, Json]:
        """Every item's answers and comment, as they stand in the file."""
        found: dict[str, Json] = {item: {"answers": {}, "comment": ""} for item in self.items}
        for row in self.table.read()[1]:
            item, answers, comment = self.cell(row)
            if item in found:
                found[item]["answers"].update({name: value for name, value in answers.items() if value})
                found[item]["comment"] = plain(comment) or found[item]["comment"]
        return found

    def save(self, item: str, answers: Mapping[str, str | None], comment: str | None) -> Json:
        """Write answers (None takes one back) and a comment; they are in the file then. Returns the item's answers.

        Raises the problems `not-found` and `invalid`.
        """
        if item not in self.items:
            raise not_found("an item of this sheet")
        given = {name: "" if value is None else value for name, value in answers.items()}
        for name, value in given.items():
            known = self.questions.get(name)
            if known is None:
                raise Problem("invalid", f"a question of {', '.join(self.questions)}", repr(name)[:80], field="answers")
            if value and value not in dict(known.answers):
                expected = f"{name} answered by {', '.join(dict(known.answers))}"
                raise Problem("invalid", expected, repr(value)[:80], field=f"answers.{name}")
        if comment is not None:
            if not self.comments:
                raise Problem("invalid", "answers without a comment", "one", field="comment")
            text = " ".join(comment.split())
            given["comment"] = f"'{text}" if text.startswith(FORMULA) else text
        self.table.change(lambda rows: self._put(rows, item, given))
        return self.answers()[item]

    def _put(self, rows: list[Row], item: str, given: Mapping[str, str]) -> None:
        for name, value in given.items():
            places = sum(self.put(row, item, name, value) for row in rows)  # every row that has it
            if not places:
                cure = f"put the row back, or take {self.table.path.name} anew"
                raise Problem("conflict", f"a row for {item} in the sheet", "none", cure)

    def view(self, picture: Callable[[str], str]) -> Json:
        """All of it, as the page takes it. picture: the address of one."""
        kept = self.answers()
        return {
            "name": self.name, "rater": self.rater, "title": self.title, "intro": self.intro,
            "comments": self.comments, "questions": [question.view for question in self.questions.values()],
            "items": [{"id": item, **_placed(shown, picture), **kept[item]} for item, shown in self.items.items()],
        }  # fmt: skip

    @property
    def done(self) -> int:
        """How many items have all their answers."""
        return sum(len(item["answers"]) == len(self.questions) for item in self.answers().values())


def plain(text: str) -> str:
    """A cell without the mark that keeps spreadsheets from carrying it out."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


def _placed(shown: Any, picture: Callable[[str], str]) -> Any:
    """What is shown with addresses for the names of pictures."""
    if isinstance(shown, dict):
        return {
            key: picture(value) if key in ("picture", "photo") and value else _placed(value, picture)
            for key, value in shown.items()
        }
    return [_placed(one, picture) for one in shown] if isinstance(shown, list) else shown
