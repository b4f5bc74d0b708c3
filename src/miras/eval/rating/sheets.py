"""What people said of the same conversations: rating sheets as CSV.

In: files with the columns record, criterion, score, rater and, where two runs are judged, run. Out: scores. Faults are
told all at once, with file and line. Knows no judge and no figure.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from miras.core.errors import InputError
from miras.core.text import read_text
from miras.eval.rating.criteria import CRITERIA, HIGHEST, LOWEST
from miras.eval.rating.transcripts import Run

COLUMNS = ("record", "criterion", "score", "rater")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Score:
    """What one person gave one conversation (of run "A" or "B") by one criterion, 1..5."""

    run: str
    record: str
    criterion: str
    rater: str
    score: int


def read_people(files: Iterable[Path], runs: Sequence[Run]) -> list[Score]:
    """The scores of rating sheets; comma, semicolon or tab between cells. Rows without a score are passed over.

    run: "A" or "B", a run's folder or its model; needed where there are two runs. Raises InputError that names all
    faults: an unknown run, record or criterion, a score that is no whole number 1..5, a conversation rated twice by
    one person, missing columns, text that is not UTF-8.
    """
    names = _names(runs)
    known = {(run.name, transcript.record) for run in runs for transcript in run.transcripts}
    found: dict[tuple[str, str, str, str], Score] = {}
    faults: list[str] = []
    for file in files:
        for number, row in sheet_rows(file, len(runs) > 1):
            try:
                score = _score(row, names, known)
                if score is None:
                    continue
                key = (score.run, score.record, score.criterion, score.rater)
                if key in found:
                    raise InputError("a conversation once a rater and criterion", f"{score.record} again")
                found[key] = score
            except InputError as error:
                faults.append(f"{file}, line {number}: {error}")
    if faults:
        more = f" | and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError("rating sheets without faults", " | ".join(faults[:_SHOWN]) + more)
    return list(found.values())


def _names(runs: Sequence[Run]) -> dict[str, str]:
    """What a sheet may call a run -> "A", "B"; what fits both is left out."""
    calls = [(run.name, {run.name, str(run.folder), run.folder.name, run.model}) for run in runs]
    found: dict[str, str] = {}
    for name, given in calls:
        others = {call for other, calls_of in calls if other != name for call in calls_of}
        found |= dict.fromkeys(given - others, name)
    return found | ({"": runs[0].name} if len(runs) == 1 else {})


def sheet_rows(file: Path, needs_run: bool) -> list[tuple[int, dict[str, str]]]:
    """Lines of a rating sheet by number. Raises InputError for one that cannot be read or lacks a column."""
    try:
        text = read_text(file)
    except OSError as error:
        raise InputError(f"a rating sheet at {file}", error.strerror or str(error)) from error
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count), restkey="", restval="")
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    needed = (*COLUMNS, "run") if needs_run else COLUMNS
    if missing := [name for name in needed if name not in columns]:
        raise InputError(f"a rating sheet with the columns {', '.join(needed)}", f"{file} without {', '.join(missing)}")
    reader.fieldnames = columns
    return [(reader.line_num, {name: str(cell or "").strip() for name, cell in row.items()}) for row in reader]


def _score(row: Mapping[str, str], names: Mapping[str, str], known: set[tuple[str, str]]) -> Score | None:
    if not row["score"]:
        return None
    run = names.get(row.get("run", ""))
    if run is None:
        raise InputError(f"a run of {', '.join(sorted(filter(None, names)))}", repr(row.get("run", "")))
    if (run, row["record"]) not in known:
        raise InputError("a conversation of the run", repr(row["record"]))
    if row["criterion"] not in CRITERIA:
        raise InputError(f"a criterion of {', '.join(CRITERIA)}", repr(row["criterion"]))
    if row["score"] not in {str(value) for value in range(LOWEST, HIGHEST + 1)}:
        raise InputError(f"a whole number from {LOWEST} to {HIGHEST}", repr(row["score"]))
    if not row["rater"]:
        raise InputError("a rater", "none")
    return Score(run, row["record"], row["criterion"], row["rater"], int(row["score"]))
