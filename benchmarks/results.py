"""The experiments of docs/results.md: run them, then write their tables.

    python benchmarks/results.py measure --data ../shared/data --prist-open runs/prist-open \
        --small runs/ablations --grabcut runs/grabcut --out runs/results [--limit 200] [--only NAME ...]
    python benchmarks/results.py write

`measure` holds the conversations (`miras eval`; what is done is skipped: it can be stopped and given again), compares
the runs (`miras compare`) and leaves figures, without masks, in benchmarks/results/. `write` makes every table of
docs/results.md from these files and from ablations.json, and nothing else. --small: the folder of
benchmarks/ablations.py, whose models of seed 0 are compared as trained with one small budget.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results_tables import KEPT, SMALL, write

from miras.eval.metrics import statistics
from miras.eval.runs import samples
from miras.eval.runs.samples import Row

DRAWS = 4000
SYSTEMS = {
    "ours": ("miras-mini", "own"), "ours-gold": ("miras-mini", "gold"), "phrase-only": ("baseline:phrase", "own"),
    "gold-box": ("baseline:gold-box", "own"), "ellipse": ("baseline:ellipse", "own"),
    "photo": ("baseline:photo", "own"),
    "salient": ("baseline:salient", "own"), "grabcut": ("predictions:{grabcut}", "own"),
}  # fmt: skip
PHRASES = {"instructpart-human": 0, "instructpart-phrase": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "write"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--prist-open", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--grabcut", type=Path, help="folder of benchmarks/grabcut.py")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--limit-small", type=int, default=80)
    parser.add_argument("--only", nargs="+")
    given = parser.parse_args()
    if given.what == "measure":
        measure(given)
    write()


# Measuring


def measure(given: argparse.Namespace) -> None:
    """Every run, then the comparisons."""
    KEPT.mkdir(exist_ok=True)
    test = [str(given.prist_open), "--split", "test", "--limit", str(given.limit)]
    for name, (spec, history) in SYSTEMS.items():
        if name == "grabcut" and given.grabcut is None:
            continue
        model = spec.format(grabcut=given.grabcut)
        held(name, [*test, "--model", model, "--history", history], given)
    for name, number in PHRASES.items():
        part = str(given.data / "instructpart" / "dev")
        held(name, [part, "--split", "val", "--instruction", str(number), "--model", "miras-mini"], given)
    few = [str(given.prist_open), "--split", "test", "--limit", str(given.limit_small)]
    for name in SMALL:
        model = given.small / f"{name}-0" / "stage2" / "model" if given.small else None
        if model is not None and model.is_dir():
            held(f"small-{name}", [*few, "--model", str(model)], given)
    runs = [given.out / name for name in SYSTEMS]
    compared("systems", [run for run in runs if run.name not in ("ours-gold",)], given)
    compared("small", [given.out / f"small-{name}" for name in SMALL], given)
    trends(given)


def held(name: str, words: list[str], given: argparse.Namespace) -> None:
    """One run; its summary is kept."""
    if given.only and name not in given.only:
        return
    out = given.out / name
    if not (out / "done").exists():
        command = [sys.executable, "-m", "miras", "eval", *words, "--out", str(out), "--json"]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode > 1:
            raise SystemExit(f"{' '.join(command)} failed")
        (out / "done").touch()
    summary = json.loads((out / "summary.json").read_text())
    for key in ("command", "machine"):
        summary.pop(key, None)
    for part in ("model",):
        summary[part] = Path(summary[part]).parent.parent.name if "/" in summary[part] else summary[part]
    summary["command"] = ["miras", "eval", *(Path(word).name if "/" in word else word for word in words)]
    (KEPT / f"{name}.json").write_text(homeless(json.dumps(summary, indent=1, ensure_ascii=False), given) + "\n")


def homeless(text: str, given: argparse.Namespace) -> str:
    """Without the folders of this machine."""
    for folder in (given.out, given.small):
        text = text.replace(f"{folder}/", "") if folder else text
    return text


def compared(name: str, runs: Sequence[Path], given: argparse.Namespace) -> None:
    """`miras compare` of the runs that there are, where none of them was left out by --only."""
    there = [run for run in runs if (run / "done").exists()]
    if len(there) > 1 and not (given.only and {run.name for run in there} - {*given.only}):
        folder = given.out / f"compare-{name}"
        subprocess.run([sys.executable, "-m", "miras", "compare", *map(str, there), "--out", str(folder)], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        (KEPT / f"compare-{name}.json").write_text(homeless((folder / "compare.json").read_text(), given))


def trends(given: argparse.Namespace) -> None:
    """How IoU changes with turn, hops, objects of the photo and size, over the run "ours": curves and slopes."""
    if not (given.out / "ours" / "done").exists() or not (given.out / "ours-gold" / "done").exists():
        return
    objects = objects_of(given.data)
    found: dict[str, Any] = {}
    for name in ("ours", "ours-gold"):
        rows = [row for row in samples.read(given.out / name / samples.FILE) if row.history != "alone" and row.gold]
        facts: dict[str, Callable[[Row], float | None]] = {
            "turn": lambda row: float(min(row.turn, 5)),
            "hops": lambda row: float(min(row.hops, 4)),
            "turns": lambda row: float(min(row.turns, 6)),
            "objects": lambda row: binned(objects.get((row.source, row.photo.rpartition("/")[2])), (5, 10, 20)),
            "size": lambda row: binned(row.target_share, (1 / 300, 3 / 100, 3 / 10)),
        }  # fmt: skip
        found[name] = {fact: trend(rows, of) for fact, of in facts.items()}
    found["own minus gold"] = histories(given.out / "ours", given.out / "ours-gold")
    (KEPT / "trends.json").write_text(json.dumps(found, indent=1) + "\n")


def histories(own: Path, gold: Path) -> dict[str, Any]:
    """gIoU with own minus with gold history, over the turns after the first (of the first there is no history)."""
    pairs = [
        {row.key[::2]: row for row in samples.read(run / samples.FILE)
         if row.history != "alone" and row.gold and row.turn > 1}
        for run in (own, gold)
    ]  # fmt: skip
    keys = sorted(pairs[0].keys() & pairs[1].keys())
    one, two = (np.array([100 * (rows[key].iou or 0.0) for key in keys]) for rows in pairs)
    clusters = [pairs[0][key].cluster for key in keys]
    found = statistics.difference(one, two, clusters)
    return {
        "n": len(keys), "value": found.value, "interval": found.bca or found.percentile,
        "p": statistics.permutation(one, two, clusters),
    }  # fmt: skip


def objects_of(data: Path) -> dict[tuple[str, str], float]:
    """How many things of each photo are annotated."""
    from miras.data.formats.annotated import read_sources

    return {(photo.source, photo.id): float(len(photo.annotations)) for photo in read_sources(data)}


def binned(value: float | None, edges: Sequence[float]) -> float | None:
    """Number of the bin: 0 below the first edge (it belongs to the bin below)."""
    return None if value is None else float(np.searchsorted(edges, value))


def trend(rows: Sequence[Row], of: Callable[[Row], float | None]) -> dict[str, Any]:
    """Mean IoU for each value with a 95% interval, and the slope of IoU over it, resampled by photo."""
    pairs = [(value, 100 * (row.iou or 0.0), row.cluster) for row in rows if (value := of(row)) is not None]
    if not pairs:
        return {}
    x, y = np.array([a for a, _, _ in pairs]), np.array([b for _, b, _ in pairs])
    names, place = np.unique([c for _, _, c in pairs], return_inverse=True)
    weight_DN = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)[:, place]
    points = []
    for value in np.unique(x):
        here = x == value
        low, high = interval(weighted(weight_DN[:, here], y[here]))
        points.append({"value": value, "n": int(here.sum()), "giou": y[here].mean(), "interval": [low, high]})
    slopes = slope(weight_DN.astype(float), x, y)
    return {"points": points, "slope": float(slope(np.ones((1, len(x))), x, y)[0]), "interval": interval(slopes)}


def weighted(weight_DN: np.ndarray, y: np.ndarray) -> np.ndarray:
    total = weight_DN.sum(1)
    return (weight_DN @ y)[total > 0] / total[total > 0]


def slope(weight_DN: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of weighted least squares, per draw."""
    total = weight_DN.sum(1)
    mean_x, mean_y = weight_DN @ x / total, weight_DN @ y / total
    spread = weight_DN @ (x * x) / total - mean_x**2
    both = weight_DN @ (x * y) / total - mean_x * mean_y
    return np.asarray(both / np.maximum(spread, 1e-9))


def interval(values: np.ndarray) -> list[float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return [float(low), float(high)]


if __name__ == "__main__":
    main()
