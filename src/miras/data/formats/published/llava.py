"""LLaVA's instructions: conversations about photos, in words alone.

In: a JSON list of {"id", "image", "conversations": [{"from": "human" | "gpt", "value"}]} (`llava_instruct_150k.json`,
or a mix of it), or a folder with it; photos beside it, in `images`, `train2017`, `train2014`, or as the names say. Out:
one record a conversation, without regions: the model learns that not every question wants a mask. The "<image>" that
says where the photo stands is taken out of the words. What names no photo is left out. Source: Liu et al., Visual
Instruction Tuning, NeurIPS 2023.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.types import Turn, Words
from miras.data.formats.format import Format, Signs
from miras.data.io.checks import Faults, OnFault, field, files_in, inside, lies_in, photo_size
from miras.data.io.left_out import Omitted
from miras.data.io.places import split_of
from miras.data.io.single import id_of
from miras.data.io.stream import items, keys
from miras.data.record import Record, TurnRecord, turn_record

PLACE = "<image>"
ROLES = ("human", "gpt")
FOLDERS = ("", "images", "train2017", "train2014", "coco/train2017", "coco")
"""Where photos lie, from the JSON's folder and from the one above."""


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each conversation, in the order of the files. kind "single", `meta["without"]`: "mask"; no focus.

    Faulty ones are left out and told to `on_fault`; without it InputError names them at the end."""
    for file in [path] if path.is_file() else _files(path):
        faults = Faults(file, on_fault)
        roots = [
            place for top in (file.parent, file.parent.parent) for name in FOLDERS if (place := top / name).is_dir()
        ]
        source, split = file.parent.resolve().name, split_of(file.stem)
        for number, item in enumerate(items(file)):
            with faults.of(f"conversation {number}", "conversations"):
                yield _record(item, number, roots, source, split, file.stem)
        faults.finish()


def _files(folder: Path) -> list[Path]:
    found = [file for file in files_in(folder, "*.json") if "conversations" in keys(file)]
    if not found:
        raise InputError(f"a JSON with conversations in {folder}", "none", "name the file itself")
    return found


def _record(item: Any, number: int, roots: list[Path], source: str, split: str, stem: str) -> Record:
    if isinstance(item, dict) and not item.get("image"):
        raise Omitted("conversations without a photo")
    name = field(item, "image", str)
    root = next((place for place in roots if lies_in(place, name)), roots[0])
    image = inside(root, name)
    height, width = photo_size(image)
    turns = [_turn(message, index) for index, message in enumerate(field(item, "conversations", list))]
    if not turns or len(turns) % 2:
        raise InputError("questions, each with its answer", f"{len(turns)} utterances")
    return {
        "id": id_of(source, split, f"{stem}-{number}"), "image_id": Path(name).stem,
        "image": Path(os.path.abspath(image)).as_posix(), "height": height, "width": width, "split": split,
        "source": source, "kind": "single", "hops": 1, "focus": "", "turns": turns, "meta": {"without": ["mask"]},
    }  # fmt: skip


def _turn(message: Any, index: int) -> TurnRecord:
    role, text = field(message, "from", str), field(message, "value", str).replace(PLACE, " ").strip()
    if role != ROLES[index % 2]:
        raise InputError(f'"from" of {ROLES[index % 2]} in utterance {index}', repr(role)[:40])
    if not text:
        raise InputError(f"words in utterance {index}", "none")
    return turn_record(Turn.user(text) if role == ROLES[0] else Turn("assistant", (Words(text),)))


LLAVA = Format(
    "LLaVA's instructions: a JSON of conversations without masks, photos beside it", read,
    signs=Signs(keys=lambda found: "conversations" in found),
)  # fmt: skip
