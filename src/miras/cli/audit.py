"""`miras audit`: people rate a sample of a dataset, and the report on what they said.

In: a dataset, filled sheets. Out: a folder of rating sheets; a table, and a report as Markdown and JSON. Exit code 1
when records or rows were left out.
"""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from miras.cli.output import emit, say, table, write
from miras.core.errors import InputError
from miras.core.files import folder

audit_app = cyclopts.App(name="audit", help="A dataset rated by people: draw rating sheets, report on them.")

Format = Annotated[str | None, Parameter(help="Format of the dataset; by default it is guessed.")]
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]


@audit_app.command
def draw(
    path: Path, out: Path, /, *, n: int = 60, raters: int = 3, seed: int = 0, format: Format = None, json: Json = False,
) -> int:  # fmt: skip
    """Draw --n conversations of the dataset PATH, in proportion to kinds and sources, and write rating sheets into OUT.

    OUT gets a CSV sheet and a Label Studio task list for each rater, the pictures, and the rubric as README.md.
    """
    from miras.annotate.audit.sheets import code_of, write_sheets
    from miras.annotate.audit.sheets import draw as sample_of
    from miras.data.formats.records import guess_format, read_records

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("a new or empty folder for the sheets", str(out), "filled sheets are never written over")
    faults: list[str] = []
    records = read_records(path, format or guess_format(path), on_fault=faults.append)
    sample = sample_of(records, n, seed)
    written = write_sheets(sample, folder(out), raters, seed, on_fault=faults.append)
    _complain(faults)
    sample = [record for record in sample if (out / "pictures" / f"{code_of(record['id'])}.jpg").exists()]
    kinds = {kind: sum(r["kind"] == kind for r in sample) for kind in sorted({r["kind"] for r in sample})}
    if json:
        emit({"items": len(sample), "raters": raters, "seed": seed, "kinds": kinds, "faults": len(faults),
              "out": str(out), "files": [str(file) for file in written]})  # fmt: skip
    else:
        print(table(list(kinds.items()), ("kind", "items")))
        print(f"{len(sample)} items for {raters} raters in {out}; read {out / 'README.md'} first")
    return 1 if faults else 0


@audit_app.command
def report(
    sheets: Annotated[list[Path], Parameter(help="Filled sheets: CSV, or JSON exports of Label Studio.")], /, *,
    data: Path, format: Format = None, out: Path | None = None, n: int = 2000, seed: int = 0, worst: int = 10,
    json: Json = False,
) -> int:  # fmt: skip
    """What the raters said in SHEETS about the dataset --data: means, agreement, intervals, the worst items.

    --out: a folder for report.md and report.json. --n: draws of the bootstrap. --worst: how many items are named.
    """
    from miras.annotate.audit.read import read_sheets
    from miras.annotate.audit.report import markdown, summarise
    from miras.annotate.audit.sheets import code_of
    from miras.data.formats.records import guess_format, read_records

    for name, value in (("--n", n), ("--worst", worst)):
        if value < 1:
            raise InputError(f"{name} of at least 1", str(value))
    faults: list[str] = []
    rated = {rating.item for rating in read_sheets(sheets, on_fault=lambda line: None)}
    codes: set[str] = set()
    records = []
    for record in read_records(data, format or guess_format(data), on_fault=faults.append):
        code = code_of(record["id"])
        codes.add(code)
        if code in rated:
            records.append(record)
    ratings = read_sheets(sheets, codes, on_fault=faults.append)
    summary = summarise(ratings, records, n=n, seed=seed, worst=worst)
    summary["faults"] = faults
    if out is not None:
        write(folder(out) / "report.md", markdown(summary, f"Audit of {data.name}").encode("utf-8", "replace"))
        write(out / "report.json", (json_module.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    _complain(faults)
    if json:
        emit(summary)
    else:
        print(_table(summary))
    return 1 if faults else 0


def _complain(faults: list[str]) -> None:
    for fault in faults:
        say(f"left out: {fault}")


def _table(summary: dict[str, object]) -> str:
    """The scales, a row each."""
    from miras.annotate.audit.report import FIGURES, figure_text

    scales = summary["scales"]
    assert isinstance(scales, dict)
    rows = [(name, *(figure_text(scale[figure]) for figure in FIGURES)) for name, scale in scales.items()]
    return table(rows, ("scale", *FIGURES))
