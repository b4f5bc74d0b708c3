"""`report.html`: a run as one page to read, which needs nothing beside it.

In: the folder of a run (`samples.jsonl`, `summary.json`, `run.json`); its photos where they can be found. Out: one HTML
file: figures with intervals, curves, behaviour, faults, conversations with pictures, and where it all comes from. No
script, nothing from elsewhere: the page's own policy forbids both. Every word of the data is escaped. Knows no model.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.eval.metrics.curves import MOST_HOPS, SIZES, size_of
from miras.eval.metrics.registry import METRICS, grouped
from miras.eval.report import gallery, plots
from miras.eval.report.parts import Line, flat, listing, table, with_interval
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
    return Template(_template("report.html")).substitute(
        title=escape(f"{_name(told.get('model'))}: evaluation"), style=_template("report.css"), facts=_facts(told),
        figures=_figures(told), curves=_curves(graded, told), groups=_groups(told), behaviour=_behaviour(told),
        faults=_faults(rows, told), gallery=_gallery(rows, photos, seed, each), origin=_origin(told),
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


def _template(name: str) -> str:
    return files("miras.eval.report").joinpath("templates", name).read_text(encoding="utf-8")


# The head and the figures


def _name(model: Any) -> str:
    """A model's name, or the last two parts of its folder."""
    parts = Path(str(model)).parts
    return "/".join(parts[-2:]) if len(parts) > 2 else str(model)


def _facts(told: Line) -> str:
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


def _figures(told: Line) -> str:
    if not told.get("n"):
        return '<p class="note">No turn of this run has a target: there is nothing to compare by pixels.</p>'
    final = told.get("final") or {}
    lines = []
    for key, metric in grouped().items():
        if told.get(key) is not None:
            cells = [cell for group in (told, final) for cell in with_interval(group, key)]
            lines.append([metric.title, *cells, metric.meaning])
    head = ["", f"All turns (n = {told['n']:,})", "95% interval", f"Last turns (n = {final.get('n', 0):,})",
            "95% interval", ""]  # fmt: skip
    note = "Per cent. Intervals: bootstrap over photos, each drawn whole with all its turns."
    if not told.get("intervals"):
        note += " None here: they need two photos."
    return table(head, lines, text=(5,)) + f'<p class="note">{note}</p>'


# Curves and groups


def _curves(graded: Sequence[Row], told: Line) -> str:
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
    if not charts:
        return '<p class="note">Nothing to draw.</p>'
    drawn = "".join(f"<figure><figcaption>{title}</figcaption>{chart}</figure>" for title, chart in charts)
    note = f"gIoU in per cent; 95% intervals for groups of {FEWEST_PHOTOS} photos and more; n: turns."
    return f'<p class="note">{note}</p><div class="charts">{drawn}</div>'


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


def _groups(told: Line) -> str:
    by = told.get("by") or {}
    parts = []
    shown = ("giou", "ciou", "f1", "p50", "boundary_iou", "no_mask_rate")
    for name, title in GROUPS.items():
        if lines := by.get(name):
            keys = [key for key in shown if any(line.get(key) is not None for line in lines)]
            cells = [[str(line["label"]), str(line["n"]), *(with_interval(line, key)[0] for key in keys)]
                     for line in lines]  # fmt: skip
            parts.append(f"<h3>{title}</h3>" + table(["", "n", *(METRICS[key].title for key in keys)], cells))
    if not parts:
        return '<p class="note">No groups.</p>'
    sizes = f"Sizes ({', '.join(SIZES[1:])}) are shares of the photo: small below 1/300, large from 3/100."
    return "".join(parts) + f'<p class="note">Per cent. {sizes}</p>'


# What it does


def _behaviour(told: Line) -> str:
    rates = (
        ("refusals", "right", "Refusals: what is not in the photo is refused"),
        ("false_refusals", "rate", "False refusals: what is in the photo is refused (lower is better)"),
        ("operators_obeyed", "obeyed", "Add, cut and undo are obeyed"),
        ("emptied", "right", "Turns after which nothing is to be selected: nothing is"),
    )
    lines = [[text, _share(told[key][name]), f"{told[key]['n']:,}"] for key, name, text in rates if told.get(key)]
    parts = [table(["", "Share", "n"], lines, text=(0,))] if lines else []
    if operators := told.get("operators"):
        cells = [
            [name, str(line["n"]), _share(line["obeyed"]),
             ", ".join(f"{done} {count}" for done, count in sorted(line["instead"].items(), key=lambda at: -at[1]))]
            for name, line in operators.items()
        ]  # fmt: skip
        parts.append("<h3>Operators of the data</h3>" + table(["", "n", "Obeyed", "Instead"], cells, text=(3,)))
    if alone := told.get("alone"):
        ends = alone.get("gap_interval")
        spread = f" (95%: {ends[0]:+.1f} to {ends[1]:+.1f})" if ends else ""
        text = (f"{alone['n']:,} final targets: gIoU {alone['giou_in_conversation']:.1f} at the end of a conversation, "
                f"{alone['giou_alone']:.1f} asked alone; gap {alone['gap']:+.1f}{spread}. Above 0 the conversation "
                f"hurts.")  # fmt: skip
        parts.append(f"<h3>Asked alone</h3><p>{escape(text)}</p>")
    if calibration := told.get("calibration"):
        names = {"ece": "ECE against the IoU", "ece_50": "ECE against IoU > 0.5", "brier": "Brier score, IoU > 0.5",
                 "squared_error": "Mean squared error of the score"}  # fmt: skip
        cells = [[name, f"{calibration[key]:.3f}"] for key, name in names.items() if key in calibration]
        parts.append(f"<h3>Score (n = {calibration['n']:,})</h3>" + table(["", "0 to 1"], cells))
    return "".join(parts) or '<p class="note">Nothing was counted.</p>'


def _share(value: float) -> str:
    return f"{value:.1%}"


def _faults(rows: Sequence[Row], told: Line) -> str:
    counts = told.get("faults") or {}
    named = [f"{row.record}, turn {row.turn} ({row.history}), of the {row.blame or 'run'}: {row.fault}"
             for row in rows if row.fault]  # fmt: skip
    names = {
        "data": "turns at fault by the data (in no figure)", "records": "conversations among them",
        "system": "turns at fault by the system", "unread": "records that could not be read",
    }  # fmt: skip
    text = "; ".join(f"{counts[key]:,} {name}" for key, name in names.items() if counts.get(key))
    if not text and not named:
        return "<p>None.</p>"
    items = "".join(f"<li><bdi>{escape(line[:500])}</bdi></li>" for line in named[:MOST_FAULTS])
    more = f"<li>and {len(named) - MOST_FAULTS:,} more</li>" if len(named) > MOST_FAULTS else ""
    listed = f"<details open><summary>By name</summary><ul>{items}{more}</ul></details>" if items else ""
    return f"<p>{escape(text)}.</p>{listed}"


# Conversations


_TITLES = {
    "random": ("Random", "Drawn by the seed before any figure was looked at."),
    "best": ("Best", "Highest mean IoU among the others."),
    "worst": ("Worst", "Lowest mean IoU among the others."),
}


def _gallery(rows: Sequence[Row], photos: Path | None, seed: int, each: int) -> str:
    held = gallery.transcripts(rows)
    if not held:
        return '<p class="note">No conversation was held.</p>'
    chosen = gallery.choose(held, each, seed)
    shown = sum(map(len, chosen.values()))
    note = (
        f"{shown} of {len(held):,} conversations, seed {seed}; photos differ where there are enough. Compared is all "
        "that is selected after a turn. Where that is small, the second picture is the white frame of the first."
    )
    parts = [f'<p class="note">{note}</p>']
    number = used = 0
    for role, group in chosen.items():
        if not group:
            continue
        title, why = _TITLES[role]
        parts.append(f'<h3>{title}</h3><p class="note">{why}</p>')
        for transcript in group:
            number += 1
            card = gallery.card(transcript, number, photos, pictures=used < FULL)
            if used + len(card) > FULL:
                card = gallery.card(transcript, number, photos, pictures=False)
            used += len(card)
            parts.append(card)
    return "".join(parts)


# Where it comes from


def _origin(told: Line) -> str:
    rest = {key: value for key, value in told.items() if key not in TOLD and key != "trained_on"}
    return listing(dict(flat(rest))) + '<p class="note">What each figure means: docs/evaluation.md.</p>'
