"""`samples.jsonl`: one line for each turn that was asked; its schema, written once here.

In: rows. Out: lines, and the rows of a file again. Knows no model and no figure. What each key means stands in
docs/evaluation.md too; `Row` is what holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.types import Rle
from miras.eval.metrics.pixels import Overlap

FILE = "samples.jsonl"
Key = tuple[str, str, int]
"""(record, history, turn): once in a run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One turn. Counts are pixels, at the photo's full size; what was not counted is None.

    record, photo (id of the photograph), image (its file), source, split, kind, hops, size (H, W), focus: of the
    data. turn: which exchange, from 1, of `turns`; final: it is the last. history: own, gold or alone.
    graded: the gold reply changes what is selected, so that the selections are compared. target_share: gold
    selection over photo. phrase: what the gold reply names (several with "; "). operator_wanted, operator_got:
    "replace", "add", "cut", "undo", "reject", or None for words only. refused: it says the thing is not there.
    has_mask: some pixel is selected after the reply. score: predicted IoU of what it names. seconds: of the answer.
    intersection, predicted, gold, union, iou: of the selections; band_*, boundary_iou: of their boundary bands.
    region_iou: of what the reply names with what the gold reply names, whatever was selected before. move: what the
    turn does, where the data says it. named: how many regions the reply names. marks_wanted, marks_got: all operators
    of the two replies but "replace". same, gone, exact: see `memory`, None where they are not asked for.
    fault: what went wrong; blame: "data" (nothing is counted) or "system" (no usable mask: IoU 0).
    """

    record: str
    photo: str
    image: str
    source: str
    split: str
    kind: str
    hops: int
    size: tuple[int, int]
    focus: str
    turn: int
    turns: int
    final: bool
    history: str
    model: str
    seed: int
    user: str
    gold_text: str = ""
    phrase: str = ""
    operator_wanted: str | None = None
    refused_wanted: bool = False
    graded: bool = False
    target_share: float | None = None
    text: str = ""
    phrase_got: str = ""
    operator_got: str | None = None
    refused: bool = False
    has_mask: bool = False
    score: float | None = None
    seconds: float = 0.0
    intersection: int | None = None
    predicted: int | None = None
    gold: int | None = None
    union: int | None = None
    iou: float | None = None
    band_intersection: int | None = None
    band_predicted: int | None = None
    band_gold: int | None = None
    boundary_iou: float | None = None
    region_iou: float | None = None
    rle: Rle | None = None
    gold_rle: Rle | None = None
    move: str = ""
    named: int = 0
    marks_wanted: tuple[str, ...] = ()
    marks_got: tuple[str, ...] = ()
    same: bool | None = None
    gone: bool | None = None
    exact: bool | None = None
    fault: str | None = None
    blame: str | None = None

    @property
    def key(self) -> Key:
        """What it is called within its run."""
        return self.record, self.history, self.turn

    @property
    def cluster(self) -> str:
        """The photograph: the unit of resampling when intervals are made."""
        return f"{self.source}/{self.photo}"

    @property
    def overlap(self) -> Overlap | None:
        """Counts of the selections; None where they were not compared."""
        return _overlap(self.intersection, self.predicted, self.gold)

    @property
    def band(self) -> Overlap | None:
        """Counts of the boundary bands."""
        return _overlap(self.band_intersection, self.band_predicted, self.band_gold)


def line(row: Row) -> str:
    """One line of the file, with its end."""
    return json.dumps(asdict(row), ensure_ascii=False, allow_nan=False) + "\n"


def read(file: Path) -> list[Row]:
    """The rows of a file, in its order. A last line without its end (a run that was cut off) is left out.

    Raises InputError for a missing file, and for a line that is no row, with its number.
    """
    lines = _whole(file).decode("utf-8").split("\n")[:-1]  # not splitlines: a user's words may hold other line ends
    return [_row(text, number, file) for number, text in enumerate(lines, 1)]


def resume(file: Path) -> list[Row]:
    """The rows that are there; a cut-off last line is removed from the file. No file: none."""
    if not file.exists():
        return []
    rows = read(file)
    content = _whole(file)
    if len(content) < file.stat().st_size:
        with file.open("r+b") as opened:
            opened.truncate(len(content))
    return rows


def append(file: Path, rows: Iterable[Row]) -> None:
    """Add rows; they are on their way to the disk when it returns. Raises InputError when they cannot be written."""
    try:
        with file.open("a", encoding="utf-8") as lines:
            lines.write("".join(map(line, rows)))
    except OSError as error:
        raise InputError(f"to write {file}", error.strerror or str(error), "free room; the run then goes on") from error


def _whole(file: Path) -> bytes:
    """The lines that have their end."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"the rows of a run at {file}", error.strerror or str(error)) from error
    return content[: content.rfind(b"\n") + 1]


_FIELDS = {field.name: field for field in fields(Row)}
_TUPLES = ("size", "marks_wanted", "marks_got")
_NEEDED = list(_FIELDS)[: list(_FIELDS).index("gold_text")]


def _row(text: str, number: int, file: Path) -> Row:
    try:
        values: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"a JSON object in line {number} of {file}", repr(text[:60])) from error
    if not isinstance(values, dict) or any(name not in values for name in _NEEDED):
        missing = [name for name in _NEEDED if name not in values] if isinstance(values, dict) else _NEEDED
        raise InputError(f"a row with {', '.join(missing)} in line {number} of {file}", repr(text[:60]))
    known = {name: value for name, value in values.items() if name in _FIELDS}
    return Row(**{**known, **{name: tuple(known[name]) for name in _TUPLES if name in known}})


def _overlap(both: int | None, predicted: int | None, gold: int | None) -> Overlap | None:
    if both is None or predicted is None or gold is None:
        return None
    return Overlap(both, predicted, gold)
