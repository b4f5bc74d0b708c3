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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miras.eval import samples
from miras.eval.samples import Row

HERE = Path(__file__).parent
KEPT = HERE / "results"
DOC = HERE.parent / "docs" / "results.md"
DRAWS = 4000
SYSTEMS = {
    "ours": ("miras-mini", "own"), "ours-gold": ("miras-mini", "gold"), "phrase-only": ("floor:phrase", "own"),
    "gold-box": ("floor:gold-box", "own"), "ellipse": ("floor:ellipse", "own"), "photo": ("floor:photo", "own"),
    "salient": ("floor:salient", "own"), "grabcut": ("predictions:{grabcut}", "own"),
}  # fmt: skip
SMALL = ("mini", "as-released", "lisa-style", "no-semantic-tower", "no-detail-tower", "no-mask-encoder", "no-history")
PHRASES = {"instructpart-human": 0, "instructpart-phrase": 4}
NAMES = {
    "ours": "`miras-mini`, own history", "ours-gold": "`miras-mini`, gold history",
    "phrase-only": "`floor:phrase` (no history)", "gold-box": "`floor:gold-box` (sees the data's box)",
    "ellipse": "`floor:ellipse`", "photo": "`floor:photo`", "salient": "`floor:salient`",
    "grabcut": "`predictions:` OpenCV's GrabCut",
}  # fmt: skip


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
    (KEPT / f"{name}.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def compared(name: str, runs: Sequence[Path], given: argparse.Namespace) -> None:
    """`miras compare` of the runs that there are."""
    there = [str(run) for run in runs if (run / "done").exists()]
    if len(there) > 1 and not given.only:
        folder = given.out / f"compare-{name}"
        subprocess.run([sys.executable, "-m", "miras", "compare", *there, "--out", str(folder)], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        text = (folder / "compare.json").read_text().replace(f"{given.out}/", "")
        (KEPT / f"compare-{name}.json").write_text(text)


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
    (KEPT / "trends.json").write_text(json.dumps(found, indent=1) + "\n")


def objects_of(data: Path) -> dict[tuple[str, str], float]:
    """How many things of each photo are annotated."""
    from miras.data.read import read_sources

    return {(photo.source, photo.id): float(len(photo.annotations)) for photo in read_sources(data)}


def binned(value: float | None, edges: Sequence[float]) -> float | None:
    """Number of the bin: 0 below the first edge (it belongs to the bin below)."""
    return None if value is None else float(np.searchsorted(edges, value))


def trend(rows: Sequence[Row], of: Callable[[Row], float | None]) -> dict[str, Any]:
    """Mean IoU for each value with a 95% interval, and the slope of IoU over it; photos drawn whole."""
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


# Writing


def write() -> None:
    """Fill the tables of docs/results.md, each between its two marks."""
    text = DOC.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, found, rest = text.partition(start)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"docs/results.md: no {start} ... {end}")
        text = f"{head}{start}\n{make()}\n{end}{tail}"
    DOC.write_text(text, encoding="utf-8")


def load(name: str) -> dict[str, Any] | None:
    file = KEPT / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def one(value: float | None, scale: float = 1.0) -> str:
    return "" if value is None else f"{scale * value:.1f}"


def spread(summary: Mapping[str, Any], name: str) -> str:
    low_high = summary.get("intervals", {}).get(name)
    return one(summary.get(name)) + (f" ({low_high[0]:.1f} to {low_high[1]:.1f})" if low_high else "")


def systems_table() -> str:
    rows = []
    for name, label in NAMES.items():
        s = load(name)
        if s is None:
            continue
        rows.append([
            label, str(s["n"]), spread(s, "giou"), spread(s, "ciou"), one(s.get("p50")), one(s.get("boundary_iou")),
            one(s.get("no_mask_rate"), 1.0), one(s.get("refusals", {}).get("right"), 100),
            one(s.get("false_refusals", {}).get("rate"), 100), one(s.get("operators_obeyed", {}).get("obeyed"), 100),
            f"{s['calibration']['ece']:.2f}" if s.get("calibration") else "",
        ])  # fmt: skip
    head = ["system", "turns", "gIoU (95%)", "cIoU (95%)", "P@0.5", "boundary IoU", "no mask", "refused of absent",
            "of present", "operators obeyed", "ECE"]  # fmt: skip
    return grid(head, rows)


def kinds_table() -> str:
    names = [name for name in ("ours", "ours-gold", "phrase-only", "ellipse", "gold-box") if load(name)]
    kinds: dict[str, dict[str, Any]] = {}
    for name in names:
        for line in (load(name) or {}).get("final", {}).get("by", {}).get("kind", []):
            kinds.setdefault(str(line["label"]), {})[name] = line
    head = ["kind", "n", *(f"{name}: gIoU, cIoU" for name in names)]
    rows = [
        [kind, str(max(line["n"] for line in lines.values())),
         *(f"{one(lines[name]['giou'])}, {one(lines[name]['ciou'])}" if name in lines else "" for name in names)]
        for kind, lines in sorted(kinds.items())
    ]  # fmt: skip
    return grid(head, rows)


def alone_table() -> str:
    rows = []
    for name in ("ours", "ours-gold"):
        alone = (load(name) or {}).get("alone")
        if alone:
            gap = alone.get("gap_interval", [float("nan")] * 2)
            rows.append([NAMES[name], str(alone["n"]), one(alone["giou_in_conversation"]), one(alone["giou_alone"]),
                         f"{-alone['gap']:+.1f} ({-gap[1]:+.1f} to {-gap[0]:+.1f})"])  # fmt: skip
    return grid(["history", "n", "gIoU at the end of the conversation", "asked alone", "difference (95%)"], rows)


LABELS = {
    "turn": {1: "1", 2: "2", 3: "3", 4: "4", 5: "5 and more"},
    "hops": {0: "none", 1: "1", 2: "2", 3: "3", 4: "4 and more"},
    "turns": {1: "1", 2: "2", 3: "3", 4: "4", 5: "5", 6: "6 and more"},
    "objects": {0: "up to 5", 1: "6 to 10", 2: "11 to 20", 3: "more"},
    "size": {0: "below 1/300", 1: "to 3%", 2: "to 30%", 3: "above"},
}


def trend_table(fact: str, title: str) -> Callable[[], str]:
    def make() -> str:
        found = load("trends") or {}
        own, gold = (found.get(name, {}).get(fact, {}) for name in ("ours", "ours-gold"))
        other = {point["value"]: point for point in gold.get("points", [])}
        rows = []
        for point in own.get("points", []):
            twin = other.get(point["value"])
            rows.append([LABELS[fact][int(point["value"])], str(point["n"]), with_interval(point),
                         with_interval(twin) if twin else ""])  # fmt: skip
        if own:
            rows.append(["**slope**", "", *(slope_of(line) for line in (own, gold))])
        return grid([title, "n", "own history: gIoU (95%)", "gold history: gIoU (95%)"], rows)

    return make


def with_interval(point: Mapping[str, Any]) -> str:
    low, high = point["interval"]
    return f"{point['giou']:.1f} ({low:.1f} to {high:.1f})"


def slope_of(line: Mapping[str, Any]) -> str:
    return f"{line['slope']:+.1f} ({line['interval'][0]:+.1f} to {line['interval'][1]:+.1f})" if line else ""


def phrases_table() -> str:
    rows = []
    for name, label in (("instructpart-human", "human instructions (K=0)"), ("instructpart-phrase", "phrases (K=4)")):
        s = load(name)
        if s:
            rows.append([label, str(s["n"]), spread(s, "giou"), spread(s, "ciou"), one(s.get("p50")),
                         one(s.get("no_mask_rate"))])  # fmt: skip
    return grid(["InstructPart, validation photos", "n", "gIoU (95%)", "cIoU (95%)", "P@0.5", "no mask"], rows)


def ablations_table() -> str:
    file = HERE / "ablations.json"
    if not file.exists():
        return "(not run)"
    import ablations

    return ablations.markdown(json.loads(file.read_text())["rows"])


def small_table() -> str:
    rows = []
    for name in SMALL:
        s = load(f"small-{name}")
        if s:
            rows.append([f"`{name}`", str(s["n"]), spread(s, "giou"), spread(s, "ciou"), one(s.get("p50")),
                         one(s.get("no_mask_rate"))])  # fmt: skip
    return grid(["recipe, seed 0", "turns", "gIoU (95%)", "cIoU (95%)", "P@0.5", "no mask"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "systems": systems_table, "kinds": kinds_table, "alone": alone_table, "instructpart": phrases_table,
    "turn": trend_table("turn", "turn"), "hops": trend_table("hops", "hops"),
    "turns": trend_table("turns", "exchanges of the conversation"),
    "objects": trend_table("objects", "annotated things in the photo"),
    "size": trend_table("size", "share of the photo"),
    "ablations": ablations_table, "small": small_table,
}  # fmt: skip


if __name__ == "__main__":
    main()
