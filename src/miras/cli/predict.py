"""`miras predict`: the same questions about many photos.

In: photos, questions, a folder. Out: files; how far it is on standard error; figures on standard output. `predict` is
the command, `run` does the work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.options import Json, Model, Seed
from miras.cli.output import HERE, Computing, emit, progress, say, table
from miras.core.errors import InputError

SOME_FAILED = 1
"""Exit code when something was not answered; the same command asks for it again."""
EVERY = 30.0
"""Seconds between two lines about how far it is, where standard error is no terminal."""
SHOWN_WARNINGS = 5


def predict(
    photos: Annotated[
        list[str],
        Parameter(allow_leading_hyphen=True, help="Photos, folders, globs, lists, COCO JSON, Parquet; - reads paths."),
    ], /, *, out: Path,
    ask: Annotated[list[str], Parameter(help="A question; each has a conversation of its own.")] = [],  # noqa: B006
    script: Annotated[Path | None, Parameter(help="Conversations: a message a line, an empty line between two.")]
    = None,
    to: Annotated[list[str], Parameter(consume_multiple=True, help="coco, png, labelme, jsonl, parquet.")]
    = ["coco", "png"],  # noqa: B006
    format: Annotated[str, Parameter(help="What PHOTOS are, one of miras data formats; by default guessed.")] = "",
    resume: Annotated[bool, Parameter(negative="", help="Only go on with a job that --out holds.")] = False,
    jobs: Annotated[int | None, Parameter(help="Processes; by default one a core, as memory allows.")] = None,
    ray: Annotated[bool, Parameter(negative="", help="Over Ray, here or on a cluster that shares --out.")] = False,
    json: Json = False, model: Model = "miras-mini", on: Computing = HERE, seed: Seed = 0,
) -> int:  # fmt: skip
    """Ask the same about many photos: masks for other tools, and index.html with what to check first.

    Run the same command again after a stop: nothing that is finished is repeated. Bad photos are told in
    failures.jsonl, and the exit code is 1. --threads are those of all processes together.
    """
    return run(
        photos, out=out, asks=ask, script=script, formats=to, format=format, resume=resume, jobs=jobs, ray=ray,
        as_json=json, model=model, on=on, seed=seed,
    )  # fmt: skip


def run(
    photos: list[str], *, out: Path, asks: list[str], script: Path | None, formats: list[str], format: str,
    resume: bool, jobs: int | None, ray: bool, as_json: bool, model: str, on: Computing, seed: int,
) -> int:  # fmt: skip
    """Exit code 0, or 1 when something was not answered."""
    from miras.predict.job import JOB
    from miras.predict.questions import questions_of
    from miras.predict.run import Settings, predict

    questions = questions_of(asks, script)
    if resume and not (out / JOB).is_file():
        raise InputError(f"a job to resume in {out}", "none", "leave --resume out to begin one")
    from miras.chat.load import exported

    model = str(exported(model, on.runtime, on.device, on.dtype) or model)
    settings = Settings(formats, model, seed, on.device, on.dtype, format, jobs, on.threads, ray)
    summary = predict(photos, questions, out, settings, lines=_stdin(photos), watch=watch)
    for line in summary.warnings[:SHOWN_WARNINGS]:
        say(f"miras: {line}")
    if more := len(summary.warnings) - SHOWN_WARNINGS:
        say(f"miras: and {more} more such lines") if more > 0 else None
    result: dict[str, Any] = asdict(summary)
    result["warnings"] = len(summary.warnings)
    result["seconds"] = round(summary.seconds, 3)
    result["photos_per_second"] = round(summary.asked / summary.seconds, 3) if summary.asked else None
    result["out"] = str(out)
    if as_json:
        emit(result)
    else:
        print(table([(name, "-" if value is None else value) for name, value in result.items()], ("figure", "value")))
        print(f"What to check first: {out / 'index.html'}")
    return SOME_FAILED if summary.failed else 0


def watch(outcomes: Iterator[Any], total: int, photos: int) -> Iterator[Any]:
    """The outcomes, with how far it is and the time left on standard error: a bar on a terminal, else a line now and
    then."""
    if total < photos:
        say(f"miras: {photos - total} of {photos} photos are answered already")
    if sys.stderr.isatty():
        yield from progress(outcomes, total, f"{total} photos")
        return
    start = told = time.monotonic()
    failed = 0
    for number, outcome in enumerate(outcomes, 1):
        failed += bool(outcome.failures)
        yield outcome
        now = time.monotonic()
        if now - told >= EVERY and number < total:
            told = now
            say(line(number, total, failed, now - start))


def line(done: int, total: int, failed: int, seconds: float) -> str:
    """How far it is."""
    left = seconds / done * (total - done)
    bad = f", {failed} failed" if failed else ""
    return f"miras: {done} of {total} photos{bad}, {done / seconds:.2f} photos/s, {time_left(left)} left"


def time_left(seconds: float) -> str:
    """ "40 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _stdin(photos: list[str]) -> list[str]:
    """The lines of standard input, where they are asked for."""
    return sys.stdin.read().splitlines() if "-" in photos else []
