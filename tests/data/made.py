"""Small datasets made by hand: photos, masks of every nasty kind, records, a folder of COCO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.masks import encode_rle
from miras.core.types import Conversation, Example, Mark, Name, Operator, Region, Turn, Words
from miras.data.io.single import single
from miras.data.record import Record, record_of, regions_of

SIZE = (24, 32)


def drawn(*rows: str, at: tuple[int, int] = (0, 0), size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    """A mask from rows of "." and "#", its upper left corner at (row, column)."""
    mask = np.zeros(size, np.bool_)
    for y, row in enumerate(rows):
        for x, sign in enumerate(row):
            mask[at[0] + y, at[1] + x] = sign == "#"
    return mask


MASKS = {
    "block": drawn("####", "####", "####", at=(2, 3)),
    "pixel": drawn("#", at=(23, 31)),
    "two parts": drawn("##..##", "##..##", at=(6, 20)),
    "corner to corner": drawn("##..", "##..", "..##", "..##", at=(10, 2)),
    "hole": drawn("#####", "#...#", "#.#.#", "#...#", "#####", at=(10, 12)),
    "two holes": drawn("#######", "#.###.#", "#######", at=(18, 5)),
    "comb": drawn("#.#.#", "#####", "#.#.#", at=(14, 24)),
    "whole width": drawn("#" * 32, at=(0, 0)),
}
"""None of them overlap."""


def photo(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)).save(path)
    return path


def singles(folder: Path, split: str = "", suffix: str = ".jpg") -> list[Record]:
    """A record for each of MASKS, on two photos."""
    paths = [photo(folder / f"{name}{suffix}") for name in ("one", "two")]
    return [
        single(
            paths[i % 2], SIZE, f"the {name}"[4:], encode_rle(mask), id=f"made/{i}", image_id=paths[i % 2].stem,
            source="made", split=split,
        )
        for i, (name, mask) in enumerate(MASKS.items())
    ]  # fmt: skip


def talk(path: Path) -> Record:
    """Three exchanges: a region, one more of the same photo, a refusal."""
    first, second = (Region(i, name, MASKS[name], 2 * i - 1, op) for i, name, op in (
        (1, "block", Operator.REPLACE), (2, "hole", Operator.ADD)))  # fmt: skip
    turns = (
        Turn.user("Where can I sit?"), Turn("assistant", (Words("On the"), Name("block", 1), Words(".")), (first,)),
        Turn.user("Also the round thing."), Turn("assistant", (Mark(Operator.ADD), Name("hole", 2)), (second,)),
        Turn.user("And the dog?"), Turn("assistant", (Mark(Operator.REJECT), Words("There is none."))),
    )  # fmt: skip
    example = Example(photo(path), Conversation(turns), "hole", "edit", 2, "made")
    return record_of(example, id="talk", image_id=path.stem, image=path.as_posix(), size=SIZE)


def masks_of(records: Any) -> set[tuple[str, str, str]]:
    """(image_id, phrase, counts) of all regions."""
    return {(r["image_id"], g["phrase"], g["rle"]["counts"]) for r in records for _, g in regions_of(r)}


def coco(folder: Path, name: str = "instances.json", **changes: Any) -> Path:
    """A COCO file: photo one.jpg; a dog by polygon, one by run lengths, a crowd."""
    photo(folder / "images" / "one.jpg")
    content = {
        "images": [{"id": 7, "file_name": "one.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 3, "name": "Big_Dog"}, {"id": 4, "name": "background"}],
        "annotations": [
            note(1, segmentation=[[1, 1, 9, 1, 9, 9, 1, 9]]), note(2, segmentation=encode_rle(MASKS["hole"])),
            note(3, segmentation={"size": [*SIZE], "counts": [0, 9, 24 * 32 - 9]}, iscrowd=1), note(4, category_id=4),
        ],
        **changes,
    }  # fmt: skip
    (folder / name).write_text(json.dumps(content))
    return folder / name


def note(id: int, **changes: Any) -> dict[str, Any]:
    plain = {"id": id, "image_id": 7, "category_id": 3, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    return {**plain, **changes}
