"""One conversation held with a system: a row for each turn.

In: a record, a `System`. Out: rows, turn by turn; then the final target asked alone, where the record asks for it. An
answer at fault counts as no mask, and is named. Knows no folder and no figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from miras.core.errors import InputError, MirasError
from miras.core.llm.answers import EndpointDown
from miras.core.masks import as_mask, encode_rle, union
from miras.core.recall import anew, pointing
from miras.core.selection import follow
from miras.core.types import Conversation, Mark, Mask, Name, Operator, Region, Turn
from miras.data.language.words import definite
from miras.data.record import Record, turn_of
from miras.eval.metrics.pixels import boundaries, overlap
from miras.eval.protocol import Answer, Dialogue, History, System, append_of, operator_wanted
from miras.eval.runs import precheck
from miras.eval.runs.memory import Memory, Remembered
from miras.eval.runs.samples import Key, Row

ALONE = ("progressive",)
"""Kinds whose final target is also asked alone; a record whose meta has "alone" says it itself."""
Listening = Callable[[Mask | None, Sequence[Region], Sequence[Operator]], Remembered]


@runtime_checkable
class Prepared(Protocol):
    """A system that looks its answers up: it is told beforehand what will be asked."""

    @property
    def alone(self) -> bool:
        """Whether it has answers to final targets that are asked alone."""
        ...

    def prepare(self, chosen: Sequence[Record], history: History) -> dict[str, Any]:
        """What of it fits, missing answers by name; goes into run.json and the summary as "predictions"."""
        ...


def answers_alone(system: System) -> bool:
    """Whether final targets are also asked alone."""
    return system.alone if isinstance(system, Prepared) else True


def keys(record: Record, history: History, alone: bool = True) -> set[Key]:
    """The rows that a record gives. alone: whether its final target is also asked by itself."""
    count = len(_exchanges(record))
    found: set[Key] = {(record["id"], history, turn) for turn in range(1, count + 1)}
    return found | {(record["id"], "alone", count)} if alone and alone_question(record) is not None else found


def hold(record: Record, system: System, *, history: History = "own", seed: int = 0) -> Iterator[Row]:
    """The rows of one conversation, turn by turn; then its final target asked alone, where its kind is in `ALONE`."""
    blanks = _blanks(record, system.name, history, seed)
    question = alone_question(record) if answers_alone(system) else None
    alone = None if question is None else replace(blanks[-1], history="alone", user=question)
    faults = precheck.faults_of(record)
    photo: Path | bytes = record.get("image_bytes") or Path(record["image"])
    try:
        if faults:
            raise InputError("a record without a fault", "; ".join(faults))
        dialogue = system.start(photo, record=record["id"], history=history)
        fresh = None if alone is None else system.start(photo, record=record["id"], history="alone")
    except MirasError as error:
        why = "; ".join(faults) or str(error)
        for row in (*blanks, *([] if alone is None else [alone])):
            yield replace(row, fault=why, blame="data")
        return
    yield from _held(dialogue, record, blanks, history)
    if alone is not None and fresh is not None:
        gold = turn_of(record["turns"][-1], len(record["turns"]) - 1)
        yield _asked(fresh, alone, gold, gold.regions[0].mask)


# One conversation


def _held(dialogue: Dialogue, record: Record, blanks: Sequence[Row], history: History) -> Iterator[Row]:
    golds = [turn_of(record["turns"][2 * index + 1], 2 * index + 1) for index in range(len(blanks))]
    size = (record["height"], record["width"])
    memory = Memory(golds, size)
    append = append_of(dialogue)
    told = (pointing if getattr(dialogue, "points", False) else anew)(Conversation(tuple(golds))).turns
    for index, (row, (gold, steps), known) in enumerate(zip(blanks, follow(golds), told, strict=True)):
        wanted = steps[-1].mask if steps else np.zeros(size, np.bool_)
        listening = partial(memory.heard, index)
        if history == "own":
            yield _asked(dialogue, row, gold, wanted, listening)
            continue
        asked = _asked(dialogue.fork(), row, gold, wanted, listening)
        memory.told(index, wanted)
        try:
            append(row.user, known)
        except MirasError as error:
            asked = _with_fault(asked, f"the gold reply could not be told: {error}")
        yield asked


def _asked(dialogue: Dialogue, row: Row, gold: Turn, wanted: Mask, listening: Listening | None = None) -> Row:
    """The row with what was wanted, what was answered, and what they have in common. listening: `Memory.heard`."""
    operator = operator_wanted(gold)
    graded = bool(gold.names) or operator in (Operator.UNDO, Operator.EXCEPT)
    row = replace(
        row, gold_text=gold.text, phrase="; ".join(piece.phrase for piece in gold.content if isinstance(piece, Name)),
        operator_wanted=operator, marks_wanted=_marks(gold), refused_wanted=operator is Operator.REJECT, graded=graded,
        gold_rle=encode_rle(wanted) if graded else None,
        target_share=np.count_nonzero(wanted) / wanted.size if graded else None,
    )  # fmt: skip
    try:
        answer = dialogue.ask(row.user)
    except EndpointDown:
        raise
    except MirasError as error:
        row = _with_fault(row, str(error))
        row = row if listening is None else replace(row, **asdict(listening(None, (), ())))
        return _counted(row, None, wanted) if graded else row
    row, mask = _answered(row, answer, wanted.shape)
    if listening is not None:
        row = replace(row, **asdict(listening(mask, answer.regions, answer.marks)))
    row = replace(row, region_iou=_region_iou(answer.regions, gold.regions, wanted.shape))
    return _counted(row, mask, wanted) if graded else row


def _marks(gold: Turn) -> tuple[Operator, ...]:
    return tuple(piece.operator for piece in gold.content if isinstance(piece, Mark))


def _answered(row: Row, answer: Answer, size: tuple[int, ...]) -> tuple[Row, Mask | None]:
    """What the system said; a mask or score that cannot be used is a fault and left out."""
    mask, score = None, answer.score
    try:
        if answer.mask is not None:
            mask = as_mask(answer.mask)
            if mask.shape != size:
                raise InputError(f"a mask of the photo's size {size}", str(mask.shape))
    except InputError as error:
        row, mask = _with_fault(row, str(error)), None
    if score is not None and not (math.isfinite(score) and 0 <= score <= 1):
        row = _with_fault(row, str(InputError("a score from 0 to 1", str(score))))
        score = None
    row = replace(
        row, text=answer.text, phrase_got="; ".join(region.phrase for region in answer.regions),
        operator_got=answer.operator, marks_got=answer.marks, named=len(answer.regions),
        refused=answer.refused, has_mask=mask is not None and bool(mask.any()),
        score=None if score is None else float(score), seconds=round(answer.seconds, 4),
        rle=None if mask is None else encode_rle(mask),
    )  # fmt: skip
    return row, mask


def _counted(row: Row, mask: Mask | None, wanted: Mask) -> Row:
    counts = overlap(mask, wanted)
    band = boundaries([row.rle], [encode_rle(wanted) if row.gold_rle is None else row.gold_rle])[0]
    return replace(
        row, intersection=counts.both, predicted=counts.predicted, gold=counts.gold, union=counts.union, iou=counts.iou,
        band_intersection=band.both, band_predicted=band.predicted, band_gold=band.gold, boundary_iou=band.iou,
    )  # fmt: skip


def _region_iou(got: Sequence[Region], wanted: Sequence[Region], size: tuple[int, ...]) -> float | None:
    """IoU of what two replies name; None where one of them names nothing, or no mask of the photo's size."""
    if not got or not wanted or any(region.mask.shape != size for region in got):
        return None
    try:
        named = union(*(region.mask for region in got))
    except InputError:  # what is no mask names nothing
        return None
    return overlap(named, union(*(region.mask for region in wanted))).iou


def _with_fault(row: Row, fault: str) -> Row:
    return replace(row, fault=f"{row.fault}; {fault}" if row.fault else fault, blame="system")


def _blanks(record: Record, model: str, history: str, seed: int) -> list[Row]:
    """A row for each exchange, before anything is asked."""
    said, moves = _exchanges(record), record["meta"].get("moves", {})
    return [
        Row(
            record=record["id"], photo=record["image_id"], image=record["image"], source=record["source"],
            split=record["split"], kind=record["kind"], hops=record["hops"], size=(record["height"], record["width"]),
            focus=record["focus"], turn=turn, turns=len(said), final=turn == len(said), history=history, model=model,
            seed=seed, user=text, move=moves.get(str(2 * turn - 1), ""),
        )
        for turn, text in enumerate(said, 1)
    ]  # fmt: skip


def _exchanges(record: Record) -> list[str]:
    """What the person says; a record without turns still has one row, for its fault."""
    return [turn["text"] for turn in record["turns"][::2]] or [""]


def alone_question(record: Record) -> str | None:
    """The message that asks for the final target alone, where it can: one region, no mark, something before it."""
    if not record["meta"].get("alone", record["kind"] in ALONE) or len(record["turns"]) < 4:
        return None
    last = record["turns"][-1]
    marked = any(piece["type"] == "mark" for piece in last["content"])
    single = len(last["regions"]) == 1 and not marked
    return f"Select {definite(last['regions'][0]['phrase'])}." if single else None
