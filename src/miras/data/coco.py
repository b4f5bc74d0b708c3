"""COCO: instance JSON (polygons, RLE) and panoptic JSON with PNGs of segment ids.

In: the JSON and the folders of its photos and PNGs. Out: one `AnnotatedPhoto` per photo, one
annotation per instance or segment. Crowds are left out and never called absent, nor is what `unsure`
of an image record names (labels that may be there without a mask). Knows no data set by name.
Source: cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as default
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Rle
from miras.data.checks import Faults, OnFault, field, index_image, inside, load_json, photo_size, same_size
from miras.data.vocabulary import is_null, looked_for, words

_BACKGROUND = "_background_"


@dataclass
class _Photo:
    """One photo while its annotations are gathered."""

    id: str
    path: Path
    size: tuple[int, int]
    annotations: list[Annotation] = default(default_factory=list)
    unsure: set[str] = default(default_factory=set)
    crowds: set[str] = default(default_factory=set)
    unknown: bool = False  # holds something that no category names: nothing is surely absent


class _File(NamedTuple):
    """The parts of one COCO JSON. categories: id -> label in words, None where it is no label."""

    photos: dict[Any, _Photo]
    known: set[Any]
    categories: dict[Any, str | None]
    annotations: list[Any]


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
        with faults.of(f"annotation {_name_of(record, index)}"):
            image_id = _key(record, "image_id")
            photo = file.photos.get(image_id)
            if photo is None:
                _refuse_unknown(image_id, file)
                continue
            label = _category(record, file, photo)
            if label is None:
                continue
            photo.unsure.add(label)
            if _flag(record, "iscrowd"):
                photo.crowds.add(label)
                continue
            rle = segmentation(record.get("segmentation"), photo.size)
            if rle_tools.area(rle) >= max(1.0, min_share * photo.size[0] * photo.size[1]):
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
        with faults.of(f"annotation {index}"):
            image_id = _key(record, "image_id")
            photo = file.photos.get(image_id)
            if photo is None:
                _refuse_unknown(image_id, file)
                continue
            if image_id in seen:
                raise InputError("one annotation a photo", f"a second one for image {image_id}")
            seen.add(image_id)
            mask = inside(Path(mask_root), field(record, "file_name", str))
            fault = partial(faults.add, f"annotation {index} ({mask.name})")
            _segments(record, mask, photo, file, fault, min_share)
            read.add(image_id)
    for image_id in [i for i in file.photos if i not in read]:
        if image_id not in seen:
            faults.add(f"image {image_id}", "expected an annotation, got none")
        del file.photos[image_id]
    faults.finish()
    return _records(file, source or json_path.resolve().parent.name)


def _open(json_path: Path, image_root: Path, faults: Faults) -> _File:
    content = load_json(json_path, dict)
    images, annotations, categories = (field(content, key, list) for key in ("images", "annotations", "categories"))
    names: dict[Any, str | None] = {}
    for record in categories:
        name = field(record, "name", str)
        names[_key(record, "id")] = None if name == _BACKGROUND or is_null(name) else words(name)
    photos: dict[Any, _Photo] = {}
    known: set[Any] = set()
    for index, record in enumerate(images):
        with faults.of(f"image {_name_of(record, index)}"):
            image_id = _key(record, "id")
            if image_id in known:
                raise InputError("each image id once", f"{image_id} again")
            known.add(image_id)
            name = field(record, "file_name", str)
            path = inside(image_root, name)
            size = photo_size(path)
            same_size(f"{path.name}", (field(record, "height", int), field(record, "width", int)), size)
            unsure = {words(field({"unsure": said}, "unsure", str)) for said in record.get("unsure", ())}
            photos[image_id] = _Photo(PurePosixPath(name).with_suffix("").as_posix(), path, size, unsure=unsure)
    return _File(photos, known, names, annotations)


def _segments(
    record: Any, mask: Path, photo: _Photo, file: _File, fault: Callable[[str], None], min_share: float
) -> None:
    """Append the segments of one panoptic annotation to its photo; a bad segment is one fault."""
    pixels = np.asfortranarray(_segment_ids(mask, photo.size))
    values, counts = np.unique(pixels, return_counts=True)
    areas = dict(zip(values.tolist(), counts.tolist(), strict=True))
    areas.pop(0, None)  # 0: no segment
    for segment in field(record, "segments_info", list):
        try:
            label = _category(segment, file, photo)
            area = areas.pop(_key(segment, "id"), 0)
            if label is None:
                continue
            photo.unsure.add(label)
            if not area:
                raise InputError("pixels of each segment", f"none of segment {segment['id']}")
            if _flag(segment, "iscrowd"):
                photo.crowds.add(label)
            elif area >= min_share * pixels.size:
                photo.annotations.append(Annotation(label, label, encode_rle(pixels == segment["id"])))
        except InputError as error:
            fault(str(error))
    if areas:
        photo.unknown = True
        fault(f"expected only ids in segments_info, got pixels of {sorted(areas)[:5]}")


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


def _category(record: Any, file: _File, photo: _Photo) -> str | None:
    """The label of an annotation or segment. Raises InputError, and marks the photo, when it has none."""
    try:
        key = _key(record, "category_id")
        if key not in file.categories:
            raise InputError("a category_id of the file's categories", repr(key))
    except InputError:
        photo.unknown = True
        raise
    return file.categories[key]


def _refuse_unknown(image_id: Any, file: _File) -> None:
    """An image that was itself a fault is passed over in silence: one fault, not one an annotation."""
    if image_id not in file.known:
        raise InputError("an image_id of the file's images", repr(image_id))


def _key(record: Any, key: str) -> Any:
    """An id: COCO uses whole numbers, others text."""
    value = record.get(key) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f'a record with "{key}"', f"{record!r:.60}")
    return value


def _flag(record: Any, key: str) -> bool:
    return bool(record.get(key, 0))


def _name_of(record: Any, index: int) -> str:
    return str(record["id"]) if isinstance(record, dict) and "id" in record else f"number {index}"


def _records(file: _File, source: str) -> list[AnnotatedPhoto]:
    vocabulary = {label for label in file.categories.values() if label is not None}
    return [
        AnnotatedPhoto(
            photo.id,
            photo.path,
            photo.size,
            tuple(photo.annotations),
            source,
            looked_for(() if photo.unknown else vocabulary, {a.label for a in photo.annotations}, photo.unsure),
            frozenset(photo.crowds),
        )
        for photo in file.photos.values()
    ]
