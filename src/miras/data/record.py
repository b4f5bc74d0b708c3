"""The canonical record of a dataset: one conversation about one photograph, as plain values.

In and out: a `Record` (what Parquet and JSONL hold, masks as COCO run lengths) and an `Example` (what
training uses, masks decoded). All formats are read into records and written from them. Knows no file
format; `KINDS` and `SPLITS` are the only lists of names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import Conversation, Example, Mark, Name, Operator, Piece, Region, Turn, Words

KINDS = ("progressive", "shift", "refer", "edit", "absent", "text", "single")
"""Kinds of conversation. "single": one exchange made from a plain annotation by a format reader."""
SPLITS = ("train", "val", "test")


class PieceRecord(TypedDict):
    """A piece of an utterance. type "words": text; "name": text is the phrase of `region`; "mark": text is
    the operator ("add", "cut", "undo", "reject", "except"). region: 0 but for names; a name of a region that an earlier
    turn has means that region again."""

    type: Literal["words", "name", "mark"]
    text: str
    region: int


class RleRecord(TypedDict):
    """COCO run lengths: size (H, W), counts compressed."""

    size: list[int]
    counts: str


class RegionRecord(TypedDict):
    """A mask with its phrase. operator: "replace", "add", "cut" or "except"."""

    id: int
    phrase: str
    operator: str
    rle: RleRecord


class TurnRecord(TypedDict):
    """One utterance; text as a person reads it, content as its pieces."""

    role: str
    text: str
    content: list[PieceRecord]
    regions: list[RegionRecord]


class Record(TypedDict):
    """One conversation.

    id: unique in the dataset. image: path relative to the dataset's folder, "/" between its parts. image_id: the
    photograph, by which splits are made. split: one of SPLITS, "" when undivided. focus: phrase of the
    final target, "" when there is none. hops: reasoning steps, from 1. meta: anything else, JSON. image_bytes: the
    photo's file where it is embedded.
    """

    id: str
    image_id: str
    image: str
    height: int
    width: int
    split: str
    source: str
    kind: str
    hops: int
    focus: str
    turns: list[TurnRecord]
    meta: dict[str, Any]
    image_bytes: NotRequired[bytes]


def record_of(
    example: Example, *, id: str, image_id: str, image: str, size: tuple[int, int], split: str = ""
) -> Record:
    """The record of an example. size: (H, W) of the photo, for conversations without a region."""
    return {
        "id": id, "image_id": image_id, "image": image, "height": size[0], "width": size[1], "split": split,
        "source": example.source, "kind": example.kind, "hops": example.hops, "focus": example.focus,
        "turns": [turn_record(turn) for turn in example.conversation.turns],
        "meta": json.loads(json.dumps(example.meta)),
    }  # fmt: skip


def example_of(record: Record, root: Path) -> Example:
    """The example of a record, masks decoded; root: the dataset's folder. Raises InputError."""
    turns = tuple(turn_of(turn, index) for index, turn in enumerate(record["turns"]))
    return Example(
        root / record["image"], Conversation(turns), record["focus"], record["kind"], record["hops"], record["source"],
        {**record["meta"], "id": record["id"], "image_id": record["image_id"], "split": record["split"]},
    )  # fmt: skip


def turn_record(turn: Turn) -> TurnRecord:
    """A turn with its masks encoded."""
    return {
        "role": turn.role, "text": turn.text, "content": [_piece_record(piece) for piece in turn.content],
        "regions": [
            {"id": r.id, "phrase": r.phrase, "operator": str(r.operator), "rle": _rle(r)} for r in turn.regions
        ],
    }  # fmt: skip


def turn_of(turn: TurnRecord, index: int) -> Turn:
    """A turn with its masks decoded; index: its place in the conversation."""
    if turn["role"] == "user":
        return Turn.user(turn["text"])
    if turn["role"] != "assistant":
        raise InputError("a role of user, assistant", repr(turn["role"]))
    regions = tuple(
        Region(r["id"], r["phrase"], decode_rle(dict(r["rle"])), index, Operator(r["operator"]))
        for r in turn["regions"]
    )
    return Turn("assistant", tuple(_piece_of(piece) for piece in turn["content"]), regions)


def regions_of(record: Record) -> Iterator[tuple[int, RegionRecord]]:
    """(index of the turn, region) in reading order."""
    for index, turn in enumerate(record["turns"]):
        for region in turn["regions"]:
            yield index, region


def _rle(region: Region) -> RleRecord:
    rle = encode_rle(region.mask)
    return {"size": list(rle["size"]), "counts": rle["counts"]}


def _piece_record(piece: Piece) -> PieceRecord:
    if isinstance(piece, Words):
        return {"type": "words", "text": piece.text, "region": 0}
    if isinstance(piece, Mark):
        return {"type": "mark", "text": str(piece.operator), "region": 0}
    return {"type": "name", "text": piece.phrase, "region": piece.region}


def _piece_of(piece: PieceRecord) -> Piece:
    if piece["type"] == "words":
        return Words(piece["text"])
    if piece["type"] == "mark":
        return Mark(Operator(piece["text"]))
    return Name(piece["text"], piece["region"])
