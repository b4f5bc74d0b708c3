"""`miras compare`: two or more runs on the same data, with intervals, tests, and who wins where.

In: folders of `miras eval --out`. Out: tables or one JSON object, and a folder (docs/statistics.md). `compare` is the
command; `run` does the work. Exit codes: 0, 2 for bad input and for runs that cannot
be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from miras.cli.output import emit, say, table, write
from miras.core.errors import InputError
from miras.core.files import folder

LEAST_DRAWS = 100
FILES = ("compare.json", "compare.md", "compare.svg", "compare.html")


def compare(
    run_a: Path, run_b: Path, /, *others: Path,
    out: Annotated[Path | None, Parameter(help="Folder for compare.json, .md, .svg and .html.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]
    = False,
    draws: Annotated[int, Parameter(help="Of the bootstrap and of the permutation test.")] = 10_000,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
) -> int:  # fmt: skip
    """Compare runs on the same data: figures with intervals, differences with tests, who wins per sample.

    Runs are folders of `miras eval --out` with the same data, split and history; only rows that all of them hold are
    compared, the others are named. Intervals: BCa bootstrap clustered by photo. p: paired permutation test, by itself
    and corrected after Holm. A difference is the first run's figure minus the second's.
    """
    return run([run_a, run_b, *others], out=out, as_json=json, draws=draws, seed=seed)


def run(runs: Sequence[Path], *, out: Path | None, as_json: bool, draws: int, seed: int) -> int:
    """Exit code 0."""
    if draws < LEAST_DRAWS:
        raise InputError(f"--draws of at least {LEAST_DRAWS}", str(draws))
    if seed < 0:
        raise InputError("--seed of at least 0", str(seed))
    from json import dumps

    from miras.eval.compare.page import forest_svg, html, markdown, said, tables
    from miras.eval.compare.runs import compare as compared

    result = compared(runs, draws=draws, seed=seed)
    left_out = result["left_out"]
    for name, group in left_out["missing"].items():
        for row in group["named"]:
            say(f"miras: not in {name}, left out: {row}")
    for row in left_out["data"]["named"]:
        say(f"miras: left out, the data is at fault: {row}")
    if out is not None:
        texts = (dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", markdown(result),
                 forest_svg(result) + "\n", html(result))  # fmt: skip
        folder(out)
        for name, text in zip(FILES, texts, strict=True):
            write(out / name, text.encode())
    if as_json:
        emit(result | ({"out": str(out)} if out is not None else {}))
        return 0
    for title, head, rows in tables(result):
        print(f"{title}\n{table(rows, head)}\n")
    print("\n".join(said(result)))
    return 0
