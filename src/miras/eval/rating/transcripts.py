"""The conversations of a run, as a judge gets them: in words, and as photos with the selections outlined.

In: the folder of a run (samples.jsonl). Out: `Transcript` values; their text; the pictures to draw for them. What
cannot be judged (faults of the data, a conversation that was cut off) is left out and named. Knows no judge and
no score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.masks import box_of, decode_rle
from miras.core.photo import read_photo
from miras.core.types import Region, Rle
from miras.eval.runs import samples
from miras.eval.runs.samples import Row

NAMES = "AB"
MOST_DRAWN = 6
"""Turns of one conversation that get a picture; the last ones, where there are more."""
DRAWING = 1
"""Version of the drawing: a part of what decides a judge's answer."""


@dataclass(frozen=True, eq=False)
class Transcript:
    """One conversation of run "A" or "B": its rows in order, own history."""

    run: str
    rows: tuple[Row, ...]

    @property
    def record(self) -> str:
        """Its id in the data."""
        return self.rows[0].record

    @property
    def cluster(self) -> str:
        """The photograph: the unit of resampling when intervals are made."""
        return self.rows[0].cluster

    @property
    def said(self) -> tuple[str, ...]:
        """What the person says."""
        return tuple(row.user for row in self.rows)

    @property
    def drawn(self) -> tuple[Row, ...]:
        """The turns that get a picture: those that leave something selected, other than before."""
        return tuple(row for row, changed in changes(self.rows) if changed and row.has_mask)[-MOST_DRAWN:]


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is judged. left_out: conversations that are not, each with why. digest: of its samples."""

    name: str
    folder: Path
    model: str
    digest: str
    transcripts: tuple[Transcript, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A picture to draw: the photo; where `rle` is given, with that selection outlined. digest: of the photo's file."""

    photo: Path
    digest: str
    label: str = ""
    rle: str | None = None
    size: tuple[int, int] = (0, 0)

    def draw(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of the photo's own size. Raises InputError."""
        pixels = _photo(self.photo)
        if self.rle is None:
            return pixels
        from miras.chat.render import overlay

        mask = decode_rle({"size": list(self.size), "counts": self.rle})
        return overlay(pixels, [Region(1, self.label, mask, 1)], labels=False)

    @property
    def facts(self) -> list[object]:
        """What decides the picture, the photo by content."""
        return [DRAWING, self.digest, self.rle]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """One run, or two of the same conversations. Raises InputError for what is no run, or runs of other data."""
    if not 1 <= len(folders) <= 2:
        raise InputError("one run, or two to compare", str(len(folders)))
    runs = [_read_run(name, folder) for name, folder in zip(NAMES, folders, strict=False)]
    if len(runs) == 2:
        first, second = ({transcript.record: transcript for transcript in run.transcripts} for run in runs)
        if not set(first) & set(second):
            raise InputError("two runs of the same data", "no conversation in common", "evaluate both on one dataset")
        for record in sorted(set(first) & set(second)):
            one, two = first[record], second[record]
            if one.said != two.said or one.cluster != two.cluster:
                raise InputError(
                    "two runs of the same data", f"{record} with other messages or another photo in {runs[1].folder}",
                    "evaluate both on one dataset",
                )  # fmt: skip
    return runs


def _read_run(name: str, folder: Path) -> Run:
    rows = samples.read(folder / samples.FILE)
    transcripts: list[Transcript] = []
    left_out: list[str] = []
    for record, held in _by_record(rows):
        fault = _fault(held)
        if fault:
            left_out.append(f"{name}: {record}: {fault}")
        else:
            transcripts.append(Transcript(name, tuple(held)))
    if not transcripts:
        raise InputError(f"conversations to judge in {folder}", f"none of {len(left_out)}", "; ".join(left_out[:3]))
    models = sorted({transcript.rows[0].model for transcript in transcripts})
    digest = hashlib.sha256("".join(map(samples.line, rows)).encode()).hexdigest()[:16]
    return Run(name, folder, ", ".join(models), digest, tuple(transcripts), tuple(left_out))


def _by_record(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The conversations in order, "alone" left out. Raises InputError for gold history."""
    held: dict[str, list[Row]] = {}
    for row in rows:
        if row.history == "gold":
            raise InputError(
                "a run with its own history", "gold history, where its replies never stood together",
                "run miras eval with --history own",
            )  # fmt: skip
        if row.history == "own":
            held.setdefault(row.record, []).append(row)
    for record, found in held.items():
        yield record, sorted(found, key=lambda row: row.turn)


def _fault(rows: Sequence[Row]) -> str:
    """Why a conversation cannot be judged, "" when it can."""
    if any(row.blame == "data" for row in rows):
        return next(row.fault or "" for row in rows if row.blame == "data")
    if [row.turn for row in rows] != list(range(1, rows[0].turns + 1)):
        return f"{len(rows)} of {rows[0].turns} turns, the run was cut off"
    return ""


# In words


def text_of(transcript: Transcript, first_picture: int | None) -> str:
    """The conversation, a block a turn, with what was selected and what the data's author meant.

    first_picture: number of the picture of its first drawn turn; None = no pictures: selections are told in words,
    with how far they meet what is meant.
    """
    drawn = [row.turn for row in transcript.drawn]
    blocks = []
    for row, changed in changes(transcript.rows):
        if not row.has_mask:
            selected = "nothing"
        elif not changed:
            selected = "the same as before"
        elif first_picture is not None and row.turn in drawn:
            selected = f"see picture {first_picture + drawn.index(row.turn)}"
        else:
            selected = _place(row)
        if first_picture is None and changed:
            selected += _met(row)
        answer = f'"{_line(row.text)}"' if row.text.strip() else "(no answer)"
        meant = meant_by(row)
        blocks.append(
            f'{row.turn}. Person: "{_line(row.user)}"\n   Assistant: {answer}\n   Selected then: {selected}'
            + (f"\n   Meant was: {meant}" if meant else "")
        )
    return "\n".join(blocks)


def seen_text(transcripts: Sequence[Transcript], pictures: Sequence[Picture]) -> str:
    """What the judge sees of the photo: which picture is what; or, without pictures, what is known of it."""
    meant = "What was meant, as the author of the conversation noted it, was not told to the assistant."
    if not pictures:
        height, width = transcripts[0].rows[0].size
        names = dict.fromkeys(row.phrase for transcript in transcripts for row in transcript.rows if row.phrase)
        known = f"Sure to be in it: {'; '.join(map(_line, names))}." if names else "Nothing else is known of it."
        return (
            f"You cannot see the photo. It is {width} x {height} pixels (width x height). {known} Selections are given "
            f"as shares and places; their overlap with what was meant was measured, rely on it. {meant}"
        )
    lines = [f"Picture {number}: {picture.label}." for number, picture in enumerate(pictures, 1)]
    drawn = "What is selected is tinted and outlined, the rest is darker." if len(pictures) > 1 else ""
    return "\n".join([*lines, " ".join(filter(None, (drawn, meant)))])


def pictures_of(transcripts: Sequence[Transcript]) -> tuple[Picture, ...]:
    """The photo, then each drawn turn of the talks in their order. Raises InputError for a missing photo."""
    path = Path(transcripts[0].rows[0].image)
    digest = _digest(path)
    found = [Picture(path, digest, "the photo")]
    for number, transcript in enumerate(transcripts):
        whose = f" of the {('first', 'second')[number]} conversation" if len(transcripts) > 1 else ""
        for row in transcript.drawn:
            rle: Rle = row.rle or {"counts": ""}
            label = f"selected after turn {row.turn}{whose}"
            found.append(Picture(path, digest, label, str(rle["counts"]), row.size))
    return tuple(found)


def changes(rows: Sequence[Row]) -> Iterator[tuple[Row, bool]]:
    """Each row, and whether something else is selected than before."""
    before: str | None = None
    for row in rows:
        now = str(row.rle["counts"]) if row.rle is not None and row.has_mask else None
        yield row, now != before
        before = now


def _place(row: Row) -> str:
    if row.rle is None:
        return "nothing"
    mask = decode_rle(dict(row.rle))
    box = box_of(mask)
    if box is None:
        return "nothing"
    height, width = mask.shape
    left, top, right, bottom = (round(100 * value / side) for value, side in zip(box, (width, height) * 2, strict=True))
    return (
        f"{100 * mask.mean():.1f}% of the photo; from {left}% to {right}% of its width, counted from the left, "
        f"and from {top}% to {bottom}% of its height, counted from the top"
    )


def _met(row: Row) -> str:
    """How far the selection and what is meant overlap, where that was measured."""
    if not row.gold or row.intersection is None or not row.predicted:
        return ""
    covered, right = 100 * row.intersection / row.gold, 100 * row.intersection / row.predicted
    return f" (it covers {covered:.0f}% of what was meant; {right:.0f}% of it was meant)"


def meant_by(row: Row) -> str:
    """What a message asks for, in words; empty when it asks for nothing in the photo."""
    if row.refused_wanted:
        return "to be told that this is not in the photo"
    if row.operator_wanted == "undo":
        return "to go one step back"
    doing = {"add": "to add ", "cut": "to take away "}.get(row.operator_wanted or "", "")
    return f'{doing}"{_line(row.phrase)}"' if row.phrase else ""


def _line(text: str) -> str:
    """On one line, so that no text looks like another turn."""
    return " ".join(text.split())


@lru_cache(maxsize=4)
def _photo(path: Path) -> NDArray[np.uint8]:
    return read_photo(path)


@lru_cache(maxsize=4096)
def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"the photo {path}", error.strerror or str(error), "or judge without photos") from error
