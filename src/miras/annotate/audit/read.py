"""Filled sheets back: CSV, and Label Studio's JSON export.

In: the files that raters hand in. Out: `Rating` values. What cannot be used is a fault with its file and line (task,
for Label Studio) and is left out; the rest goes on. Knows the scales and no dataset: the codes that exist may be given.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from miras.annotate.audit.sheets import HIGHEST, LOWEST, SCALES
from miras.core.errors import InputError
from miras.core.masks import polygons_to_mask, union
from miras.core.text import decoded
from miras.core.types import Mask
from miras.data.io import checks
from miras.data.io.checks import Faults, OnFault, inside, load_json, mask_image

_MAX_SIDE = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Rating:
    """What one rater said of one item. scores: scale -> 1..5, without those left open. mask: drawn by the rater."""

    item: str
    rater: str
    scores: Mapping[str, int]
    comment: str = ""
    mask: Mask | None = None


@dataclass
class _Gather:
    """Ratings as they come, each item once a rater."""

    items: Collection[str] | None
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    ratings: list[Rating] = field(default_factory=list)

    def add(self, rating: Rating, place: str) -> None:
        if self.items is not None and rating.item not in self.items:
            raise InputError(
                "an item of this dataset", repr(rating.item), "is it the dataset the sample was drawn from?"
            )
        key = (rating.item, rating.rater)
        if key in self.seen:
            raise InputError("an item once a rater", f"{rating.item} by {rating.rater} again, first {self.seen[key]}")
        if rating.scores or rating.comment or rating.mask is not None:
            self.seen[key] = place
            self.ratings.append(rating)


def read_sheets(
    paths: Iterable[Path | str], items: Collection[str] | None = None, on_fault: OnFault | None = None
) -> list[Rating]:
    """The ratings of several sheets, CSV or Label Studio's JSON by the file's ending, in their order.

    CSV: comma, semicolon or tab between cells; rows that say nothing are passed over; the rater is the column, or the
    file's name where it is empty. JSON: a list of tasks with `annotations`; the rater is `completed_by`, a number or a
    user with id and email; scores are results of type rating or choices by `from_name`, the comment a textarea, the
    mask the union of polygons; skipped annotations (`was_cancelled`) are passed over. items: the codes that exist,
    None = any. Faults (unknown item, item twice by one rater in whatever file, a score that is not a whole number 1..5,
    text that is not UTF-8, missing columns) go to `on_fault`; without it one InputError names them. Raises InputError
    for a missing file.
    """
    gather = _Gather(items)
    kept: list[str] = []
    for path in map(Path, paths):
        if path.suffix.lower() not in _READERS:
            raise InputError("sheets that end in .csv or .json", path.name)
        _READERS[path.suffix.lower()](path, gather, on_fault or kept.append)
    if kept:
        raise InputError("sheets without faults", f"{len(kept)}: {' | '.join(kept[:3])}", "mend them, or pass on_fault")
    return gather.ratings


# CSV


def _csv(path: Path, gather: _Gather, on_fault: OnFault | None) -> None:
    faults = Faults(path, on_fault)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("a rating sheet", f"{path} ({error.strerror})") from error
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # "Unicode text", as spreadsheets call it
    text = decoded(content, str(path)) if is_wide else content.decode("utf-8-sig", "surrogateescape")
    lines = _rows(text, faults)
    _, head = next(lines, (1, []))
    names = [name.strip().lower() for name in head]
    if missing := [name for name in ("item", *SCALES) if name not in names]:
        faults.add("line 1", f"expected the columns item, {', '.join(SCALES)}, got none named {', '.join(missing)}")
        return faults.finish()
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        with faults.of(f"line {line}"):
            row = dict(zip(names, cells, strict=False))
            gather.add(_rating(row, path), f"in {path.name}, line {line}")
    return faults.finish()


def _rows(text: str, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of each row."""
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add(f"line {line}", f"expected a row of cells, got {error}")
            line = reader.line_num + 1
            continue
        yield line, cells
        line = reader.line_num + 1


def _rating(row: Mapping[str, str], path: Path) -> Rating:
    def cell(name: str) -> str:
        value = row.get(name, "").strip()
        if not value.isascii() and (lost := [ord(char) - 0xDC00 for char in value if "\udc80" <= char <= "\udcff"]):
            raise InputError("text in UTF-8", f"byte 0x{lost[0]:02x} in {name}", "save the sheet as CSV UTF-8")
        return value

    if not cell("item"):
        raise InputError("the code of an item", "an empty cell")
    scores = {name: _score(cell(name), name) for name in SCALES if cell(name)}
    drawn = _drawing(path.parent, cell("own_mask")) if cell("own_mask") else None
    return Rating(cell("item"), cell("rater") or path.stem, scores, cell("comment"), drawn)


def _score(value: Any, name: str) -> int:
    """1..5; spreadsheets write "4", "4.0" or "4,0"."""
    try:
        number = float(value.replace(",", ".")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or number not in range(LOWEST, HIGHEST + 1):
        raise InputError(f"{name} as a whole number from {LOWEST} to {HIGHEST}", f"{value!r:.40}")
    return int(number)


def _drawing(folder: Path, name: str) -> Mask:
    return mask_image(inside(folder, name))


# Label Studio


def _label_studio(path: Path, gather: _Gather, on_fault: OnFault | None) -> None:
    faults = Faults(path, on_fault)
    for number, task in enumerate(load_json(path, list), 1):
        place = f"task {task['id']}" if isinstance(task, dict) and "id" in task else f"task number {number}"
        with faults.of(place):
            code = checks.field(checks.field(task, "data", dict), "item", str)
            if "annotations" not in task:
                raise InputError('a task with "annotations"', "none", "export as JSON, not JSON-MIN")
            for annotation in checks.field(task, "annotations", list):
                with faults.of(place):
                    if isinstance(annotation, dict) and annotation.get("was_cancelled"):
                        continue
                    gather.add(_annotation(code, annotation), f"in {path.name}, {place}")
    faults.finish()


def _annotation(code: str, annotation: Any) -> Rating:
    scores: dict[str, int] = {}
    comments: list[str] = []
    masks: list[Mask] = []
    for result in checks.field(annotation, "result", list):
        kind, name = checks.field(result, "type", str), checks.field(result, "from_name", str)
        value = checks.field(result, "value", dict)
        if kind in ("rating", "choices") and name in SCALES:
            given = value.get(kind)
            scores[name] = _score(given[0] if isinstance(given, list) and len(given) == 1 else given, name)
        elif kind == "textarea" and name == "comment":
            said = value.get("text")
            comments += [said] if isinstance(said, str) else [str(line) for line in said or ()]
        elif kind in ("polygonlabels", "polygon"):
            masks.append(_polygon(result, value))
    drawn = union(*masks) if masks else None
    return Rating(code, _rater(annotation), scores, " ".join(" ".join(comments).split()), drawn)


def _rater(annotation: Mapping[str, Any]) -> str:
    """completed_by: a number, or a user."""
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    if isinstance(who, bool) or not isinstance(who, int | str) or who == "":
        raise InputError("completed_by, the rater", f"{who!r:.40}")
    return str(who)


def _polygon(result: Mapping[str, Any], value: Mapping[str, Any]) -> Mask:
    """A polygon in per cent of the photo's sides."""
    size = checks.field(result, "original_height", int), checks.field(result, "original_width", int)
    if not all(1 <= side <= _MAX_SIDE for side in size):
        raise InputError(f"a photo of 1 to {_MAX_SIDE} pixels a side", f"{size[1]} x {size[0]}")
    try:
        ring = np.asarray(value.get("points"), np.float64) * np.array([size[1], size[0]]) / 100
    except (TypeError, ValueError) as error:
        raise InputError("points of a polygon as [x, y] in per cent", f"{value.get('points')!r:.40}") from error
    if ring.ndim != 2:
        raise InputError("points of a polygon as [x, y] in per cent", f"{value.get('points')!r:.40}")
    return polygons_to_mask([[(float(x), float(y)) for x, y in ring]], size)


_READERS = {".csv": _csv, ".json": _label_studio}
