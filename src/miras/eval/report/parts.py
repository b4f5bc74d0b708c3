"""The small parts of `report.html`: figures by name, tables and lists.

In: plain values. Out: HTML text, every word of the data escaped. Knows no run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from miras.eval.metrics.registry import METRICS

Line = Mapping[str, Any]


def with_interval(group: Line, key: str) -> tuple[str, str]:
    """A figure and its interval in per cent, rates times 100; empty where there is none."""
    value = group.get(key)
    ends = (group.get("intervals") or {}).get(key)
    scale = 1 if key not in METRICS or METRICS[key].unit == "%" else 100
    return ("" if value is None else f"{scale * value:.1f}"), ("" if not ends else f"{ends[0]:.1f} to {ends[1]:.1f}")


def flat(value: Line, before: str = "") -> Iterable[tuple[str, Any]]:
    """Keys and plain values of nested objects, the keys joined."""
    for key, inner in value.items():
        name = f"{before}{key}"
        if isinstance(inner, dict):
            yield from flat(inner, f"{name} · ")
        else:
            yield name, ", ".join(map(str, inner)) if isinstance(inner, list) else inner


def listing(pairs: Line) -> str:
    """Names and values, empty ones left out."""
    lines = [f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(plain(value))}</dd>"
             for name, value in pairs.items() if value is not None and value != ""]  # fmt: skip
    return f"<dl>{''.join(lines)}</dl>" if lines else ""


def plain(value: Any) -> str:
    """A value in few letters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:4000]


def table(head: Sequence[str], lines: Sequence[Sequence[str]], text: Sequence[int] = ()) -> str:
    """Rows under a head. Cells are escaped; `text`: columns of words."""
    kinds = [' class="text"' if place in text else ' class="label"' if place == 0 else "" for place in range(len(head))]
    top = "".join(f'<th{kind} scope="col">{escape(cell)}</th>' for kind, cell in zip(kinds, head, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{escape(cell)}</td>' for kind, cell in zip(kinds, line, strict=True))}</tr>"
        for line in lines
    )  # fmt: skip
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
