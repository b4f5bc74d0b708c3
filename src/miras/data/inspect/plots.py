"""A page of plots of a dataset's figures.

In: the dict of `stats.statistics` (or the same read from JSON). Out: one PNG, or one HTML file that needs nothing
beside it. Equal figures give equal bytes with one version of matplotlib. Knows no records.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.pages import template
from miras.core.palette import ACCENT
from miras.data.inspect.stats import SMALL, table

BLUE, ORANGE, GREY = ACCENT, "#d9822b", "#5c6670"
_DPI = 110
_MOST_BARS = 12


def page(stats: Mapping[str, Any], out: Path | str, title: str = "The dataset in figures") -> Path:
    """Write the plots: turns, hops, kinds, sources, words of questions and answers, sizes of targets.

    out: a file that ends in .png or .html (which holds the table too). Raises InputError for another ending,
    without matplotlib, and when the file cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() not in (".png", ".html"):
        raise InputError("a file that ends in .png or .html", out.name)
    picture = _picture(stats, title)
    content = picture if out.suffix.lower() == ".png" else _html(stats, picture, title)
    return write_whole(out, content, "give another place", f"to write {out}")


def _picture(stats: Mapping[str, Any], title: str) -> bytes:
    figure_of, canvas_of = _matplotlib()
    figure = figure_of(figsize=(11.5, 10.5), dpi=_DPI, layout="constrained")
    canvas_of(figure)
    head = f"{title}\n{stats['conversations']:,} conversations, {stats['images']:,} photos, {stats['masks']:,} masks"
    figure.suptitle(head, fontsize=14, fontweight="bold", color="#1d2228")
    axes = figure.subplots(3, 2)
    _columns(axes[0, 0], stats["turns"], "Exchanges of a conversation")
    _columns(axes[0, 1], stats["hops"], "Reasoning steps of a conversation")
    _rows(axes[1, 0], stats["kinds"], "Kinds")
    _rows(axes[1, 1], stats["sources"], "Sources")
    _lengths(axes[2, 0], stats)
    _sizes(axes[2, 1], stats)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=GREY, labelsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _columns(axis: Any, counts: Mapping[str, int], title: str) -> None:
    """A column for each number, its share on top."""
    bars = axis.bar(list(counts), list(counts.values()), color=BLUE, width=0.7)
    axis.bar_label(bars, [_share(count, counts) for count in counts.values()], fontsize=9, color=GREY, padding=2)
    _finish(axis, title, "conversations")
    axis.margins(y=0.12)


def _rows(axis: Any, counts: Mapping[str, int], title: str) -> None:
    """A bar for each name, the largest on top; what is past the first dozen is one bar."""
    names, values = list(counts), list(counts.values())
    if len(names) > _MOST_BARS:
        rest = len(names) - _MOST_BARS + 1
        names, values = [*names[:-rest], f"{rest} more"], [*values[:-rest], sum(values[-rest:])]
    bars = axis.barh(names, values, color=BLUE, height=0.7)
    axis.bar_label(bars, [f" {value:,} ({_share(value, counts)})" for value in values], fontsize=9, color=GREY)
    axis.set_ylim(max(len(names), 5) - 0.5, -0.5)
    axis.set_title(title, fontsize=11, loc="left")
    axis.margins(x=0.28)
    axis.xaxis.set_visible(False)
    axis.spines["bottom"].set_visible(False)


def _lengths(axis: Any, stats: Mapping[str, Any]) -> None:
    for name, colour in (("question", BLUE), ("answer", ORANGE)):
        words = stats[f"{name}_words"]
        counts = {int(key.rstrip("+")): count for key, count in words["histogram"].items()}
        if not counts:
            continue
        lengths = range(min(counts), max(counts) + 1)
        heights = [counts.get(length, 0) for length in lengths]
        axis.step(lengths, heights, where="mid", color=colour, label=f"{name}s, mean {words['mean']:.1f}")
        axis.fill_between(lengths, heights, step="mid", color=colour, alpha=0.15)
    _finish(axis, "Words of an utterance", "utterances")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=9)


def _sizes(axis: Any, stats: Mapping[str, Any]) -> None:
    """Areas on a log scale; what is under SMALL of the photo is orange."""
    shares = stats["target_share"]
    edges = [*(float(edge) for edge in shares["histogram"]), 1.0]
    counts = list(shares["histogram"].values())
    first = next((i for i, count in enumerate(counts) if count), 0)
    if shares["mean"] is None:
        axis.text(0.5, 0.5, "no masks", transform=axis.transAxes, ha="center", color=GREY)
        axis.set_axis_off()
        return
    for low, high, count in list(zip(edges[:-1], edges[1:], counts, strict=True))[max(first - 1, 0) :]:
        colour = ORANGE if high <= SMALL else BLUE
        axis.bar(low, count, width=high - low, align="edge", color=colour, edgecolor="white", linewidth=0.8)
    axis.set_xscale("log")
    axis.axvline(SMALL, color=GREY, linewidth=1, linestyle="--")
    axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    _finish(axis, "Area of the final target / area of the photo", "conversations")
    median = f"median {shares['quantiles']['0.5']:.2%}\ndashed: {SMALL:.0%}"
    axis.text(0.02, 0.95, median, transform=axis.transAxes, va="top", fontsize=9, color=GREY)


def _finish(axis: Any, title: str, what: str) -> None:
    axis.set_title(title, fontsize=11, loc="left")
    axis.set_ylabel(what, fontsize=9, color=GREY)


def _share(count: int, counts: Mapping[str, int]) -> str:
    return f"{count / max(sum(counts.values()), 1):.0%}"


def _html(stats: Mapping[str, Any], picture: bytes, title: str) -> bytes:
    source = base64.b64encode(picture).decode("ascii")
    page = template("miras.data.inspect", "plots.html").render(title=title, picture=source, table=table(stats))
    return page.encode()


def _matplotlib() -> tuple[Any, Any]:
    """(Figure, the canvas that draws without a screen)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("the package matplotlib", "none", "run pip install 'miras[data]'") from error
    return Figure, FigureCanvasAgg
