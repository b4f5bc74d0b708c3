"""What a format declares of itself: how it is read and written, and what its files are told by.

In: functions of the format's module. Out: `Format`, which the registry names. Knows no format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miras.core.types import AnnotatedPhoto
from miras.data.io.checks import OnFault
from miras.data.io.gather import Album, Losses, Photos, Picture
from miras.data.photos.carry import Carrier
from miras.data.record import Record

Reader = Callable[..., Iterator[Record]]
"""(path, on_fault): the records there, in the order of the files."""
Writer = Callable[[list[Picture], Path, Album, Losses], int]
"""(photos with their regions, a new folder, who puts photos into folders, what the format cannot hold): how many masks
were written."""
Annotations = Callable[[Path, OnFault | None], list[AnnotatedPhoto]]
"""(path, on_fault): photos with labelled masks, and the classes that were looked for in them."""


def _never(_: Any) -> bool:
    return False


@dataclass(frozen=True)
class Signs:
    """What the files of a format are told by. file: a file's name or beginning. folder: what lies in the folder of a
    dataset; place: in it, in its `annotations`, or in one of its folders of splits. keys: those of a JSON file
    (`io.stream.keys`), asked where no name tells; of several formats that they fit, the first of the registry counts.
    """

    file: Callable[[Path], bool] = _never
    folder: Callable[[Path], bool] = _never
    place: Callable[[Path], bool] = _never
    keys: Callable[[set[str]], bool] = _never


Talk = Callable[[Iterator[Record], Path, Photos, OnFault | None, Carrier], int]
"""(records, path, what becomes of the photos, on_fault, carrier of photos): how many records were written."""


@dataclass(frozen=True)
class Format:
    """what: it is, in a line. read, write: None where it cannot be. talk: writes whole conversations instead.

    instructed: `read` takes a third value, which instruction the user says. questions: a region is written once for
    each question that asks for it. by_reference: photos may stay where they are. undivided: a dataset lies in one
    folder, whatever its splits. annotations: photos with the classes that were looked for, so that training learns what
    is absent; whole: of a path with all its splits. unkept: what a record loses that is no region, by name and count.
    """

    what: str
    read: Reader | None = None
    write: Writer | None = None
    signs: Signs = field(default_factory=Signs)
    talk: Talk | None = None
    instructed: bool = False
    questions: bool = False
    by_reference: bool = False
    undivided: bool = False
    annotations: Annotations | None = None
    whole: bool = False
    unkept: Callable[[Record], dict[str, int]] | None = None

    @property
    def reads(self) -> bool:
        """Whether it can be read."""
        return self.read is not None

    @property
    def writes(self) -> bool:
        """Whether it can be written."""
        return self.write is not None or self.talk is not None
