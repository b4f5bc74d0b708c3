"""A comparison of runs, to be read: tables, Markdown, a forest plot, a page.

In: what `compare.compare` gives. Out: text, SVG, HTML, every word of the data escaped. Knows no run and no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from miras.core.palette import ACCENT
from miras.eval.compare.runs import titles
from miras.eval.metrics.registry import METRICS

Table = tuple[str, list[str], list[list[str]]]
"""Title, head, rows."""


def tables(result: Mapping[str, Any]) -> list[Table]:
    """What a person reads: figures by run, differences, kinds, and what each run is."""
    runs = result["runs"]
    names = [run["name"] for run in runs]
    about = [[run["name"], str(run["model"]), run["folder"], str(run["commit"] or "-")] for run in runs]
    found: list[Table] = [("Runs", ["run", "model", "folder", "commit"], about)]
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
        f"[low, high]: {percent} BCa bootstrap, {result['draws']} draws, photos drawn whole, seed {result['seed']}",
        f"p: paired permutation, photos swapped whole; Holm over {family['tests']} tests "
        f"({family['pairs']} pairs x figures; kinds apart); no test of ECE",
        "lower is better: " + ", ".join(titles()[name] for name in result["lower_is_better"]),
        *result["notes"],
    ]  # fmt: skip


def forest_svg(result: Mapping[str, Any]) -> str:
    """Differences of all pairs with their BCa intervals in points (rates times 100), the line of no difference at 0."""
    lines = [(f"{pair['a']} - {pair['b']}  {titles()[name]}", figure["value"] * _points(name),
              [end * _points(name) for end in figure["bca"] or (figure["value"],) * 2])
             for name in titles() for pair in result["pairs"] if (figure := pair["figures"].get(name))]  # fmt: skip
    reach = 1.1 * max([1e-6, *(abs(end) for _, value, span in lines for end in (value, *span))])
    height = 26 * len(lines) + 50

    def across(value: float) -> float:
        return 430 + 220 * value / float(reach)

    parts = [f'<line x1="430" y1="10" x2="430" y2="{height - 36}" stroke="currentColor" stroke-opacity="0.5"/>']
    for number, (label, value, (low, high)) in enumerate(lines):
        y = 24 + 26 * number
        parts += [
            f'<text x="8" y="{y + 4}">{escape(label)}</text>',
            f'<g><title>{escape(label)}: {value:.2f} [{low:.2f}, {high:.2f}]</title>'
            f'<path d="M{across(low):.1f} {y}H{across(high):.1f}" stroke="{ACCENT}" stroke-width="2"/>'
            f'<circle cx="{across(value):.1f}" cy="{y}" r="4.5" fill="{ACCENT}"/></g>',
            f'<text x="792" y="{y + 4}" text-anchor="end">{value:.2f} [{low:.2f}, {high:.2f}]</text>',
        ]  # fmt: skip
    parts += [f'<text x="{across(tick):.1f}" y="{height - 16}" text-anchor="middle">{tick:.3g}</text>'
              for tick in (-reach / 1.1, 0.0, reach / 1.1)]  # fmt: skip
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" width="800" role="img" '
            'aria-label="Differences with their intervals" font-family="sans-serif" font-size="13" '
            f'fill="currentColor">{"".join(parts)}</svg>')  # fmt: skip


def html(result: Mapping[str, Any]) -> str:
    """A page that needs nothing beside it; every word escaped, no script."""
    parts = [f"<li>{escape(line)}</li>" for line in said(result)]
    body = ["<h1>Comparison</h1><ul>", *parts, "</ul>", forest_svg(result)]
    body += [_html_table(*one) for one in tables(result)]
    for pair in result["pairs"]:
        for side, name in (("a", pair["a"]), ("b", pair["b"])):
            rows = [[line["record"], str(line["turn"]), line["kind"], line["user"], f"{line['a']:.3f}",
                     f"{line['b']:.3f}"] for line in pair["largest"][side]]  # fmt: skip
            head = ["record", "turn", "kind", "message", f"IoU {pair['a']}", f"IoU {pair['b']}"]
            other = pair["b"] if side == "a" else pair["a"]
            body.append(_html_table(f"Samples in which {name} is furthest ahead of {other}", head, rows))
    named = [f"not in {name}: {row}" for name, group in result["left_out"]["missing"].items() for row in group["named"]]
    named += [f"the data is at fault: {row}" for row in result["left_out"]["data"]["named"]]
    if named:
        body.append("<h2>Left out</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in named) + "</ul>")
    style = ("body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
             "table{border-collapse:collapse}td,th{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #8884}"
             "svg{max-width:100%;height:auto}")  # fmt: skip
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Comparison</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{style}</style></head>'
            f'<body>{"".join(body)}</body></html>\n')  # fmt: skip


def _html_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table><tr>{top}</tr>{lines}</table>"


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
