"""What a reader leaves out, and why: counted, named, and said in one line.

In: what was read, and what was not. Out: `LeftOut`, given to a reader as its `on_fault`. Of each unit that a format
has (annotations, shapes, photos, ...) what was read and what was left out are together what the file holds. Knows
no format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto

SHOWN = 8
"""Reasons that one line names."""
_FAULTY = "{} with faults"


class Reason(TypedDict):
    """Why something was left out. count: of `unit`; first: the first one, by its name."""

    reason: str
    count: int
    first: str
    unit: str


class Omitted(Exception):
    """Raised inside `checks.Faults.of`: what is read there is left out on purpose, and is no fault. str: the reason."""


class LeftOut:
    """The tally of one command. Called with one line a fault, as every `on_fault` is, and hands it on.

    Without `on_fault` faults are raised as if there were no tally.
    """

    def __init__(self, on_fault: Callable[[str], None] | None = None) -> None:
        """on_fault: gets each fault as one line."""
        self.on_fault = on_fault
        self.faults = 0
        self.read: Counter[str] = Counter()
        self._left: dict[tuple[str, str], Reason] = {}

    @staticmethod
    def of(on_fault: Callable[[str], None] | None) -> LeftOut:
        """The tally that was given as `on_fault`, or one that nobody asks."""
        return on_fault if isinstance(on_fault, LeftOut) else LeftOut(on_fault)

    def __call__(self, fault: str) -> None:
        """One record with a fault. Raises InputError where nobody takes faults."""
        if self.on_fault is None:
            raise InputError("data without faults", fault)
        self.fault(fault)

    def fault(
        self, line: str, unit: str = "records", count: int = 1, was_read: bool = False, first: str = ""
    ) -> None:  # fmt: skip
        """A fault, for which `count` of `unit` are left out; of nothing, it is a record's. first: see `leave`."""
        self.faults += 1
        line = _plain(line)
        unit, count = (unit, count) if count else ("records", 1)
        self.leave(unit, _FAULTY.format(unit), first or line, count, was_read)
        if self.on_fault is not None:
            self.on_fault(line)

    def faulty(self, lines: Sequence[str], unit: str) -> None:
        """One of `unit` with all its faults."""
        self.leave(unit, _FAULTY.format(unit), lines[0])
        self.faults += len(lines)
        if self.on_fault is not None:
            for line in lines:
                self.on_fault(line)

    def leave(self, unit: str, reason: str, first: str, count: int = 1, was_read: bool = False) -> None:
        """Leave out `count` of `unit`. first: the name of this one. was_read: they were counted as read before."""
        if not count:
            return
        if was_read:
            self.read[unit] -= count
        entry: Reason = {"reason": _plain(reason), "count": 0, "first": _plain(first), "unit": unit}
        kept = self._left.setdefault((unit, reason), entry)
        kept["count"] += count

    def add(self, other: LeftOut) -> None:
        """Take over what another tally counted."""
        self.faults += other.faults
        self.read.update(other.read)
        for entry in other.to_list():
            self.leave(entry["unit"], entry["reason"], entry["first"], entry["count"])

    def explained(self, error: InputError) -> InputError:
        """An error, with what was left out: why there is nothing to work on."""
        return InputError(error.expected, error.got, "; ".join(filter(None, (error.cure, self.line()))))

    def total(self, unit: str) -> int:
        """How many of a unit there were: read and left out."""
        return self.read[unit] + sum(entry["count"] for entry in self._left.values() if entry["unit"] == unit)

    def to_list(self) -> list[Reason]:
        """Every reason with its count and the first thing, in the order of their coming."""
        return [entry.copy() for entry in self._left.values()]

    def to_dict(self) -> dict[str, object]:
        """ "read" (unit -> count) and "left_out", for JSON."""
        return {"read": {unit: count for unit, count in self.read.items() if count}, "left_out": self.to_list()}

    def line(self, faults: bool = True) -> str:
        """See `line`. faults: also what has faults, where these are not told one by one."""
        return line([e for e in self.to_list() if faults or e["reason"] != _FAULTY.format(e["unit"])])


def line(reasons: Sequence[Reason]) -> str:
    """ "left out: shapes of the kind line: 2 (first: a.json, shape 0); ...", or "" when nothing is."""
    told = [f"{e['reason']}: {e['count']:,} (first: {_short(e['first'])})" for e in reasons]
    if len(told) > SHOWN:
        told[SHOWN:] = [f"{len(told) - SHOWN} more reasons (--json names all)"]
    return f"left out: {'; '.join(told)}" if told else ""


def _plain(text: str) -> str:
    """As it can be printed: a file may hold halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 100 else f"{plain[:97]}..."


def count_bare(photos: Iterable[AnnotatedPhoto], on_fault: Callable[[str], None] | None) -> None:
    """Photos that give no record are left out."""
    for photo in photos:
        if not photo.annotations:
            LeftOut.of(on_fault).leave("photos", "photos without annotations", photo.path.name, was_read=True)
