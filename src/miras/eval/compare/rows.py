"""Which rows of several runs can be compared: the same data, asked in the same way, held by all of them.

In: folders of runs. Out: their settings, their rows by key, the keys that all hold, and what is left out, by name.
Raises InputError for runs of different data. Knows no figure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.eval.runs import samples
from miras.eval.runs.samples import Key, Row

ABOUT = "run.json"
SAME = ("data", "format", "split", "history", "instruction")
"""Settings of run.json that have to be equal."""
DRAWN_BY = ("limit", "seed")
"""Settings that choose conversations: named when the data differ."""
NUMBERS = ("iou", "boundary_iou", "region_iou", "score")
SHOWN = 20
FEW_PHOTOS = 40
"""With fewer, intervals are too narrow (benchmarks/coverage.py)."""


def about_of(run: Path) -> dict[str, Any]:
    """run.json of a run. Raises InputError for none."""
    file = run / ABOUT
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no JSON"
        raise InputError(f"a run of `miras eval --out` with {file}", str(why)) from error
    if not isinstance(about, dict) or not isinstance(about.get("settings"), dict) or "data" not in about["settings"]:
        raise InputError(f"settings with the digest of the data in {file}", "none", "measure again with miras eval")
    return about


def told(about: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a run from others."""
    settings = about["settings"]
    return {key: settings.get(key) for key in ("model", "seed", "limit", *SAME)} | {"commit": about.get("commit")}


def check_same(named: Mapping[str, Path], settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises InputError that names all that differs. What a run does not tell is not held against it."""
    faults = []
    for key in SAME:
        known = {name: told[key] for name, told in settings.items() if told.get(key) is not None}
        if len({json.dumps(value) for value in known.values()}) > 1:
            faults.append((key, known))
    if any(key == "data" for key, _ in faults):
        for key in DRAWN_BY:
            values = {name: told.get(key) for name, told in settings.items()}
            if len({json.dumps(value) for value in values.values()}) > 1:
                faults.append((key, values))
    if faults:
        got = "; ".join(f"{key} " + ", ".join(f"{value} ({named[name]})" for name, value in values.items())
                        for key, values in faults)  # fmt: skip
        raise InputError("runs on the same data, split and history", got, "measure them alike")


def rows_of(run: Path) -> dict[Key, Row]:
    """Rows of the conversations by key; what was asked alone stays out."""
    found: dict[Key, Row] = {}
    for row in samples.read(run / samples.FILE):
        if row.history == "alone":
            continue
        if row.key in found:
            raise InputError(f"each row once in {run / samples.FILE}", f"{place(row.key)} twice")
        for key in NUMBERS:
            value = getattr(row, key)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{key} from 0 to 1 in {run / samples.FILE}", f"{value} in {place(row.key)}")
        found[row.key] = row
    if not found:
        raise InputError(f"rows in {run / samples.FILE}", "none")
    return found


def shared(held: Mapping[str, Mapping[Key, Row]]) -> tuple[list[Key], dict[str, Any]]:
    """Keys that are in all runs and sound in all, and the rest by name."""
    every = list(dict.fromkeys(key for rows in held.values() for key in rows))
    missing = {name: [key for key in every if key not in rows] for name, rows in held.items()}
    absent = {key for keys in missing.values() for key in keys}
    faulty = [key for key in every
              if any(key in rows and rows[key].blame == "data" for rows in held.values())]  # fmt: skip
    kept = sorted(set(every) - absent - set(faulty))
    if not kept:
        raise InputError("rows that all runs hold", f"none of {len(every)}", "compare runs on the same conversations")
    return kept, {
        "missing": {name: {"n": len(keys), "named": [place(key) for key in keys[:SHOWN]]}
                    for name, keys in missing.items() if keys},
        "data": {"n": len(faulty), "named": [place(key) for key in faulty[:SHOWN]]},
    }  # fmt: skip


def check_targets(named: Mapping[str, Path], rows: Mapping[str, Sequence[Row]]) -> None:
    """What the data says of a turn has to be the same in all runs."""
    first, *others = rows
    for other in others:
        for one, two in zip(rows[first], rows[other], strict=True):
            for key in ("gold", "refused_wanted", "operator_wanted", "phrase", "cluster"):
                if getattr(one, key) != getattr(two, key):
                    got = f"{getattr(one, key)!r} ({named[first]}) and {getattr(two, key)!r} ({named[other]})"
                    raise InputError(f"the same {key} of {place(one.key)}", got, "measure both on the same data")


def place(key: Key) -> str:
    """A row in words."""
    return f"{key[0]}, turn {key[2]}"


def notes_on(abouts: Mapping[str, Mapping[str, Any]], left_out: Mapping[str, Any], photos: int) -> list[str]:
    """What a reader of the comparison should know."""
    notes = [f"{group['n']} rows are not in {name} and were left out everywhere"
             for name, group in left_out["missing"].items()]  # fmt: skip
    if left_out["data"]["n"]:
        notes.append(f"{left_out['data']['n']} rows were left out: the data is at fault")
    for key in DRAWN_BY:
        told = {name: about["settings"].get(key) for name, about in abouts.items()}
        if len({json.dumps(value) for value in told.values()}) > 1:
            notes.append(f"{key} differs: " + ", ".join(f"{name} {value}" for name, value in told.items()))
    if photos < FEW_PHOTOS:
        notes.append(f"{photos} photos are few: intervals hold the truth less often than they say")
    return notes
