"""What is wrong with the data of a run, told before its first question.

In: records, the run's folder. Out: the faults of a record by itself, its photo decoded; one warning that names all
records at fault, and a file with a line for each. Knows no system.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from miras.core.errors import DataWarning
from miras.data.inspect.decoded import all_of, decoded
from miras.data.inspect.validate import validate
from miras.data.record import Record

FILE = "faults.txt"
"""In the run's folder; only where there are faults."""


def faults_of(record: Record) -> list[str]:
    """What is wrong with a record by itself. A photo that was decoded before is not decoded again."""
    return [
        f"{fault.what} (turn {fault.turn})" if fault.turn is not None else fault.what
        for fault in validate([record], decode=True)
    ]


def look_over(records: Sequence[Record], out: Path) -> None:
    """Decode every photo, on all cores, and check every record; warns of those at fault."""
    found = [f"{record['id']}: {'; '.join(why)}" for record, _ in decoded(records) if (why := faults_of(record))]
    if found:
        cure = "these conversations are not asked, and in no figure"
        error = all_of(found, f"{len(records)} conversations without faults", cure, out / FILE)
        warnings.warn(DataWarning(str(error)), stacklevel=3)
