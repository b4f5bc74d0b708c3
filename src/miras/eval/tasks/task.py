"""What is asked of a dataset besides its own conversations: a source of records, and figures of its own over the rows.

In: annotated photos and options. Out: records for `runs.run.evaluate`, so that every system can be asked; after it,
figures over the rows, and the lines of `--samples`. A new task is one module and one line in `registry`.
Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from miras.data.io.left_out import LeftOut
from miras.data.record import Record
from miras.eval.runs.samples import Row
from miras.eval.tasks.photos import Side


@dataclass(frozen=True)
class Options:
    """What a person may choose. limit: photos, items or dialogues, None = all; count: of sampled dialogues. heldout:
    wordings that training never shows; recalls: moves that mean again what was named. instruction: of InstructPart."""

    side: Side = "all"
    limit: int | None = None
    seed: int = 0
    instruction: int = 0
    count: int = 100
    heldout: bool = True
    recalls: bool = False


class Task(Protocol):
    """A module may be one."""

    def asked(self, path: Path, options: Options, left: LeftOut) -> list[Record]:
        """The records. left: what was left out is told to it. Raises InputError for what cannot be used."""
        ...

    def settings(self, options: Options) -> dict[str, Any]:
        """Those of the options that it heeds; a run goes on only with equal ones."""
        ...

    def figures(self, records: Sequence[Record], rows: Sequence[Row], seed: int) -> dict[str, Any]:
        """What it tells of the rows. Rows of one record stand in their order."""
        ...

    def lines(self, records: Sequence[Record], rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
        """The lines of `--samples`: plain values."""
        ...


def by_record(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each record, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.record, []).append(row)
    return found


def share(flags: Sequence[bool]) -> float:
    """0 to 1; 0 of none."""
    return sum(flags) / len(flags) if flags else 0.0
