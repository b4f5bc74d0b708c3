"""The tables of docs/results.md, from committed figures and nothing else: `python benchmarks/results.py write`.

In: benchmarks/results/*.json, benchmarks/ablations.json. Out: Markdown between the marks of the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ablations

HERE = Path(__file__).parent
KEPT = HERE / "results"
DOC = HERE.parent / "docs" / "results.md"
SMALL = ("mini", "as-released", "lisa-style", "no-semantic-tower", "no-detail-tower", "no-mask-encoder", "no-history")
NAMES = {
    "ours": "`miras-mini`, own history", "ours-gold": "`miras-mini`, gold history",
    "phrase-only": "`baseline:phrase` (no history)", "gold-box": "`baseline:gold-box` (sees the data's box)",
    "ellipse": "`baseline:ellipse`", "photo": "`baseline:photo`", "salient": "`baseline:salient`",
    "grabcut": "`predictions:` OpenCV's GrabCut",
}  # fmt: skip


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
            one(s.get("no_mask_rate"), 100), one(s.get("refusals", {}).get("right"), 100),
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


def tests_table(name: str, figures: Sequence[str]) -> Callable[[], str]:
    """The first system against each other one: differences, p by permutation, corrected after Holm."""

    def make() -> str:
        found = load(f"compare-{name}")
        if found is None:
            return "(not run yet)"
        names = {run["name"]: Path(run["folder"]).name.removeprefix("small-") for run in found["runs"]}
        rows = []
        for pair in found["pairs"]:
            if pair["a"] != "A":
                continue
            for figure in figures:
                line = pair["figures"].get(figure)
                if line is None or line.get("value") is None:
                    continue
                low, high = line["bca"] or line["percentile"]
                wins = f"{line['wins']}/{line['ties']}/{line['losses']}" if "wins" in line else ""
                effect = f"{line['d_z']:.2f}" if line.get("d_z") is not None else ""
                rows.append([f"{names['A']} - {names[pair['b']]}", TITLES[figure],
                             f"{line['value']:+.1f} ({low:+.1f} to {high:+.1f})", f"{line['p']:.4f}",
                             f"{line['p_holm']:.4f}", effect, wins])  # fmt: skip
        head = ["pair", "figure", "difference (95%, BCa)", "p", "p (Holm)", "d_z", "win/tie/loss"]
        return grid(head, rows)

    return make


def histories_table() -> str:
    found = (load("trends") or {}).get("own minus gold")
    if not found:
        return "(not run yet)"
    low, high = found["interval"]
    row = [str(found["n"]), f"{found['value']:+.1f} ({low:+.1f} to {high:+.1f})", f"{found['p']:.4f}"]
    return grid(["turns after the first", "own minus gold history, gIoU (95%, BCa)", "p"], [row])


TITLES = {"giou": "gIoU", "ciou": "cIoU", "p50": "P@0.5"}
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
                         one(s.get("no_mask_rate"), 100)])  # fmt: skip
    return grid(["InstructPart, validation photos", "n", "gIoU (95%)", "cIoU (95%)", "P@0.5", "no mask"], rows)


def ablations_table() -> str:
    file = HERE / "ablations.json"
    if not file.exists():
        return "(not run yet)"
    return ablations.markdown(json.loads(file.read_text())["rows"])


def small_table() -> str:
    rows = []
    for name in SMALL:
        s = load(f"small-{name}")
        if s:
            rows.append([f"`{name}`", str(s["n"]), spread(s, "giou"), spread(s, "ciou"), one(s.get("p50")),
                         one(s.get("no_mask_rate"), 100)])  # fmt: skip
    return grid(["recipe, seed 0", "turns", "gIoU (95%)", "cIoU (95%)", "P@0.5", "no mask"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "systems": systems_table, "kinds": kinds_table, "alone": alone_table, "instructpart": phrases_table,
    "turn": trend_table("turn", "turn"), "hops": trend_table("hops", "hops"),
    "turns": trend_table("turns", "exchanges of the conversation"),
    "objects": trend_table("objects", "annotated things in the photo"),
    "size": trend_table("size", "share of the photo"),
    "tests": tests_table("systems", ("giou", "ciou")), "small-tests": tests_table("small", ("giou", "ciou")),
    "histories": histories_table, "ablations": ablations_table, "small": small_table,
}  # fmt: skip
