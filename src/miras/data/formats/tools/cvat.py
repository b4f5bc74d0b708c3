"""CVAT: XML of the formats "CVAT for images 1.1" and "CVAT for video 1.1".

In: an XML, or a folder with one (or several: one a task) and the photos in `images/` or beside it. Out: a `Labelled`
photo for each `<image>`, and for each frame that a `<track>` shows something in; frames are files such as
`frame_000000.png`, as CVAT exports them. Polygons, boxes and ellipses (turned or not) and masks are read, figures of
one label and one `group_id` as one mask; what is higher in `z_order` comes later, and is not cut out of what lies
under it. Lines, points, skeletons, cuboids and tags are no masks: counted. `subset` is the split. Source:
docs.cvat.ai, "XML annotation format"; a mask's run lengths go row by row through its own box, the first is outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import encode_rle, union
from miras.core.types import Mask
from miras.data.formats.tools import figures, markup
from miras.data.formats.tools.labelled import (
    FIGURE,
    NO_LABEL,
    NO_PHOTO,
    UNIT,
    Ids,
    Labelled,
    Note,
    plain_name,
    records,
    split_named,
    vocabulary,
    without_suffix,
)
from miras.data.io.checks import Faults, OnFault, files_in, inside, photo_size, same_size
from miras.data.io.left_out import Omitted
from miras.data.language.vocabulary import is_null
from miras.data.record import Record

ROOT = "annotations"
GROUPED = "figures of a group with a faulty one"
MASKS = ("polygon", "box", "ellipse", "mask")
OTHERS = {
    "polyline": "polylines (no masks)", "points": "figures of points (no masks)",
    "skeleton": "skeletons (no masks)", "cuboid": "cuboids (no masks)", "tag": "tags (no masks)",
}  # fmt: skip
_FRAME_ENDINGS = (".PNG", ".png", ".jpg", ".jpeg", ".JPG", ".JPEG")
_META = ("group_id", "z_order", "occluded", "source", "track", "frame", "task_id")
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each mask. Raises InputError as `photos` does."""
    return records(photos(path, on_fault), on_fault)


def photos(path: Path, on_fault: OnFault | None = None) -> Iterator[Labelled]:
    """The photos with their masks, in the order of the file, frames of tracks after them.

    A photo or figure that is faulty is left out and told to `on_fault`; without it all faults raise InputError after
    the last photo of its file. What is no mask is counted. Raises InputError for a folder without an XML of CVAT, and
    for a file that is none.
    """
    files = [path] if path.is_file() else files_of(path)
    if not files:
        raise InputError("an XML of CVAT", f"none in {path}", "export the task as CVAT for images 1.1")
    source = (path if path.is_dir() else path.parent).resolve().name
    ids = Ids()
    for other in files_in(path, "*.xml") if path.is_dir() else ():
        if other not in files:
            Faults(path, on_fault).leave("files", "XML files of another kind", other.name)
    for file in files:
        faults = Faults(file, on_fault)
        yield from _File(file, source, faults, ids).photos()
        faults.finish()


def files_of(folder: Path) -> list[Path]:
    """The XML files of CVAT in a folder, or in the folders right under it."""
    for places in ([folder], sorted(place for place in folder.glob("*") if place.is_dir())):
        found = [file for place in places for file in files_in(place, "*.xml") if markup.root_of(file) == ROOT]
        if found:
            return found
    return []


@dataclass(slots=True)
class _Shape:
    """A figure as it stands in the file."""

    element: Element
    label: str
    group: str


@dataclass(slots=True)
class _Page:
    """A photo as it stands in the file. names: of its file, the likeliest first; size: (H, W), None when not told."""

    title: str
    names: Sequence[str]
    task: str
    subset: str
    size: Size | None
    shapes: list[_Shape] = field(default_factory=list)


class _File:
    """Reads one XML."""

    def __init__(self, file: Path, source: str, faults: Faults, ids: Ids) -> None:
        self._file, self._source, self._faults, self._ids = file, source, faults, ids
        self._labels: list[str] = []
        self._tasks: dict[str, tuple[str, Size | None]] = {}
        self._frames: dict[tuple[str, int], _Page] = {}
        self._taken: set[Path] = set()

    def photos(self) -> Iterator[Labelled]:
        """Those of `<image>`, then the frames."""
        for number, element in enumerate(markup.children(self._file, ROOT)):
            if element.tag == "meta":
                self._meta(element)
            elif element.tag == "image":
                yield from self._photo(self._image(element, number))
            elif element.tag == "track":
                self._track(element, number)
        pages = [self._frames[key] for key in sorted(self._frames)]
        # Frames of two tasks that one file would have to be: nobody knows whose it is.
        places = Counter(filter(None, map(self._place, pages)))
        self._taken |= {place for place, count in places.items() if count > 1}
        for page in pages:
            yield from self._photo(page)

    def _meta(self, meta: Element) -> None:
        for label in meta.iter("label"):
            name, kind = _text(label, "name"), _text(label, "type")
            if name and label.find("parent") is None and kind not in OTHERS:
                self._labels.append(name)
        for task in meta.iter("task"):
            size = task.find("original_size")
            given = None if size is None else self._size(size.findtext("height"), size.findtext("width"), "task")
            self._tasks[_text(task, "id")] = (_text(task, "name"), given)

    def _size(self, height: str | None, width: str | None, where: str) -> Size | None:
        found: Size | None = None
        if height is not None and width is not None:
            with self._faults.of(where, "sizes"):
                found = figures.whole(height, "height"), figures.whole(width, "width")
        return found

    def _image(self, image: Element, number: int) -> _Page:
        name = plain_name(image.get("name", ""))
        title = f"image {name or f'number {number}'}"
        size = self._size(image.get("height"), image.get("width"), title)
        shapes = [_Shape(each, each.get("label", ""), each.get("group_id", "")) for each in image]
        return _Page(title, [name], image.get("task_id", ""), image.get("subset", ""), size, shapes)

    def _track(self, track: Element, number: int) -> None:
        task, title = track.get("task_id", ""), f"track {track.get('id', f'number {number}')}"
        for element in track:
            if element.get("outside") == "1":
                continue
            with self._faults.of(f"{title}, {element.tag}", UNIT, apart=True):
                frame = figures.whole(element.get("frame"), "frame")
                page = self._frames.setdefault((task, frame), self._frame(task, frame, track.get("subset", "")))
                element.set("track", track.get("id", ""))
                page.shapes.append(_Shape(element, track.get("label", ""), track.get("group_id", "")))

    def _frame(self, task: str, frame: int, subset: str) -> _Page:
        only = task if task or len(self._tasks) != 1 else next(iter(self._tasks))
        size = self._tasks.get(only, ("", None))[1]
        stem = f"frame_{frame:06d}"
        return _Page(f"frame {frame}", [stem + ending for ending in _FRAME_ENDINGS], task, subset, size)

    def _photo(self, page: _Page) -> Iterator[Labelled]:
        """The photo of a page, if it can be used; what is no mask is counted in any case."""
        drawn = []
        for shape in page.shapes:
            if shape.element.tag in MASKS:
                drawn.append(shape)
            elif shape.element.tag in OTHERS:
                self._faults.leave(UNIT, OTHERS[shape.element.tag], page.title)
        with self._faults.of(page.title, "photos"):
            try:
                photo = self._opened(page)
            except InputError:
                self._faults.leave(UNIT, NO_PHOTO, page.title, len(drawn))
                raise
            photo.unsure |= {shape.label for shape in page.shapes if shape.element.tag in OTHERS}
            self._fill(photo, drawn, page)
            yield photo

    def _opened(self, page: _Page) -> Labelled:
        path = self._path(page)
        size = photo_size(path)
        if path in self._taken:
            raise InputError("each photo once", f"{path.name} again")
        if page.size is not None:
            same_size(path.name, page.size, size)
        self._taken.add(path)
        here = path.relative_to(self._file.parent).as_posix()
        name = without_suffix(here.removeprefix("images/"))
        id = self._ids.of(path, name, f"{self._file.parent.name}/{name}", f"{self._file.parent.name}/{here}")
        return Labelled(id, path, size, split_named(page.subset), self._source, vocabulary(self._labels))

    def _place(self, page: _Page) -> Path | None:
        try:
            return self._path(page)
        except InputError:
            return None

    def _path(self, page: _Page) -> Path:
        """Where the photo lies: in `images/` or beside the XML, perhaps in a folder of its subset or task.

        The first place of all where there is no such file. Raises InputError for a name that leads elsewhere.
        """
        root = self._file.parent
        folders = [plain_name(name) for name in (page.subset, self._tasks.get(page.task, ("",))[0]) if name]
        within = [place for place in (root / "images", root) for place in (*(inside(place, f) for f in folders), place)]
        tried = [inside(place, name) for place in within for name in page.names]
        return next((path for path in tried if path.is_file()), inside(root / "images", page.names[0]))

    def _fill(self, photo: Labelled, drawn: list[_Shape], page: _Page) -> None:
        """The masks of the photo: figures of one label and group together, the nearest to the camera last."""
        groups: dict[Any, list[tuple[float, _Shape, Mask | None]]] = {}
        for number, shape in enumerate(drawn):
            mask, depth = None, 0.0
            with self._faults.of(f"{page.title}, {shape.element.tag} {number} ({shape.label})", UNIT):
                if is_null(shape.label):
                    raise Omitted(NO_LABEL)
                depth = figures.number(shape.element.get("z_order", "0"), "z_order")
                mask = mask_of(shape.element, photo.size)
            alone = shape.group in ("", "0")
            groups.setdefault(number if alone else (shape.label, shape.group), []).append((depth, shape, mask))
        whole: list[tuple[float, Note]] = []
        for members in groups.values():
            masks = [mask for _, _, mask in members if mask is not None]
            label = members[0][1].label
            if len(masks) < len(members):
                self._faults.leave(UNIT, GROUPED, page.title, len(masks), was_read=True)
                photo.unsure.add(label)
                continue
            note = Note(label, encode_rle(union(*masks)), _meta([shape for _, shape, _ in members]))
            whole.append((max(depth for depth, _, _ in members), note))
        photo.notes += [note for _, note in sorted(whole, key=lambda item: item[0])]


def mask_of(shape: Element, size: Size) -> Mask:
    """The pixels of a polygon, box, ellipse or mask; size (H, W). Raises InputError."""
    angle = figures.number(shape.get("rotation", "0"), "rotation")
    if shape.tag == "mask":
        return _given_mask(shape, size)
    if shape.tag == "polygon":
        points = shape.get("points", "").split(";")
        return figures.polygon(figures.ring([point.split(",") for point in points if point.strip()]), size)
    if shape.tag == "ellipse":
        x, y, rx, ry = (figures.number(shape.get(key), key) for key in ("cx", "cy", "rx", "ry"))
        return figures.ellipse((x, y), (rx, ry), angle, size)
    x1, y1, x2, y2 = (figures.number(shape.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = figures.corners_of(x1, y1, x2, y2)
    return figures.polygon(figures.turned(corners, angle, ((x1 + x2) / 2, (y1 + y2) / 2)), size)


def _given_mask(shape: Element, size: Size) -> Mask:
    left, top, width, height = (figures.whole(shape.get(key), key) for key in ("left", "top", "width", "height"))
    if width > size[1] or height > size[0]:
        raise InputError(f"a mask inside {size[1]} x {size[0]} pixels", f"one of {width} x {height}")
    runs = [figures.whole(run.strip(), "a run of rle") for run in shape.get("rle", "").split(",")]
    if sum(runs) != width * height:
        raise InputError(f"runs that fill {width} x {height} = {width * height} pixels", f"runs of {sum(runs)}")
    values = np.arange(len(runs)) % 2 == 1
    return figures.pasted(np.repeat(values, runs).reshape(height, width), left, top, size)


def _meta(shapes: list[_Shape]) -> dict[str, Any]:
    """What else the file says of a mask; of the first figure, where it is made of several."""
    first = shapes[0].element
    found: dict[str, Any] = {FIGURE: first.tag}
    found |= {key: first.get(key) for key in _META if first.get(key)}
    if shapes[0].group not in ("", "0"):
        found["group_id"] = shapes[0].group
    attributes = {each.get("name", ""): (each.text or "").strip() for each in first.findall("attribute")}
    if attributes:
        found["attributes"] = attributes
    return found


def _text(element: Element, key: str) -> str:
    return (element.findtext(key) or "").strip()
