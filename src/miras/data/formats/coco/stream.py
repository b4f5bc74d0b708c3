"""COCO instances as records, one annotation after the other, from files of any size.

In: the JSON, the folder of its photos. Out: one record an annotation, in the order of the file. Memory
holds the list of photos and of categories, never the annotations. Crowds are as in `annotated`. What is
absent is not said here: `annotated.read_instances` tells it, with the whole file in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.types import Rle
from miras.data.formats.coco.annotated import CROWDS, NO_LABEL, NO_PHOTO, is_crowd, photo_file
from miras.data.formats.coco.annotated import segmentation as any_segmentation
from miras.data.io.checks import Faults, OnFault, field, key_of, lies_in
from miras.data.io.left_out import Omitted
from miras.data.io.places import split_places
from miras.data.io.single import id_of, single, split_of
from miras.data.io.stream import items
from miras.data.language.vocabulary import is_coco, labels_of
from miras.data.record import Record


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
    names = categories(json_path, faults)
    labels, has_crowds = labels_of(names), is_coco(names)
    photos, known = images(json_path, image_root, faults)
    drawn: set[Any] = set()
    used: set[Any] = set()
    seen = {} if seen is None else seen
    for index, note in enumerate(items(json_path, "annotations")):
        with faults.of(f"annotation {_name(note, index)}", "annotations"):
            image_id = key_of(note, "image_id")
            if image_id not in known:
                raise InputError("an image_id of the file's images", repr(image_id))
            if image_id not in photos:
                raise Omitted(NO_PHOTO.format("annotations"))
            drawn.add(image_id)
            photo = photos[image_id]
            label = labels.get(key_of(note, "category_id"), "")
            if label == "":
                raise InputError("a category_id of the file's categories", repr(note["category_id"]))
            if label is None:
                raise Omitted(NO_LABEL.format("annotations"))
            if has_crowds and is_crowd(note):
                raise Omitted(CROWDS.format("annotations"))
            rle = segmentation(note.get("segmentation"), photo.size)
            count = seen[split, photo.id] = seen.get((split, photo.id), 0) + 1
            used.add(image_id)
            meta = {"label": label, "annotation": note.get("id", index)}
            yield single(
                photo.path, photo.size, label, rle, split=split, source=source, image_id=photo.id,
                id=id_of(source, split, f"{photo.id}-{count}"),
                meta={**meta, "iscrowd": 1} if is_crowd(note) else meta,
            )  # fmt: skip
    for image_id, photo in photos.items():
        if image_id not in used:
            reason = "photos of which no annotation can be used" if image_id in drawn else "photos without annotations"
            faults.leave("photos", reason, photo.path.name, was_read=True)
    faults.finish()


def categories(json_path: Path, faults: Faults) -> dict[Any, str]:
    """id -> name as the file has it; `vocabulary.labels_of` makes labels of them."""
    found: dict[Any, str] = {}
    for index, record in enumerate(items(json_path, "categories")):
        with faults.of(f"category {_name(record, index)}", "categories"):
            name = field(record, "name", str)
            found[key_of(record, "id")] = name
    return found


def images(
    json_path: Path, image_root: Path, faults: Faults, wanted: set[Any] | None = None
) -> tuple[dict[Any, Photo], set[Any]]:
    """(id -> photo for those that can be used, all ids of the file). wanted: only these ids."""
    photos: dict[Any, Photo] = {}
    known: set[Any] = set()
    taken: dict[Path, str] = {}
    for index, record in enumerate(items(json_path, "images")):
        with faults.of(f"image {_name(record, index)}", "photos"):
            image_id = key_of(record, "id")
            if image_id in known:
                raise InputError("each image id once", f"{image_id} again")
            known.add(image_id)
            if wanted is not None and image_id not in wanted:
                raise Omitted("photos that nothing refers to")
            photos[image_id] = Photo(*photo_file(record, image_root, taken))
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
    return first_with(items(json_path, "images"), places) or folder / "images"


def first_with(records: Iterable[Any], places: Sequence[Path]) -> Path | None:
    """The first folder that holds one of the first 20 files that the records name; None where none does."""
    named = (r["file_name"] for r in records if isinstance(r, dict) and isinstance(r.get("file_name"), str))
    names = list(islice(named, 20))
    return next((place for name in names for place in places if lies_in(place, name)), None)


def _name(record: Any, index: int) -> str:
    return str(record["id"]) if isinstance(record, dict) and "id" in record else f"number {index}"
