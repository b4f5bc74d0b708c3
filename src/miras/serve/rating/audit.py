"""Sheets of `miras audit draw`: one row an item, a column for each scale, the rubric's anchors.

In: `rater-1.csv` beside its pictures. Out: a `Sheet`.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from miras.annotate.audit.sheets import SCALES
from miras.core.errors import InputError
from miras.data.io.checks import inside
from miras.serve.rating.sheets import Question, Row, Sheet, Table, plain

INTRO = (
    "Each item is one conversation about one photograph. A person asks, an assistant answers, and at the end something "
    "is selected: coloured and outlined in the second picture, the rest is darker. A small target is shown again, "
    "enlarged. Where nothing is coloured, nothing is selected.",
    "Rate by yourself, and what is there, not what could have been asked. Leave a question open when you cannot tell, "
    "and say why in the comment. In the target's words, a + b - c reads: a and b, without c.",
)


class AuditSheet(Sheet):
    """A row has all scales of an item."""

    def cell(self, row: Row) -> tuple[str, dict[str, str], str]:
        """Spreadsheets write 4.0 or 4,0 for 4."""
        given = {name: re.sub(r"[.,]0+$", "", row[name].strip()) for name in SCALES}
        return row["item"].strip(), given, row.get("comment", "")

    def put(self, row: Row, item: str, question: str, value: str) -> bool:
        """The column of a question."""
        if row["item"].strip() != item or question not in row:
            return False
        row[question] = value
        return True


def open_audit(table: Table) -> Sheet:
    """Raises InputError for a sheet whose pictures are not beside it."""
    columns, rows, _ = table.read()
    if missing := [name for name in ("item", "rater", "photo", "conversation", "target", "mask_picture", *SCALES)
                   if name not in columns]:  # fmt: skip
        raise InputError("a sheet of miras audit draw", f"{table.path.name} without {', '.join(missing)}")
    items: dict[str, Any] = {}
    pictures: dict[str, Path] = {}
    for row in rows:
        for name in (row["photo"], row["mask_picture"]):
            pictures[name] = inside(table.path.parent, name)
        items[row["item"].strip()] = {
            "photo": row["photo"], "turns": _turns(row["conversation"]),
            "target": {"text": plain(row["target"]), "picture": row["mask_picture"]},
        }  # fmt: skip
    if lost := [name for name, path in pictures.items() if not path.is_file()]:
        raise InputError(f"the pictures of {table.path.name} beside it", f"no {lost[0]}", "keep the folder together")
    rater = next((row["rater"] for row in rows if row["rater"]), table.path.stem)
    anchors = _anchors()
    questions = [Question(name, text, anchors[name]) for name, text in SCALES.items()]
    return AuditSheet(table, rater, "Audit", INTRO, questions, items, pictures, comments="comment" in columns)


def _turns(conversation: str) -> list[dict[str, Any]]:
    """Lines "User: ..." and "Assistant: ..." as exchanges."""
    turns: list[dict[str, Any]] = []
    for line in conversation.splitlines():
        who, _, words = line.partition(": ")
        if who == "User" or not turns:
            turns.append({"user": words if who == "User" else "", "meant": "", "answers": []})
        if who != "User":
            turns[-1]["answers"].append({"side": "", "text": words, "picture": None, "note": ""})
    return turns


def _anchors() -> dict[str, tuple[tuple[str, str], ...]]:
    """What each score of each scale stands for, from the rubric, the highest first."""
    rubric = files("miras.annotate.audit").joinpath("rubric.md").read_text(encoding="utf-8")
    found = {}
    for name, body in re.findall(r"^## (\w+): .*?\n(.*?)(?=^## |\Z)", rubric, re.MULTILINE | re.DOTALL):
        lines = re.findall(r"^- (\d): (.+(?:\n  .+)*)", body, re.MULTILINE)
        found[name] = tuple((score, " ".join(words.split())) for score, words in lines)
    return found
