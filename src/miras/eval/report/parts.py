"""The small parts of a page about runs: figures by name, tables and lists.

In: plain values. Out: what `templates/parts.html` draws. Knows no run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miras.eval.metrics.registry import METRICS

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head. words: columns of words; all others are figures, the first names them. title: above it."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: tuple[int, ...] = ()
    title: str = ""

    def kind(self, column: int) -> str:
        """Of a column: words, names or figures."""
        return "text" if column in self.words else "label" if column == 0 else ""


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


def listing(pairs: Line) -> list[tuple[str, str]]:
    """Names and values, empty ones left out."""
    return [(str(name).replace("_", " "), plain(value)) for name, value in pairs.items() if value not in (None, "")]


def plain(value: Any) -> str:
    """A value in few letters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:4000]
