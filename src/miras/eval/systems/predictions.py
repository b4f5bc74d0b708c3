"""A folder of predictions as a system: whoever wrote the answers down can be scored, whatever made them.

In: predictions.jsonl, or PNG files `<record>/<turn>.png`; beside either, meta.json. Out: a `System` that looks its
answers up by record and turn; a report of what is missing, unknown, given twice or broken. Such turns count as no
mask (IoU 0) and are named. Knows no model and no figure; the format stands in `predictions_format`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import Size
from miras.core.photo import read_photo
from miras.core.selection import Steps, advance
from miras.core.text import read_text
from miras.core.types import Mark, Mask, Name, Operator, Piece, Region, Selection, Turn
from miras.data.io.checks import is_hidden
from miras.data.record import Record
from miras.eval.protocol import Answer, History
from miras.eval.runs.hold import alone_question
from miras.eval.systems.predictions_format import FILE, META, Prediction, Shape, parse, place_of

SHOWN = 20
Place = tuple[str, str, int]
"""(record, history or "", turn); turn 0 for what is asked alone."""


class Predictions:
    """Answers from a folder. others: ids that the data has beside those asked, which are not unknown then."""

    def __init__(self, folder: Path, *, others: Collection[str] = ()) -> None:
        """Raises InputError for a folder without predictions, and a meta.json that is none."""
        self.folder, self._others = folder, frozenset(others)
        self._held: dict[Place, list[Prediction | str]] = {}
        self._unplaced: list[str] = []
        self._sizes: dict[str, Size] = {}
        self.meta = _meta(folder)
        if (folder / FILE).is_file():
            self._read_lines()
        elif folder.is_dir():
            self._read_pictures()
        if not self._held and not self._unplaced:
            raise InputError(f"{FILE}, or PNG files RECORD/TURN.png, in {folder}", "neither", "see docs/evaluation.md")

    @property
    def name(self) -> str:
        """As meta.json has it, or the folder's."""
        return str(self.meta.get("name") or self.folder.resolve().name)

    def facts(self) -> dict[str, Any]:
        """A digest of every prediction, and meta.json."""
        digest = hashlib.sha256()
        for file in sorted((*self.folder.glob(FILE), *self.folder.rglob("*.png"))):
            digest.update(file.relative_to(self.folder).as_posix().encode() + file.read_bytes())
        return {"predictions": digest.hexdigest()[:16], "meta": self.meta}

    @property
    def trained_on(self) -> str:
        """As meta.json has it."""
        return str(self.meta.get("trained_on", ""))

    @property
    def alone(self) -> bool:
        """Whether final targets were asked alone, too."""
        return any(history == "alone" for _, history, _ in self._held)

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> PredictedDialogue:
        """The conversation of a record. The photo is looked at only where `prepare` did not tell its size."""
        size = self._sizes.get(record)
        return PredictedDialogue(self, record, history, read_photo(photo).shape[:2] if size is None else size)

    def prepare(self, chosen: Sequence[Record], history: History) -> dict[str, Any]:
        """What of the folder fits what will be asked; all faults are found here, whenever they are asked for.

        `answered` of `asked` turns; `missing` (no answer), `twice` (more than one: none counts), `broken` (cannot be
        read), `other_size` (than the photo) count as IoU 0; of `bad_scores` only the score does not count. `unknown`:
        answers to what the data does not ask, `unplaced`: lines without a record and a turn, `not_asked`: answers to
        other splits, histories, or beyond the limit. Raises InputError when not one asked turn has an answer.
        """
        self._sizes |= {record["id"]: (record["height"], record["width"]) for record in chosen}
        asked = _asked(chosen, history, self.alone)
        found: dict[str, list[str]] = {name: [] for name in ("missing", "twice", "broken", "other_size", "bad_scores")}
        for place in asked:
            for fault, why in self._faults(place):
                found[fault].append(why)
        if len(found["missing"]) == len(asked):
            got = f"none for {len(asked)} turns, such as {_said(asked[0])}"
            held = f"; it has {_said(next(iter(self._held)))}" if self._held else f"; {self._unplaced[0]}"
            raise InputError(f"predictions of {history} history in {self.folder}", got + held)
        known = {place[0]: 0 for place in asked}
        for record in chosen:
            known[record["id"]] = len(record["turns"]) // 2
        unknown = [_said(place) for place in self._held if not self._known(place, known)]
        used = {held for place in asked for held in _places(place)}
        found = {**found, "unknown": unknown, "unplaced": self._unplaced}
        bad = len(found["missing"]) + len(found["twice"]) + len(found["broken"]) + len(found["other_size"])
        return {
            "asked": len(asked), "answered": len(asked) - bad, "alone": self.alone,
            "not_asked": len([place for place in self._held if place not in used]) - len(unknown),
            **{name: {"n": len(lines), **({"named": lines[:SHOWN]} if lines else {})} for name, lines in found.items()},
        }  # fmt: skip

    def find(self, record: str, history: str, turn: int) -> Prediction:
        """The answer to a turn. Raises InputError when there is none, more than one, or one that cannot be read."""
        place = (record, history, 0 if history == "alone" else turn)
        held = [one for key in _places(place) for one in self._held.get(key, ())]
        if len(held) != 1:
            raise InputError(f"one prediction for {_said(place)}", "none" if not held else str(len(held)))
        if isinstance(held[0], str):
            raise InputError(f"a prediction for {_said(place)} that can be read", held[0])
        return held[0]

    # Within

    def _faults(self, place: Place) -> list[tuple[str, str]]:
        """What is wrong with a turn's answer, by kind and in words."""
        held = [one for key in _places(place) for one in self._held.get(key, ())]
        if len(held) != 1:
            return [("twice" if held else "missing", _said(place))]
        (one,) = held
        try:
            if isinstance(one, str):
                raise InputError("a prediction", one)
            for shape in one.shapes:
                if shape.rle is not None or shape.size() == self._sizes[place[0]]:  # others are never decoded
                    shape.check()
            sizes = {shape.size() for shape in one.shapes}
        except InputError as error:
            return [("broken", f"{_said(place)}: {one if isinstance(one, str) else error}")]
        wrong = sizes - {self._sizes[place[0]]}
        found = [("other_size", f"{_said(place)}: {size}, not {self._sizes[place[0]]}") for size in sorted(wrong)[:1]]
        if one.score is not None and not 0 <= one.score <= 1:
            found.append(("bad_scores", f"{_said(place)}: {one.score}"))
        return found

    def _known(self, place: Place, turns: Mapping[str, int]) -> bool:
        record, history, turn = place
        if record not in turns:
            return record in self._others
        return history == "alone" or turn <= turns[record]

    def _read_lines(self) -> None:
        file = self.folder / FILE
        try:
            lines = read_text(file).split("\n")
        except OSError as error:
            raise InputError(f"lines of JSON, UTF-8, in {file}", str(error)) from error
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
                place = place_of(line)
            except (ValueError, RecursionError, InputError) as error:
                self._unplaced.append(f"line {number}: {error}")
                continue
            if self.meta.get("history") and not place[1]:
                place = (place[0], self.meta["history"], place[2])
            try:
                self._held.setdefault(place, []).append(parse(line, self.folder))
            except InputError as error:
                self._held.setdefault(place, []).append(f"line {number}: {error}")

    def _read_pictures(self) -> None:
        """RECORD/TURN.png, RECORD/alone.png: what is selected after each turn; no words, operators or refusals."""
        for file in sorted(self.folder.rglob("*.png")):
            inner = file.relative_to(self.folder)
            if any(is_hidden(Path(part)) for part in inner.parts):
                continue
            record, stem = inner.parent.as_posix(), file.stem
            if record == "." or not (stem == "alone" or (stem.isascii() and stem.isdigit() and int(stem) > 0)):
                self._unplaced.append(f"{inner.as_posix()}: not RECORD/TURN.png")
                continue
            turn, history = (0, "alone") if stem == "alone" else (int(stem), self.meta.get("history", ""))
            answer = Prediction(record, turn, history, selection=Shape(png=file), operator=Operator.REPLACE)
            self._held.setdefault((record, history, turn), []).append(answer)


class PredictedDialogue:
    """A conversation whose answers are looked up; what was said is not heard."""

    def __init__(
        self, folder: Predictions, record: str, history: History, size: Size, said: int = 0, steps: Steps = ()
    ) -> None:
        self._folder, self._record, self._history = folder, record, history
        self._size, self._said, self._steps = size, said, steps

    def ask(self, text: str) -> Answer:
        """The next turn's answer; a mask of another size than the photo is given back as it is, nothing is selected
        by it. Raises InputError for an answer that is missing, given twice or broken.
        """
        self._said += 1
        found = self._folder.find(self._record, self._history, self._said)
        plain: dict[str, Any] = {
            "operator": found.operator, "refused": found.refused, "score": found.score, "seconds": found.seconds
        }  # fmt: skip
        for shape in found.shapes:
            if shape.size() != self._size:  # never decoded: it may be of any size
                return Answer(found.text, np.broadcast_to(np.False_, shape.size()), **plain)
        regions = tuple(
            Region(number, shape.phrase, shape.mask(), 2 * self._said - 1, score=shape.score)
            for number, shape in enumerate(found.masks, 1)
        )
        selection = None if found.selection is None else found.selection.mask()
        self._steps = _after(self._steps, found.operator, regions, selection)
        current = self._steps[-1] if self._steps else None
        return Answer(found.text, current.mask if current and current.expression else None, regions, **plain)

    def append_exchange(self, user: str, gold: Turn) -> None:
        """The data's reply: what it selects is selected."""
        self._said, self._steps = self._said + 1, advance(self._steps, gold)

    def fork(self) -> PredictedDialogue:
        """A conversation with the same past."""
        return PredictedDialogue(self._folder, self._record, self._history, self._size, self._said, self._steps)


def _after(steps: Steps, operator: Operator | None, regions: tuple[Region, ...], selection: Mask | None) -> Steps:
    """The steps after an answer: its selection as given, else its operator carried out."""
    if selection is not None:
        kept = steps[:-2] if operator is Operator.UNDO else steps
        return (*kept, Selection(selection, "given"))
    marks: tuple[Piece, ...] = () if operator in (None, Operator.REPLACE) else (Mark(Operator(operator)),)
    names = tuple(Name(region.phrase, region.id) for region in regions)
    return advance(steps, Turn("assistant", (*marks, *names), regions))


def _asked(chosen: Sequence[Record], history: str, alone: bool) -> list[Place]:
    found: list[Place] = []
    for record in chosen:
        found += [(record["id"], history, turn) for turn in range(1, len(record["turns"]) // 2 + 1)]
        if alone and alone_question(record) is not None:
            found.append((record["id"], "alone", 0))
    return found


def _places(place: Place) -> tuple[Place, ...]:
    """Where an answer may stand: with its history, or for either."""
    record, history, turn = place
    return (place,) if history == "alone" else (place, (record, "", turn))


def _said(place: Place) -> str:
    record, history, turn = place
    return f"{record}, alone" if history == "alone" else f"{record}, turn {turn}"


def _meta(folder: Path) -> dict[str, Any]:
    file = folder / META
    if not file.is_file():
        return {}
    try:
        meta = json.loads(read_text(file))
        json.dumps(meta, allow_nan=False)
    except (ValueError, OSError) as error:
        raise InputError(f"a JSON object in {file}", str(error)) from error
    if not isinstance(meta, dict) or meta.get("history") not in (None, "", "own", "gold"):
        raise InputError(f'a JSON object with "history" own or gold, or none, in {file}', repr(meta)[:80])
    return meta
