"""InstructPart: one instruction, one fresh conversation, one selection, for each part.

In: a folder of InstructPart. Out: a record for each part; figures over the rows. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.types import Operator
from miras.data.formats.instructpart import INSTRUCTIONS, read
from miras.data.io.left_out import LeftOut
from miras.data.io.single import records_of
from miras.data.record import Record
from miras.eval.metrics.pixels import summary
from miras.eval.runs.samples import Row
from miras.eval.tasks.photos import side_of, whole
from miras.eval.tasks.task import Options


def asked(path: Path, options: Options, left: LeftOut) -> list[Record]:
    """A record for each part, `limit` of them, their places in `meta`. Raises InputError for an instruction that is not
    there, and for photos that cannot be read whole."""
    if not 0 <= options.instruction < INSTRUCTIONS:
        raise InputError(f"an instruction from 0 to {INSTRUCTIONS - 1}", str(options.instruction))
    items = side_of(read(path, left), options.side)[: options.limit]
    whole(items, path)
    metas = [{"index": index} for index in range(len(items))]
    parts = [replace(item, annotations=item.annotations[:1]) for item in items]
    return list(records_of(parts, "", options.instruction, metas))


def settings(options: Options) -> dict[str, Any]:
    """Which instruction, and how many parts."""
    return {"instruction": options.instruction, "limit": options.limit}


def figures(records: Sequence[Record], rows: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """`metrics.pixels.summary`, the share of refusals, and the mean seconds of a reply."""
    sound = [row for row in rows if row.blame != "data"]
    count = len(sound) or 1
    return {
        "n": len(sound), **summary([overlap for row in sound if (overlap := row.overlap) is not None]),
        "rejected_rate": sum(Operator.REJECT in row.marks_got for row in sound) / count,
        "seconds_per_reply": sum(row.seconds for row in sound) / count,
    }  # fmt: skip


def lines(records: Sequence[Record], rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each part that was asked."""
    metas = {record["id"]: record["meta"] for record in records}
    for row in rows:
        meta = metas[row.record]
        yield {
            "index": meta["index"], "photo": row.photo, "label": meta["label"], "instruction": row.user,
            "reply": row.text, "phrases": row.phrase_got.split("; ") if row.phrase_got else [],
            "operators": list(row.marks_got), "score": row.score, "iou": row.iou, "intersection": row.intersection,
            "predicted": row.predicted, "gold": row.gold, "seconds": row.seconds, "rle": row.rle,
        }  # fmt: skip
