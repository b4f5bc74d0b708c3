"""`miras bench all`: what this machine does with a model, each figure beside the limit that memory or arithmetic sets.

In: a model; the photos that ship. Out: one object; `benchmarks/performance.py` makes a page of it. Limits and figures
are measured in the same run, with the same threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from miras.cli.options import Json, Model
from miras.cli.output import HERE, Computing, emit, load, say, table
from miras.core.errors import InputError, MirasError

if TYPE_CHECKING:
    from miras.cli.benches.machine import Rates

PHOTOS = Path(__file__).parents[2] / "assets"
QUESTIONS, TURNS = (1, 3), 6


def everything(
    *, repeats: Annotated[int, Parameter(help="Of each measurement; the fastest counts.")] = 5,
    photos: Annotated[int, Parameter(help="Photos that miras predict is measured with, for each way.")] = 8,
    jobs: Annotated[list[int], Parameter(consume_multiple=True, help="Processes of miras predict.")]
    = [1, 2],  # noqa: B006
    quick: Annotated[bool, Parameter(negative="", help="Everything once, of the least: to see that it runs.")] = False,
    data: Annotated[Path | None, Parameter(help="Annotated photos; with them a training step is measured, too.")]
    = None, json: Json = False, model: Model = "miras-mini", on: Computing = HERE,
) -> int:  # fmt: skip
    """All of it: turns, photos, masks, many photos, memory, cold start, training, each beside its limit."""
    plan = Plan(1, 1, (1,), data, most=1) if quick else Plan(repeats, photos, tuple(jobs), data)
    return run(plan, as_json=json, model=model, on=on)


@dataclass(frozen=True)
class Plan:
    """How much is measured. most: photos in conversation at once."""

    repeats: int
    photos: int
    jobs: tuple[int, ...]
    data: Path | None
    most: int = 8


def run(plan: Plan, *, as_json: bool, model: str, on: Computing) -> int:
    """Exit code 0; 1 where a part could not be measured, which is told."""
    for name, value in (("repeats", plan.repeats), ("photos", plan.photos), *(("jobs", one) for one in plan.jobs)):
        if value < 1:
            raise InputError(f"--{name} of at least 1", str(value))
    if on.device != "cpu":
        raise InputError("--device cpu: the limits are measured there", on.device)
    if plan.data is not None and not plan.data.exists():
        raise InputError("a folder of annotated photos", f"no {plan.data}")
    result = measured(plan, model, on)
    if as_json:
        emit(result)
        return int(bool(result["failed"]))
    for name, value in result["hardware"].items():
        print(f"{name}: {value}")
    for part in ("encoding", "language", "decoder", "turns"):
        rows = result[part] or [{}]
        print(f"\n{part}\n" + table([tuple(row.values()) for row in rows], tuple(rows[0])))
    for part in ("reading", "predict", "held", "cold_start", "training", "failed"):
        print(f"\n{part}: {result[part]}")
    return int(bool(result["failed"]))


class Parts:
    """What was measured so far, part by part; a line for each on standard error. failed: why a part is missing."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self._start = time.perf_counter()

    def add(self, name: str, measure: Callable[[], Any]) -> None:
        """One more; None where it could not be."""
        try:
            self.found[name] = measure()
            said = "measured"
        except (MirasError, OSError, RuntimeError) as error:  # the others are worth having
            said = self.failed[name] = " ".join(f"{error}".split())[:300] or type(error).__name__
            self.found[name] = None
        say(f"{time.perf_counter() - self._start:6.0f} s  {name}: {said}")


def measured(plan: Plan, model: str, on: Computing) -> dict[str, Any]:
    """The object that `--json` prints; seconds, bytes, operations."""
    from miras.cli.benches import machine, whole

    files, repeats, many = sorted(PHOTOS.glob("*.jpg")), plan.repeats, Parts()
    name, hardware, rates, limits, limit = _answers(many, plan, files, model, on)
    threads = hardware["threads"]
    many.add("cold_start", lambda: whole.cold_start(model, files[1], threads, min(repeats, 3), limit))
    for questions in QUESTIONS:
        for jobs in plan.jobs:
            many.add(f"predict {questions} {jobs}", lambda jobs=jobs, questions=questions: whole.many(  # type: ignore[misc]
                model, files, plan.photos, jobs, questions, limits[questions]
            ))  # fmt: skip
    many.add("training", lambda: plan.data and whole.training(model, plan.data, min(repeats, 3), rates))
    hardware["load_after"] = machine.load()
    found = many.found
    predict = [found.pop(key) for key in list(found) if key.startswith("predict ")]
    found["predict"] = [row for row in predict if row is not None]
    return {"model": name, "repeats": repeats, "hardware": hardware, **found, "failed": many.failed}


def _answers(
    many: Parts, plan: Plan, files: Sequence[Path], model: str, on: Computing
) -> tuple[str, dict[str, Any], Rates, dict[int, float], float]:
    """What is measured with the model in this process, which it leaves. Returns its name, the machine, its rates, the
    least seconds of a photo by how many questions, and those of a first answer with its weights."""
    from miras.cli.benches import machine, parts, roofline, whole
    from miras.core.photo import read_photo

    loaded, repeats = load(model, on.measuring(model)), plan.repeats
    rates = machine.rates(repeats)
    hardware = machine.hardware(rates)
    pixels = [read_photo(path) for path in files]
    many.add("held", lambda: whole.held(loaded, files, plan.most))
    many.add("encoding", lambda: parts.encoding(loaded.model, pixels, rates, repeats))
    many.add("language", lambda: parts.language(loaded.model, rates, repeats))
    many.add("decoder", lambda: parts.decoding(loaded.model, pixels[0], rates, repeats))
    many.add("reading", lambda: parts.reading(pixels[0], repeats))
    many.add("turns", lambda: whole.turns(loaded, rates, TURNS, repeats))
    limits = {count: whole.answer_limit(loaded, files[1], count, rates).seconds for count in QUESTIONS}
    limit = limits[1] + roofline.size(loaded.model) / rates.bandwidth
    return loaded.name, hardware, rates, limits, limit
