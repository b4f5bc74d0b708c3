"""What is taken away: masks and pictures in the formats of other tools, the conversation as a record of the dataset.

In: a conversation as the API gives it, its photo. Out: a file's name, type and bytes. Knows no model and no database.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.chat import export
from miras.chat.render import overlay, shown
from miras.core.masks import decode_rle
from miras.core.types import Mask, Operator, Region
from miras.serve.problems import Problem
from miras.serve.turns import Json, regions_now

Format = Literal["mask", "overlay", "cutout", "coco", "labelme", "rle", "svg", "prist", "corrections", "session"]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class File:
    """A download."""

    name: str
    media_type: str
    content: bytes


def masks(conversation: Json, kind: Format, each: bool, read: Any) -> File:
    """A file of what is selected, or of every region. read: gives the photo's pixels, (H, W, 3) uint8 RGB.

    Raises the problem `conflict` when there is nothing.
    """
    photo = conversation["photo"]
    size, name = (photo["height"], photo["width"]), photo["name"]
    stem = stem_of(name)
    selection = conversation["selection"]
    if each:
        items = [export.Item(r["phrase"], decode_rle(r["rle"]), r["score"]) for r in conversation["regions"]]
    else:
        mask = decode_rle(selection["rle"])
        items = [export.Item(selection["label"], mask)] if selection["expression"] else []
    if not items:
        raise Problem("conflict", "something selected", "nothing", "ask for something first")
    if kind == "mask" and each:
        names = {f"{stem}.mask-{n}.png": export.png(item.mask) for n, item in enumerate(items, 1)}
        return File(f"{stem}.masks.zip", "application/zip", zipped(names))
    if kind == "mask":
        return File(f"{stem}.mask.png", "image/png", export.png(items[0].mask))
    if kind == "overlay":
        picture = _drawn_all(read(), conversation) if each else drawn(read(), conversation["history"])
        return File(f"{stem}.overlay.png", "image/png", png(picture))
    if kind == "cutout":
        whole = np.logical_or.reduce([item.mask for item in items])
        return File(f"{stem}.cutout.png", "image/png", png(cut_out(read(), whole)))
    if kind == "svg":
        return File(f"{stem}.svg", "image/svg+xml", export.svg(items, size).encode())
    documents = {"rle": export.rle_document, "coco": export.coco_document, "labelme": export.labelme_document}
    suffix = "json" if kind == "labelme" else f"{kind}.json"
    return File(f"{stem}.{suffix}", "application/json", _json(documents[kind](items, size, name)))


def drawn(pixels: Pixels, history: Sequence[Json]) -> Pixels:
    """The photo with its last turn drawn on it, as the commands draw it. history: whole turn objects."""
    last = history[-1]
    known, new = ([region_of(one) for one in group] for group in (regions_now(history), last["regions"]))
    selection = last["selection"]
    return overlay(pixels, shown(known, new, selection["expression"]), decode_rle(selection["rle"]))


def _drawn_all(pixels: Pixels, conversation: Json) -> Pixels:
    return overlay(pixels, [region_of(region) for region in conversation["regions"]])


def region_of(view: Json) -> Region:
    """A region as the pictures need it."""
    mask = decode_rle(view["rle"])
    return Region(view["id"], view["phrase"], mask, view["turn"], Operator(view["operator"]), view["score"])


def cut_out(pixels: Pixels, mask: Mask) -> Pixels:
    """(H, W, 4): the selected pixels; the others are transparent, and black."""
    alpha = mask.astype(np.uint8)[:, :, None]
    return np.concatenate([pixels * alpha, alpha * np.uint8(255)], axis=2)


def record(conversation: Json, records: Sequence[Mapping[str, Any] | None], photo: str) -> Json:
    """The conversation as one record of the dataset format, regions as they are now.

    records: text and content of each turn's reply, None for a change by hand. photo: the picture's path beside it. It
    ends before a selection that was chosen by hand: what follows builds on what no words of it say.
    """
    now = {region["id"]: region for region in conversation["regions"]}
    turns: list[Json] = []
    marks: set[str] = set()
    focus, again = "", False
    for turn, said in zip(conversation["history"], records, strict=True):
        if turn["kind"] == "selection":
            break
        if said is None:
            continue
        names = [piece for piece in said["content"] if piece["type"] == "name"]
        marks |= {piece["text"] for piece in said["content"] if piece["type"] == "mark"}
        drawn_here = [region["id"] for region in turn["regions"] if not region["again"]]
        again = again or len(drawn_here) < len(turn["regions"])
        focus = names[-1]["text"] if names else focus
        regions = [
            {"id": n, "phrase": now[n]["phrase"], "operator": now[n]["operator"], "rle": now[n]["rle"]}
            for n in drawn_here if n in now
        ]  # fmt: skip
        asked = {"type": "words", "text": turn["user"], "region": 0}
        turns.append({"role": "user", "text": turn["user"], "content": [asked], "regions": []})
        turns.append({"role": "assistant", "text": said["text"], "content": said["content"], "regions": regions})
    if not turns:
        raise Problem("conflict", "a conversation with a reply", "one without", "ask for something first")
    view = conversation["photo"]
    if {"undo", "reject"} & marks:
        focus = ""
    return {
        "id": conversation["id"], "image_id": view["id"], "image": photo, "height": view["height"],
        "width": view["width"], "split": "", "source": "miras serve", "kind": _kind(marks, again, len(turns)),
        "hops": 1, "focus": focus, "turns": turns,
        "meta": {"photo": view["name"], "created": conversation["created"]},
    }  # fmt: skip


def _kind(marks: set[str], again: bool, turns: int) -> str:
    """The kind of conversation, by what its replies do."""
    if {"add", "cut", "undo", "except"} & marks:
        return "edit"
    if "reject" in marks:
        return "absent"
    return "refer" if again else "progressive" if turns > 2 else "single"


def dataset(conversation: Json, records: Sequence[Mapping[str, Any] | None], suffix: str, photo: bytes) -> File:
    """The record and its photo, as a folder that `miras data` reads."""
    path = f"images/{conversation['photo']['id']}.{suffix}"
    line = json.dumps(record(conversation, records, path), ensure_ascii=False) + "\n"
    content = zipped({"conversations.jsonl": line.encode(), path: photo})
    return File(f"{stem_of(conversation['photo']['name'])}.prist.zip", "application/zip", content)


def stem_of(name: str) -> str:
    """A photo's name without its ending, for the names of files."""
    return PurePosixPath(name).stem or "photo"


def png(picture: Pixels) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files as one ZIP; equal files, equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _json(document: Json) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()
