"""Indexed PNG and InstructPart as records: folders of masks, one for each split.

In: a path. Out: `Record` values, and the two `Format` values. Knows no mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from miras.data.formats import indexed_png, indexed_write, instructpart, instructpart_write
from miras.data.formats.format import Format, Signs
from miras.data.io.checks import Faults, OnFault, files_in, load_json
from miras.data.io.left_out import count_bare
from miras.data.io.places import split_folders, split_of
from miras.data.io.single import records_of
from miras.data.photos.identity import Folders
from miras.data.record import Record


def _has_masks(folder: Path) -> bool:
    """Whether a folder holds something of indexed PNG or InstructPart."""
    return (folder / "masks").is_dir() or (folder / "labels.txt").is_file() or bool(files_in(folder, "data_*.json"))


def _indexed(path: Path, on_fault: OnFault | None) -> Iterator[Record]:
    told_apart, seen = Folders(), dict[tuple[str, str], int]()
    folders = split_folders(path, _has_masks)
    Faults(path, on_fault).unread(path, [folder for folder, _ in folders], "labels.txt")
    for folder, split in folders:
        # Specks too: a copy holds what the original holds.
        found = list(indexed_png.photos(folder, path.resolve().name, min_share=0.0, on_fault=on_fault))
        photos = told_apart([photo for photo, _ in found], folder)
        count_bare(photos, on_fault)
        metas = [{} if void is None else {"ignore": void} for _, void in found]
        yield from records_of(photos, split, metas=metas, seen=seen)


def _instructpart(path: Path, on_fault: OnFault | None, instruction: int = 0) -> Iterator[Record]:
    folders = split_folders(path, _has_masks)
    Faults(path, on_fault).unread(path, [folder for folder, _ in folders], "data_*.json")
    told_apart, seen = Folders(), dict[tuple[str, str], int]()
    for folder, split in folders:
        photos = told_apart(instructpart.read(folder, on_fault), folder)
        (file,) = files_in(folder, "data_*.json")
        told = instructpart.told(load_json(file, list))
        metas = [{"part": True, "instructpart": told.get(photo.path.stem, {})} for photo in photos]
        yield from records_of(photos, split or split_of(file.stem), instruction, metas, seen)


INDEXED_PNG = Format(
    "one label a pixel: images/, masks/*.png, labels.txt", _indexed, indexed_write.write,
    Signs(place=lambda folder: (folder / "labels.txt").is_file() and (folder / "masks").is_dir()),
    annotations=lambda path, on_fault: indexed_png.read(path, on_fault=on_fault),
)  # fmt: skip
INSTRUCTPART = Format(
    "InstructPart: data_*.json, images/, masks/; six instructions a part", _instructpart, instructpart_write.write,
    Signs(
        place=lambda folder: bool(files_in(folder, "data_*.json")) and (folder / "masks").is_dir(),
        keys=lambda found: "part_list" in found,
    ),
    instructed=True, questions=True, annotations=lambda path, on_fault: instructpart.read(path, on_fault),
)  # fmt: skip
