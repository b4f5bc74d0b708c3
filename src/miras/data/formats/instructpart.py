"""InstructPart: photographs with part masks and six instructions for each part.

In: a folder with one `data_*.json`, `images/{photo}-{object}-{part}.jpg` and `masks/*.png` of the
same stem (spaces are underscores; 0 = outside). Out: one `AnnotatedPhoto` per part, in the
order of the file. Knows nothing of splits. Source: Wan et al., InstructPart, ACL 2025.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.io.checks import Faults, OnFault, field, files_in, inside, is_valid, load_json, mask_image, photo_size
from miras.data.photos.identity import united

INSTRUCTIONS = 6
PHRASE = 4
"""Which instruction is the bare phrase ("handle of the cabinet")."""


def read(folder: Path | str, on_fault: OnFault | None = None) -> list[AnnotatedPhoto]:
    """Every part of the file as one record with exactly one annotation.

    `id` is the photograph's own name (with its folder or ending where another has that name): two parts of one photo
    share it. Raises InputError when the
    folder has no or several `data_*.json`, and for faulty records unless `on_fault` takes them.
    """
    folder = Path(folder)
    file = _data_file(folder)
    faults = Faults(file, on_fault)
    photos: list[AnnotatedPhoto] = []
    names: dict[str, str] = {}
    for index, record in enumerate(load_json(file, list)):
        parts = record.get("part_list") if isinstance(record, dict) else None
        count = len(parts) if isinstance(parts, list) else 1
        with faults.of(f"record {index}", "parts", count, apart=True):
            name = field(record, "image_path", str)
            for number, part in enumerate(field(record, "part_list", list)):
                with faults.of(f"record {index} ({name}), part {number}", "parts"):
                    photos.append(_item(folder, name, part, names))
    faults.finish()
    return photos


def merge(photos: Iterable[AnnotatedPhoto]) -> list[AnnotatedPhoto]:
    """Records of the same photograph, size and file's bytes as one, with all their annotations, in order."""
    return united(photos)


def told(items: list[Any]) -> dict[str, dict[str, str]]:
    """Stem of the files of a part -> the words that InstructPart has for it."""
    found: dict[str, dict[str, str]] = {}
    for item in items:
        parts = item.get("part_list") if isinstance(item, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and isinstance(part.get("object"), str) and isinstance(part.get("part"), str):
                stem = f"{Path(str(item.get('image_path'))).stem}-{part['object']}-{part['part']}".replace(" ", "_")
                keys = ("object", "part", "affordance", "action")
                found[stem] = {k: part[k] for k in keys if isinstance(part.get(k), str) and is_valid(part[k])}
    return found


def _data_file(folder: Path) -> Path:
    files = files_in(folder, "data_*.json")
    if len(files) != 1:
        got = "none" if not files else ", ".join(f.name for f in files)
        raise InputError(f"one data_*.json in {folder}", got, "name the folder of one split")
    return files[0]


def _item(folder: Path, image: str, part: Any, names: dict[str, str]) -> AnnotatedPhoto:
    """One part. names: id -> the image path that it stands for."""
    thing, name = field(part, "object", str), field(part, "part", str)
    instructions = tuple(field(part, "instruction", list))
    said = [text for text in instructions if isinstance(text, str) and text.strip() and is_valid(text)]
    if len(instructions) != INSTRUCTIONS or len(said) != INSTRUCTIONS:
        raise InputError(f"{INSTRUCTIONS} instructions", f"{len(instructions)} ({instructions!a:.80})")
    stem = f"{Path(image).stem}-{thing}-{name}".replace(" ", "_")
    path = inside(folder / "images", f"{stem}.jpg")
    size = photo_size(path)
    mask = _mask(folder / "masks" / f"{stem}.png", size)
    annotation = Annotation(f"{thing} {name}", instructions[PHRASE], encode_rle(mask), instructions)
    return AnnotatedPhoto(_id(image, names), path, size, (annotation,), "instructpart")


def _id(image: str, names: dict[str, str]) -> str:
    """The photo's name; more of its path where another photo has that name."""
    path = PurePosixPath(image.replace("\\", "/"))
    ids = (path.stem, path.with_suffix("").as_posix(), path.as_posix())
    return next((id for id in ids if names.setdefault(id, image) == image), image)


def _mask(path: Path, size: tuple[int, int]) -> Mask:
    mask = mask_image(path, size)  # 0/255 as shipped, 0/1 as some copies have it
    if not mask.any():
        raise InputError("a mask with selected pixels", f"{path.name} with none")
    return mask
