"""A run: recorded conversations held with a system, a row of `samples.jsonl` for each turn.

In: records of any format, a `System`, a folder. Out: the folder with samples.jsonl, run.json and summary.json. A
run that was stopped goes on where it was. Faults are named in the rows and counted, never averaged away: a record
that is at fault itself (photo missing, mask of another size) is not asked; an answer at fault counts as no mask.
Knows no file format and no model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from miras.core.errors import InputError, MirasError
from miras.core.llm.answers import EndpointDown
from miras.core.masks import as_mask, encode_rle, union
from miras.core.recall import anew, pointing
from miras.core.selection import follow
from miras.core.types import Conversation, Mask, Name, Operator, Region, Turn
from miras.data.language.words import definite
from miras.data.record import Record, turn_of
from miras.eval.metrics.pixels import boundaries, overlap
from miras.eval.protocol import Answer, Dialogue, History, System, append_of, operator_wanted
from miras.eval.runs import precheck, samples, summary
from miras.eval.runs.samples import Key, Row

ABOUT = "run.json"
ALONE = ("progressive",)
"""Kinds whose final target is also asked alone."""
Watch = Callable[[Sequence[Record]], Iterable[Record]]
"""Passes the records on, one by one, and shows how far it is."""
Holding = Callable[[Sequence[Record]], Iterator[Iterable[Row]]]
"""The rows of each record, in order."""


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


@runtime_checkable
class Spending(Protocol):
    """A system whose answers are paid."""

    def spent(self) -> dict[str, Any]:
        """What all answers of the run took; goes into run.json and the summary as "spent"."""
        ...


def evaluate(
    records: Iterable[Record], system: System, *, history: History = "own", out: Path, limit: int | None = None,
    seed: int = 0, about: Mapping[str, Any] | None = None, watch: Watch = iter, holding: Holding | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Hold every conversation, write the run into `out`, return its summary (see `summary.figures`).

    history: "own" keeps the system's answers, "gold" puts the data's in their place before the next message. limit:
    only so many records, see `choose`. about: what else describes the run, plain values; a run goes on only with
    equal "settings" (format, split). holding: who holds the conversations (`scale`); by default `hold`, here. Raises
    InputError for no records, an id given twice, records without any mask or refusal, a folder that holds another
    run, and EndpointDown when a system behind an address cannot be asked: the run then goes on where it was.
    """
    if history not in ("own", "gold"):
        raise InputError("a history of own, gold", repr(history))
    chosen = choose(list(records), limit, seed)
    _check(chosen)
    about = dict(about or {})
    settings = {
        "model": system.name, "facts": system.facts(), "history": history, "seed": seed, "limit": limit,
        "data": digest(chosen), **about.pop("settings", {}),
    }  # fmt: skip
    if isinstance(system, Prepared):
        about["predictions"] = system.prepare(chosen, history)
    if trained_on := getattr(system, "trained_on", ""):
        about["trained_on"] = trained_on
    alone = answers_alone(system)
    done = _open(out, settings, about)
    missing = {record["id"]: keys(record, history, alone) - done for record in chosen}
    asked = [record for record in chosen if missing[record["id"]]]
    precheck.look_over(asked, out)
    held = (
        (hold(record, system, history=history, seed=seed) for record in asked)
        if holding is None else holding(asked)
    )  # fmt: skip
    for record in watch(chosen):
        wanted = missing[record["id"]]
        if wanted:
            samples.append(out / samples.FILE, [row for row in next(held) if row.key in wanted])
    if isinstance(system, Spending):
        _add(out, spent=system.spent())
    return summary.write(out)


def answers_alone(system: System) -> bool:
    """Whether final targets are also asked alone."""
    return system.alone if isinstance(system, Prepared) else True


def choose(records: Sequence[Record], limit: int | None, seed: int = 0) -> list[Record]:
    """`limit` records, or all, those of one photo together.

    Drawn in random order, the kinds in turn; a photo comes again only after the others of that kind.
    """
    if limit is not None and limit < 1:
        raise InputError("a limit of at least 1", str(limit))
    kept = list(range(len(records))) if limit is None else _drawn(records, limit, seed)
    first: dict[tuple[str, str], int] = {}
    for index in kept:
        first.setdefault((records[index]["image_id"], records[index]["image"]), index)
    kept.sort(key=lambda index: (first[records[index]["image_id"], records[index]["image"]], index))
    return [records[index] for index in kept]


def _drawn(records: Sequence[Record], limit: int, seed: int) -> list[int]:
    """Indices, in their order."""
    often: dict[str, int] = {}
    queues: dict[str, list[tuple[int, int]]] = {}
    for index in np.random.default_rng(seed).permutation(len(records)).tolist():
        photo = records[index]["image_id"]
        often[photo] = often.get(photo, 0) + 1
        queues.setdefault(records[index]["kind"], []).append((often[photo], index))
    ordered = [sorted(queues[kind], key=lambda pair: pair[0]) for kind in sorted(queues)]
    in_turn = sorted((place, kind, pair[1]) for kind, queue in enumerate(ordered) for place, pair in enumerate(queue))
    return sorted(index for _, _, index in in_turn[:limit])


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
    append = append_of(dialogue)
    told = (pointing if getattr(dialogue, "points", False) else anew)(Conversation(tuple(golds))).turns
    for row, (gold, steps), known in zip(blanks, follow(golds), told, strict=True):
        wanted = steps[-1].mask if steps else np.zeros((record["height"], record["width"]), np.bool_)
        if history == "own":
            yield _asked(dialogue, row, gold, wanted)
            continue
        asked = _asked(dialogue.fork(), row, gold, wanted)
        try:
            append(row.user, known)
        except MirasError as error:
            asked = _with_fault(asked, f"the gold reply could not be told: {error}")
        yield asked


def _asked(dialogue: Dialogue, row: Row, gold: Turn, wanted: Mask) -> Row:
    """The row with what was wanted, what was answered, and what they have in common."""
    operator = operator_wanted(gold)
    graded = bool(gold.names) or operator in (Operator.UNDO, Operator.EXCEPT)
    row = replace(
        row, gold_text=gold.text, phrase="; ".join(piece.phrase for piece in gold.content if isinstance(piece, Name)),
        operator_wanted=operator, refused_wanted=operator is Operator.REJECT, graded=graded,
        gold_rle=encode_rle(wanted) if graded else None,
        target_share=np.count_nonzero(wanted) / wanted.size if graded else None,
    )  # fmt: skip
    try:
        answer = dialogue.ask(row.user)
    except EndpointDown:
        raise
    except MirasError as error:
        row = _with_fault(row, str(error))
        return _counted(row, None, wanted) if graded else row
    row, mask = _answered(row, answer, wanted.shape)
    row = replace(row, region_iou=_region_iou(answer.regions, gold.regions, wanted.shape))
    return _counted(row, mask, wanted) if graded else row


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
        operator_got=answer.operator, refused=answer.refused, has_mask=mask is not None and bool(mask.any()),
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
    said = _exchanges(record)
    return [
        Row(
            record=record["id"], photo=record["image_id"], image=record["image"], source=record["source"],
            split=record["split"], kind=record["kind"], hops=record["hops"], size=(record["height"], record["width"]),
            focus=record["focus"], turn=turn, turns=len(said), final=turn == len(said), history=history, model=model,
            seed=seed, user=text,
        )
        for turn, text in enumerate(said, 1)
    ]  # fmt: skip


def _exchanges(record: Record) -> list[str]:
    """What the person says; a record without turns still has one row, for its fault."""
    return [turn["text"] for turn in record["turns"][::2]] or [""]


def alone_question(record: Record) -> str | None:
    """The message that asks for the final target alone, where it can: one region, no mark, something before it."""
    if record["kind"] not in ALONE or len(record["turns"]) < 4:
        return None
    last = record["turns"][-1]
    marked = any(piece["type"] == "mark" for piece in last["content"])
    single = len(last["regions"]) == 1 and not marked
    return f"Select {definite(last['regions'][0]['phrase'])}." if single else None


# The folder


def digest(records: Sequence[Record]) -> str:
    """Of what was said and masked, wherever the photos lie."""
    total = hashlib.sha256()
    for record in records:
        plain = {key: value for key, value in record.items() if key not in ("image", "image_bytes", "meta")}
        total.update(json.dumps(plain, sort_keys=True, default=str).encode())
    return total.hexdigest()[:16]


def _check(records: Sequence[Record]) -> None:
    if not records:
        raise InputError("conversations to hold", "none", "look at the split and the format")
    seen: set[str] = set()
    for record in records:
        if record["id"] in seen:
            raise InputError("an id of its own for each record", f"{record['id']!r} twice", "run miras data validate")
        seen.add(record["id"])
    pieces = (piece for record in records for turn in record["turns"] for piece in turn["content"])
    if not any(piece["type"] in ("name", "mark") for piece in pieces):
        raise InputError("a dataset with masks or refusals", f"none in {len(records)} conversations")


def _open(out: Path, settings: Mapping[str, Any], about: Mapping[str, Any]) -> set[Key]:
    """Make the folder, or find in it the rows of the same run."""
    file = out / ABOUT
    plain = json.loads(json.dumps(settings))
    earlier: list[Any] = []
    if file.is_file():
        try:
            whole = json.loads(file.read_text(encoding="utf-8"))
            before, earlier = whole["settings"], [*whole.get("earlier_commits", ()), whole.get("commit")]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError(f"the settings of a run in {file}", repr(error), "give another --out") from error
        other = [key for key in {**before, **plain} if before.get(key) != plain.get(key)]
        if other:
            got = ", ".join(f"{key} {before.get(key)!r} and now {plain.get(key)!r}" for key in sorted(other))
            raise InputError(f"the run that {out} holds, to go on with", got, "give another --out")
    elif (out / samples.FILE).exists():
        raise InputError(f"{ABOUT} beside {samples.FILE} in {out}", "none", "give another --out")
    done = {row.key for row in samples.resume(out / samples.FILE)}
    whole = {"settings": plain, **about, **summary.provenance()}
    if others := sorted({name for name in earlier if name and name != whole["commit"]}):
        whole["earlier_commits"] = others  # some rows were made by these
    summary.write_json(file, whole)
    return done


def _add(out: Path, **more: Any) -> None:
    """More of the run, known when it is over."""
    file = out / ABOUT
    summary.write_json(file, {**json.loads(file.read_text(encoding="utf-8")), **more})
