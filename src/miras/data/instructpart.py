"""InstructPart: photographs with part masks and six instructions for each part.

In: a folder with one `data_*.json`, `images/{photo}-{object}-{part}.jpg` and `masks/*.png` of the
same stem (spaces are underscores; 0 = outside). Out: one `AnnotatedPhoto` per part, in the
order of the file. Knows nothing of splits. Source: Wan et al., InstructPart, ACL 2025.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.checks import Faults, OnFault, field, inside, load_json, mask_image, photo_size

INSTRUCTIONS = 6
PHRASE = 4
"""Which instruction is the bare phrase ("handle of the cabinet")."""


def read(folder: Path | str, on_fault: OnFault | None = None) -> list[AnnotatedPhoto]:
    """Every part of the file as one record with exactly one annotation.

    `id` is the photograph's own name: two parts of one photo share it. Raises InputError when the
    folder has no or several `data_*.json`, and for faulty records unless `on_fault` takes them.
    """
    folder = Path(folder)
    file = _data_file(folder)
    faults = Faults(file, on_fault)
    photos: list[AnnotatedPhoto] = []
    for index, record in enumerate(load_json(file, list)):
        with faults.of(f"record {index}"):
            name = field(record, "image_path", str)
            for number, part in enumerate(field(record, "part_list", list)):
                with faults.of(f"record {index} ({name}), part {number}"):
                    photos.append(_item(folder, Path(name).stem, part))
    faults.finish()
    return photos


def merge(photos: Iterable[AnnotatedPhoto]) -> list[AnnotatedPhoto]:
    """Records of the same photograph and size as one, with all their annotations, in order."""
    merged: dict[tuple[str, str, tuple[int, int]], AnnotatedPhoto] = {}
    for photo in photos:
        key = (photo.source, photo.id, photo.size)
        first = merged.get(key)
        merged[key] = photo if first is None else replace(first, annotations=first.annotations + photo.annotations)
    return list(merged.values())


def _data_file(folder: Path) -> Path:
    files = sorted(folder.glob("data_*.json"))
    if len(files) != 1:
        got = "none" if not files else ", ".join(f.name for f in files)
        raise InputError(f"one data_*.json in {folder}", got, "name the folder of one split")
    return files[0]


def _item(folder: Path, photo: str, part: Any) -> AnnotatedPhoto:
    thing, name = field(part, "object", str), field(part, "part", str)
    instructions = tuple(field(part, "instruction", list))
    if len(instructions) != INSTRUCTIONS or not all(isinstance(text, str) and text.strip() for text in instructions):
        raise InputError(f"{INSTRUCTIONS} instructions", f"{len(instructions)} ({instructions!r:.80})")
    stem = f"{photo}-{thing}-{name}".replace(" ", "_")
    path = inside(folder / "images", f"{stem}.jpg")
    size = photo_size(path)
    mask = _mask(folder / "masks" / f"{stem}.png", size)
    annotation = Annotation(f"{thing} {name}", instructions[PHRASE], encode_rle(mask), instructions)
    return AnnotatedPhoto(photo, path, size, (annotation,), "instructpart")


def _mask(path: Path, size: tuple[int, int]) -> Mask:
    mask = mask_image(path, size)  # 0/255 as shipped, 0/1 as some copies have it
    if not mask.any():
        raise InputError("a mask with selected pixels", f"{path.name} with none")
    return mask
