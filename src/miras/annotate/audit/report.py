"""The audit's report: how good the items are, how far the raters agree, and which items are worst.

In: ratings, and the records they are about. Out: one summary that JSON can hold (figures that are not defined are
null), and the same as Markdown. Intervals are 95% bootstraps clustered by photo. Knows no sheet's format.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any

import numpy as np

from miras.annotate.audit.read import Rating
from miras.annotate.audit.sheets import HIGHEST, LOWEST, SCALES, code_of, talk_of
from miras.core.agreement import (
    NAN,
    Numbers,
    boundary_f,
    clustered_bootstrap,
    cohen_kappa,
    fleiss_kappa,
    icc,
    krippendorff_alpha,
    pairwise,
)  # fmt: skip
from miras.core.errors import InputError
from miras.core.masks import iou
from miras.data.record import Record

FIGURES: dict[str, Callable[[Numbers], float]] = {
    "mean": lambda units: _mean(units),
    "alpha_ordinal": lambda units: krippendorff_alpha(units.T, "ordinal"),
    "alpha_interval": lambda units: krippendorff_alpha(units.T, "interval"),
    "fleiss_kappa": lambda units: fleiss_kappa(units.T),
    "icc_2_k": lambda units: icc(units.T),
}
"""Name -> figure of (units, raters). mean: of each unit's mean, so that every item counts once."""


@dataclass(frozen=True)
class _Table:
    """All scores. scores: scale -> (items, raters), NaN = missing. photos: the photo of each item."""

    items: list[str]
    raters: list[str]
    photos: list[str]
    scores: dict[str, Numbers]

    def groups(self, values: Numbers, rows: Iterable[int] | None = None) -> list[Numbers]:
        """The rows (all, or these) by photo."""
        by_photo: dict[str, list[int]] = defaultdict(list)
        for row in range(len(self.items)) if rows is None else rows:
            by_photo[self.photos[row]].append(row)
        return [values[by_photo[photo]] for photo in sorted(by_photo)]


def summarise(
    ratings: Sequence[Rating], records: Iterable[Record] = (), *, n: int = 2000, seed: int = 0, worst: int = 10
) -> dict[str, Any]:
    """The summary of an audit: "scales" (figures each with "value", "low", "high"), "kinds", "masks", "worst".

    records: the dataset, or the part of it that was rated; without one, an item counts as a photo of its own and
    its conversation is not shown. n: draws of the bootstrap. worst: how many items are named; "image" there is the
    photo file's name. Raises InputError for no rating.
    """
    if not ratings:
        raise InputError("at least one rating", "none", "are the sheets filled in?")
    rated = {rating.item for rating in ratings}
    known = {code: record for record in records if (code := code_of(record["id"])) in rated}
    table = _table(ratings, known)
    options = {"n": n, "seed": seed}
    return {
        "items": len(table.items), "photos": len(set(table.photos)), "raters": table.raters, "ratings": len(ratings),
        "scale": [LOWEST, HIGHEST], "bootstrap": {**options, "level": 0.95, "clusters": "photo"},
        "scales": {name: _scale(table, values, options) for name, values in table.scores.items()},
        "kinds": _kinds(table, known, options),
        "masks": _masks(ratings, table, options),
        "worst": _worst(ratings, table, known, worst),
    }  # fmt: skip


def _table(ratings: Sequence[Rating], known: Mapping[str, Record]) -> _Table:
    items, raters = sorted({r.item for r in ratings}), sorted({r.rater for r in ratings})
    row, column = {name: i for i, name in enumerate(items)}, {name: i for i, name in enumerate(raters)}
    scores = {name: np.full((len(items), len(raters)), NAN) for name in SCALES}
    for rating in ratings:
        for name, score in rating.scores.items():
            scores[name][row[rating.item], column[rating.rater]] = score
    return _Table(items, raters, [known[i]["image_id"] if i in known else f"item {i}" for i in items], scores)


def _scale(table: _Table, values: Numbers, options: Mapping[str, int]) -> dict[str, Any]:
    """The figures of one scale, and the weighted kappa of each pair of raters."""
    groups = table.groups(values)
    result: dict[str, Any] = {"ratings": int(np.count_nonzero(~np.isnan(values)))}
    for name, figure in FIGURES.items():
        result[name] = _with_interval(groups, figure, options)
    pairs: list[dict[str, Any]] = []
    for first, second in combinations(range(len(table.raters)), 2):
        both = int((~np.isnan(values[:, [first, second]]).any(axis=1)).sum())
        columns = [group[:, [first, second]] for group in groups]
        kappa = _with_interval(columns, lambda units: cohen_kappa(units[:, 0], units[:, 1], "quadratic"), options)
        pairs.append({"raters": [table.raters[first], table.raters[second]], "items": both, **kappa})
    result["weighted_kappa"] = pairs
    return result


def _kinds(table: _Table, known: Mapping[str, Record], options: Mapping[str, int]) -> dict[str, Any]:
    """Kind of conversation -> items, and the mean of each scale."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(table.items):
        if item in known:
            rows[known[item]["kind"]].append(row)
    return {
        kind: {
            "items": len(rows[kind]),
            **{
                name: _with_interval(table.groups(values, rows[kind]), _mean, options)
                for name, values in table.scores.items()
            },
        }
        for kind in sorted(rows)
    }


def _masks(ratings: Sequence[Rating], table: _Table, options: Mapping[str, int]) -> dict[str, Any] | None:
    """Overlap of the masks that raters drew of one item, pair by pair; None when none was drawn twice."""
    drawn: dict[str, list[Any]] = defaultdict(list)
    for rating in ratings:
        if rating.mask is not None:
            drawn[rating.item].append(rating.mask)
    several = {item: masks for item, masks in drawn.items() if len(masks) > 1}
    alike = {item: masks for item, masks in several.items() if len({mask.shape for mask in masks}) == 1}
    if not several:
        return None
    rows = [row for row, item in enumerate(table.items) if item in alike]
    result: dict[str, Any] = {
        "items": len(alike), "pairs": sum(math.comb(len(masks), 2) for masks in alike.values()),
        "of_unequal_size": sorted(set(several) - set(alike)),
    }  # fmt: skip
    for name, figure in (("iou", iou), ("boundary_f", boundary_f)):
        values = np.full(len(table.items), NAN)
        for row in rows:
            values[row] = fmean(pairwise(alike[table.items[row]], figure))
        result[name] = _with_interval(table.groups(values[:, None], rows), _mean, options)
    return result


def _worst(
    ratings: Sequence[Rating], table: _Table, known: Mapping[str, Record], count: int
) -> dict[str, list[dict[str, Any]]]:
    """The items with the lowest mean over all scales, and those on which raters are furthest apart on one scale."""
    by_item: dict[str, list[Rating]] = defaultdict(list)
    for rating in sorted(ratings, key=lambda rating: rating.rater):
        if rating.scores:
            by_item[rating.item].append(rating)
    named = [_named(item, by_item[item], known.get(item)) for item in table.items if item in by_item]
    lowest = sorted(named, key=lambda item: (item["mean"], -item["spread"], item["item"]))
    apart = sorted(named, key=lambda item: (-item["spread"], -item["spread_sum"], item["mean"], item["item"]))
    return {"lowest": lowest[:count], "spread": [item for item in apart if item["spread"] > 0][:count]}


def _named(item: str, ratings: Sequence[Rating], record: Record | None) -> dict[str, Any]:
    """One item as the report names it. spread: highest minus lowest score, on the scale where that is most."""
    scores = {name: {r.rater: r.scores[name] for r in ratings if name in r.scores} for name in SCALES}
    scores = {name: given for name, given in scores.items() if given}
    spreads = {name: max(given.values()) - min(given.values()) for name, given in scores.items()}
    result: dict[str, Any] = {
        "item": item, "mean": round(fmean(fmean(given.values()) for given in scores.values()), 3),
        "spread": max(spreads.values()), "spread_sum": sum(spreads.values()),
        "spread_scale": max(spreads, key=lambda name: spreads[name]), "scores": scores,
        "comments": {r.rater: r.comment for r in ratings if r.comment},
    }  # fmt: skip
    if record is not None:
        result |= {name: record[name] for name in ("id", "image_id", "kind", "source", "focus")}
        result["image"] = PurePosixPath(record["image"]).name
        result["conversation"] = [[who, text] for who, text in talk_of(record)]
    return result


def _mean(units: Numbers) -> float:
    """The mean of each unit's mean over its raters; NaN when nothing was rated."""
    there = ~np.isnan(units)
    counts = there.sum(axis=1)
    sums = np.where(there, units, 0.0).sum(axis=1)
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if counts.any() else NAN


def _with_interval(
    groups: Sequence[Numbers], figure: Callable[[Numbers], float], options: Mapping[str, int]
) -> dict[str, float | None]:
    """value, low and high; null where they are not defined."""
    value = figure(np.concatenate(groups)) if groups else NAN
    low, high = clustered_bootstrap(groups, figure, **options) if math.isfinite(value) else (NAN, NAN)
    names = ("value", "low", "high")
    return {
        name: round(part, 4) if math.isfinite(part) else None
        for name, part in zip(names, (value, low, high), strict=True)
    }


# Markdown


def markdown(summary: Mapping[str, Any], title: str = "Audit") -> str:
    """The summary as a page."""
    boot = summary["bootstrap"]
    parts = [
        f"# {title}",
        f"{summary['items']} items of {summary['photos']} photos, {len(summary['raters'])} raters "
        f"({', '.join(map(_cell, summary['raters']))}), {summary['ratings']} ratings, scales {LOWEST} to {HIGHEST}. "
        f"In brackets: 95% intervals, bootstrap clustered by photo ({boot['n']} draws, seed {boot['seed']}). "
        "A dash: not defined, because there are too few ratings or all are alike.",
        "## Scales",
        _grid(["scale", "ratings", *FIGURES], [
            [name, scale["ratings"], *(figure_text(scale[figure]) for figure in FIGURES)]
            for name, scale in summary["scales"].items()
        ]),
    ]  # fmt: skip
    pairs = [
        [name, " and ".join(map(_cell, pair["raters"])), pair["items"], figure_text(pair)]
        for name, scale in summary["scales"].items() for pair in scale["weighted_kappa"]
    ]  # fmt: skip
    if pairs:
        parts += ["## Pairs of raters", _grid(["scale", "raters", "items", "kappa, quadratic weights"], pairs)]
    if summary["kinds"]:
        rows = [
            [kind, part["items"], *(figure_text(part[n]) for n in SCALES)] for kind, part in summary["kinds"].items()
        ]
        parts += ["## By kind: means", _grid(["kind", "items", *SCALES], rows)]
    if masks := summary["masks"]:
        figures = [masks["items"], masks["pairs"], figure_text(masks["iou"]), figure_text(masks["boundary_f"])]
        parts += ["## Masks drawn by raters", _grid(["items", "pairs", "IoU", "boundary F"], [figures])]
        if unequal := masks["of_unequal_size"]:
            parts.append(f"Left out, drawn at different sizes: {', '.join(unequal)}.")
    for key, head in (("lowest", "Lowest means"), ("spread", "Raters furthest apart")):
        if summary["worst"][key]:
            parts += [f"## {head}", *(_item(item) for item in summary["worst"][key])]
    return "\n\n".join(parts) + "\n"


def _item(item: Mapping[str, Any]) -> str:
    """A named item: where it is from, its scores, what was said."""
    whence = f" {_cell(item['id'])} ({item['kind']}, {item['source']}; {_cell(item['image'])})" if "id" in item else ""
    lines = [
        f"### {item['item']}{whence}",
        f"Mean {item['mean']:.2f}, spread {item['spread']} ({item['spread_scale']}).",
    ]
    lines.append(_grid(["scale", "scores"], [
        [name, ", ".join(f"{_cell(rater)} {score}" for rater, score in given.items())]
        for name, given in item["scores"].items()
    ]))  # fmt: skip
    if "conversation" in item:
        lines.append("\n".join(f"> **{who}:** {_cell(text)}  " for who, text in item["conversation"]))
        lines.append(f"Target: {_cell(item['focus']) or 'none'}.")
    lines += [f"{_cell(rater)}: {_cell(comment)}" for rater, comment in item["comments"].items()]
    return "\n\n".join(lines)


def figure_text(figure: Mapping[str, float | None]) -> str:
    """ "3.25 [3.01, 3.49]"; a dash when it is not defined."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "-"
    return f"{value:.2f}" + ("" if low is None or high is None else f" [{low:.2f}, {high:.2f}]")


def _grid(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line that Markdown takes for plain words."""
    line = " ".join(str(text).split())
    for char in "\\`*_[]<>|#":
        line = line.replace(char, f"\\{char}")
    return line
