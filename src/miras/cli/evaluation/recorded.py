"""What is asked and the system that is asked, as `miras eval` is told: conversations of any format, or a task.

In: where the data lies, which of it, and a spec of a system (`eval.systems.registry`). Out: the summary of a run, its
folder and report; or the questions that other software is to answer. Knows no command line.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from miras.cli.output import ALONE, COMPOSED, Computing, Pair, load, progress, say, write
from miras.core.errors import InputError
from miras.data.io.left_out import LeftOut
from miras.eval.systems.specs import AGENT, ENDPOINT, FOLDER, PREFIXES

if TYPE_CHECKING:
    from miras.data.record import Record
    from miras.eval.tasks.task import Options, Task

SAMPLED = ("dialogues", "behaviours", "phrases")
"""Tasks (`eval.tasks.registry`) that are made from the training sets at a path."""
TASKS = (*SAMPLED, "instructpart")
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
    count: int = 100
    heldout: bool = True
    recalls: bool = False
    samples: Path | None = None

    def task(self, asked: Asked) -> Task | None:
        """The task of its format. A run of InstructPart that is kept, or of another system, holds its records as those
        of any format (`--limit` draws from them); else the first parts are asked."""
        as_records = self.out is not None or asked.by_prefix or asked.ray
        if self.format not in TASKS or (self.format == "instructpart" and as_records):
            return None
        from miras.eval.tasks.registry import TASKS as BY_NAME

        return BY_NAME[self.format]

    def options(self, seed: int) -> Options:
        """For the task. Raises InputError for a side that no split of photos has."""
        from miras.eval.tasks.task import Options

        if self.split == "test":
            raise InputError(f"--split all, train, calibration, val for {self.format}", self.split)
        return Options(self.split, self.limit, seed, self.instruction, self.count, self.heldout, self.recalls)


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
    """Hold every conversation; the summary, and what was wrong with the data on standard error. Raises InputError.

    Of a task the figures of its own stand before the summary's; in the run's folder they are under its name.
    """
    from miras.eval.runs.run import evaluate
    from miras.eval.systems import registry

    if asked.pair.given and asked.model != COMPOSED and not asked.model.startswith(AGENT):
        raise InputError("--model composed beside --talker, --segmenter, --look", f"--model {asked.model}")
    task = held.task(asked)
    if task is None:
        registry.check(asked.model)
    every, records, left, limit = _chosen(held, asked, task)
    about = _about(held, asked, task, left)
    holding = _over_ray(asked, held.history) if asked.ray else None
    with tempfile.TemporaryDirectory(prefix="miras-eval-") as scratch:
        out = held.out or Path(scratch) / "run"
        system = registry.open_system(
            asked.model, decoder=asked.decoder, threads=asked.on.threads, seed=asked.seed, endpoint=asked.endpoint,
            others={record["id"] for record in every}, journal=out / registry.JOURNAL,
            loader=lambda name, _: load(name, asked.on.measuring(name)),
            pair={**vars(asked.pair), "device": asked.on.device, "dtype": asked.on.dtype},
        )  # fmt: skip
        try:
            result = evaluate(
                records, system, history=held.history, out=out, limit=limit, seed=asked.seed, about=about,
                watch=lambda chosen: progress(chosen, len(chosen), "talking"), holding=holding,
            )  # fmt: skip
        finally:
            registry.close(system)
        if task is not None:
            result = _with_task(held, task, records, out, result)
    for fault in result["faults"]["named"]:
        say(f"miras: fault: {fault}")
    return {**result, **left.to_dict(), **({} if held.out is None else {"out": str(held.out), **_reported(held.out)})}


def write_questions(held: Held, asked: Asked, file: Path) -> dict[str, Any]:
    """What a system would be asked, a line for each turn; nothing is asked."""
    from miras.eval.runs.run import choose
    from miras.eval.systems.predictions_format import QUESTIONS, questions

    file = file if file.suffix else file / QUESTIONS
    task = None if held.format == "instructpart" else held.task(asked)
    _, records, left, limit = _chosen(held, asked, task)
    records = choose(records, limit, asked.seed)
    count = questions(records, file, history=held.history)
    return {"questions": str(file), "turns": count, "conversations": len(records), "history": held.history,
            "seed": asked.seed, "limit": held.limit, "faults": {"unread": left.faults}, **left.to_dict()}  # fmt: skip


def _chosen(held: Held, asked: Asked, task: Task | None) -> tuple[list[Record], list[Record], LeftOut, int | None]:
    """All records, those that are asked, what was left out, and how many of them are still to be drawn."""
    if task is None:
        every, left = _read(held)
        return every, _of_side(every, held.split), left, held.limit
    from miras.eval.tasks.registry import DRAWN

    left = LeftOut(lambda fault: say(f"miras: left out: {fault}"))
    records = task.asked(held.path, held.options(asked.seed), left)
    return records, records, left, held.limit if held.format in DRAWN else None


def _about(held: Held, asked: Asked, task: Task | None, left: LeftOut) -> dict[str, Any]:
    """What else describes the run."""
    own = {"instruction": held.instruction} if held.format == "instructpart" else {}
    if task is not None:
        own |= task.settings(held.options(asked.seed))
    about: dict[str, Any] = {
        "settings": {"format": held.format, "split": held.split, **own}, "unread": left.faults
    }  # fmt: skip
    if asked.ray:
        about["ray"] = {"actors": asked.jobs or "cores over threads", "threads": asked.on.threads or 1}
    return about


def _with_task(held: Held, task: Task, records: list[Record], out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The summary with what the task tells of the rows, in the run's folder too; the lines of `--samples`."""
    from miras.eval.runs import samples, summary

    rows = samples.read(out / samples.FILE)
    found = task.figures(records, rows, result["seed"])
    kept = found if held.format in found else {str(held.format): found}
    summary.write_json(out / summary.FILE, {**result, **kept})
    if held.samples is not None:
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in task.lines(records, rows))
        write(held.samples, "".join(lines).encode())
    heeded = {key: value for key, value in task.settings(held.options(result["seed"])).items() if key != "limit"}
    return {**result, **heeded, **found}


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
    from miras.chat.load import load_torch as load_weights
    from miras.eval.runs.scale import over_ray
    from miras.eval.systems.registry import open_system

    if asked.model.startswith((FOLDER, ENDPOINT, COMPOSED, AGENT)):
        raise InputError("weights or baseline:NAME behind --model, for --ray", asked.model, "leave --ray out")
    if asked.on.device != "cpu":
        raise InputError("--device cpu, for --ray", asked.on.device, "leave --ray out")
    threads = asked.on.threads or 1
    loader = partial(load_weights, dtype=asked.on.dtype, runtime=asked.on.runtime)
    opening = partial(
        open_system, asked.model, decoder=asked.decoder, threads=threads, seed=asked.seed, loader=loader
    )  # fmt: skip
    return over_ray(opening, history=history, seed=asked.seed, actors=asked.jobs, threads=threads)


def _read(held: Held) -> tuple[list[Record], LeftOut]:
    """All records, and what was left out; what could not be read is said."""
    from miras.data.formats.records import guess_format, read_records

    left = LeftOut(lambda fault: say(f"miras: left out: {fault}"))
    format = held.format or guess_format(held.path)
    records = list(read_records(held.path, format, left, instruction=held.instruction))
    if not records:
        raise left.explained(InputError(f"conversations in {held.path}", "none"))
    return records, left


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
