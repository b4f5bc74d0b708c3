"""Small charts as SVG, drawn by matplotlib: lines, rows of dots, a reliability curve, a histogram, differences.

In: labels and numbers. Out: one `<svg>` element each, to stand in an HTML page or in a file of its own: text is text,
every point has a `<title>` (what a pointer over it says) and its number of samples beside it. Ink takes the colour of
the page's text and marks its CSS variables where it has them, so light and dark both work. A value that is no finite
number is not drawn. Equal figures give equal bytes with one version of matplotlib. Knows no run.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from miras.core.errors import InputError
from miras.core.palette import ACCENT

WIDTH, HEIGHT = 380, 240
"""Units of a chart; a page may draw it at any width."""
ROW = 34
"""Height of a row of `rows` and `differences`."""
BARS = 20
_LONGEST = 17
_INK, _SECOND = "#010101", "#c96f12"
_THEMED = {_INK: "currentColor", ACCENT: f"var(--accent, {ACCENT})", _SECOND: f"var(--second, {_SECOND})"}
_FAINT = {"color": _INK, "alpha": 0.16, "linewidth": 0.8}
_LOOKS: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 11, "text.color": _INK, "axes.edgecolor": _INK,
    "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.spines.left": False, "axes.spines.bottom": False, "xtick.bottom": False,
    "ytick.left": False, "axes.unicode_minus": False, "font.sans-serif": ["DejaVu Sans", "Verdana"],
}  # fmt: skip
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@dataclass(frozen=True, slots=True)
class Dot:
    """A figure of a group. value: 0..100. n: its samples. interval: (low, high) of the value, where there is one."""

    label: str
    n: int
    value: float
    interval: tuple[float, float] | None = None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The interval, where both of its ends are numbers."""
        return self.interval if self.interval is not None and all(map(math.isfinite, self.interval)) else None

    @property
    def said(self) -> str:
        """All of it in words."""
        spread = f", 95% interval {self.spread[0]:.1f} to {self.spread[1]:.1f}" if self.spread else ""
        value = f"{self.value:.1f}" if math.isfinite(self.value) else "no figure"
        return f"{self.label}: {value}{spread}, n = {self.n}"


def line(dots: Sequence[Dot], *, what: str, axis: str) -> str:
    """Figures of ordered groups (turns, hops) from left to right, joined by a line; labels and n below.

    what: what is drawn, in words (the picture's alternative text). axis: what the labels are.
    """
    with _Chart(WIDTH, HEIGHT, _listed(what, dots)) as chart:
        chart.axes.set(xlim=(-0.5, max(len(dots), 1) - 0.5), ylim=(0, 100), xlabel=axis)
        chart.axes.set_yticks(range(0, 101, 25))
        chart.axes.set_xticks(range(len(dots)), [f"{_short(dot.label)}\nn = {dot.n}" for dot in dots])
        chart.axes.grid(axis="y", **_FAINT)
        drawn = [(place, dot) for place, dot in enumerate(dots) if math.isfinite(dot.value)]
        chart.axes.plot([at for at, _ in drawn], [_inside(dot.value) for _, dot in drawn], color=ACCENT)
        for place, dot in drawn:
            value = _inside(dot.value)
            if dot.spread:
                chart.mark([place, place], list(map(_inside, dot.spread)), "_-", dot.said, alpha=0.75)
            chart.mark([place], [value], "o", dot.said)
            chart.value(f"{dot.value:.1f}", (place, value), (6, 5))
        return chart.svg()


def rows(dots: Sequence[Dot], *, what: str) -> str:
    """Figures of named groups (kinds, sizes), one beneath the other; n after each label."""
    with _Chart(WIDTH, ROW * len(dots) + 40, _listed(what, dots)) as chart:
        chart.axes.set(xlim=(0, 100), ylim=(max(len(dots), 1) - 0.5, -0.6))
        chart.axes.set_xticks(range(0, 101, 25))
        chart.axes.set_yticks(range(len(dots)), [f"{_short(dot.label)}\nn = {dot.n}" for dot in dots])
        chart.axes.grid(axis="x", **_FAINT)
        for place, dot in enumerate(dots):
            if not math.isfinite(dot.value):
                continue
            if dot.spread:
                chart.mark(list(map(_inside, dot.spread)), [place, place], "|-", dot.said, alpha=0.75)
            chart.mark([_inside(dot.value)], [place], "o", dot.said)
            chart.value(f"{dot.value:.1f}", (_inside(dot.value), place), (0, 5))
        return chart.svg()


def reliability(bins: Sequence[Mapping[str, Any]], ece: float) -> str:
    """Mean IoU over mean score of each bin {n, score, iou} (0..1), with the diagonal where a score would be true."""
    points = [(float(b["score"]), float(b["iou"]), int(b["n"])) for b in bins]
    points = [point for point in points if all(map(math.isfinite, point))]
    counts = [n for _, _, n in points] or [0]
    told = [f"score {score:.2f}, IoU {iou:.2f}, n = {n}" for score, iou, n in points]
    ece_said = f"ECE {ece:.3f}" if math.isfinite(ece) else "no ECE"
    with _Chart(WIDTH, HEIGHT, f"Reliability of the score, {ece_said}: {'; '.join(told)}") as chart:
        chart.axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="score (predicted IoU)", ylabel="IoU")
        chart.axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        chart.axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        chart.axes.grid(**_FAINT)
        chart.axes.plot([0, 1], [0, 1], color=_INK, alpha=0.5, linestyle="--", linewidth=1)
        chart.axes.plot([score for score, _, _ in points], [iou for _, iou, _ in points], color=ACCENT)
        for (score, iou, n), said in zip(points, told, strict=True):
            chart.mark([score], [iou], "o", said, markersize=6 + 6 * math.sqrt(n / max(counts)))
        chart.value(f"{ece_said}, n = {sum(counts)}", (0, 1), (8, -12))
        chart.value(f"{min(counts)} to {max(counts)} a bin", (0, 1), (8, -26))
        return chart.svg()


def histogram(values: Iterable[float], *, what: str, bars: int = BARS) -> str:
    """How many values (0..1) lie in each of `bars` equal steps; 1 belongs to the last."""
    sound = [value for value in values if math.isfinite(value)]
    counts = [0] * bars
    for value in sound:
        counts[min(max(int(value * bars), 0), bars - 1)] += 1
    told = [f"{n / bars:.2f} to {(n + 1) / bars:.2f}: {count}" for n, count in enumerate(counts)]
    listed = ", ".join(said for said, count in zip(told, counts, strict=True) if count)
    with _Chart(WIDTH, HEIGHT, f"Histogram of {what}, n = {len(sound)}: {listed or 'nothing'}") as chart:
        most = max([*counts, 1])
        chart.axes.set(xlim=(0, 1), ylim=(0, most), xlabel=f"{what}, n = {len(sound)}")
        chart.axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        chart.axes.set_yticks(sorted({0, most // 2, most}))
        chart.axes.grid(axis="y", **_FAINT)
        for n, (count, said) in enumerate(zip(counts, told, strict=True)):
            if count:
                chart.told(chart.axes.bar((n + 0.5) / bars, count, width=0.86 / bars, color=ACCENT)[0], said)
        if sound:
            mean = sum(sound) / len(sound)
            chart.told(chart.axes.axvline(mean, color=_SECOND), f"mean {mean:.3f}")
            chart.value(f"mean {mean:.2f}", (mean, most), (-6 if mean > 0.5 else 6, -12))
        return chart.svg()


def differences(lines: Sequence[tuple[str, float, tuple[float, float]]], *, what: str) -> str:
    """Differences (label, value, its interval), one beneath the other, with the line of no difference at 0."""
    with _Chart(800, 26 * len(lines) + 50, what, themed=False) as chart:
        reach = 1.1 * max([1e-6, *(abs(end) for _, value, span in lines for end in (value, *span))])
        told = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for _, value, (low, high) in lines]
        chart.axes.set(xlim=(-reach, reach), ylim=(max(len(lines), 1) - 0.5, -0.5))
        chart.axes.set_xticks(
            [-reach / 1.1, 0.0, reach / 1.1], [f"{end:.3g}" for end in (-reach / 1.1, 0.0, reach / 1.1)]
        )
        chart.axes.set_yticks(range(len(lines)), [label for label, _, _ in lines])
        figures = chart.axes.secondary_yaxis("right")
        figures.set_yticks(range(len(lines)), told)
        figures.tick_params(right=False)
        chart.axes.axvline(0, color=_INK, alpha=0.5, linewidth=1)
        for place, ((label, value, span), said) in enumerate(zip(lines, told, strict=True)):
            chart.axes.plot(list(span), [place, place], color=ACCENT)
            chart.mark([value], [place], "o", f"{label}: {said}")
        return chart.svg()


class _Chart:
    """One chart, drawn inside a `with`, where our looks hold.

    width, height: in units of its picture. said: all of it in words. themed: colours of the page.
    """

    def __init__(self, width: float, height: float, said: str, themed: bool = True) -> None:
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError as error:
            raise InputError("the package matplotlib", "none", "run pip install 'miras[eval]'") from error
        self._looks, self._said, self._themed = rc_context(_LOOKS | {"svg.hashsalt": said}), said, themed
        self._titles: dict[str, str] = {}
        self._figure = Figure(figsize=(width / 72, height / 72), layout="constrained")

    def __enter__(self) -> _Chart:
        self._looks.__enter__()
        self.axes: Any = self._figure.subplots()
        return self

    def __exit__(self, *raised: object) -> None:
        self._looks.__exit__(None, None, None)

    def told(self, artist: Any, said: str) -> None:
        """What a pointer over it says."""
        name = f"mark-{len(self._titles)}"
        artist.set(gid=name, clip_on=False)
        self._titles[name] = said

    def mark(self, xs: Sequence[float], ys: Sequence[float], style: str, said: str, **looks: Any) -> None:
        """A point, or an interval with its ends."""
        self.told(self.axes.plot(xs, ys, style, color=ACCENT, **looks)[0], said)

    def value(self, text: str, at: tuple[float, float], beside: tuple[float, float]) -> None:
        """A figure beside a point, over whatever is there. beside: units right of it and above it."""
        side = "center" if beside[0] == 0 else "right" if beside[0] < 0 else "left"
        self.axes.annotate(text, at, beside, textcoords="offset points", ha=side, gid="value", annotation_clip=False)

    def svg(self) -> str:
        """The element, without what only a file needs."""
        drawn = io.StringIO()
        self._figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        for prefix, space in (("", _SVG), ("xlink", _LINK)):
            ElementTree.register_namespace(prefix, space)
        root = ElementTree.fromstring(drawn.getvalue())
        for part in ("metadata", "defs"):
            for one in root.findall(f"{{{_SVG}}}{part}"):
                root.remove(one)
        for side in ("width", "height"):
            del root.attrib[side]
        root.attrib.update({"class": "chart", "role": "img", "aria-label": self._said, "fill": "currentColor"})
        self._named(root)
        text = ElementTree.tostring(root, encoding="unicode")
        for written, meant in (_THEMED if self._themed else {_INK: "currentColor"}).items():
            text = text.replace(written, meant)
        return re.sub(r"\s*\n\s*", " ", text)

    def _named(self, root: ElementTree.Element) -> None:
        """Titles and classes for what has them; no names but those that something in the picture uses."""
        used = {
            name for one in root.iter() for value in one.attrib.values() for name in re.findall(r"#([\w.-]+)", value)
        }
        for one in root.iter():
            name = one.attrib.get("id", "")
            one.attrib.pop("clip-path", None)
            if name == "value":
                one.set("class", "value")
            if name in self._titles:
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = self._titles[name]
                one.insert(0, title)
            if name and name not in used:
                del one.attrib["id"]


def _inside(value: float) -> float:
    return min(max(value, 0.0), 100.0)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def _listed(what: str, dots: Sequence[Dot]) -> str:
    return f"{what}: {'; '.join(dot.said for dot in dots) or 'nothing'}"
