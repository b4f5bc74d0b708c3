"""A comparison of runs, to be read: tables, Markdown, a forest plot, a page.

In: what `compare.compare` gives. Out: text, SVG, HTML, every word of the data escaped. Knows no run and no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from miras.core.pages import template
from miras.eval.compare.runs import titles
from miras.eval.metrics.registry import METRICS
from miras.eval.report.parts import Table
from miras.eval.report.plots import differences

Titled = tuple[str, list[str], list[list[str]]]
"""Title, head, rows."""


def tables(result: Mapping[str, Any]) -> list[Titled]:
    """What a person reads: figures by run, differences, kinds, and what each run is."""
    runs = result["runs"]
    names = [run["name"] for run in runs]
    about = [[run["name"], str(run["model"]), run["folder"], str(run["commit"] or "-")] for run in runs]
    found: list[Titled] = [("Runs", ["run", "model", "folder", "commit"], about)]
    for title, group, named in (("Figures", "figures", titles()), ("gIoU by kind", "kinds", None)):
        keys = [key for key in (named or runs[0]["kinds"]) if any(key in run[group] for run in runs)]
        rows = [
            [
                named[key] if named else key,
                _count(runs, group, key),
                *(_span(run[group].get(key), key) for run in runs),
            ]
            for key in keys
        ]
        if rows:
            found.append((title, ["figure" if named else "kind", "n", *names], rows))
        rows = [[f"{pair['a']} - {pair['b']}", named[key] if named else key, *_tested(pair[group][key], key)]
                for pair in result["pairs"] for key in keys if key in pair[group]]  # fmt: skip
        if rows:
            head = ["pair", "figure" if named else "kind", "difference", "p", "p (Holm)", "d_z", "r", "win/tie/loss"]
            found.append((f"Differences{'' if named else ' by kind'}", head, rows))
    return found


def markdown(result: Mapping[str, Any]) -> str:
    """All tables as GitHub draws them."""
    parts = ["# Comparison", *(f"- {_md(line)}" for line in said(result))]
    for title, head, rows in tables(result):
        lines = [head, ["---"] * len(head), *rows]
        parts += ["", f"## {title}", "", *("| " + " | ".join(map(_md, line)) + " |" for line in lines)]
    return "\n".join(parts) + "\n"


def said(result: Mapping[str, Any]) -> list[str]:
    """What has to be known beside the tables, a line each."""
    shared, family = result["shared"], result["families"]["figures"]
    percent = f"{100 * result['level']:g}%"
    return [
        f"{shared['samples']} samples with a target of {shared['rows']} rows, {shared['photos']} photos, in all runs",
        f"[low, high]: {percent} BCa bootstrap clustered by photo, "
        f"{result['draws']} draws, seed {result['seed']}",
        f"p: paired permutation clustered by photo; Holm over {family['tests']} tests "
        f"({family['pairs']} pairs x figures; kinds apart); no test of ECE",
        "lower is better: " + ", ".join(titles()[name] for name in result["lower_is_better"]),
        *result["notes"],
    ]  # fmt: skip


def forest_svg(result: Mapping[str, Any]) -> str:
    """Differences of all pairs with their BCa intervals in points (rates times 100), the line of no difference at 0.

    Raises InputError without matplotlib.
    """
    lines = []
    for name, title in titles().items():
        for pair in result["pairs"]:
            if figure := pair["figures"].get(name):
                low, high = (end * _points(name) for end in figure["bca"] or (figure["value"],) * 2)
                lines.append((f"{pair['a']} - {pair['b']}  {title}", figure["value"] * _points(name), (low, high)))
    return differences(lines, what="Differences with their intervals")


def html(result: Mapping[str, Any]) -> str:
    """A page that needs nothing beside it; every word escaped, no script. Raises InputError without matplotlib."""
    found = [Table(head, rows, title=title) for title, head, rows in tables(result)]
    for pair in result["pairs"]:
        for name, other, side in ((pair["a"], pair["b"], "a"), (pair["b"], pair["a"], "b")):
            rows = [[line["record"], str(line["turn"]), line["kind"], line["user"], f"{line['a']:.3f}",
                     f"{line['b']:.3f}"] for line in pair["largest"][side]]  # fmt: skip
            head = ["record", "turn", "kind", "message", f"IoU {pair['a']}", f"IoU {pair['b']}"]
            if rows:
                found.append(Table(head, rows, title=f"Samples in which {name} is furthest ahead of {other}"))
    left = [f"not in {name}: {row}" for name, group in result["left_out"]["missing"].items() for row in group["named"]]
    left += [f"the data is at fault: {row}" for row in result["left_out"]["data"]["named"]]
    return template("miras.eval.compare", "comparison.html").render(
        said=said(result), forest=forest_svg(result), tables=found, left_out=left
    )


def _md(text: str) -> str:
    """A cell: one line, nothing that ends it or that is markup."""
    return " ".join(escape(text, quote=False).split()).replace("|", "\\|")


def _points(name: str) -> float:
    return 1.0 if name in METRICS and METRICS[name].scale == 100 else 100.0


def _count(runs: Sequence[Mapping[str, Any]], group: str, key: str) -> str:
    """How many samples: one number, or one for each run."""
    counts = [str(run[group][key]["n"]) if key in run[group] else "0" for run in runs]
    return counts[0] if len(set(counts)) == 1 else "/".join(counts)


def _span(figure: Mapping[str, Any] | None, name: str) -> str:
    """Per cent with two places, rates (0 to 1) with three."""
    if not figure:
        return "-"
    places = 3 if name in titles() and _points(name) > 1 else 2
    low, high = figure["bca"] or (None, None)
    return f"{figure['value']:.{places}f}" + ("" if low is None else f" [{low:.{places}f}, {high:.{places}f}]")


def _tested(figure: Mapping[str, Any], name: str) -> list[str]:
    known = [f"{figure[key]:.{places}f}" if figure.get(key) is not None else "-"
             for key, places in (("p", 4), ("p_holm", 4), ("d_z", 2), ("rank_biserial", 2))]  # fmt: skip
    share = f"{figure['wins']}/{figure['ties']}/{figure['losses']}" if "wins" in figure else "-"
    return [_span(figure, name), *known, share]
