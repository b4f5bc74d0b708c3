"""Recorded conversations of any format and the system they are held with, as `miras eval` is asked for them.

In: where the data lies, which of it, and a spec of a system (`eval.systems.registry`). Out: the summary of a run, its
folder and report; or the questions that other software is to answer. Knows no command line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from miras.cli.output import ALONE, COMPOSED, Computing, Pair, load, progress, say
from miras.core.errors import InputError
from miras.data.io.left_out import LeftOut
from miras.eval.systems.specs import ENDPOINT, FOLDER, PREFIXES

if TYPE_CHECKING:
    from miras.data.record import Record

PHRASES = "phrases"
"""The format of names asked for on the photos of the training sets."""
Split = Literal["all", "train", "calibration", "val", "test"]


@dataclass(frozen=True)
class Held:
    """Which conversations, and how. format: None until it is guessed. out: None = nothing is kept."""

    path: Path
    format: str | None
    split: Split
    limit: int | None
    instruction: int
    history: Literal["own", "gold"]
    out: Path | None


@dataclass(frozen=True)
class Asked:
    """Which system, and how. endpoint: options of `core.llm.endpoint.Settings`, None = as it has them."""

    model: str
    decoder: str
    on: Computing
    seed: int
    endpoint: Mapping[str, Any]
    ray: bool = False
    jobs: int | None = None
    pair: Pair = ALONE

    @property
    def by_prefix(self) -> bool:
        """Whether the spec names something else than weights."""
        return self.model.startswith(PREFIXES)


def hold(held: Held, asked: Asked) -> dict[str, Any]:
    """Hold every conversation; the summary, and what was wrong with the data on standard error. Raises InputError."""
    from miras.eval.runs.run import evaluate
    from miras.eval.systems import registry

    registry.check(asked.model)
    if asked.pair.given and asked.model != COMPOSED:
        raise InputError("--model composed beside --talker, --segmenter, --look", f"--model {asked.model}")
    every, left = _read(held)
    records = every if held.format == PHRASES else _of_side(every, held.split)
    instruction = {"instruction": held.instruction} if held.format == "instructpart" else {}
    about: dict[str, Any] = {
        "settings": {"format": held.format, "split": held.split, **instruction}, "unread": left.faults
    }  # fmt: skip
    holding = _over_ray(asked, held.history) if asked.ray else None
    if asked.ray:
        about["ray"] = {"actors": asked.jobs or "cores over threads", "threads": asked.on.threads or 1}
    with tempfile.TemporaryDirectory(prefix="miras-eval-") as scratch:
        out = held.out or Path(scratch) / "run"
        system = registry.open_system(
            asked.model, decoder=asked.decoder, threads=asked.on.threads, seed=asked.seed, endpoint=asked.endpoint,
            others={record["id"] for record in every}, journal=out / registry.JOURNAL,
            loader=lambda name, _: load(name, asked.on),
            pair={**vars(asked.pair), "device": asked.on.device, "dtype": asked.on.dtype},
        )  # fmt: skip
        try:
            result = evaluate(
                records, system, history=held.history, out=out, limit=held.limit, seed=asked.seed, about=about,
                watch=lambda chosen: progress(chosen, len(chosen), "talking"), holding=holding,
            )  # fmt: skip
        finally:
            registry.close(system)
        if held.format == PHRASES:
            result = _with_phrases(out, result)
    for fault in result["faults"]["named"]:
        say(f"miras: fault: {fault}")
    return {**result, **left.to_dict(), **({} if held.out is None else {"out": str(held.out), **_reported(held.out)})}


def write_questions(held: Held, seed: int, file: Path) -> dict[str, Any]:
    """What a system would be asked, a line for each turn; nothing is asked."""
    from miras.eval.runs.run import choose
    from miras.eval.systems.predictions_format import QUESTIONS, questions

    file = file if file.suffix else file / QUESTIONS
    every, left = _read(held)
    records = choose(every if held.format == PHRASES else _of_side(every, held.split), held.limit, seed)
    count = questions(records, file, history=held.history)
    return {"questions": str(file), "turns": count, "conversations": len(records), "history": held.history,
            "seed": seed, "limit": held.limit, "faults": {"unread": left.faults}, **left.to_dict()}  # fmt: skip


def _reported(out: Path) -> dict[str, str]:
    """The run as a page; a run whose page cannot be drawn is still a run."""
    from miras.eval.report import page

    try:
        return {"report": str(page.write(out))}
    except InputError as error:
        say(f"miras: no report: {error}")
        return {}


def _over_ray(asked: Asked, history: Literal["own", "gold"]) -> Any:
    """Who holds the conversations in the place of this process. Raises InputError for what cannot be spread."""
    from miras.chat.load import load as load_weights
    from miras.eval.runs.scale import over_ray
    from miras.eval.systems.registry import open_system

    if asked.model.startswith((FOLDER, ENDPOINT, COMPOSED)):
        raise InputError("weights or baseline:NAME behind --model, for --ray", asked.model, "leave --ray out")
    if asked.on.device != "cpu":
        raise InputError("--device cpu, for --ray", asked.on.device, "leave --ray out")
    threads = asked.on.threads or 1
    loader = partial(load_weights, dtype=asked.on.dtype)
    opening = partial(
        open_system, asked.model, decoder=asked.decoder, threads=threads, seed=asked.seed, loader=loader
    )  # fmt: skip
    return over_ray(opening, history=history, seed=asked.seed, actors=asked.jobs, threads=threads)


def _with_phrases(out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The summary with what `eval.tasks.phrases` tells of its rows, in the run's folder too."""
    from miras.eval.runs import samples, summary
    from miras.eval.tasks import phrases

    found = phrases.figures(samples.read(out / samples.FILE), result["seed"])
    result = {**result, "phrases": found}
    summary.write_json(out / summary.FILE, result)
    return result


def _read(held: Held) -> tuple[list[Record], LeftOut]:
    """All records, and what was left out; what could not be read is said; names to ask for are of the wanted side
    alone."""
    from miras.data.formats.records import guess_format, read_records

    left = LeftOut(lambda fault: say(f"miras: left out: {fault}"))
    if held.format == PHRASES:
        return _names(held, left), left
    format = held.format or guess_format(held.path)
    records = list(read_records(held.path, format, left, instruction=held.instruction))
    if not records:
        raise left.explained(InputError(f"conversations in {held.path}", "none"))
    return records, left


def _names(held: Held, left: LeftOut) -> list[Record]:
    """What is asked for by name of the photos of one side of the training sets at a path."""
    from miras.data.formats.annotated import read_sources
    from miras.eval.tasks import phrases
    from miras.eval.tasks.photos import side_of

    if held.split == "test":
        raise InputError(f"--split all, train, calibration, val for {PHRASES}", held.split)
    photos = side_of(read_sources(held.path, left), held.split)
    return list(phrases.records(photos))


def _of_side(records: list[Record], side: Split) -> list[Record]:
    """The records of a split; where the data is undivided, of a side of the recipe's split. Raises InputError."""
    if side == "all":
        return records
    divided = sorted({record["split"] for record in records if record["split"]})
    if divided:
        chosen = [record for record in records if record["split"] == side]
        known = ", ".join(divided)
    else:
        from miras.core.types import AnnotatedPhoto
        from miras.data.photos.split import recipe_sides

        size = (1, 1)
        photos = [
            AnnotatedPhoto(r["image_id"], Path(r["image"]), size, (), r["source"], content=r.get("image_bytes"))
            for r in records
        ]
        sides = recipe_sides(photos)
        kept = {(photo.source, photo.id) for photo in sides.get(side, ())}
        chosen = [record for record in records if (record["source"], record["image_id"]) in kept]
        known = ", ".join(name for name, members in sides.items() if members)
    if records and not chosen:
        raise InputError(f"conversations of --split {side}", f"none among {len(records)}", f"there are: {known}, all")
    return chosen
