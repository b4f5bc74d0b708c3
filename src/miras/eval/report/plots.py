"""Small charts as SVG text: lines, rows of dots, a reliability curve, a histogram.

In: labels and numbers. Out: one `<svg>` element each, to stand in an HTML page: text is text, every point has a
`<title>` (what a pointer over it says) and its number of samples beside it. Colours are CSS variables of the page with
values of their own behind, lines and letters take the colour of the page's text, so light and dark both work. A value
that is no finite number is not drawn. Knows no run and no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeGuard

from miras.core.palette import ACCENT

WIDTH, HEIGHT = 380, 240
"""Units of a chart; a page may draw it at any width."""
LEFT, RIGHT, TOP, BOTTOM = 42, 14, 12, 50
ROW = 34
"""Height of a row of `rows`."""
BARS = 20
_LABEL, _LONGEST = 118, 17
_ACCENT, _SECOND = f"var(--accent, {ACCENT})", "var(--second, #c96f12)"
_FAINT = 'stroke="currentColor" stroke-opacity="0.16"'


@dataclass(frozen=True, slots=True)
class Dot:
    """A figure of a group. value: 0..100. n: its samples. interval: (low, high) of the value, where there is one."""

    label: str
    n: int
    value: float
    interval: tuple[float, float] | None = None

    @property
    def said(self) -> str:
        """All of it in words."""
        spread = f", 95% interval {self.interval[0]:.1f} to {self.interval[1]:.1f}" if _drawn(self.interval) else ""
        value = f"{self.value:.1f}" if math.isfinite(self.value) else "no figure"
        return f"{self.label}: {value}{spread}, n = {self.n}"


def line(dots: Sequence[Dot], *, what: str, axis: str) -> str:
    """Figures of ordered groups (turns, hops) from left to right, joined by a line; labels and n below.

    what: what is drawn, in words (the picture's alternative text). axis: what the labels are.
    """
    places = [_across((number + 0.5) / max(len(dots), 1)) for number in range(len(dots))]
    parts = [_percent_grid()]
    joined = " ".join(f"{x:.1f},{_up(dot.value / 100):.1f}" for x, dot in zip(places, dots, strict=True)
                      if math.isfinite(dot.value))  # fmt: skip
    parts.append(f'<polyline points="{joined}" fill="none" stroke="{_ACCENT}" stroke-width="2"/>')
    bottom = HEIGHT - BOTTOM
    for x, dot in zip(places, dots, strict=True):
        parts += [_text(x, bottom + 16, _short(dot.label)), _text(x, bottom + 30, f"n = {dot.n}", faint=True)]
        if not math.isfinite(dot.value):
            continue
        y = _up(dot.value / 100)
        mark = ""
        if _drawn(dot.interval):
            low, high = (_up(end / 100) for end in dot.interval)
            mark = _stroke(x, low, x, high) + _stroke(x - 4, low, x + 4, low) + _stroke(x - 4, high, x + 4, high)
        mark += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_ACCENT}"/>'
        parts.append(_titled(mark, dot.said))
        beside = "start" if x < WIDTH - 60 else "end"
        parts.append(
            _text(x + (8 if beside == "start" else -8), y - 6, f"{dot.value:.1f}", anchor=beside, kind="value")
        )
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, axis, faint=True))
    return _svg(parts, HEIGHT, _listed(what, dots))


def rows(dots: Sequence[Dot], *, what: str) -> str:
    """Figures of named groups (kinds, sizes), one beneath the other; n after each label."""
    height = TOP + ROW * len(dots) + 24
    parts: list[str] = []
    for tick in range(0, 101, 25):
        x = _beside(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 24}" {_FAINT}/>')
        parts.append(_text(x, height - 8, str(tick), faint=True))
    for number, dot in enumerate(dots):
        y = TOP + ROW * (number + 0.5)
        label = f"<title>{escape(dot.label)}</title>{escape(_short(dot.label))}"
        parts.append(f'<text x="{_LABEL - 8}" y="{y - 2:.1f}" text-anchor="end">{label}</text>')
        parts.append(_text(_LABEL - 8, y + 12, f"n = {dot.n}", anchor="end", faint=True))
        if not math.isfinite(dot.value):
            continue
        x = _beside(dot.value)
        mark = ""
        if _drawn(dot.interval):
            low, high = (_beside(end) for end in dot.interval)
            mark = _stroke(low, y, high, y) + _stroke(low, y - 4, low, y + 4) + _stroke(high, y - 4, high, y + 4)
        mark += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_ACCENT}"/>'
        parts.append(_titled(mark, dot.said))
        parts.append(_text(x, y - 8, f"{dot.value:.1f}", kind="value"))
    return _svg(parts, height, _listed(what, dots))


def reliability(bins: Sequence[Mapping[str, Any]], ece: float) -> str:
    """Mean IoU over mean score of each bin {n, score, iou} (0..1), with the diagonal where a score would be true."""
    parts = [_percent_grid(scale=1.0)]
    for tick in range(5):
        x = _across(tick / 4)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" {_FAINT}/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{tick / 4:g}"))
    ends = f'x1="{_across(0):.1f}" y1="{_up(0):.1f}" x2="{_across(1):.1f}" y2="{_up(1):.1f}"'
    parts.append(f'<line {ends} stroke="currentColor" stroke-opacity="0.5" stroke-dasharray="4 4"/>')
    sound = [(float(b["score"]), float(b["iou"]), int(b["n"])) for b in bins]
    sound = [point for point in sound if _finite(point)]
    most = max((n for _, _, n in sound), default=1)
    joined = " ".join(f"{_across(score):.1f},{_up(iou):.1f}" for score, iou, _ in sound)
    parts.append(f'<polyline points="{joined}" fill="none" stroke="{_ACCENT}" stroke-width="2"/>')
    for score, iou, n in sound:
        radius = 3 + 3 * math.sqrt(n / most)
        mark = f'<circle cx="{_across(score):.1f}" cy="{_up(iou):.1f}" r="{radius:.1f}" fill="{_ACCENT}"/>'
        parts.append(_titled(mark, f"score {score:.2f}, IoU {iou:.2f}, n = {n}"))
    total, wide = sum(n for _, _, n in sound), f"{min((n for _, _, n in sound), default=0)} to {most} a bin"
    ece_said = f"ECE {ece:.3f}" if math.isfinite(ece) else "no ECE"
    parts.append(_text(LEFT + 8, TOP + 14, f"{ece_said}, n = {total}", anchor="start"))
    parts.append(_text(LEFT + 8, TOP + 29, wide, anchor="start", faint=True))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "score (predicted IoU); up: IoU", faint=True))
    points = "; ".join(f"score {score:.2f}, IoU {iou:.2f}, n = {n}" for score, iou, n in sound)
    return _svg(parts, HEIGHT, f"Reliability of the score, {ece_said}: {points}")


def histogram(values: Iterable[float], *, what: str, bars: int = BARS) -> str:
    """How many values (0..1) lie in each of `bars` equal steps; 1 belongs to the last."""
    sound = [value for value in values if math.isfinite(value)]
    counts = [0] * bars
    for value in sound:
        counts[min(max(int(value * bars), 0), bars - 1)] += 1
    most = max([*counts, 1])
    parts: list[str] = []
    for tick in sorted({0, most // 2, most}):
        y = _up(tick / most)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" {_FAINT}/>')
        parts.append(_text(LEFT - 6, y + 4, str(tick), anchor="end", faint=True))
    step = (WIDTH - LEFT - RIGHT) / bars
    for number, count in enumerate(counts):
        high = _up(0) - _up(count / most)
        where = f'x="{LEFT + number * step + 1:.1f}" y="{_up(count / most):.1f}" width="{step - 2:.1f}"'
        bar = f'<rect {where} height="{high:.1f}" fill="{_ACCENT}"/>'
        if count:
            parts.append(_titled(bar, f"{number / bars:.2f} to {(number + 1) / bars:.2f}: {count}"))
    parts += [_text(_across(tick / 4), HEIGHT - BOTTOM + 16, f"{tick / 4:g}") for tick in range(5)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, f"{what}, n = {len(sound)}", faint=True))
    if sound:
        mean = sum(sound) / len(sound)
        x = _across(mean)
        mark = f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{_up(0):.1f}" stroke="{_SECOND}" stroke-width="2"/>'
        parts.append(_titled(mark, f"mean {mean:.3f}"))
        side = ("end", -6) if mean > 0.5 else ("start", 6)
        parts.append(_text(x + side[1], TOP + 12, f"mean {mean:.2f}", anchor=side[0], kind="value"))
    said = ", ".join(f"{n / bars:.2f} to {(n + 1) / bars:.2f}: {count}" for n, count in enumerate(counts) if count)
    return _svg(parts, HEIGHT, f"Histogram of {what}, n = {len(sound)}: {said or 'nothing'}")


# Places


def _across(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0)


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(max(share, 0.0), 1.0)


def _beside(value: float) -> float:
    """Of 0..100, right of the labels of `rows`."""
    return _LABEL + (WIDTH - _LABEL - 20) * min(max(value / 100, 0.0), 1.0)


def _percent_grid(scale: float = 100.0) -> str:
    parts = []
    for tick in range(5):
        y = _up(tick / 4)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" {_FAINT}/>')
        parts.append(_text(LEFT - 6, y + 4, f"{scale * tick / 4:g}", anchor="end", faint=True))
    return "".join(parts)


# Pieces


def _finite(values: Iterable[float]) -> bool:
    return all(math.isfinite(value) for value in values)


def _drawn(interval: tuple[float, float] | None) -> TypeGuard[tuple[float, float]]:
    return interval is not None and _finite(interval)


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{_ACCENT}" stroke-width="1.5" stroke-opacity="0.75"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle", faint: bool = False, kind: str = "") -> str:
    looks = (f' class="{kind}"' if kind else "") + (' fill-opacity="0.72"' if faint else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{looks}>{escape(text)}</text>'


def _titled(mark: str, said: str) -> str:
    return f"<g><title>{escape(said)}</title>{mark}</g>"


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def _listed(what: str, dots: Sequence[Dot]) -> str:
    return f"{what}: {'; '.join(dot.said for dot in dots) or 'nothing'}"


def _svg(parts: Sequence[str], height: float, said: str) -> str:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(said)}"'
    style = 'font-size="12" fill="currentColor" font-family="inherit"'
    return f"{head} {style}>{''.join(parts)}</svg>"
