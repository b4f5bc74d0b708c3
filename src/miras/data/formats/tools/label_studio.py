"""Label Studio: the export JSON (a list of tasks) and JSON_MIN, and the photos in folders beside it.

In: a JSON, or a folder with one or several ("tasks_val.json" is the split val). Out: a `Labelled` photo for each task
that somebody annotated. Of several annotations of one task one is read: the one marked as ground truth, else the
one changed last; the others, skipped ones and drafts are counted, and so are predictions, which a model made.
Polygons, boxes and ellipses (turned or not) and brushes are read, by percent of the photo; results of other kinds are
counted. A photo is looked for by the end of its address, folder by folder: `/data/local-files/?d=...`,
`/data/upload/...`, `s3://...`, `https://...`; nothing is fetched. Source: labelstud.io, "Label Studio JSON format of
annotated tasks" and the pages of the tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import Mask
from miras.data.formats.tools import brush, figures
from miras.data.formats.tools.label_studio_photos import Shelf, address_of
from miras.data.formats.tools.labelled import (
    FIGURE,
    NO_LABEL,
    NO_PHOTO,
    UNIT,
    Ids,
    Labelled,
    Note,
    records,
    without_suffix,
)
from miras.data.io.checks import Faults, OnFault, files_in, photo_size, same_size
from miras.data.io.checks import field as value_of
from miras.data.io.left_out import Omitted
from miras.data.io.single import split_of
from miras.data.io.stream import items, keys
from miras.data.language.vocabulary import is_null
from miras.data.record import Record

OTHER = "figures of further annotations of a photo (the ground truth, else the one changed last, is read)"
SKIPPED = "figures of annotations that were skipped"
GUESSED = "figures of predictions (made by a model)"
DRAFTED = "figures of drafts"
NAMELESS = "figures without a label"
OPEN = "outlines that are open (no masks)"
MORE = "further labels of a figure (the first is read)"
KEYPOINT = "keypoints (no masks)"
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each mask. Raises InputError as `photos` does."""
    return records(photos(path, on_fault), on_fault)


def photos(path: Path, on_fault: OnFault | None = None) -> Iterator[Labelled]:
    """The photos with their masks, in the order of the file.

    A task or result that is faulty is left out and told to `on_fault`; without it all faults raise InputError after
    the last photo of its file. What is not read is counted. Raises InputError for a folder without a JSON of Label
    Studio, and for a file that is no list.
    """
    files = [path] if path.is_file() else files_of(path)
    if not files:
        raise InputError("a JSON of Label Studio", f"none in {path}", "export the project as JSON")
    for other in files_in(path, "*.json") if path.is_dir() else ():
        if other not in files:
            Faults(path, on_fault).leave("files", "JSON files of another kind", other.name)
    source = (path if path.is_dir() else path.parent).resolve().name
    ids = Ids()
    for file in files:
        faults, shelf = Faults(file, on_fault), Shelf(file.parent)
        for number, task in enumerate(items(file)):
            if _figures(_ranked(task)[-1:]):
                with faults.of(_title(task, number), "photos", apart=True):
                    shelf.claim(number, address_of(task), _changed(task))
        for number, task in enumerate(items(file)):
            reader = _Task(task, _title(task, number), faults)
            with faults.of(reader.title, "photos", apart=True):
                yield from reader.photo(shelf, number, split_of(file.stem), source, ids)
        faults.finish()


def files_of(folder: Path) -> list[Path]:
    """The JSON files of Label Studio in a folder."""
    return [file for file in files_in(folder, "*.json") if is_task(keys(file))]


def is_task(found: set[str]) -> bool:
    """Whether a JSON with these keys (see `stream.keys`) is a list of tasks."""
    whole = "data" in found and bool({"annotations", "predictions"} & found)
    return whole or bool({"annotation_id", "annotator"} & found)


class Figure(NamedTuple):
    """A figure of an annotation. labels: the first is read; size: (H, W) as told; turn: degrees of the photo."""

    value: dict[str, Any]
    labels: list[str]
    size: tuple[Any, Any]
    turn: Any


class _Task:
    """Reads one task, or one item of JSON_MIN."""

    def __init__(self, task: Any, title: str, faults: Faults) -> None:
        self._task, self.title, self._faults = task, title, faults

    def photo(self, shelf: Shelf, number: int, split: str, source: str, ids: Ids) -> Iterator[Labelled]:
        """The photo of the task; none where nobody annotated it."""
        if not isinstance(self._task, dict):
            raise InputError("a task, an object", f"{self._task!r:.40}")
        self._count()
        found = _figures(_ranked(self._task)[-1:])
        if not found:
            self._faults.leave("photos", "photos without figures", self.title)
            return
        if number not in shelf.claims:
            self._leave(NO_PHOTO, len(found))
            return
        if not shelf.is_chosen(number):
            self._leave(OTHER, len(found))
            return
        try:
            path = shelf.path(number)
            size = photo_size(path)
            name = path.relative_to(shelf.root).as_posix()
            id = ids.of(path, without_suffix(name.removeprefix("images/")), without_suffix(name), name)
            photo = Labelled(id, path, size, split, source)
        except InputError:
            self._leave(NO_PHOTO, len(found))
            raise
        for index, figure in enumerate(found):
            label = figure.labels[0] if figure.labels else ""
            with self._faults.of(f"{self.title}, figure {index} ({label})", UNIT):
                self._add(photo, figure)
        self._faults.tally.read["photos"] += 1
        yield photo

    def _leave(self, reason: str, count: int) -> None:
        self._faults.leave(UNIT, reason, self.title, count)

    def _count(self) -> None:
        """Count what is not read of the task."""
        self._leave(GUESSED, len(_figures(_lists(self._task, "predictions"))))
        self._leave(DRAFTED, len(_figures(_lists(self._task, "drafts"))))
        self._leave(SKIPPED, len(_figures([a for a in _lists(self._task, "annotations") if _is_skipped(a)])))
        ranked = _ranked(self._task)
        self._leave(OTHER, len(_figures(ranked[:-1])))
        for result in (each for annotation in ranked[-1:] for each in _results(annotation)):
            value = result.get("value", result) if isinstance(result, dict) else None
            if not (isinstance(value, dict) and kind_of(value)):
                kind = result.get("type") if isinstance(result, dict) else None
                self._faults.leave("results", f"results of other kinds ({str(kind)[:40]})", self.title)

    def _add(self, photo: Labelled, figure: Figure) -> None:
        if not figure.labels or not figure.labels[0].strip():
            raise Omitted(NAMELESS)
        label, kind = figure.labels[0], kind_of(figure.value)
        if is_null(label):
            raise Omitted(NO_LABEL)
        if kind == "keypoint":
            raise Omitted(KEYPOINT)
        if kind == "polygon" and figure.value.get("closed") is False:
            raise Omitted(OPEN)
        if None not in figure.size:
            height, width = (figures.whole(side, "original size") for side in figure.size)
            same_size(photo.path.name, (height, width), photo.size)
        if figure.turn not in (0, None):
            raise InputError("image_rotation 0", f"{figure.turn!r:.20}", "turn the photo itself and annotate it again")
        meta: dict[str, Any] = {FIGURE: kind}
        mask = mask_of(figure.value, kind, photo.size)
        if len(figure.labels) > 1:
            meta["labels"] = figure.labels
            self._faults.leave("labels", MORE, f"{self.title} ({label})", len(figure.labels) - 1)
        photo.notes.append(Note(label, encode_rle(mask), meta))


def kind_of(value: dict[str, Any]) -> str:
    """What a figure is, by what its value holds; "" for no figure."""
    if "rle" in value:
        return "brush"
    if "points" in value:
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    if {"x", "y", "width"} <= set(value):
        return "box" if "height" in value else "keypoint"
    return ""


def mask_of(value: dict[str, Any], kind: str, size: Size) -> Mask:
    """The pixels of a figure; size (H, W). Boxes turn about their upper left corner, ellipses about their middle."""
    if kind == "brush":
        return figures.shown(brush.unpack(value["rle"], size))
    across, down = size[1] / 100, size[0] / 100
    if kind == "polygon":
        corners = figures.ring(value_of(value, "points", list))
        return figures.polygon([(x * across, y * down) for x, y in corners], size)
    angle = figures.number(value.get("rotation") or 0, "rotation")
    x, y = figures.number(value.get("x"), "x") * across, figures.number(value.get("y"), "y") * down
    if kind == "ellipse":
        radii = figures.number(value.get("radiusX"), "radiusX"), figures.number(value.get("radiusY"), "radiusY")
        return figures.ellipse((x, y), (radii[0] * across, radii[1] * down), angle, size)
    width = figures.number(value.get("width"), "width") * across
    height = figures.number(value.get("height"), "height") * down
    corners = figures.corners_of(x, y, x + width, y + height)
    return figures.polygon(figures.turned(corners, angle, (x, y)), size)


def _ranked(task: Any) -> list[Any]:
    """The annotations of a task that were not skipped, the one to read last; an item of JSON_MIN is one itself."""
    if isinstance(task, dict) and "data" not in task:
        return [task]
    valid = [each for each in _lists(task, "annotations") if isinstance(each, dict) and not _is_skipped(each)]
    return sorted(valid, key=lambda each: (bool(each.get("ground_truth")), _changed(each)))


def _results(annotation: dict[str, Any]) -> list[Any]:
    """The results of an annotation; of an item of JSON_MIN, what stands in the lists with figures."""
    if "result" in annotation:
        return _lists(annotation, "result")
    lists = [value for value in annotation.values() if isinstance(value, list)]
    return [each for some in lists if any(isinstance(e, dict) and kind_of(e) for e in some) for each in some]


def _is_skipped(annotation: Any) -> bool:
    return isinstance(annotation, dict) and bool(annotation.get("was_cancelled"))


def _figures(annotations: list[Any]) -> list[Figure]:
    """The figures of annotations, or of items of JSON_MIN."""
    return [figure for each in annotations if isinstance(each, dict) for figure in _figures_of(each)]


def _figures_of(annotation: dict[str, Any]) -> Iterator[Figure]:
    if "result" not in annotation:
        values = [each for each in _results(annotation) if isinstance(each, dict) and kind_of(each)]
        yield from (_figure(each, each) for each in values)
        return
    found: dict[Any, Figure] = {}
    for number, result in enumerate(_results(annotation)):
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and kind_of(value):
            figure = _figure(value, result)
            key = result["id"] if isinstance(result.get("id"), str) else number
            # A figure and its label stand apart where labels are a tag of their own; they share the id.
            if key not in found or (figure.labels and not found[key].labels):
                found[key] = figure
    yield from found.values()


def _figure(value: dict[str, Any], told: dict[str, Any]) -> Figure:
    given = next((each for key, each in value.items() if key.endswith("labels") and isinstance(each, list)), [])
    labels = [label for label in given if isinstance(label, str)]
    return Figure(
        value, labels, (told.get("original_height"), told.get("original_width")), told.get("image_rotation")
    )  # fmt: skip


def _lists(task: Any, key: str) -> list[Any]:
    found = task.get(key) if isinstance(task, dict) else None
    return found if isinstance(found, list) else []


def _changed(each: Any) -> str:
    """When it was changed last, in text that sorts; "" where that is not told."""
    times = [each.get(key) for key in ("updated_at", "created_at")] if isinstance(each, dict) else []
    return next((time for time in times if isinstance(time, str)), "")


def _title(task: Any, number: int) -> str:
    name = str(task["id"])[:40] if isinstance(task, dict) and "id" in task else f"number {number}"
    return f"task {name}"
