"""Every fault of a dataset, with its place, while the records pass by.

In: `Record` values of any reader. Out: one `Fault` for each thing that is wrong; nothing is raised. Memory holds
the ids and which split each photograph is in, nothing else. Knows no file format; the shape of a record
(keys, types) is the readers' business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from miras.core import photo as core_photo
from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle, rle_area
from miras.core.types import Operator
from miras.data.inspect.decoded import decoded
from miras.data.io.checks import photo_size, same_size
from miras.data.photos.identity import Names
from miras.data.record import KINDS, SPLITS, PieceRecord, Record, RleRecord, TurnRecord, turn_of

ROLES = ("user", "assistant")
PIECES = ("words", "name", "mark")
OPERATORS = (Operator.REPLACE, Operator.ADD, Operator.CUT, Operator.EXCEPT)
"""What a region can do; a mark can also undo and reject."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. number: of the record, from 0. turn: index in `turns`; region: its id, or None."""

    number: int
    record: str
    what: str
    turn: int | None = None
    region: int | None = None

    def __str__(self) -> str:
        place = f"record {self.number} ({self.record!r})"
        place += "" if self.turn is None else f", turn {self.turn}"
        place += "" if self.region is None else f", region {self.region}"
        return f"{place}: {self.what}"


def validate(records: Iterable[Record], *, photos: bool = True, decode: bool = False) -> Iterator[Fault]:
    """Every fault of every record, in their order.

    photos: whether photo files are opened; decode: whether they are decoded, on all cores (only so a file that is cut
    off is found), or read by their headers. A record whose `meta["without"]` names "photo" has
    none by design (official PRIST): its photo and sizes are not checked; one that names "mask" may lack the
    region of its focus.

    Checked: a photo that is missing, or of another size than height x width; masks that are broken, empty or of another
    size; conversations without turns, roles out of order, no reply at the end, empty utterances, text that
    is not its content; region ids that are not 1, 2, ... in reading order, regions not named exactly
    once in their turn, or by another phrase; names of regions that neither their turn nor an earlier one has; unknown
    operators, kinds, splits; hops under 1; a focus that no standing step of the selection names; an id given twice; a
    photograph in two splits (two photos of one name are two, see `identity`).
    """
    seen: set[str] = set()
    names, split_of = Names(opened=photos), dict[tuple[str, str], str]()
    sized = decoded(records) if photos and decode else ((record, None) for record in records)
    for number, (record, size) in enumerate(sized):
        found = [*_head(record), *_photo(record, photos, size), *_turns(record), *_focus(record)]
        if record["id"] in seen:
            found.append(_fault("an id of its own", "one that an earlier record has"))
        seen.add(record["id"])
        known = names(record["source"], record["image_id"], record["image"], record.get("image_bytes"))
        first = split_of.setdefault((record["source"], known.id), record["split"])
        if first != record["split"]:
            got = f"photograph {record['image_id']!r} in {record['split']!r} and before in {first!r}"
            found.append(_fault("each photograph in one split", got))
        for fault in found:
            yield replace(fault, number=number, record=record["id"])


def canonical(record: Record) -> tuple[Record, list[str]]:
    """The record with every mask in the one run-length code that `core.masks` writes, and its faults by themselves.

    Other tools write the same mask in other ways (uncompressed, empty runs); faulty masks stay as they are.
    """
    turns = []
    for turn in record["turns"]:
        regions = [{**region, "rle": _recoded(region["rle"])} for region in turn["regions"]]
        turns.append({**turn, "regions": regions})
    clean: Any = {**record, "turns": turns}
    return clean, [str(fault) for fault in validate([clean])]


def _recoded(rle: RleRecord) -> RleRecord:
    try:
        again = encode_rle(decode_rle(dict(rle)))
    except InputError:
        return rle
    return {"size": list(again["size"]), "counts": again["counts"]}


def _fault(expected: str, got: str, turn: int | None = None, region: int | None = None) -> Fault:
    return Fault(-1, "", str(InputError(expected, got)), turn, region)


def _head(record: Record) -> Iterator[Fault]:
    for key in ("id", "image_id", "image"):
        if not record[key]:
            yield _fault(f'"{key}"', "an empty one")
    if record["kind"] not in KINDS:
        yield _fault(f"a kind of {', '.join(KINDS)}", repr(record["kind"]))
    if record["split"] not in (*SPLITS, ""):
        yield _fault(f"a split of {', '.join(SPLITS)}, or none", repr(record["split"]))
    if record["hops"] < 1:
        yield _fault("hops from 1", str(record["hops"]))


def _photo(record: Record, opened: bool, read: tuple[int, int] | InputError | None) -> Iterator[Fault]:
    """read: (H, W) of the decoded photo, or what is wrong with it; None = its header is asked."""
    if "photo" in without(record):
        return
    size = (record["height"], record["width"])
    if min(size) < 1:
        yield _fault("height and width from 1", f"{size[0]} and {size[1]}")
    if not opened:
        return
    try:
        if isinstance(read, InputError):
            raise read
        same_size("a photo as noted,", size, _size(record) if read is None else read)
    except InputError as error:
        yield _fault(error.expected, error.got)


def _turns(record: Record) -> Iterator[Fault]:
    turns = record["turns"]
    if not turns:
        yield _fault("a conversation", "no turns")
    expected_id = 1
    earlier: set[int] = set()
    for index, turn in enumerate(turns):
        if turn["role"] != ROLES[index % 2]:
            yield _fault(f"role {ROLES[index % 2]}", repr(turn["role"]), index)
        if not turn["text"].strip():
            yield _fault("words", "an empty utterance", index)
        yield from _content(turn, index)
        yield from _named(turn, index, earlier)
        earlier |= {region["id"] for region in turn["regions"]}
        for region in turn["regions"]:
            if region["id"] != expected_id:
                yield _fault(f"region id {expected_id}, in reading order", str(region["id"]), index, region["id"])
            expected_id += 1
            if region["operator"] not in OPERATORS:
                yield _fault(f"an operator of {', '.join(OPERATORS)}", repr(region["operator"]), index, region["id"])
            try:
                if not rle_area(dict(region["rle"])):
                    yield _fault("a mask with selected pixels", "an empty one", index, region["id"])
                if "photo" not in without(record):
                    height, width = region["rle"]["size"]
                    same_size("a mask", (record["height"], record["width"]), (height, width))
            except InputError as error:
                yield _fault(error.expected, error.got, index, region["id"])
    if turns and turns[-1]["role"] != "assistant":
        yield _fault("the assistant's reply at the end", f"the {turns[-1]['role']}'s turn", len(turns) - 1)


def _content(turn: TurnRecord, index: int) -> Iterator[Fault]:
    """Pieces that are known, and a text that says the same."""
    known = True
    for piece in turn["content"]:
        if piece["type"] not in PIECES:
            known = False
            yield _fault(f"pieces of {', '.join(PIECES)}", repr(piece["type"]), index)
        elif piece["type"] == "mark" and piece["text"] not in set(Operator):
            known = False
            yield _fault(f"marks of {', '.join(Operator)}", repr(piece["text"]), index)
    if turn["role"] not in ROLES or not known:
        return
    if turn["role"] == "user":
        only_words = [piece["type"] for piece in turn["content"]] == ["words"]
        if not only_words or turn["regions"]:
            yield _fault("a user's turn of words alone", _kinds_of(turn["content"], len(turn["regions"])), index)
            return
        said = turn["content"][0]["text"]
    else:
        said = turn_of({**turn, "regions": []}, index).text
    if said != turn["text"]:
        yield _fault(f"the text of its content, {said[:60]!r}", repr(turn["text"][:60]), index)


def _named(turn: TurnRecord, index: int, earlier: Collection[int]) -> Iterator[Fault]:
    """Each region of the turn is named once, by its own phrase; beside them only regions of earlier turns are."""
    phrases = {region["id"]: region["phrase"] for region in turn["regions"]}
    names = [piece for piece in turn["content"] if piece["type"] == "name"]
    for piece in names:
        if piece["region"] in earlier:
            if not piece["text"].strip():
                yield _fault("a phrase", "an empty one", index, piece["region"])
        elif piece["region"] not in phrases:
            yield _fault(
                "names of regions of this turn or an earlier one",
                f"region {piece['region']} ({piece['text']!r})",
                index,
            )
        elif piece["text"] != phrases[piece["region"]]:
            expected = f"the region's phrase {phrases[piece['region']]!r}"
            yield _fault(expected, repr(piece["text"]), index, piece["region"])
    for id_, phrase in phrases.items():
        times = sum(piece["region"] == id_ for piece in names)
        if times != 1:
            yield _fault("to be named once", f"{times} times", index, id_)
        if not phrase.strip():
            yield _fault("a phrase", "an empty one", index, id_)


def _focus(record: Record) -> Iterator[Fault]:
    """The focus is named by the last step of the selection that stands; an undo takes one step back."""
    focus = record["focus"]
    if not focus or ("mask" in without(record) and not any(turn["regions"] for turn in record["turns"])):
        return
    steps: list[list[str]] = []
    for turn in record["turns"]:
        marks = [piece["text"] for piece in turn["content"] if piece["type"] == "mark"]
        steps = steps[: max(len(steps) - marks.count(Operator.UNDO), 0)]
        named = names_of(turn)
        if named:
            steps.append(named)
        elif Operator.EXCEPT in marks and steps:  # inverted: what was named is what it is about
            steps.append(steps[-1])
    if not steps:
        yield _fault(f"a region for the focus {focus!r}", "none selected")
    elif focus not in steps[-1]:
        yield _fault(f"the focus {focus!r} in the last selection", ", ".join(map(repr, steps[-1])))


def names_of(turn: TurnRecord) -> list[str]:
    """The phrases that a reply names: of its own regions, and of earlier ones that are meant again."""
    if turn["role"] != "assistant":
        return [region["phrase"] for region in turn["regions"]]
    again = {piece["region"] for piece in turn["content"] if piece["type"] == "name"}
    again -= {region["id"] for region in turn["regions"]}
    named = [piece["text"] for piece in turn["content"] if piece["type"] == "name" and piece["region"] in again]
    return [region["phrase"] for region in turn["regions"]] + named


def without(record: Record) -> tuple[str, ...]:
    """What the source does not hold: "photo", "mask"."""
    lacking = record["meta"].get("without", ())
    return tuple(lacking) if isinstance(lacking, (list, tuple)) else ()


def _size(record: Record) -> tuple[int, int]:
    """(H, W) of the photo as a person sees it."""
    content = record.get("image_bytes")
    return _size_of_file(record["image"]) if content is None else core_photo.photo_size(content)


@lru_cache(maxsize=256)
def _size_of_file(path: str) -> tuple[int, int]:
    return photo_size(Path(path))


def _kinds_of(content: list[PieceRecord], regions: int) -> str:
    kinds = ", ".join(piece["type"] for piece in content) or "nothing"
    return f"{kinds}; {regions} regions"
