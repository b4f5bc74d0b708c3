"""`miras annotate`: conversations about photos, written by a teacher in three steps.

In: a JSONL file of photos. Out: a folder with the conversations, the rejections and the journal; figures on standard
output. `annotate` is the command; `run` does the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.output import BAD_INPUT, emit, say, table
from miras.core.errors import InputError

SOME_FAILED = 1
"""Exit code when some photos got no usable answer; the same command asks for these again."""


def annotate(
    photos: Path, /, *, out: Path,
    teacher: Annotated[str, Parameter(help="Who answers: openai.")] = "openai",
    model: Annotated[str | None, Parameter(help="By default MIRAS_TEACHER_MODEL.")] = None,
    base_url: Annotated[str | None, Parameter(help="By default OPENAI_BASE_URL.")] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Count and estimate; ask nothing.")] = False,
    blind: Annotated[bool, Parameter(negative="", help="The model sees no photos: their annotations stand for them.")]
    = False,
    max_side: Annotated[int | None, Parameter(help="Longest side in pixels of the photos sent (1024).")] = None,
    max_tokens: Annotated[int | None, Parameter(help="Most tokens of one answer.")] = None,
    concurrency: Annotated[int, Parameter(help="Calls at once.")] = 4,
    rpm: Annotated[int | None, Parameter(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, Parameter(help="Tokens a minute.")] = None,
    retries: Annotated[int | None, Parameter(help="Further calls after a fault (6).")] = None,
    timeout: Annotated[float | None, Parameter(help="Seconds for one call (120).")] = None,
    price_in: Annotated[float | None, Parameter(help="Price of a million tokens read.")] = None,
    price_out: Annotated[float | None, Parameter(help="Price of a million tokens written.")] = None,
    limit: Annotated[int | None, Parameter(help="Only so many photos.")] = None,
    jobs: Annotated[int, Parameter(help="Processes, each with limits of its own.")] = 1,
    ray: Annotated[bool, Parameter(negative="", help="Over Ray Data, here or on a cluster that shares --out.")] = False,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
    json: Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]
    = False,
) -> int:  # fmt: skip
    """Conversations about the photos of PHOTOS, a JSONL file of {"id", "image", "caption"?, "annotations"?}.

    Every paid answer is kept in a journal in --out: run the same command again after a stop, and none is paid twice.
    The key is read from OPENAI_API_KEY and written nowhere.
    """
    options = {
        "model": model, "base_url": base_url, "photos": not blind, "max_side": max_side, "max_tokens": max_tokens,
        "concurrency": concurrency, "rpm": rpm, "tpm": tpm, "retries": retries, "timeout": timeout,
        "price_in": price_in, "price_out": price_out,
    }  # fmt: skip
    return run(
        photos,
        out=out,
        teacher=teacher,
        options=options,
        dry_run=dry_run,
        limit=limit,
        jobs=jobs,
        ray=ray,
        seed=seed,
        as_json=json,
    )


def run(
    photos: Path, *, out: Path, teacher: str, options: dict[str, Any], dry_run: bool, limit: int | None, jobs: int,
    ray: bool, seed: int, as_json: bool,
) -> int:  # fmt: skip
    """Exit code 0; 1 when some photos failed; 2 when lines of the input were faulty (the others are done).

    options: of the teacher, by name; None = its default.
    """
    if limit is not None and limit < 1:
        raise InputError("--limit of at least 1", str(limit))
    try:
        from miras.annotate.teacher.pipeline import annotate_file, rehearse
        from miras.annotate.teacher.protocol import teacher_of
        from miras.annotate.teacher.spread import annotate_over
    except ModuleNotFoundError as error:
        raise InputError(f"the package {error.name}", "none", "pip install 'miras[annotate]'") from error
    faults: list[str] = []
    asked = teacher_of(teacher, **options)
    about = {"teacher": asked.name, "seed": seed}
    if dry_run:
        estimate = rehearse(photos, out, asked, seed=seed, limit=limit, on_fault=faults.append)
        result: dict[str, Any] = {"dry_run": True, **asdict(estimate), **about, "faulty_lines": len(faults)}
    else:
        window = 4 * options.get("concurrency", 4)
        common: dict[str, Any] = {"seed": seed, "limit": limit, "window": window, "on_fault": faults.append}
        with _progress() as on_photo:
            if ray or jobs > 1:
                make = partial(teacher_of, teacher, **options)
                summary = annotate_over(photos, out, make, jobs=jobs, ray=ray, on_photo=on_photo, **common)
            else:
                summary = annotate_file(photos, out, asked, on_photo=on_photo, **common)
        result = {"dry_run": False, **asdict(summary), **about, "faulty_lines": len(faults)}
    for line in faults:
        say(f"miras: {line}")
    if as_json:
        emit(result)
    else:
        print(table([(name, "-" if value is None else value) for name, value in result.items()], ("figure", "value")))
    if faults:
        return BAD_INPUT
    return SOME_FAILED if result.get("failed") else 0


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Any], None]]:
    """Something to call after each photo; shows how far things are where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking")
        done = [0, 0, 0]

        def on_photo(outcome: Any) -> None:
            done[0] += 1
            done[1] += len(outcome.records)
            done[2] += len(outcome.rejected)
            bar.update(task, description=f"{done[0]} photos, {done[1]} conversations, {done[2]} rejected")

        yield on_photo
