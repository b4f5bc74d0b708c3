"""One door to every format: records in, records out, and what a format cannot hold.

In: a path and the name of a format. Out: `Record` values; or files, and a `Report`. The formats are in the
registry, each in files of its own, loaded when used.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.data.formats.format import Format, Signs, Writer
from miras.data.formats.guess import guess_format
from miras.data.formats.registry import FORMATS, known
from miras.data.io.checks import OnFault
from miras.data.io.gather import Album, Losses, Photos, Picture, gather
from miras.data.photos.carry import Carrier
from miras.data.photos.identity import named
from miras.data.record import Record, regions_of

__all__ = ["FORMATS", "Format", "Report", "Signs", "guess_format", "read_records", "write_records"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was written. records: taken in; regions: masks in the files; losses: what the format cannot hold; carried:
    what became of the photos' metadata."""

    records: int
    regions: int
    losses: Losses = field(default_factory=Losses)
    carried: Carrier = field(default_factory=Carrier)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; losses as sentences."""
        plain = {"records": self.records, "regions": self.regions, "losses": self.losses.lines()}
        return {**plain, "metadata": self.carried.counts()}


def read_records(
    path: Path | str, format: str, on_fault: OnFault | None = None, *, instruction: int = 0
) -> Iterator[Record]:
    """The records at `path`, in the order of the files; photos as absolute paths, each with an `image_id` of its own
    in its source (`identity`).

    instruction: which of an InstructPart item's six the user says; all stay in `meta`. Faulty records are left
    out and told to `on_fault`; without it InputError names them, at the latest after the last good one. Raises
    InputError at once for an unknown format and a missing path.
    """
    about = known(format)
    path = Path(path)
    if not path.exists():
        raise InputError(f"{format} data", f"no file or folder {path}")
    if about.read is None:
        readable = ", ".join(name for name, each in FORMATS.items() if each.reads)
        raise InputError(f"a format that can be read ({readable})", repr(format))
    return named(about.read(path, on_fault, instruction) if about.instructed else about.read(path, on_fault))


def write_records(
    records: Iterable[Record], out: Path | str, format: str, *, photos: Photos = "copy",
    on_fault: OnFault | None = None, keep_metadata: bool = False,
) -> Report:  # fmt: skip
    """Write records at `out`, whole or not at all. A folder; "jsonl": a file; "prist": a folder or its JSON.

    photos: "copy", "link" (hard links, copies where there can be none), or "reference" (miras and labelme
    note the way to them; jsonl always does). Formats of annotations take every region of every record, each
    (photo, words, mask) once. Copied and embedded photos lose what their files say beside the pixels (place, time,
    camera, comments), unless keep_metadata; links cannot. A record that cannot be written, such as one without its
    photo, is left out and told to `on_fault`; without it InputError says so and nothing is written. Raises
    InputError for no records, a folder that holds something already, and photos by reference where the format
    has none.
    """
    about = known(format)
    if not about.writes:
        written = ", ".join(name for name, each in FORMATS.items() if each.writes)
        raise InputError(f"a format that can be written ({written})", repr(format))
    out = Path(out)
    if photos == "reference" and not about.by_reference:
        raise InputError(f"photos copied or linked for {format}", "reference", "choose link: it takes no room")
    records = iter(records)
    first = next(records, None)
    if first is None:
        raise InputError("at least one record to write", "none")
    carrier = Carrier(keep_metadata)
    records = named(chain([first], records))
    if about.talk is not None:
        passed = _Passed(records, about, on_fault)
        count = about.talk(iter(passed), out, photos, None if on_fault is None else passed.refused, carrier)
        return Report(count, passed.regions, passed.lost, carrier)
    assert about.write is not None
    lost = Losses()
    pictures, count = gather(records, lost, questions=about.questions, on_fault=on_fault)
    if not pictures:
        raise InputError("at least one mask to write", f"none in {count} records")
    return Report(count, _in_whole(out, about.write, pictures, Album(photos, carrier), lost), lost, carrier)


# Writing


class _Passed:
    """The records on their way to a writer: how many regions, what is lost; less those it refuses."""

    def __init__(self, records: Iterator[Record], about: Format, on_fault: OnFault | None) -> None:
        self._records, self._on_fault, self._unkept = records, on_fault, about.unkept
        self._last, self._last_lost = 0, Losses()
        self.regions, self.lost = 0, Losses()

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self._last = sum(1 for _ in regions_of(record))
            self.regions += self._last
            if self._unkept is not None:
                self._last_lost = Losses(self._unkept(record))
                self.lost.update(self._last_lost)
            yield record

    def refused(self, fault: str) -> None:
        """The writer leaves the last record out."""
        self.regions -= self._last
        self.lost.subtract(self._last_lost)
        self._last, self._last_lost = 0, Losses()
        if self._on_fault is not None:
            self._on_fault(fault)


def _in_whole(out: Path, write: Writer, pictures: list[Picture], album: Album, lost: Losses) -> int:
    """Write into a folder beside `out`, then move it there."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError("a new or empty folder to write into", f"{out}, which holds something", "give another one")
    staging = out.absolute().with_name(f".{out.name}.{os.getpid()}.part")
    try:
        staging.mkdir(parents=True)
        regions = write(pictures, staging, album, lost)
        if out.is_dir():
            out.rmdir()
        staging.replace(out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"to write {out}", reason, "free room or give another place") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return regions
