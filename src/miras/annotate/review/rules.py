"""What is checked in one conversation by itself: its schema, its focus, its length, and whether it gives answers away.

In: a canonical record. Out: what is wrong, in words, "" for nothing. Knows no other record and no model. Of `meta` it
reads "moves" (index of the assistant turn -> what it does, see `MOVES`) and "functional" (indices of the user turns
that ask without naming); both may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from miras.annotate.review.language import says, says_whole
from miras.core.errors import InputError
from miras.core.masks import area, box_of, decode_rle, encode_rle
from miras.core.selection import Steps, follow, signs
from miras.core.types import Box, Mask, Operator
from miras.data.record import KINDS, Record, RegionRecord, RleRecord, TurnRecord, regions_of, turn_of

LEAST_SHARE, LEAST_PIXELS, LEAST_SIDE = 0.0003, 40, 6
"""A target: share of the photo, pixels, and sides of its box in pixels, at least."""
EXCHANGES = (2, 8)
"""Exchanges of a conversation, but for those of kind "single"."""


@dataclass(frozen=True, slots=True)
class Move:
    """What may be said in an exchange. asks: "name" (the user says what is wanted), "function" (must not), "either"
    (the words tell which), "none" (nothing is asked for, or the target follows from the talk). leans: question and
    answer make sense only with what was said before. brief: one word is enough."""

    asks: Literal["name", "function", "either", "none"]
    leans: bool = False
    brief: bool = False


MOVES: Mapping[str, Move] = {
    "ask": Move("either", brief=True), "next": Move("either", brief=True), "narrow": Move("either", brief=True),
    "again": Move("either", brief=True), "two": Move("name"), "add": Move("name"), "cut": Move("name"),
    "other": Move("name", leans=True), "absent": Move("none", brief=True), "undo": Move("none", True, True),
    "chat": Move("none", True, True), "object": Move("none", True), "target": Move("function"),
    "close": Move("none", True),
}  # fmt: skip
"""The moves of `data.dialogues.sampler` and of `annotate.grounded.tree`. Others: "ask_..." leans on what was found."""
_PROPERTY = Move("none", leans=True)
_NAMING_KINDS = ("shift", "refer", "edit", "absent")
_FUNCTION_WORDS = re.compile(r"\b(?:which|what|who|how|why|when|where (?:do|does|should|would|can|could|must))\b")
_NAMING_WORDS = re.compile(
    r"\b(?:what|how) about\b|\bwhich pixels\b|\bwhich part of it (?:is|are)\b|\bwhere can (?:i|you) (?:see|find)\b"
)
_ONE_PIXEL: RleRecord = {"size": [1, 1], "counts": encode_rle(np.ones((1, 1), bool))["counts"]}


def schema(record: Record) -> str:
    """Roles, texts, names and masks hold together. The other checks rely on it."""
    turns = record["turns"]
    if record["kind"] not in KINDS:
        return f"kind {record['kind']!r}"
    if record["hops"] < 1 or min(record["height"], record["width"]) < 1:
        return f"hops {record['hops']}, photo of {record['width']} x {record['height']}"
    if not record["id"] or not record["image_id"]:
        return "no id" if not record["id"] else "no image_id"
    roles = [turn["role"] for turn in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        return f"roles {', '.join(roles) or 'of no turn'}"
    for index, turn in enumerate(turns):
        if fault := _turn_fault(turn) or _mask_fault(turn, record["height"], record["width"]):
            return f"turn {index}: {fault}"
    ids = [region["id"] for _, region in regions_of(record)]
    return "" if ids == list(range(1, len(ids) + 1)) else f"regions numbered {ids}"


def focus(record: Record) -> str:
    """The focus is the phrase of the final selection; "" after a refusal, or when nothing is selected."""
    last = _final(record)[-1:]
    refused = any(p["type"] == "mark" and p["text"] == Operator.REJECT for p in record["turns"][-1]["content"])
    if (record["kind"] == "absent") != refused:
        return "kind absent without a refusal at the end" if not refused else f"kind {record['kind']} ends in a refusal"
    wanted = last[0][1]["phrase"] if last and not refused else ""
    return "" if record["focus"] == wanted else f"{record['focus']!r}, but the end selects {wanted!r}"


def small_focus(record: Record) -> str:
    """The final target, and what is selected at the end, are large enough to be seen."""
    terms = _final(record) if record["focus"] else []
    if not terms:
        return ""
    size = record["height"] * record["width"]
    facts = [_facts_of(terms[-1][1]["rle"])]
    if len(terms) > 1:
        facts.append(_measure(_combined(record)))
    for pixels, box in facts:
        side = min(box[2] - box[0], box[3] - box[1]) if box else 0.0
        if pixels < max(LEAST_PIXELS, LEAST_SHARE * size) or side < LEAST_SIDE:
            return f"{record['focus']!r}: {pixels} pixels ({pixels / size:.3%}), shorter side {side:.0f}"
    return ""


def length(record: Record) -> str:
    """2 to 8 exchanges."""
    count = len(record["turns"]) // 2
    low, high = EXCHANGES
    return "" if record["kind"] == "single" or low <= count <= high else f"{count} exchanges, {low} to {high} wanted"


def leak(record: Record) -> str:
    """No question names its own answer.

    Held to it are user turns that ask by function: listed in `meta["functional"]`; or, where that list is missing,
    of a move that asks so (`MOVES`), with "either" told by the words ("which", "where would I", ...). Without a move,
    every exchange before the last, told by the words for the kinds whose users ask by name (shift, refer, edit,
    absent). Before its turn the focus is never named by a user whom nobody told of it.
    """
    told = ""
    for index, user, reply in exchanges(record):
        if asks_by_function(record, index):
            for region in reply["regions"]:
                if says(user["text"], region["phrase"]):
                    return f"turn {index - 1}: {user['text']!r} names {region['phrase']!r}"
        early = index < len(record["turns"]) - 1 and record["kind"] in ("progressive", "text") and record["focus"]
        if early and not reply["regions"] and _first_said(record["focus"], told, user["text"]):
            return f"turn {index - 1}: {user['text']!r} names the focus"
        told += f" {user['text']} . {reply['text']} ."
    return ""


def closing(record: Record) -> str:
    """A progressive conversation ends with the mask of its focus."""
    if record["kind"] != "progressive":
        return ""
    named = [region["phrase"] for region in record["turns"][-1]["regions"]]
    return "" if record["focus"] in named else f"the last reply names {', '.join(named) or 'no region'}"


CHECKS: Sequence[tuple[str, Callable[[Record], str]]] = (
    ("focus", focus), ("small focus", small_focus), ("length", length), ("leak", leak), ("no closing turn", closing),
)  # fmt: skip
"""Reason -> check of one record that passed `schema`; "" means good."""


def move_of(record: Record, index: int) -> Move | None:
    """The move of the assistant turn `index`, None where `meta` does not say."""
    moves = record["meta"].get("moves")
    name = moves.get(str(index), moves.get(index)) if isinstance(moves, dict) else None
    if not isinstance(name, str):
        return None
    return _PROPERTY if name.startswith("ask_") else MOVES.get(name)


def leans(record: Record, index: int) -> bool:
    """Whether the exchange of the assistant turn `index` makes sense only with what was said before."""
    move = move_of(record, index)
    return move.leans if move is not None else index == len(record["turns"]) - 1


def exchanges(record: Record) -> Iterator[tuple[int, TurnRecord, TurnRecord]]:
    """(index of the assistant turn, user turn, assistant turn)."""
    turns = record["turns"]
    for index in range(1, len(turns), 2):
        yield index, turns[index - 1], turns[index]


def asks_by_function(record: Record, index: int) -> bool:
    """Whether the user turn before the assistant turn `index` must not name its answer (see `leak`)."""
    listed = record["meta"].get("functional")
    if isinstance(listed, list):
        return index - 1 in listed
    text, move = record["turns"][index - 1]["text"].lower(), move_of(record, index)
    by_words = _FUNCTION_WORDS.search(text) is not None and _NAMING_WORDS.search(text) is None
    if move is not None:
        return move.asks == "function" or (move.asks == "either" and by_words)
    if index == len(record["turns"]) - 1 or record["kind"] == "single":
        return False
    return by_words if record["kind"] in _NAMING_KINDS else True


def _first_said(phrase: str, before: str, text: str) -> bool:
    return says_whole(text, phrase) and not says_whole(before, phrase)


def _turn_fault(turn: TurnRecord) -> str:
    """Its pieces, its text and its regions tell the same."""
    if not turn["text"].strip():
        return "no text"
    names = [(piece["region"], piece["text"]) for piece in turn["content"] if piece["type"] == "name"]
    if turn["role"] == "user":
        if turn["regions"] or [(p["type"], p["text"]) for p in turn["content"]] != [("words", turn["text"])]:
            return "a user turn is its words and nothing else"
        return ""
    own = {region["id"] for region in turn["regions"]}
    if [name for name in names if name[0] in own] != [(r["id"], r["phrase"]) for r in turn["regions"]] or any(
        name[0] >= max(own, default=name[0] + 1) for name in names if name[0] not in own
    ):
        return f"names {names}, but the regions are {[(r['id'], r['phrase']) for r in turn['regions']]}"
    operators = [region["operator"] for region in turn["regions"]]
    if unknown := sorted(set(operators) - {Operator.REPLACE, Operator.ADD, Operator.CUT, Operator.EXCEPT}):
        return f"a region of operator {unknown[0]!r}"
    pieces = turn["content"]
    if bad := [p["text"] for p in pieces if p["type"] == "mark" and p["text"] not in list(Operator)]:
        return f"a mark {bad[0]!r}"
    return "" if turn_of(_small(turn), 1).text == turn["text"] else f"its pieces do not read {turn['text']!r}"


def _mask_fault(turn: TurnRecord, height: int, width: int) -> str:
    for region in turn["regions"]:
        if list(region["rle"]["size"]) != [height, width]:
            return f"mask of {region['phrase']!r} of {region['rle']['size']}, the photo is {[height, width]}"
        try:
            pixels, _ = _facts_of(region["rle"])
        except InputError as error:
            return f"mask of {region['phrase']!r}: {error}"
        if not pixels:
            return f"the mask of {region['phrase']!r} is empty"
    return ""


def _final(record: Record) -> list[tuple[str, RegionRecord]]:
    """The terms of the selection at the end, in the order they were made: ("+" | "-", region)."""
    turns = [turn_of(_small(turn), 2 * index + 1) for index, turn in enumerate(record["turns"][1::2])]
    steps: Steps = ()
    for _, steps in follow(turns):  # noqa: B007
        pass
    known = {region["id"]: region for _, region in regions_of(record)}
    terms = signs(steps[-1].expression) if steps else {}
    return [
        ("" if not place else "+" if sign else "-", known[name]) for place, (name, sign) in enumerate(terms.items())
    ]


def _combined(record: Record) -> Mask:
    """The mask of what is selected at the end."""
    *_, (_, steps) = follow(turn_of(turn, 2 * index + 1) for index, turn in enumerate(record["turns"][1::2]))
    return steps[-1].mask


def _small(turn: TurnRecord) -> TurnRecord:
    """The turn with masks of one pixel, for algebra over names alone."""
    return {**turn, "regions": [{**region, "rle": _ONE_PIXEL} for region in turn["regions"]]}


def _facts_of(rle: RleRecord) -> tuple[int, Box | None]:
    return _facts(rle["size"][0], rle["size"][1], rle["counts"])


@lru_cache(maxsize=4096)
def _facts(height: int, width: int, counts: str) -> tuple[int, Box | None]:
    """Pixels and box of a mask. Raises InputError for run lengths that do not fill the photo."""
    return _measure(decode_rle({"size": [height, width], "counts": counts}))


def _measure(mask: Mask) -> tuple[int, Box | None]:
    return area(mask), box_of(mask)
