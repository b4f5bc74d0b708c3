"""Sampled dialogues: does a later turn understand the earlier ones?

In: annotated photos. Out: a record for each dialogue; figures over the rows: the final selection beside the same target
asked alone, operators, refusals, what is remembered, IoU by turn. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto, Example, Mark, Name, Operator, Turn
from miras.data.dialogues import sampler
from miras.data.formats.annotated import read_sources
from miras.data.io.left_out import LeftOut
from miras.data.record import Record, record_of
from miras.eval.metrics import statistics
from miras.eval.metrics.pixels import Overlap, giou, summary
from miras.eval.runs.samples import Row
from miras.eval.tasks.photos import side_of, whole
from miras.eval.tasks.task import Options, by_record, share

EDITS = (Operator.ADD, Operator.CUT, Operator.UNDO, Operator.EXCEPT)
MEMORY = ("same", "gone", "exact")
DRAWS = 2000


def asked(path: Path, options: Options, left: LeftOut) -> list[Record]:
    """`count` dialogues, or `limit` where that is fewer, about photos that can be read whole. Raises InputError."""
    photos = side_of(read_sources(path, left), options.side)
    whole(photos, path)
    count = options.count if options.limit is None else min(options.count, options.limit)
    return records(photos, n=count, seed=options.seed, heldout=options.heldout, recalls=options.recalls)


def settings(options: Options) -> dict[str, Any]:
    """How many, and in which words."""
    return {"dialogues": options.count, "limit": options.limit, "heldout": options.heldout,
            **({"recalls": True} if options.recalls else {})}  # fmt: skip


def records(
    photos: Sequence[AnnotatedPhoto], *, n: int, seed: int, heldout: bool, recalls: bool = False
) -> list[Record]:
    """`n` dialogues, the sources in turn, each photo of a source once before any comes again.

    heldout: with wordings that training never shows. recalls: with the moves that mean again what was named, and all
    but something (`data.dialogues.recalls`), whatever the model can do. `meta`: index, moves, and "alone" where the
    last reply names one target that replaces the selection. Raises InputError when no photo has anything to ask for.
    """
    if n < 1:
        raise InputError("at least 1 dialogue", str(n))
    return [
        _record(photo, example, index)
        for index, (photo, example) in enumerate(_examples(photos, n, seed, heldout, recalls))
    ]


def figures(records: Sequence[Record], rows: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """`giou` and its like in per cent, over all turns that change the selection; rates from 0 to 1.

    `final`: dialogues of two exchanges and more whose last reply names one target. `gap`: gIoU of the
    target asked alone minus gIoU after the dialogue, `gap_interval` its 95% bootstrap interval; `intervals`: the
    same of gIoU and of the rates, clustered by photo. `n`: dialogues.
    """
    turns = [row for row in rows if row.history != "alone" and row.blame != "data"]
    edits = {op: [op in row.marks_got for row in turns if op in row.marks_wanted] for op in EDITS}
    edits = {op: obeyed for op, obeyed in edits.items() if obeyed or op is not Operator.EXCEPT}
    refused = [_refused(row) for row in turns if Operator.REJECT in row.marks_wanted]
    wrongly = [_refused(row) for row in turns if row.phrase]
    return {
        "n": len(records),
        "turns": len(turns),
        **summary([overlap for row in turns if (overlap := row.overlap) is not None]),
        "final": _final(rows),
        "operators": {op.value: {"n": len(obeyed), "obeyed": share(obeyed)} for op, obeyed in edits.items()},
        "operators_obeyed": share([flag for obeyed in edits.values() for flag in obeyed]),
        "refusals": {"n": len(refused), "right": share(refused)},
        "false_refusals": {"n": len(wrongly), "rate": share(wrongly)},
        "intervals": _intervals(turns),
        "memory": memory(turns),
        "giou_by_turn": _by_turn(turns),
        "giou_by_move": _grouped((row.move, row.overlap) for row in turns),
        "giou_by_source": _grouped((row.source, row.overlap) for row in turns),
    }


def memory(turns: Sequence[Row]) -> dict[str, Any]:
    """Whether what was named is remembered to the pixel (`runs.memory`); shares of the turns that ask for it, from 0 to
    1. `talks`: dialogues in which all that was asked for held."""
    found: dict[str, Any] = {}
    for name in MEMORY:
        flags = [flag for row in turns if (flag := getattr(row, name)) is not None]
        found[name] = {"n": len(flags), "share": share(flags)}
    held = [
        all(flags)
        for group in by_record(turns).values()
        if (flags := [f for row in group for name in MEMORY if (f := getattr(row, name)) is not None])
    ]
    return found | {"talks": {"n": len(held), "share": share(held)}}


def lines(records: Sequence[Record], rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each dialogue, in the order in which they were sampled."""
    groups = by_record(rows)
    for record in records:
        held = [row for row in groups.get(record["id"], ()) if row.history != "alone"]
        alone = [row.iou for row in groups.get(record["id"], ()) if row.history == "alone"]
        yield {
            "index": record["meta"]["index"], "photo": record["image_id"], "source": record["source"],
            "kind": record["meta"]["kind"], "focus": record["focus"], "turns": [_line(row) for row in held],
            "final_iou": held[-1].iou if alone else None, "alone_iou": alone[0] if alone else None,
        }  # fmt: skip


# Sampling


def _examples(
    photos: Sequence[AnnotatedPhoto], n: int, seed: int, heldout: bool, recalls: bool
) -> Iterator[tuple[AnnotatedPhoto, Example]]:
    rng = np.random.default_rng([seed, 0])
    sources = sorted({photo.source for photo in photos})
    pools = {name: [photo for photo in photos if photo.source == name] for name in sources}
    queues: dict[str, list[AnnotatedPhoto]] = {name: [] for name in sources}
    made = idle = 0
    while made < n:
        name = sources[(made + idle) % len(sources)]
        if not queues[name]:
            queues[name] = [pools[name][i] for i in rng.permutation(len(pools[name]))]
        photo = queues[name].pop()
        try:
            rng_of = np.random.default_rng([seed, made + 1])
            example = sampler.sample(photo, rng_of, heldout=heldout, points=recalls, complements=recalls)
        except InputError:  # a photo whose masks are all too small to ask for
            idle += 1
            if idle > 2 * len(photos) + n:
                raise
            continue
        made += 1
        yield photo, example


def _record(photo: AnnotatedPhoto, example: Example, index: int) -> Record:
    image = Path(example.image).absolute().as_posix()
    made = record_of(example, id=f"{photo.source}/{photo.id}/{index}", image_id=photo.id, image=image, size=photo.size)
    meta = {**made["meta"], "index": index, "kind": example.kind, "alone": _ends_alone(example.conversation.turns)}
    made = {**made, "source": photo.source, "kind": example.kind or "single", "meta": meta}
    return made if photo.content is None else {**made, "image_bytes": photo.content}


def _ends_alone(turns: Sequence[Turn]) -> bool:
    """Whether the last reply names one region, nothing else governs it, and something came before."""
    last = turns[-1]
    alone = len(last.regions) == 1 and not any(isinstance(piece, Mark) for piece in last.content)
    return alone and sum(isinstance(piece, Name) for piece in last.content) == 1 and len(turns) > 2


# Figures


def _refused(row: Row) -> bool:
    return Operator.REJECT in row.marks_got


def _final(rows: Sequence[Row]) -> dict[str, Any]:
    asked = {row.record: row for row in rows if row.history == "alone" and row.overlap is not None}
    ends = [row for row in rows if row.history != "alone" and row.final and row.record in asked and row.overlap]
    pairs = [(own, alone) for row in ends if (own := row.overlap) and (alone := asked[row.record].overlap)]
    gaps = [100 * (alone.iou - own.iou) for own, alone in pairs]
    before, after = giou([alone for _, alone in pairs]), giou([own for own, _ in pairs])
    return {"n": len(pairs), "giou_own": after, "giou_alone": before, "gap": before - after,
            "gap_interval": _interval(gaps, [row.cluster for row in ends])}  # fmt: skip


def _intervals(turns: Sequence[Row]) -> dict[str, list[float]]:
    values: dict[str, list[tuple[float, str]]] = {
        "giou": [(100 * overlap.iou, row.cluster) for row in turns if (overlap := row.overlap) is not None],
        "operators_obeyed": [(op in row.marks_got, row.cluster) for row in turns for op in EDITS
                             if op in row.marks_wanted],
        "refusals": [(_refused(row), row.cluster) for row in turns if Operator.REJECT in row.marks_wanted],
        "false_refusals": [(_refused(row), row.cluster) for row in turns if row.phrase],
    }  # fmt: skip
    return {
        name: _interval([value for value, _ in pairs], [photo for _, photo in pairs])
        for name, pairs in values.items()
    }  # fmt: skip


def _interval(values: Sequence[float], clusters: Sequence[str]) -> list[float]:
    """95% percentile bootstrap of a mean, clustered by photo; of one photo the mean itself."""
    if not values:
        return [0.0, 0.0]
    found = statistics.mean(values, clusters, draws=DRAWS)
    return list(found.percentile or (found.value, found.value))


def _by_turn(turns: Sequence[Row]) -> list[dict[str, float]]:
    """For turn 1, 2, ...: how many change the selection, and their gIoU."""
    longest = max((row.turn for row in turns), default=0)
    columns = [[o for row in turns if row.turn == turn and (o := row.overlap)] for turn in range(1, longest + 1)]
    return [{"n": len(column), "giou": giou(column)} for column in columns]


def _grouped(pairs: Iterable[tuple[str, Overlap | None]]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Overlap]] = {}
    for name, counted in pairs:
        if counted is not None:
            groups.setdefault(name, []).append(counted)
    return {name: {"n": len(group), "giou": giou(group)} for name, group in sorted(groups.items())}


def _line(row: Row) -> dict[str, Any]:
    return {
        "move": row.move, "user": row.user, "gold": row.gold_text, "reply": row.text,
        "wanted": sorted(row.marks_wanted), "said": sorted(row.marks_got), "iou": row.iou,
        **{name: flag for name in MEMORY if (flag := getattr(row, name)) is not None},
    }  # fmt: skip
