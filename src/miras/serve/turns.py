"""Turns as the API gives them: made once from a reply, kept as JSON, completed with where they stand.

In: replies of a session; rows of the database. Out: plain objects as docs/api.md describes them. Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from miras.chat.reply import Reply
from miras.core.masks import box_of, encode_rle, mask_to_polygons
from miras.core.selection import label, parted
from miras.core.types import Mark, Mask, Name, Operator, Region, Turn, Words
from miras.serve.database import Row

PREFIX = "/api/v1"
Json = dict[str, Any]


def time_of(seconds: float) -> str:
    """UTC, ISO 8601, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def outline(mask: Mask) -> str:
    """The edge of a mask as the `d` of an SVG path, exact, to be filled even-odd. "" for an empty mask."""
    rings = []
    for ring in mask_to_polygons(mask):
        steps = [f"H{x:g}" if y == before else f"V{y:g}" for (_, before), (x, y) in pairwise(ring)]
        rings.append(f"M{ring[0][0]:g} {ring[0][1]:g}{''.join(steps)}Z")
    return "".join(rings)


def mask_view(mask: Mask) -> Json:
    """Area, box, outline and run lengths."""
    box = box_of(mask)
    return {
        "area": int(np.count_nonzero(mask)), "box": None if box is None else [float(side) for side in box],
        "outline": outline(mask), "rle": encode_rle(mask),
    }  # fmt: skip


def region_view(region: Region, role: Operator, again: bool) -> Json:
    """A region, but for its turn and address."""
    others = [{"phrase": one.phrase, "chance": round(one.chance, 4)} for one in region.alternatives]
    return {
        "id": region.id, "phrase": region.phrase, "score": None if region.score is None else round(region.score, 4),
        "operator": role.value, "again": again, **mask_view(region.mask), "alternatives": others,
    }  # fmt: skip


def selection_view(expression: str, mask: Mask, phrases: Mapping[int, str]) -> Json:
    """A selection, but for its addresses. phrases: of every region, by id."""
    added, left = parted(expression)
    said = label(expression, lambda number: phrases.get(number, ""))
    return {"expression": expression, "label": said, "added": added, "left_out": left, **mask_view(mask)}


def reply_view(
    reply: Reply, turn: Turn | None, regions: Iterable[Region], kind: str, *, encode: float = 0.0, wait: float = 0.0
) -> Json:
    """A turn object, but for what depends on where it stands. turn: the assistant's, None for a change by hand."""
    phrases = {region.id: region.phrase for region in regions}
    names = [] if turn is None else [(piece.phrase, piece.region) for piece in turn.content if isinstance(piece, Name)]
    roles = reply.roles or [region.operator for region in reply.regions]
    timings = reply.timings
    seconds = {
        "prefill": timings.prefill, "generate": timings.generate, "segment": timings.segment, "total": timings.total,
        "encode": encode, "wait": wait,
    }  # fmt: skip
    return {
        "kind": kind, "user": reply.user, "text": reply.text, "pieces": pieces(reply.text, names),
        "regions": [
            region_view(region, role, region.id in reply.recalled)
            for region, role in zip(reply.regions, roles, strict=True)
        ],
        "operators": [operator.value for operator in reply.operators],
        "certainty": None if reply.certainty is None else round(reply.certainty, 4), "unsure": reply.unsure,
        "selection": selection_view(reply.selection.expression, reply.selection.mask, phrases),
        "seconds": {name: round(value, 4) for name, value in seconds.items()}, "tokens": reply.new_tokens,
    }  # fmt: skip


def other_names(old: Json, taken: str) -> list[Json]:
    """The alternatives after one of them was taken: the name that it had is one now."""
    chance = max(0.0, 1.0 - sum(one["chance"] for one in old["alternatives"]))
    rest = [one for one in old["alternatives"] if one["phrase"] != taken]
    return sorted([{"phrase": old["phrase"], "chance": round(chance, 4)}, *rest], key=lambda one: -one["chance"])


def record_view(turn: Turn) -> Json:
    """Text and content of a reply as the dataset format has them."""
    content = []
    for piece in turn.content:
        if isinstance(piece, Words):
            content.append({"type": "words", "text": piece.text, "region": 0})
        elif isinstance(piece, Mark):
            content.append({"type": "mark", "text": piece.operator.value, "region": 0})
        else:
            content.append({"type": "name", "text": piece.phrase, "region": piece.region})
    return {"text": turn.text, "content": content}


def pieces(text: str, names: Sequence[tuple[str, int]]) -> list[Json]:
    """A text in parts, those that name a region with its id; joined they are the text. names: in reading order."""
    parts: list[Json] = []
    place = 0
    for phrase, region in names:
        shown = Turn("assistant", (Name(phrase, region),)).text
        at = text.find(shown, place) if shown else -1
        if at < 0:
            continue
        if at > place:
            parts.append({"text": text[place:at], "region": None})
        place = at + len(shown)
        parts.append({"text": shown, "region": region})
    if place < len(text):
        parts.append({"text": text[place:], "region": None})
    return parts


# Where they stand


def placed_region(region: Json, conversation: str, turn: int) -> Json:
    """A region with its turn and address."""
    address = f"{PREFIX}/conversations/{conversation}/turns/{turn}/regions/{region['id']}.png"
    return {**region, "turn": turn, "mask_url": address}


def placed(row: Row) -> Json:
    """The whole turn object of a row."""
    reply, conversation, number = json.loads(row["reply"]), row["conversation"], row["number"]
    where = f"{PREFIX}/conversations/{conversation}/turns/{number}"
    reply["regions"] = [placed_region(region, conversation, number) for region in reply["regions"]]
    urls = {"mask_url": f"{where}/selection.png", "overlay_url": f"{where}/overlay.png"}
    reply["selection"] = {**reply["selection"], **urls}
    return {"turn": number, "key": row["key"], **reply, "created": time_of(row["created"])}


def regions_now(history: Iterable[Json]) -> list[Json]:
    """Every region as it is after the last turn, by id. history: whole turn objects, oldest first."""
    known: dict[int, Json] = {}
    for turn in history:
        known.update({region["id"]: region for region in turn["regions"] if not region["again"]})
    return [known[number] for number in sorted(known)]


def nothing_selected(height: int, width: int) -> Json:
    """The selection before anything is selected."""
    view = selection_view("", np.zeros((height, width), np.bool_), {})
    return {**view, "mask_url": None, "overlay_url": None}


def photo_view(row: Row) -> Json:
    """A photo."""
    address = f"{PREFIX}/photos/{row['id']}/image?variant="
    kept = {name: row[name] for name in ("id", "name", "width", "height", "bytes", "sample")}
    urls = {f"{name if name != 'full' else 'image'}_url": address + name for name in ("full", "preview", "thumbnail")}
    return {**kept, "created": time_of(row["created"]), **urls}
