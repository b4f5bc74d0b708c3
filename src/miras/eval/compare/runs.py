"""Two or more runs on the same data, side by side: figures with intervals, differences with tests, who wins where.

In: folders of `miras eval --out`. Out: one plain object (docs/statistics.md), and that as a Markdown table, a forest
plot (SVG) and a page. Only rows that all runs hold are compared; what is left out is counted and named. Figures, units
and which rows count are those of `summary`; a difference is the first run's figure minus the second's. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from miras.core.errors import InputError
from miras.eval.compare.rows import about_of, check_same, check_targets, notes_on, rows_of, shared, told
from miras.eval.metrics import statistics
from miras.eval.metrics.calibration import BINS, equal_mass
from miras.eval.metrics.registry import METRICS, Metric, compared, has_target
from miras.eval.metrics.statistics import DRAWS, LEVEL, Estimate, Floats
from miras.eval.runs import summary
from miras.eval.runs.samples import Row

LARGEST = 10
FEWEST_PHOTOS = 5
"""Of a kind, to be compared by itself."""


ECE = "ece"
Draw = dict[str, Any]
"""draws, seed, level."""


def titles() -> dict[str, str]:
    """What is compared, by name."""
    return {**{name: metric.title for name, metric in compared().items()}, ECE: "ECE"}


def is_lower_better(name: str) -> bool:
    """Of a figure that is compared."""
    return name == ECE or METRICS[name].lower_is_better


def compare(runs: Sequence[Path], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> dict[str, Any]:
    """Everything that is compared; what each key means stands in docs/statistics.md.

    Raises InputError for fewer than two runs, the same run twice, a folder that is no run, runs of other data, split
    or history (every difference named), rows given twice, rows whose targets differ, no row in common, too few draws.
    """
    if not 2 <= len(runs) <= len(ascii_uppercase):
        raise InputError(f"2 to {len(ascii_uppercase)} runs", str(len(runs)))
    if len({Path(run).resolve() for run in runs}) < len(runs):
        raise InputError("different runs", "the same folder twice: " + ", ".join(map(str, runs)))
    named = dict(zip(ascii_uppercase, map(Path, runs), strict=False))
    abouts = {name: about_of(run) for name, run in named.items()}
    check_same(named, {name: about["settings"] for name, about in abouts.items()})
    held = {name: rows_of(run) for name, run in named.items()}
    keys, left_out = shared(held)
    rows = {name: [held[name][key] for key in keys] for name in named}
    check_targets(named, rows)
    how: Draw = {"draws": draws, "seed": seed, "level": level}
    lines = [{"name": name, "folder": str(run), **told(abouts[name]), "rows": len(held[name]),
              "figures": _figures(rows[name], how), "kinds": _kinds(rows[name], how)}
             for name, run in named.items()]  # fmt: skip
    pairs = [_pair(a, b, rows[a], rows[b], how) for a, b in combinations(named, 2)]
    families = {"figures": _corrected([pair["figures"] for pair in pairs]),
                "kinds": _corrected([pair["kinds"] for pair in pairs])}  # fmt: skip
    first = rows["A"]
    photos = len({row.cluster for row in first})
    return {
        "runs": lines, "pairs": pairs, "families": families,
        "shared": {"rows": len(keys), "samples": sum(map(has_target, first)), "photos": photos},
        "left_out": left_out, "notes": notes_on(abouts, left_out, photos),
        "lower_is_better": [name for name in sorted(titles()) if is_lower_better(name)], **how,
        **summary.provenance(),
    }  # fmt: skip


# Figures


def _figures(rows: Sequence[Row], how: Draw) -> dict[str, Any]:
    """name -> estimate, of the rows of one run."""
    found = {name: _estimated(figure, rows, how) for name, figure in compared().items()}
    scored = [row for row in rows if _scored(row)]
    if scored:
        found[ECE] = asdict(statistics.of_sums(_ece_columns(scored), _clusters(scored), _ece, **how))
    return {name: figure for name, figure in found.items() if figure}


def _estimated(figure: Metric, rows: Sequence[Row], how: Draw) -> dict[str, Any]:
    counted = [row for row in rows if figure.counted(row)]
    if not counted:
        return {}
    estimate = statistics.of_sums(_columns(figure, counted), _clusters(counted), statistics.quotient, **how)
    return asdict(_scaled(estimate, figure.scale))


def _pair(a: str, b: str, a_rows: Sequence[Row], b_rows: Sequence[Row], how: Draw) -> dict[str, Any]:
    """Differences A - B, tests, effects, kinds, and the samples that differ most."""
    found = {name: _apart(figure, a_rows, b_rows, how) for name, figure in compared().items()}
    both = [(one, two) for one, two in zip(a_rows, b_rows, strict=True) if _scored(one) and _scored(two)]
    if both:
        columns = np.hstack([_ece_columns([pair[side] for pair in both]) for side in (0, 1)])
        clusters = _clusters([one for one, _ in both])
        found[ECE] = asdict(statistics.of_sums(columns, clusters, statistics.gap(_ece), **how))
    kinds = {}
    for kind in _kinds_of(a_rows):
        mine = [(one, two) for one, two in zip(a_rows, b_rows, strict=True) if one.kind == kind and has_target(one)]
        kinds[kind] = _apart(METRICS["giou"], [one for one, _ in mine], [two for _, two in mine], how)
    return {"a": a, "b": b, "figures": {name: figure for name, figure in found.items() if figure}, "kinds": kinds,
            "largest": _largest(a_rows, b_rows)}  # fmt: skip


def _apart(figure: Metric, a_rows: Sequence[Row], b_rows: Sequence[Row], how: Draw) -> dict[str, Any]:
    """One figure's difference with its intervals, p, and effect sizes where it is a mean."""
    counted = [(one, two) for one, two in zip(a_rows, b_rows, strict=True) if figure.counted(one)]
    if not counted:
        return {}
    a_NK, b_NK = (_columns(figure, [pair[side] for pair in counted]) for side in (0, 1))
    clusters = _clusters([one for one, _ in counted])
    function = statistics.gap(statistics.quotient)
    estimate = _scaled(statistics.of_sums(np.hstack([a_NK, b_NK]), clusters, function, **how), figure.scale)
    p = statistics.permutation(a_NK, b_NK, clusters, statistics.quotient, draws=how["draws"], seed=how["seed"])
    effects = statistics.effects(a_NK[:, 0], b_NK[:, 0], clusters) if figure.mean else {}
    return {**asdict(estimate), "p": p, **effects}


def _kinds(rows: Sequence[Row], how: Draw) -> dict[str, Any]:
    return {kind: _estimated(METRICS["giou"], [row for row in rows if row.kind == kind], how)
            for kind in _kinds_of(rows)}  # fmt: skip


def _kinds_of(rows: Sequence[Row]) -> list[str]:
    """Kinds with targets in enough photos."""
    photos: dict[str, set[str]] = {}
    for row in filter(has_target, rows):
        photos.setdefault(row.kind, set()).add(row.cluster)
    return sorted(kind for kind, seen in photos.items() if len(seen) >= FEWEST_PHOTOS)


def _largest(a_rows: Sequence[Row], b_rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """The samples in which A, and in which B, is furthest ahead by IoU."""
    lines: list[dict[str, Any]] = [
        {"record": one.record, "turn": one.turn, "kind": one.kind, "photo": one.photo, "user": one.user,
         "a": one.iou or 0.0, "b": two.iou or 0.0, "difference": (one.iou or 0.0) - (two.iou or 0.0)}
        for one, two in zip(a_rows, b_rows, strict=True) if has_target(one)
    ]  # fmt: skip
    ahead = sorted((line for line in lines if line["difference"] > 0), key=lambda line: -line["difference"])
    behind = sorted((line for line in lines if line["difference"] < 0), key=lambda line: line["difference"])
    return {"a": ahead[:LARGEST], "b": behind[:LARGEST]}


def _corrected(groups: Sequence[Mapping[str, dict[str, Any]]]) -> dict[str, Any]:
    """Put `p_holm` beside each p of the groups; say what was counted together."""
    tested = [figure for group in groups for figure in group.values() if "p" in figure]
    for figure, p in zip(tested, statistics.holm([figure["p"] for figure in tested]), strict=True):
        figure["p_holm"] = p
    return {"tests": len(tested), "of": sorted({name for group in groups for name, line in group.items()
                                                if "p" in line}), "pairs": len(groups)}  # fmt: skip


def _columns(figure: Metric, rows: Sequence[Row]) -> Floats:
    return statistics.columns(part=[figure.part(row) for row in rows], whole=[figure.whole(row) for row in rows])


def _clusters(rows: Sequence[Row]) -> list[str]:
    return [row.cluster for row in rows]


def _scaled(estimate: Estimate, scale: float) -> Estimate:
    spans = {name: None if span is None else (span[0] * scale, span[1] * scale)
             for name, span in (("percentile", estimate.percentile), ("bca", estimate.bca))}  # fmt: skip
    return replace(estimate, value=estimate.value * scale, **spans)  # type: ignore[arg-type]


def _scored(row: Row) -> bool:
    """As `summary` chooses the rows of its calibration."""
    return has_target(row) and row.score is not None and bool(row.phrase) and row.iou is not None


def _ece_columns(rows: Sequence[Row]) -> Floats:
    """(N, BINS + 1): score minus IoU in the sample's bin, and a one. Bins stay as they are when photos are drawn."""
    score_N = np.array([row.score for row in rows], np.float64)
    iou_N = np.array([row.iou if row.region_iou is None else row.region_iou for row in rows], np.float64)
    found = np.zeros((len(rows), BINS + 1))
    found[:, -1] = 1
    for number, members in enumerate(equal_mass(score_N, BINS)):
        found[members, number] = score_N[members] - iou_N[members]
    return found


def _ece(sums: Floats) -> Floats:
    part = np.stack([np.abs(sums[..., :-1]).sum(-1), sums[..., -1]], -1)
    return statistics.quotient(part)
