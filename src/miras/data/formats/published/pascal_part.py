"""PASCAL-Part: a .mat beside each photo of PASCAL VOC 2010, with the mask of each thing and of each of its parts.

In: a folder with `Annotations_Part/*.mat` and, beside it or in `VOCdevkit/VOC2010`, `JPEGImages` and (for the splits)
`ImageSets/Main/train.txt` and `val.txt`. A .mat holds `anno` with `imname` and `objects`: `class`, `mask` (H, W) and
`parts` of `part_name` ("lfuleg", "wheel_2") and `mask`. Out: one `AnnotatedPhoto` a file, a thing as "dog", a part as
"left front upper leg of the dog"; parts of one kind that are numbered are one kind. What is not there is not surely
absent: small parts were passed over. Source: Chen et al., Detect What You Can, CVPR 2014.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.text import read_text
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.formats.format import Format, Signs
from miras.data.io.checks import Faults, OnFault, files_in, photo_size, same_size
from miras.data.io.left_out import count_bare
from miras.data.io.places import beside
from miras.data.io.single import records_of
from miras.data.record import Record

FOLDER, PHOTOS, LISTS = "Annotations_Part", "JPEGImages", "ImageSets/Main"
THINGS = {"pottedplant": "potted plant", "tvmonitor": "television", "motorbike": "motorbike", "table": "table"}
"""Classes that are no words as they stand."""
SIDES = {"l": "left", "r": "right"}
ENDS = {"f": "front", "b": "back"}
LIMBS = {
    "leg": "leg", "uleg": "upper leg", "lleg": "lower leg", "uarm": "upper arm", "larm": "lower arm", "pa": "paw",
    "ho": "hoof", "eye": "eye", "ear": "ear", "ebrow": "eyebrow", "horn": "horn", "hand": "hand", "foot": "foot",
    "wing": "wing",
}  # fmt: skip
PARTS = {
    "fwheel": "front wheel", "bwheel": "back wheel", "chainwheel": "chain wheel", "handlebar": "handlebar",
    "frontside": "front side", "leftside": "left side", "rightside": "right side", "backside": "back side",
    "roofside": "roof", "leftmirror": "left mirror", "rightmirror": "right mirror",
    "fliplate": "front license plate", "bliplate": "back license plate",
    **{f"{h}{side}side": f"{name} of the {whole}" for h, whole in (("h", "head"), ("c", "coach"))
       for side, name in (("front", "front"), ("left", "left side"), ("right", "right side"), ("back", "back"),
                          ("roof", "roof"))},
}  # fmt: skip
"""Names of parts that do not follow the rule of limbs."""
_LIMB = re.compile(rf"([lr])([fb]?)({'|'.join(sorted(LIMBS, key=len, reverse=True))})")
_BROKEN = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, MemoryError,
    OverflowError, zlib.error,
)  # fmt: skip
"""What a file that is no .mat, or another one, raises while it is read; and scipy's own `MatReadError`."""


def part_words(code: str) -> str:
    """ "lfuleg" as "left front upper leg", "wheel_2" as "wheel"; a name that is a word as it stands."""
    bare = re.sub(r"_\d+$", "", code.strip().lower())
    if bare in PARTS:
        return PARTS[bare]
    limb = _LIMB.fullmatch(bare)
    if limb is None:
        return bare.replace("_", " ")
    return " ".join(filter(None, (SIDES[limb[1]], ENDS.get(limb[2], ""), LIMBS[limb[3]])))


def photos(path: Path, on_fault: OnFault | None = None) -> Iterator[AnnotatedPhoto]:
    """The photos of the folder, sorted by name. Raises InputError where there are no .mat files, and for faulty ones
    unless `on_fault` takes them."""
    folder = path if path.name == FOLDER else path / FOLDER
    faults = Faults(folder, on_fault)
    files = faults.files(folder, "*.mat")
    if not files:
        raise InputError(f".mat files in {folder}", "none", "unpack trainval.tar.gz of PASCAL-Part there")
    root = _root(folder.parent)
    splits = _splits(root)
    for file in files:
        with faults.of(file.name, "photos"):
            yield _photo(file, root, folder.parent.resolve().name, splits.get(file.stem, ""), faults)
    faults.finish()


def _photo(file: Path, root: Path, source: str, split: str, faults: Faults) -> AnnotatedPhoto:
    image = beside(root / PHOTOS / file.name)
    size = photo_size(image)
    notes = []
    for thing, mask, parts in _objects(file):
        name = THINGS.get(thing, thing)
        notes += _notes(
            [(name, mask), *((f"{part_words(part)} of the {name}", own) for part, own in parts)], size, file, faults
        )
    return AnnotatedPhoto(file.stem, image, size, tuple(notes), source, split=split)


def _notes(named: list[tuple[str, Mask]], size: tuple[int, int], file: Path, faults: Faults) -> list[Annotation]:
    found = []
    for phrase, mask in named:
        same_size(f"the mask of {phrase}", size, (mask.shape[0], mask.shape[1]))
        if mask.any():
            found.append(Annotation(phrase, phrase, encode_rle(mask)))
        else:
            faults.leave("masks", "masks without pixels", f"{file.name}, {phrase}")
    faults.tally.read["masks"] += len(found)
    return found


def _objects(file: Path) -> Iterator[tuple[str, Mask, list[tuple[str, Mask]]]]:
    """(class, mask, (part, mask) of each part) of each thing. Raises InputError for another .mat."""
    try:  # slow to import, and every format is looked up when one is guessed
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise InputError("scipy, to read .mat files", "none", "run pip install 'miras[data]'") from error
    try:
        things = loadmat(file)["anno"][0, 0]["objects"].ravel()
        found = [(_word(one["class"]), _mask(one["mask"]), [
            (_word(part["part_name"]), _mask(part["mask"])) for part in one["parts"].ravel()
        ]) for one in things]  # fmt: skip
    except (*_BROKEN, MatReadError) as error:
        raise InputError("a .mat of PASCAL-Part (anno.objects)", _line(error), "unpack it again") from error
    yield from found


def _word(value: Any) -> str:
    (word,) = np.asarray(value).ravel().tolist()
    if not isinstance(word, str) or not word.strip():
        raise ValueError(f"no name: {word!r}")
    return word.strip().lower()


def _mask(value: Any) -> Mask:
    mask = np.asarray(value)
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise ValueError(f"no mask: {mask.dtype} of shape {mask.shape}")
    return mask > 0


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _root(folder: Path) -> Path:
    """Where VOC's own folders lie: beside the annotations, or as VOC's archive unpacks."""
    places = [folder, *sorted(folder.glob("VOCdevkit/VOC20??")), *sorted(folder.glob("VOC20??"))]
    return next((place for place in places if (place / PHOTOS).is_dir()), folder)


def _splits(root: Path) -> dict[str, str]:
    """Photo -> its split, by VOC's lists; nothing where there are none."""
    found = {}
    for split in ("train", "val"):
        file = root / LISTS / f"{split}.txt"
        if file.is_file():
            found.update(dict.fromkeys(read_text(file).split(), split))
    return found


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each mask."""
    seen: dict[tuple[str, str], int] = {}
    for photo in photos(path, on_fault):
        count_bare([photo], on_fault)
        yield from records_of([photo], photo.split, seen=seen)


PASCAL_PART = Format(
    "PASCAL-Part: Annotations_Part/*.mat, JPEGImages/ of VOC 2010", read,
    signs=Signs(folder=lambda path: bool(files_in(path if path.name == FOLDER else path / FOLDER, "*.mat"))),
    annotations=lambda path, on_fault: list(photos(path, on_fault)),
)  # fmt: skip
