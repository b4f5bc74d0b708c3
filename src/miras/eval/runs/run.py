"""A run: recorded conversations held with a system, a row of `samples.jsonl` for each turn.

In: records of any format, a `System`, a folder. Out: the folder with samples.jsonl, run.json and summary.json. A
run that was stopped goes on where it was. Faults are named in the rows and counted, never averaged away: a record
that is at fault itself (photo missing, mask of another size) is not asked; an answer at fault counts as no mask.
Knows no file format and no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from miras.core.errors import InputError
from miras.data.record import Record
from miras.eval.protocol import History, System
from miras.eval.runs import precheck, samples, summary
from miras.eval.runs.hold import Prepared, answers_alone, hold, keys
from miras.eval.runs.samples import Key, Row

ABOUT = "run.json"
Watch = Callable[[Sequence[Record]], Iterable[Record]]
"""Passes the records on, one by one, and shows how far it is."""
Holding = Callable[[Sequence[Record]], Iterator[Iterable[Row]]]
"""The rows of each record, in order."""


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
