"""COCO: instance JSON (polygons, RLE) and panoptic JSON with PNGs of segment ids.

In: the JSON and the folders of its photos and PNGs. Out: one `AnnotatedPhoto` per photo, one
annotation per instance or segment. A crowd (`iscrowd`) is a mask as any other, for tools set the flag on whatever was
painted; in COCO's own files, known by their category ids, it is a group of many that is partly outlined one by one
too: left out, counted, never called absent, and nothing of its label is counted (`AnnotatedPhoto.uncounted`). What
`unsure` of an image record names (labels that may be there without a mask) is not called absent either. Where images
have `neg_category_ids` (LVIS, PACO), these alone were looked for and are absent; of `not_exhaustive_category_ids` more
may be there than is outlined. A category
that is another's supercategory, or Roboflow's root, is nothing that was looked for.
Source: cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Rle
from miras.data.io.checks import Faults, OnFault, field, index_image, inside, key_of, load_json, photo_size, same_size
from miras.data.io.left_out import Omitted
from miras.data.language.vocabulary import is_coco, labels_of, looked_for, spoken_as, words

NEGATIVE, PARTLY = "neg_category_ids", "not_exhaustive_category_ids"
"""Of an image of LVIS."""
NO_LABEL = "{} whose category names nothing"
CROWDS = "{} that are crowds in a file of COCO's"
NO_PHOTO = "{} of photos with faults"
SPECKS = "{} on too few pixels"
EMPTY = "{} without pixels"


@dataclass
class _Photo:
    """One photo while its annotations are gathered."""

    id: str
    path: Path
    size: tuple[int, int]
    annotations: list[Annotation] = default(default_factory=list)
    unsure: set[str] = default(default_factory=set)
    crowds: set[str] = default(default_factory=set)
    negative: set[str] | None = None  # what alone was looked for in vain; None: all of the file
    unknown: bool = False  # holds something that no category names: nothing is surely absent


class _File(NamedTuple):
    """The parts of one COCO JSON. categories: id -> label in words, None where it is no label. crowds: `iscrowd` says a
    group of many. never: labels that are no things of their own; narrower: label -> those it may stand for."""

    photos: dict[Any, _Photo]
    known: set[Any]
    categories: dict[Any, str | None]
    annotations: list[Any]
    crowds: bool
    never: frozenset[str]
    narrower: Mapping[str, frozenset[str]]


def read_instances(
    json_path: Path | str,
    image_root: Path | str,
    source: str | None = None,
    part_of: str | None = None,
    min_share: float = 0.0,
    on_fault: OnFault | None = None,
) -> list[AnnotatedPhoto]:
    """Instance annotations: polygons, compressed or uncompressed RLE; one annotation an instance.

    source: defaults to the name of the JSON's folder. part_of="car": every label is a part, its
    phrase is "<label> of the car". min_share: leave out instances on fewer of the photo's pixels.
    Left and right stay as the data set has them. Raises InputError for a file without the three
    lists, and for faulty records unless `on_fault` takes them.
    """
    json_path = Path(json_path)
    faults = Faults(json_path, on_fault)
    file = _open(json_path, Path(image_root), faults)
    for index, record in enumerate(file.annotations):
        with faults.of(f"annotation {_name_of(record, index)}", "annotations"):
            photo = _photo_of(key_of(record, "image_id"), file, "annotations")
            label = _label(record, file, photo, "annotations")
            rle = segmentation(record.get("segmentation"), photo.size)
            area = int(rle_tools.area(rle))
            if area < max(1.0, min_share * photo.size[0] * photo.size[1]):
                raise Omitted((SPECKS if area else EMPTY).format("annotations"))
            phrase = f"{label} of the {part_of}" if part_of else label
            photo.annotations.append(Annotation(label, phrase, rle))
    faults.finish()
    return _records(file, source or json_path.resolve().parent.name)


def read_panoptic(
    json_path: Path | str,
    image_root: Path | str,
    mask_root: Path | str,
    source: str | None = None,
    min_share: float = 0.0,
    on_fault: OnFault | None = None,
) -> list[AnnotatedPhoto]:
    """Panoptic annotations: one annotation a segment (things apart, stuff whole), names in words.

    `file_name` of an annotation is its PNG under `mask_root`; the photo is found by `image_id`.
    Raises like `read_instances`; a photo without annotation is a fault, for nothing is known of it.
    """
    json_path = Path(json_path)
    faults = Faults(json_path, on_fault)
    file = _open(json_path, Path(image_root), faults)
    seen: set[Any] = set()
    read: set[Any] = set()
    for index, record in enumerate(file.annotations):
        segments = record.get("segments_info") if isinstance(record, dict) else None
        count = len(segments) if isinstance(segments, list) else 1
        with faults.of(f"annotation {index}", "segments", count, apart=True):
            image_id = key_of(record, "image_id")
            photo = _photo_of(image_id, file, "segments")
            if image_id in seen:
                raise InputError("one annotation a photo", f"a second one for image {image_id}")
            seen.add(image_id)
            mask = inside(Path(mask_root), field(record, "file_name", str))
            pixels = np.asfortranarray(_segment_ids(mask, photo.size))
            given = field(record, "segments_info", list)
            _segments(given, pixels, photo, file, faults, f"annotation {index} ({mask.name})", min_share)
            read.add(image_id)
    for image_id in [i for i in file.photos if i not in read]:
        if image_id not in seen:
            faults.add(f"image {image_id}", "expected an annotation, got none", "photos", was_read=True)
        else:
            faults.leave("photos", "photos whose annotation has a fault", f"image {image_id}", was_read=True)
        del file.photos[image_id]
    faults.finish()
    return _records(file, source or json_path.resolve().parent.name)


def _open(json_path: Path, image_root: Path, faults: Faults) -> _File:
    content = load_json(json_path, dict)
    images, annotations, categories = (field(content, key, list) for key in ("images", "annotations", "categories"))
    names = {key_of(record, "id"): field(record, "name", str) for record in categories}
    above = {key_of(record, "id"): str(record.get("supercategory") or "") for record in categories}
    labels, spoken = labels_of(names), spoken_as(names.values())
    photos: dict[Any, _Photo] = {}
    known: set[Any] = set()
    taken: dict[Path, str] = {}
    for index, record in enumerate(images):
        with faults.of(f"image {_name_of(record, index)}", "photos"):
            image_id = key_of(record, "id")
            if image_id in known:
                raise InputError("each image id once", f"{image_id} again")
            known.add(image_id)
            unsure = {spoken(field({"unsure": said}, "unsure", str)) for said in record.get("unsure", ())}
            photo = _Photo(*photo_file(record, image_root, taken), unsure=unsure)
            if NEGATIVE in record:
                photo.negative = _named(record, NEGATIVE, labels)
                photo.crowds |= _named(record, PARTLY, labels)
            photos[image_id] = photo
    never = {label for key, label in labels.items() if label and key == 0 and not _is_used(key, annotations)}
    parents = {words(name) for key, name in above.items() if words(name) != words(names[key])}
    narrower: dict[str, frozenset[str]] = {}
    for key, label in labels.items():
        if label and words(names[key]) in parents:
            never.add(label)
            below = {labels[k] for k, name in above.items() if k != key and words(name) == words(names[key])}
            narrower[label] = narrower.get(label, frozenset()) | {child for child in below if child}
    return _File(photos, known, labels, annotations, is_coco(names), frozenset(never), narrower)


def _named(record: Any, key: str, labels: Mapping[Any, str | None]) -> set[str]:
    """Labels of a list of category ids of an image."""
    ids = field({key: [], **record}, key, list)
    return {label for number in ids if isinstance(number, int | str) and (label := labels.get(number))}


def photo_file(record: Any, image_root: Path, taken: dict[Path, str]) -> tuple[str, Path, tuple[int, int]]:
    """(id, path, (H, W)) of an image of the file; taken: path -> file name, of the images before.

    Raises InputError for no such photo, another size, and one that another whole path was taken to mean.
    """
    name = field(record, "file_name", str)
    path = inside(image_root, name)
    other = taken.setdefault(path, name)
    if other != name:
        raise InputError("a photo of its own", f"{path.name}, which is also {other!r}", "name both as they lie here")
    size = photo_size(path)
    same_size(path.name, (field(record, "height", int), field(record, "width", int)), size)
    return path.relative_to(image_root).with_suffix("").as_posix(), path, size


def _is_used(category: Any, annotations: list[Any]) -> bool:
    """Whether an annotation, or a segment of one, is of this category."""
    notes = [note for note in annotations if isinstance(note, dict)]
    segments = [s for note in notes for s in (note.get("segments_info") or ()) if isinstance(s, dict)]
    return any(note.get("category_id") == category for note in notes + segments)


def _segments(
    given: list[Any], pixels: np.ndarray[Any, np.dtype[np.uint32]], photo: _Photo, file: _File, faults: Faults,
    where: str, min_share: float,
) -> None:  # fmt: skip
    """Append the segments of one panoptic annotation to its photo; a bad segment is one fault."""
    values, counts = np.unique(pixels, return_counts=True)
    areas = dict(zip(values.tolist(), counts.tolist(), strict=True))
    areas.pop(0, None)  # 0: no segment
    for segment in given:
        with faults.of(where, "segments"):
            id_ = key_of(segment, "id")
            area = areas.pop(id_, 0)
            label = _label(segment, file, photo, "segments")
            if not area:
                raise InputError("pixels of each segment", f"none of segment {id_}")
            if area < min_share * pixels.size:
                raise Omitted(SPECKS.format("segments"))
            photo.annotations.append(Annotation(label, label, encode_rle(pixels == id_)))
    if areas:
        photo.unknown = True
        faults.add(where, f"expected only ids in segments_info, got pixels of {sorted(areas)[:5]}", "ids", len(areas))


def _segment_ids(path: Path, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """(H, W): R + 256 G + 65536 B."""
    rgb = index_image(path, size, mode="RGB").astype(np.uint32)
    ids: np.ndarray[Any, np.dtype[np.uint32]] = rgb[..., 0] + (rgb[..., 1] << 8) + (rgb[..., 2] << 16)
    return ids


def segmentation(value: Any, size: tuple[int, int]) -> Rle:
    """Any COCO segmentation as one compressed RLE of the photo's size."""
    if isinstance(value, dict):
        return _given_rle(value, size)
    if not isinstance(value, list) or not value:
        raise InputError("polygons or RLE", f"{value!r:.60}")
    reach = 2 * max(size)  # the C code allocates by the length of the outline
    if all(isinstance(n, int | float) for n in value):
        raise InputError("polygons in a list", f"one list of {len(value)} numbers", "put it in brackets: [[x, y, ...]]")
    for polygon in value:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InputError("polygons of at least 3 points (x, y, x, y, ...)", f"{polygon!r:.60}")
        if not all(isinstance(n, int | float) and abs(n) <= reach for n in polygon):
            raise InputError(f"polygon coordinates from -{reach} to {reach}", f"{polygon!r:.60}")
    return _text(rle_tools.merge(rle_tools.frPyObjects(value, *size)))


def _given_rle(value: dict[str, Any], size: tuple[int, int]) -> Rle:
    if value.get("size") != [*size]:
        raise InputError(f"run lengths of size {[*size]} (H, W)", f"{value.get('size')!r:.40}")
    return encode_rle(decode_rle(value))


def _text(rle: dict[str, Any]) -> Rle:
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _label(record: Any, file: _File, photo: _Photo, unit: str) -> str:
    """The label of an annotation or segment, which is not absent then.

    Raises InputError, and marks the photo, when it has no category; Omitted when its category is no label, and for a
    crowd.
    """
    try:
        key = key_of(record, "category_id")
        if key not in file.categories:
            raise InputError("a category_id of the file's categories", repr(key))
    except InputError:
        photo.unknown = True
        raise
    label = file.categories[key]
    if label is None:
        raise Omitted(NO_LABEL.format(unit))
    photo.unsure.add(label)
    if file.crowds and is_crowd(record):
        photo.crowds.add(label)
        raise Omitted(CROWDS.format(unit))
    return label


def is_crowd(record: dict[str, Any]) -> bool:
    """Whether the record says so, in whatever way."""
    return record.get("iscrowd") not in (None, 0, False, "", "0")


def _photo_of(image_id: Any, file: _File, unit: str) -> _Photo:
    """Raises InputError for an image that the file does not have; Omitted for one that was itself a fault."""
    if image_id not in file.known:
        raise InputError("an image_id of the file's images", repr(image_id))
    if image_id not in file.photos:
        raise Omitted(NO_PHOTO.format(unit))
    return file.photos[image_id]


def _name_of(record: Any, index: int) -> str:
    return str(record["id"]) if isinstance(record, dict) and "id" in record else f"number {index}"


def _records(file: _File, source: str) -> list[AnnotatedPhoto]:
    vocabulary = {label for label in file.categories.values() if label is not None} - file.never
    found = []
    for photo in file.photos.values():
        here = {note.label for note in photo.annotations}
        hidden = {label for name in here | photo.unsure for label in file.narrower.get(name, ())}
        sought = vocabulary if photo.negative is None else vocabulary & (photo.negative | here)
        absent = looked_for(() if photo.unknown else sought, here, photo.unsure | hidden | photo.crowds)
        notes, uncounted = tuple(photo.annotations), frozenset(photo.crowds)
        found.append(AnnotatedPhoto(photo.id, photo.path, photo.size, notes, source, absent, uncounted))
    return found
