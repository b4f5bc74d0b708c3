"""COCO instances as records, one annotation after the other, from files of any size.

In: the JSON, the folder of its photos. Out: one record an annotation, in the order of the file. Memory
holds the list of photos and of categories, never the annotations. Crowds are left out. What is
absent is not said here: `data.coco.read_instances` tells it, with the whole file in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.types import Rle
from miras.data.checks import Faults, OnFault, field, inside, photo_size, same_size
from miras.data.coco import segmentation as any_segmentation
from miras.data.places import split_places
from miras.data.record import Record
from miras.data.single import id_of, single, split_of
from miras.data.stream import items
from miras.data.vocabulary import is_null, words

_BACKGROUND = "_background_"


class Photo(NamedTuple):
    """A photo of the file. id: its file name without the ending; size: (H, W)."""

    id: str
    path: Path
    size: tuple[int, int]


def read(
    json_path: Path, image_root: Path | None = None, on_fault: OnFault | None = None, *, source: str = "",
    split: str = "", seen: dict[tuple[str, str], int] | None = None,
) -> Iterator[Record]:  # fmt: skip
    """A record for each instance. image_root: looked for beside the file when None.

    source, split: told by the names of the file's folder and of the file ("instances_val.json") when empty. seen: how
    many annotations a photo of a split has had, where a dataset has several files. Faulty records are left out and
    told to `on_fault`; without it they raise InputError after the last good one.
    """
    faults = Faults(json_path, on_fault)
    image_root = image_root or photos_beside(json_path)
    source, split = source or json_path.resolve().parent.name, split or split_of(json_path.stem)
    labels = categories(json_path, faults)
    photos, known = images(json_path, image_root, faults)
    seen = {} if seen is None else seen
    for index, note in enumerate(items(json_path, "annotations")):
        with faults.of(f"annotation {_name(note, index)}"):
            image_id = key_of(note, "image_id")
            photo = photos.get(image_id)
            if photo is None:
                if image_id not in known:
                    raise InputError("an image_id of the file's images", repr(image_id))
                continue
            label = labels.get(key_of(note, "category_id"), "")
            if label == "":
                raise InputError("a category_id of the file's categories", repr(note["category_id"]))
            if label is None or note.get("iscrowd"):
                continue
            rle = segmentation(note.get("segmentation"), photo.size)
            count = seen[split, photo.id] = seen.get((split, photo.id), 0) + 1
            yield single(
                photo.path, photo.size, label, rle, split=split, source=source, image_id=photo.id,
                id=id_of(source, split, f"{photo.id}-{count}"),
                meta={"label": label, "annotation": note.get("id", index)},
            )  # fmt: skip
    faults.finish()


def categories(json_path: Path, faults: Faults) -> dict[Any, str | None]:
    """id -> label in words, None where the name says that there is no label."""
    found: dict[Any, str | None] = {}
    for index, record in enumerate(items(json_path, "categories")):
        with faults.of(f"category {_name(record, index)}"):
            name = field(record, "name", str)
            found[key_of(record, "id")] = None if name == _BACKGROUND or is_null(name) else words(name)
    return found


def images(
    json_path: Path, image_root: Path, faults: Faults, wanted: set[Any] | None = None
) -> tuple[dict[Any, Photo], set[Any]]:
    """(id -> photo for those that can be used, all ids of the file). wanted: only these ids."""
    photos: dict[Any, Photo] = {}
    known: set[Any] = set()
    for index, record in enumerate(items(json_path, "images")):
        with faults.of(f"image {_name(record, index)}"):
            image_id = key_of(record, "id")
            if image_id in known:
                raise InputError("each image id once", f"{image_id} again")
            known.add(image_id)
            if wanted is not None and image_id not in wanted:
                continue
            name = field(record, "file_name", str)
            path = inside(image_root, name)
            size = photo_size(path)
            same_size(path.name, (field(record, "height", int), field(record, "width", int)), size)
            photos[image_id] = Photo(PurePosixPath(name).with_suffix("").as_posix(), path, size)
    return photos, known


def segmentation(value: Any, size: tuple[int, int]) -> Rle:
    """Polygons or run lengths of COCO as compressed run lengths. Raises InputError, also for an empty mask."""
    rle = any_segmentation(value, size)
    if not rle_tools.area(rle):
        raise InputError("a mask with selected pixels", "none")
    return rle


def photos_beside(json_path: Path) -> Path:
    """Where the photos lie: beside the JSON, or as COCO's and RefCOCO's archives unpack.

    The first folder that holds one of the first 20 photos, those of the file's split first; else `images`, so that
    each is named as missing.
    """
    folder, split = json_path.parent, json_path.stem.rpartition("_")[2]
    above = folder.parent
    places = (
        *split_places(folder, split), folder / "images", folder / "JPEGImages", folder, above / split,
        *split_places(above, split), above / "images" / split, above / "images",
        above / "images" / "train2014", above / "images" / "mscoco" / "images" / "train2014", above / "train2014",
    )  # fmt: skip
    names: list[str] = []
    for record in items(json_path, "images"):
        if isinstance(record, dict) and isinstance(record.get("file_name"), str):
            names.append(record["file_name"])
        if len(names) == 20:
            break
    return next((place for name in names for place in places if (place / name).is_file()), folder / "images")


def key_of(record: Any, key: str) -> Any:
    """An id: COCO has whole numbers, others text. Raises InputError for anything else."""
    value = record.get(key) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f'a record with "{key}"', f"{record!r:.60}")
    return value


def _name(record: Any, index: int) -> str:
    return str(record["id"]) if isinstance(record, dict) and "id" in record else f"number {index}"
