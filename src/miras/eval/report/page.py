"""`report.html`: a run as one page to read, which needs nothing beside it.

In: the folder of a run (`samples.jsonl`, `summary.json`, `run.json`); its photos where they can be found. Out: one HTML
file: figures with intervals, curves, behaviour, faults, conversations with pictures, and where it all comes from. No
script, nothing from elsewhere: the page's own policy forbids both. Every word of the data is escaped. Charts need
matplotlib; without it the page says so. Knows no model.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.pages import template
from miras.eval.metrics.curves import MOST_HOPS, SIZES, size_of
from miras.eval.metrics.registry import METRICS, grouped
from miras.eval.report import gallery, plots
from miras.eval.report.parts import Line, Table, flat, listing, with_interval
from miras.eval.report.plots import Dot
from miras.eval.runs import samples, summary
from miras.eval.runs.samples import Row

FILE = "report.html"
FULL = 5_500_000
"""Letters of the conversations; from there on they come without pictures."""
MOST_FAULTS = 200
FEWEST_PHOTOS = 5
"""Of a group for an interval in a curve: the bootstrap over fewer is far too narrow."""
GROUPS = {"turn": "Turn", "hops": "Hops", "kind": "Kind", "size": "Size of the target", "source": "Source"}
TOLD = {
    *METRICS, "n", "pixelrist_ciou", "intervals", "by", "final", "alone", "emptied", "refusals", "false_refusals",
    "operators", "operators_obeyed", "calibration", "faults", "model", "history", "data", "format", "split",
    "conversations", "photos", "turns", "commit", "command",
}  # fmt: skip
"""Keys of a summary that have a place of their own; all others stand at the end, none is left out."""


def write(run: Path, *, photos: Path | None = None, seed: int = 0, each: int = 6) -> Path:
    """Write `report.html` into a run's folder, whole or not at all; returns its path.

    photos: a folder to look in for photos that are not where the run says. seed: of the choice of conversations.
    each: how many random, best and worst ones are shown at most. A missing summary.json is made anew from the samples,
    in memory. Raises InputError for a folder without a run, a broken summary, and a page that cannot be written.
    """
    if not (run / samples.FILE).is_file():
        raise InputError(
            f"the folder of a run, with {samples.FILE}", str(run), "make one with miras eval ... --out RUN"
        )
    rows = samples.read(run / samples.FILE)
    text = page(rows, _summary(run), photos=photos, seed=seed, each=each)
    out = run / FILE
    content = text.encode("utf-8", "replace")  # a broken letter (lone surrogate) becomes "?"
    return write_whole(out, content, "free room", f"to write {out}")


def page(rows: Sequence[Row], told: Line, *, photos: Path | None = None, seed: int = 0, each: int = 6) -> str:
    """The HTML of a run's rows and its summary. Raises InputError."""
    graded = [row for row in rows if row.history != "alone" and row.blame != "data" and row.gold and row.overlap]
    rest = {key: value for key, value in told.items() if key not in TOLD and key != "trained_on"}
    return template("miras.eval.report", "report.html").render(
        title=f"{_name(told.get('model'))}: evaluation", facts=_facts(told), figures=_figures(told),
        intervals=bool(told.get("intervals")), fewest=FEWEST_PHOTOS, groups=_groups(told), sizes=", ".join(SIZES[1:]),
        **_curves(graded, told), behaviour=_behaviour(told), alone=_alone(told), **_faults(rows, told),
        **_gallery(rows, photos, seed, each), origin=listing(dict(flat(rest))),
    )  # fmt: skip


def _summary(run: Path) -> dict[str, Any]:
    file = run / summary.FILE
    if not file.is_file():
        return summary.summarise(run)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"a summary in {file}", repr(error), "remove it: it is made anew from the samples") from error
    if not isinstance(told, dict):
        raise InputError(f"a JSON object in {file}", type(told).__name__, "remove it: it is made anew from the samples")
    return told


# The head and the figures


def _name(model: Any) -> str:
    """A model's name, or the last two parts of its folder."""
    parts = Path(str(model)).parts
    return "/".join(parts[-2:]) if len(parts) > 2 else str(model)


def _facts(told: Line) -> list[tuple[str, str]]:
    history = {"own": "own: the model's earlier answers stand before a message",
               "gold": "gold: the data's earlier answers stand before a message"}  # fmt: skip
    counts = ", ".join(f"{told[key]:,} {key}" for key in ("conversations", "photos", "turns") if key in told)
    command = told.get("command")
    pairs = {
        "Model": told.get("model"),
        "Trained on": told.get("trained_on"),
        "Data": ", ".join(
            f"{name} {told[key]}" for key, name in (("format", "format"), ("data", "digest")) if told.get(key)
        ),
        "Split": told.get("split"),
        "History": history.get(str(told.get("history")), told.get("history")),
        "Asked": f"{counts}; {told.get('n', 0):,} turns compared by pixels",
        "Commit": told.get("commit"),
        "Command": shlex.join(map(str, command)) if isinstance(command, list) else command,
    }
    return listing(pairs)


def _figures(told: Line) -> Table | None:
    if not told.get("n"):
        return None
    final = told.get("final") or {}
    lines = []
    for key, metric in grouped().items():
        if told.get(key) is not None:
            cells = [cell for group in (told, final) for cell in with_interval(group, key)]
            lines.append([metric.title, *cells, metric.meaning])
    head = ["", f"All turns (n = {told['n']:,})", "95% interval", f"Last turns (n = {final.get('n', 0):,})",
            "95% interval", ""]  # fmt: skip
    return Table(head, lines, words=(5,))


# Curves and groups


def _curves(graded: Sequence[Row], told: Line) -> dict[str, Any]:
    """The charts with their titles; none where there is nothing to draw, or nothing to draw with."""
    try:
        return {"charts": _charts(graded, told), "undrawn": ""}
    except InputError as error:  # no matplotlib: all the rest of the page needs none
        return {"charts": [], "undrawn": str(error)}


def _charts(graded: Sequence[Row], told: Line) -> list[tuple[str, str]]:
    by = told.get("by") or {}
    charts = []
    for name in ("turn", "hops"):
        if dots := _dots(graded, by.get(name, ()), name):
            title = f"gIoU by {name}"
            charts.append((title, plots.line(dots, what=title, axis=GROUPS[name].lower())))
    for name in ("kind", "size"):
        if dots := _dots(graded, by.get(name, ()), name):
            title = f"gIoU by {'size of the target' if name == 'size' else name}"
            charts.append((title, plots.rows(dots, what=title)))
    if bins := (told.get("calibration") or {}).get("bins"):
        charts.append(("Does the score say the IoU?", plots.reliability(bins, told["calibration"].get("ece", 0.0))))
    ious = [row.iou for row in graded if row.iou is not None]
    if ious:
        charts.append(("IoU of the turns", plots.histogram(ious, what="IoU of a turn")))
    return charts


def _dots(graded: Sequence[Row], lines: Iterable[Line], name: str) -> list[Dot]:
    groups: dict[str, list[Row]] = {}
    for row in graded:
        groups.setdefault(_label(row, name), []).append(row)
    dots = []
    for line in lines:
        label = str(line["label"])
        group = groups.get(label, ())
        enough = len({row.cluster for row in group}) >= FEWEST_PHOTOS
        ends = summary.intervals(group).get("giou") if enough else None
        dots.append(Dot(label, int(line["n"]), float(line["giou"]), (ends[0], ends[1]) if ends else None))
    return dots


def _label(row: Row, name: str) -> str:
    """Of the row of a table of `summary` that it counts in."""
    if name == "hops":
        return f"{MOST_HOPS}+" if row.hops >= MOST_HOPS else str(row.hops)
    if name == "size":
        return size_of(row.gold or 0, row.size[0] * row.size[1])
    return str(getattr(row, name))


def _groups(told: Line) -> list[Table]:
    by = told.get("by") or {}
    parts = []
    shown = ("giou", "ciou", "f1", "p50", "boundary_iou", "no_mask_rate")
    for name, title in GROUPS.items():
        if lines := by.get(name):
            keys = [key for key in shown if any(line.get(key) is not None for line in lines)]
            cells = [[str(line["label"]), str(line["n"]), *(with_interval(line, key)[0] for key in keys)]
                     for line in lines]  # fmt: skip
            parts.append(Table(["", "n", *(METRICS[key].title for key in keys)], cells, title=title))
    return parts


# What it does


def _behaviour(told: Line) -> list[Table]:
    rates = (
        ("refusals", "right", "Refusals: what is not in the photo is refused"),
        ("false_refusals", "rate", "False refusals: what is in the photo is refused (lower is better)"),
        ("operators_obeyed", "obeyed", "Add, cut and undo are obeyed"),
        ("emptied", "right", "Turns after which nothing is to be selected: nothing is"),
    )
    lines = [[text, _share(told[key][name]), f"{told[key]['n']:,}"] for key, name, text in rates if told.get(key)]
    parts = [Table(["", "Share", "n"], lines, words=(0,))] if lines else []
    if operators := told.get("operators"):
        cells = [
            [name, str(line["n"]), _share(line["obeyed"]),
             ", ".join(f"{done} {count}" for done, count in sorted(line["instead"].items(), key=lambda at: -at[1]))]
            for name, line in operators.items()
        ]  # fmt: skip
        parts.append(Table(["", "n", "Obeyed", "Instead"], cells, words=(3,), title="Operators of the data"))
    if calibration := told.get("calibration"):
        names = {"ece": "ECE against the IoU", "ece_50": "ECE against IoU > 0.5", "brier": "Brier score, IoU > 0.5",
                 "squared_error": "Mean squared error of the score"}  # fmt: skip
        cells = [[name, f"{calibration[key]:.3f}"] for key, name in names.items() if key in calibration]
        parts.append(Table(["", "0 to 1"], cells, title=f"Score (n = {calibration['n']:,})"))
    return parts


def _alone(told: Line) -> str:
    """What asking the final targets alone showed, in words."""
    alone = told.get("alone")
    if not alone:
        return ""
    ends = alone.get("gap_interval")
    spread = f" (95%: {ends[0]:+.1f} to {ends[1]:+.1f})" if ends else ""
    return (f"{alone['n']:,} final targets: gIoU {alone['giou_in_conversation']:.1f} at the end of a conversation, "
            f"{alone['giou_alone']:.1f} asked alone; gap {alone['gap']:+.1f}{spread}. Above 0 the conversation "
            f"hurts.")  # fmt: skip


def _share(value: float) -> str:
    return f"{value:.1%}"


def _faults(rows: Sequence[Row], told: Line) -> dict[str, Any]:
    counts = told.get("faults") or {}
    named = [f"{row.record}, turn {row.turn} ({row.history}), of the {row.blame or 'run'}: {row.fault}"
             for row in rows if row.fault]  # fmt: skip
    names = {
        "data": "turns at fault by the data (in no figure)", "records": "conversations among them",
        "system": "turns at fault by the system", "unread": "records that could not be read",
    }  # fmt: skip
    text = "; ".join(f"{counts[key]:,} {name}" for key, name in names.items() if counts.get(key))
    listed = [line[:500] for line in named[:MOST_FAULTS]]
    return {"faults": text, "named": listed, "unnamed": max(0, len(named) - MOST_FAULTS)}


# Conversations


_TITLES = {
    "random": ("Random", "Drawn by the seed before any figure was looked at."),
    "best": ("Best", "Highest mean IoU among the others."),
    "worst": ("Worst", "Lowest mean IoU among the others."),
}


def _gallery(rows: Sequence[Row], photos: Path | None, seed: int, each: int) -> dict[str, Any]:
    held = gallery.transcripts(rows)
    chosen = gallery.choose(held, each, seed)
    parts: list[tuple[str, str, list[str]]] = []
    number = used = 0
    for role, group in chosen.items():
        cards = []
        for transcript in group:
            number += 1
            card = gallery.card(transcript, number, photos, pictures=used < FULL)
            if used + len(card) > FULL:
                card = gallery.card(transcript, number, photos, pictures=False)
            used += len(card)
            cards.append(card)
        if cards:
            parts.append((*_TITLES[role], cards))
    return {"gallery": parts, "held": len(held), "shown": number, "seed": seed}
