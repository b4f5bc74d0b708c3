"""`summary.json`: the figures of a run, from its samples.jsonl alone.

In: rows; beside them what made them (versions, commit, command). Out: one plain object; per cent for what `metrics`
gives, 0 to 1 for rates and calibration. A group without samples is left out; the main figures are None when no turn has
a target. Intervals: 95%, percentile bootstrap clustered by photo (turns of one photo are not independent). Knows no
model and no dataset.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import miras
from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.types import Operator
from miras.eval.metrics import pixels, registry, statistics
from miras.eval.metrics.calibration import calibration
from miras.eval.metrics.curves import SIZES, Point, curve, hops_of, size_of
from miras.eval.runs import samples
from miras.eval.runs.samples import Row

FILE = "summary.json"
DRAWS = 1000
EDITS = registry.EDITS
MAIN = ("giou", "ciou", "precision", "recall", "f1", "p50", "no_mask_rate")
"""Keys that other tools rely on: always there."""
PACKAGES = ("torch", "transformers", "peft", "numpy", "pycocotools", "pillow")
Line = dict[str, Any]


def write(run: Path) -> dict[str, Any]:
    """Read the samples of a run's folder, write summary.json beside them, return it. Raises InputError."""
    result = summarise(run)
    write_json(run / FILE, result)
    return result


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """An object as a file, whole or not at all. Raises InputError when it cannot be written."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(file, text.encode("utf-8"), "free room or give another --out", f"to write {file}")


def summarise(run: Path) -> dict[str, Any]:
    """`figures` of a run's samples, and what its run.json says of it, where there is one."""
    result = figures(samples.read(run / samples.FILE))
    file = run / "run.json"
    if file.is_file():
        about: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        settings = about.get("settings", {})
        known = {key: value for key, value in settings.items() if key not in result}
        rest = {key: value for key, value in about.items() if key not in ("settings", "unread", *result)}
        result |= {**known, **rest}
        result["faults"]["unread"] = about.get("unread", 0)
    return result


def figures(rows: Sequence[Row], draws: int = DRAWS) -> dict[str, Any]:
    """All figures; what each means stands in docs/evaluation.md. Raises InputError for no rows, or of several runs."""
    held = [row for row in rows if row.history != "alone"]
    runs = sorted({(row.model, row.history, row.seed) for row in held})
    if len(runs) != 1:
        got = "; ".join(f"{model}, {history} history, seed {seed}" for model, history, seed in runs) or "no rows"
        raise InputError("the rows of one run", got, "summarise each run by itself")
    model, history, seed = runs[0]
    sound = [row for row in held if row.blame != "data"]
    graded = _with_target(sound)
    main: dict[str, Any] = {"n": len(graded), **dict.fromkeys(MAIN)} | _pixels(graded)
    groups = {
        "intervals": intervals(graded, draws, seed),
        "final": _final([row for row in graded if row.final], draws, seed),
        "by": _curves(graded),
        "alone": _alone(rows, draws, seed),
        "emptied": _rate([not row.predicted for row in sound if row.gold == 0], "right"),
        "refusals": _rate([row.refused for row in sound if row.refused_wanted], "right"),
        "false_refusals": _rate([row.refused for row in sound if row.phrase], "rate"),
        "operators": _operators(sound),
        "operators_obeyed": _rate([_obeyed(row) for row in sound if row.operator_wanted in EDITS], "obeyed"),
        "calibration": _calibration(graded),
        **_text(sound),
    }
    return {
        **main, "model": model, "history": history, "seed": seed,
        "conversations": len({row.record for row in held}), "photos": len({row.cluster for row in held}),
        "turns": len(held), **{name: group for name, group in groups.items() if group},
        "seconds_per_reply": round(float(np.mean([row.seconds for row in sound])), 4) if sound else None,
        "faults": _faults(rows),
    }  # fmt: skip


# Intervals


def intervals(rows: Sequence[Row], draws: int = DRAWS, seed: int = 0) -> dict[str, list[float]]:
    """[low, high] of the metrics that have an interval, by name; none for fewer than two photos."""
    found: dict[str, list[float]] = {}
    for name, metric in registry.grouped().items():
        counted = [row for row in rows if metric.counted(row)]
        if metric.interval and counted:
            parts, wholes = [metric.part(row) for row in counted], [metric.whole(row) for row in counted]
            estimate = statistics.ratio(parts, wholes, [row.cluster for row in counted], draws=draws, seed=seed)
            if estimate.percentile is not None:
                found[name] = [metric.scale * end for end in estimate.percentile]
    return found


# Groups


def _with_target(rows: Iterable[Row]) -> list[Row]:
    """Turns whose gold selection is counted and not empty."""
    return [row for row in rows if row.gold]


def _pixels(rows: Sequence[Row]) -> dict[str, float]:
    """The grouped metrics without what there is none of."""
    return _there(_table(rows, ["all"] * len(rows))[0]) if rows else {}


def _table(rows: Sequence[Row], labels: Sequence[Hashable], order: Sequence[Hashable] | None = None) -> list[Line]:
    """A line for each label, in order: `pixels.summary`, and the metrics that are registered beside it."""
    lines = curve(_points(rows), labels, order)
    for line in lines:
        group = [row for row, label in zip(rows, labels, strict=True) if label == line["label"]]
        more = {name: metric for name, metric in registry.grouped().items() if name not in line}
        line |= {name: value for name, metric in more.items() if (value := metric.over(group)) is not None}
    return lines


def _points(rows: Sequence[Row]) -> list[Point]:
    return [
        Point(overlap, row.turn, row.hops, row.kind, row.size[0] * row.size[1], row.band)
        for row in rows if (overlap := row.overlap) is not None
    ]  # fmt: skip


def _curves(rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    if not rows:
        return {}
    tables = {
        "turn": _table(rows, [row.turn for row in rows]),
        "hops": _table(rows, [hops_of(row.hops) for row in rows]),
        "kind": _table(rows, [row.kind for row in rows]),
        "size": _table(rows, [size_of(row.gold or 0, row.size[0] * row.size[1]) for row in rows], SIZES),
        "source": _table(rows, [row.source for row in rows]),
    }
    return {name: [{"label": line["label"], "n": line["n"], **_there(line)} for line in table]
            for name, table in tables.items()}  # fmt: skip


def _there(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures that there are; refusals are counted by what is said, not by pixels, in groups of their own."""
    left_out = ("label", "n", "n_acc", "t_acc")
    return {name: value for name, value in figures.items() if name not in left_out and value is not None}


def _final(rows: Sequence[Row], draws: int, seed: int) -> dict[str, Any]:
    if not rows:
        return {}
    return {"n": len(rows), **_pixels(rows), "intervals": intervals(rows, draws, seed), "by": _curves(rows)}


def _alone(rows: Sequence[Row], draws: int, seed: int) -> dict[str, Any]:
    """The same final targets at the end of a conversation and asked alone; `gap` = alone minus in conversation."""
    asked = {row.record: row for row in rows if row.history == "alone" and row.iou is not None}
    ends = [row for row in rows if row.history != "alone" and row.final and row.iou is not None and row.record in asked]
    if not ends:
        return {}
    first = [asked[row.record] for row in ends]
    gaps = np.array([(alone.iou or 0.0) - (end.iou or 0.0) for alone, end in zip(first, ends, strict=True)])
    result: dict[str, Any] = {"n": len(ends)}
    for name, group in (("alone", first), ("in_conversation", ends)):
        counted = [overlap for row in group if (overlap := row.overlap) is not None]
        result |= {f"giou_{name}": pixels.giou(counted), f"ciou_{name}": pixels.ciou(counted)}
    result["gap"] = 100 * float(gaps.mean())
    spread = statistics.mean(gaps, [row.cluster for row in ends], draws=draws, seed=seed).percentile
    if spread is not None:
        result["gap_interval"] = [100 * end for end in spread]
    return result


def _operators(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """For each operator of the data: how many, how many were obeyed, and what was done instead."""
    found: dict[str, dict[str, Any]] = {}
    for name in (*Operator, None):
        wanted = [row for row in rows if row.operator_wanted == name]
        if wanted:
            wrong: dict[str, int] = {}
            for row in wanted:
                if not _obeyed(row):
                    done = row.operator_got or "words"
                    wrong[done] = wrong.get(done, 0) + 1
            found[name or "words"] = {**_rate([_obeyed(row) for row in wanted], "obeyed"), "instead": wrong}
    return found


def _obeyed(row: Row) -> bool:
    return row.operator_got == row.operator_wanted


def _rate(flags: Sequence[bool], name: str) -> dict[str, Any]:
    return {"n": len(flags), name: sum(flags) / len(flags)} if flags else {}


def _calibration(rows: Sequence[Row]) -> dict[str, Any]:
    """Score of what a reply names beside its IoU with what the gold reply names."""
    pairs = [
        (row.score, row.iou if row.region_iou is None else row.region_iou)
        for row in rows if row.score is not None and row.phrase and row.iou is not None
    ]  # fmt: skip
    return calibration([score for score, _ in pairs], [iou or 0.0 for _, iou in pairs]) if pairs else {}


def _text(rows: Sequence[Row]) -> dict[str, Any]:
    """`text.summary` of replies beside the data's; {"text_left_out": the cure} without the packages of the extra."""
    from miras.eval.metrics.text import summary as text

    pairs = [(row.text, row.gold_text) for row in rows if row.gold_text]
    try:
        return {"text": text([said for said, _ in pairs], [gold for _, gold in pairs])} if pairs else {}
    except InputError as error:
        return {"text_left_out": error.cure}


def _faults(rows: Sequence[Row], shown: int = 20) -> dict[str, Any]:
    """How many rows are at fault, by blame, and the first of them by name."""
    named = [f"{row.record}, turn {row.turn} ({row.history}): {row.fault}" for row in rows if row.fault]
    count = {who: sum(row.blame == who for row in rows) for who in ("data", "system")}
    return {**count, "records": len({row.record for row in rows if row.blame == "data"}), "named": named[:shown]}


# Where a figure comes from


def provenance() -> dict[str, Any]:
    """`command`, `commit` (see `commit`), `versions`, `machine`."""
    versions = {"miras": miras.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    threads = os.environ.get("OMP_NUM_THREADS")
    machine = {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(), "omp_threads": threads}
    return {"command": _command(), "commit": commit(), "versions": versions, "machine": machine}


def commit() -> str | None:
    """The commit of the checkout that the package runs from, "+" behind it when files differ; None elsewhere."""
    package = Path(miras.__file__).resolve().parent
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or package != Path(top).resolve() / "src" / "miras":
        return None
    named = _git(package, "rev-parse", "--short=12", "HEAD")
    if named is None:
        return None
    return f"{named}+" if _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".") else named


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _command() -> list[str]:
    """As it was given, the program by its name."""
    return [Path(sys.argv[0]).name or "python", *sys.argv[1:]]
