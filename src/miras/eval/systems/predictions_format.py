"""How predictions of other software are written down, and the questions that they answer.

In: lines of predictions.jsonl, PNG files, records. Out: `Prediction` values with masks that are read when they are
asked for; predictions.jsonl and questions.jsonl, written. What cannot be read raises InputError; who counts that
stands in `predictions`. Knows no figure and no model. The format in words: docs/evaluation.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miras.core.errors import InputError
from miras.core.files import staged
from miras.core.masks import decode_rle, encode_rle, mask_of_picture, rle_area
from miras.core.selection import follow
from miras.core.types import Mask, Name, Operator, Rle
from miras.data.record import Record, turn_of
from miras.eval.protocol import History, operator_wanted
from miras.eval.runs.hold import alone_question

FILE, META, QUESTIONS = "predictions.jsonl", "meta.json", "questions.jsonl"
PHOTOS = "photos"
"""Folder beside questions.jsonl for photos that are embedded in the data."""
HISTORIES: tuple[History, ...] = ("own", "gold", "alone")
_KEYS = frozenset({"record", "turn", "history", "text", "masks", "selection", "operator", "refused", "seconds", "meta"})
_SHAPE_KEYS = frozenset({"phrase", "score", "rle", "png"})


@dataclass(frozen=True, slots=True)
class Shape:
    """A mask that is not read yet: run lengths, or a PNG file. score: as given, any number."""

    rle: Rle | None = None
    png: Path | None = None
    phrase: str = ""
    score: float | None = None

    def size(self) -> tuple[int, int]:
        """(H, W), without reading the pixels. Raises InputError."""
        if self.rle is not None:
            try:
                height, width = self.rle["size"]
                return int(height), int(width)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError('run lengths {"size": [H, W], "counts": ...}', str(self.rle)[:60]) from error
        with self._opened() as image:
            return image.height, image.width

    def check(self) -> None:
        """Raises InputError for run lengths that do not fill their size, and for PNGs that are damaged or no mask."""
        self.size()
        if self.rle is not None:
            rle_area(self.rle)
        else:
            self.mask()

    def mask(self) -> Mask:
        """(H, W) bool; what of a PNG is a mask says `masks.mask_of_picture`. Raises InputError."""
        if self.rle is not None:
            return decode_rle(self.rle)
        try:
            with self._opened() as image:
                return mask_of_picture(image, f"a mask in {self.png}")
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"a whole PNG at {self.png}", str(error)) from error

    def _opened(self) -> Image.Image:
        if self.png is None:
            raise InputError("run lengths or the path of a PNG", "neither")
        try:
            return Image.open(self.png, formats=["PNG"])
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            got = "no file" if isinstance(error, FileNotFoundError) else type(error).__name__
            raise InputError(f"a PNG at {self.png}", got) from error


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. turn: which exchange, from 1. history: "" = stands for own and for gold.

    masks: what the reply names. selection: what is selected after it; without it the operator is carried out on what
    was selected before.
    """

    record: str
    turn: int
    history: str = ""
    text: str = ""
    masks: tuple[Shape, ...] = ()
    selection: Shape | None = None
    operator: Operator | None = None
    refused: bool = False
    seconds: float = 0.0

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All of its masks."""
        return self.masks if self.selection is None else (*self.masks, self.selection)

    @property
    def score(self) -> float | None:
        """Mean score of what it names; a score that is none (NaN, outside 0..1) is not averaged, it is given back."""
        named = self.masks if any(shape.score is not None for shape in self.masks) else self.shapes
        scores = [shape.score for shape in named if shape.score is not None]
        wrong = [score for score in scores if not 0 <= score <= 1]
        return wrong[0] if wrong else sum(scores) / len(scores) if scores else None


# Reading


def place_of(line: Any) -> tuple[str, str, int]:
    """(record, history, turn) of a line. Raises InputError; everything else about the line may be wrong."""
    if not isinstance(line, dict):
        raise InputError("a JSON object", repr(line)[:60])
    record, turn, history = line.get("record"), line.get("turn"), line.get("history") or ""
    if not isinstance(record, str) or not record:
        raise InputError('the id of a record in "record"', repr(record)[:60])
    if history not in ("", *HISTORIES):
        raise InputError(f'"history" of {", ".join(HISTORIES)}', repr(history)[:60])
    if history == "alone":
        return record, "alone", 0
    if isinstance(turn, bool) or not isinstance(turn, int) or turn < 1:
        raise InputError('"turn", a whole number from 1', repr(turn)[:60])
    return record, history, turn


def parse(line: Any, folder: Path = Path()) -> Prediction:
    """The prediction of a line's object. folder: where its PNG files lie. Raises InputError."""
    record, history, turn = place_of(line)
    unknown = sorted(set(line) - _KEYS)
    if unknown:
        raise InputError(f"keys {', '.join(sorted(_KEYS))}", ", ".join(map(repr, unknown))[:80], 'put more into "meta"')
    masks = line.get("masks") or []
    if not isinstance(masks, list):
        raise InputError('a list in "masks"', repr(masks)[:60])
    shapes = tuple(_shape(mask, folder) for mask in masks)
    selection = line.get("selection")
    refused = _typed(line, "refused", bool, False)
    operator = _operator(line.get("operator"), bool(shapes) or selection is not None, refused)
    if refused and shapes:
        raise InputError("a refusal, or masks", "both")
    return Prediction(
        record, turn, history, _typed(line, "text", str, ""), shapes,
        None if selection is None else _shape(selection, folder), operator, refused or operator is Operator.REJECT,
        float(_typed(line, "seconds", (int, float), 0.0)),
    )  # fmt: skip


def _operator(given: Any, names: bool, refused: bool) -> Operator | None:
    """As given; without one a reply refuses, replaces what is selected, or only speaks."""
    if given is None:
        return Operator.REJECT if refused else Operator.REPLACE if names else None
    try:
        operator = Operator(given)
    except ValueError as error:
        raise InputError(f'"operator" of {", ".join(Operator)}', repr(given)[:60]) from error
    if refused and operator is not Operator.REJECT:
        raise InputError("the operator reject of a refusal", repr(given))
    return operator


def _shape(value: Any, folder: Path) -> Shape:
    if not isinstance(value, dict) or ("rle" in value) == ("png" in value) or set(value) - _SHAPE_KEYS:
        raise InputError('a mask {"rle": ...} or {"png": ...}, with "phrase" and "score" where known', repr(value)[:80])
    phrase, score = _typed(value, "phrase", str, ""), _typed(value, "score", (int, float), None)
    if "rle" in value:
        return Shape(_typed(value, "rle", dict, None), None, phrase, score)
    name = _typed(value, "png", str, "")
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError("the path of a PNG inside the folder of predictions", repr(name)[:80])
    return Shape(None, path, phrase, score)


def _typed(line: Mapping[str, Any], key: str, kind: Any, default: Any) -> Any:
    value = line.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f'"{key}" of another type', repr(value)[:60])
    return value


# Writing


def write(folder: Path, rows: Iterable[Mapping[str, Any]], **meta: Any) -> Path:
    """Write predictions.jsonl and meta.json; return the first.

    rows: lines as objects; a mask may stand as {"mask": (H, W) array} instead of "rle" or "png". meta: `name`, how it
    was `made`, anything plain. Raises InputError for a row that could not be read again, and when there is no room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if meta:
            (folder / META).write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return _lines(folder / FILE, (_checked(row, folder) for row in rows))
    except OSError as error:
        raise InputError(f"to write {folder}", error.strerror or str(error)) from error


def _checked(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    line = dict(row)
    if line.get("masks"):
        line["masks"] = [_encoded(mask) for mask in line["masks"]]
    if line.get("selection") is not None:
        line["selection"] = _encoded(line["selection"])
    for shape in parse(line, folder).shapes:
        shape.check()
    return line


def _encoded(mask: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in mask.items() if key != "mask"},
            **({"rle": encode_rle(np.asarray(mask["mask"]))} if "mask" in mask else {})}  # fmt: skip


def questions(records: Iterable[Record], file: Path, *, history: History = "own", alone: bool = True) -> int:
    """Write what a system is asked, a line for each turn; return how many.

    history: "own": `before` holds the earlier messages, the replies are the system's own; "gold": the data's replies
    and selections stand there too. alone: also the final target of progressive conversations, asked by itself.
    Photos embedded in the data are written beside the file. Raises InputError.
    """
    if history not in ("own", "gold"):
        raise InputError("a history of own, gold", repr(history))
    count = 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal count
        for record in records:
            for line in _questions(record, file.parent, history, alone):
                count += 1
                yield line

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _lines(file, lines())
    except OSError as error:
        raise InputError(f"to write {file}", error.strerror or str(error)) from error
    return count


def _questions(record: Record, folder: Path, history: History, alone: bool) -> Iterator[dict[str, Any]]:
    said = [turn["text"] for turn in record["turns"][::2]]
    common = {"record": record["id"], "photo": _photo(record, folder), "size": [record["height"], record["width"]],
              "turns": len(said)}  # fmt: skip
    before: list[dict[str, Any]] = []
    golds = (
        [turn_of(record["turns"][place], place) for place in range(1, 2 * len(said), 2)] if history == "gold" else []
    )
    after = list(follow(golds))
    for turn, text in enumerate(said, 1):
        yield {**common, "turn": turn, "history": history, "user": text, "before": list(before)}
        exchange: dict[str, Any] = {"user": text}
        if history == "gold":
            gold, steps = after[turn - 1]
            exchange |= {"text": gold.text, "operator": operator_wanted(gold),
                         "phrases": [piece.phrase for piece in gold.content if isinstance(piece, Name)],
                         "selection": encode_rle(steps[-1].mask) if steps else None}  # fmt: skip
        before.append(exchange)
    question = alone_question(record) if alone else None
    if question is not None:
        yield {**common, "turn": len(said), "history": "alone", "user": question, "before": []}


def _photo(record: Record, folder: Path) -> str:
    """Where the photo lies; an embedded one is written first."""
    content = record.get("image_bytes")
    if not content:
        return Path(record["image"]).absolute().as_posix()
    name = hashlib.sha256(content).hexdigest()[:16] + Path(record["image"]).suffix
    path = folder / PHOTOS / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return f"{PHOTOS}/{name}"


def _lines(file: Path, values: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON lines, whole or not at all."""
    with staged(file) as part, part.open("w", encoding="utf-8") as lines:
        for value in values:
            try:
                lines.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
            except (TypeError, ValueError) as error:
                raise InputError("plain values, numbers among them finite", str(error)) from error
    return file
