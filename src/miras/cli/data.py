"""`miras data`: datasets read, written, checked and looked at.

In: a path and the name of its format (guessed where it is told by the files). Out: files, tables, or one JSON
object. Exit codes: 0, 1 when records had faults (the rest is done), 2 for bad input.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import cyclopts
from cyclopts import Parameter

from miras.cli.build import build
from miras.cli.options import Json
from miras.cli.output import emit, say
from miras.core.errors import InputError
from miras.data.io.left_out import LeftOut

if TYPE_CHECKING:
    from miras.data.io.checks import OnFault
    from miras.data.record import Record

T = TypeVar("T")
CHUNK = 2000
"""Records in flight while they are converted."""
PAUSE = 5.0
"""Seconds between two lines of progress where there is no terminal."""
FAULTY = 1
"""Exit code when some records had faults."""

data_app = cyclopts.App(
    name="data", help="Datasets: read, write, check, look at.", result_action="return_value"
)  # fmt: skip

Name = Annotated[
    str | None,
    Parameter(help="Format: one of convert --to, cvat, supervisely, pascal-part, llava; guessed when not given."),
]
Split = Annotated[str | None, Parameter(help="Only the conversations of this split.")]

data_app.command(build)


@data_app.command
def convert(
    src: Path, out: Path, /, *,
    from_: Annotated[str | None, Parameter(name="--from", help="Format of SRC: one of --to, cvat, supervisely, "
                                           "pascal-part, llava; guessed when not given.")] = None,
    to: Annotated[str, Parameter(help="Format of OUT: miras, jsonl, prist, reasonseg, instructpart, coco, "
                                 "coco-panoptic, indexed-png, refcoco, labelme, yolo, label-studio.")],
    photos: Annotated[Literal["copy", "link", "reference"], Parameter(help="What becomes of the photos.")] = "copy",
    split: Split = None,
    jobs: Annotated[int, Parameter(help="Processes that check and encode the records.")] = 1,
    ray: Annotated[bool, Parameter(negative="", help="The same over Ray Data, here or on a cluster.")] = False,
    instruction: Annotated[int, Parameter(help="InstructPart: which of the six a person says.")] = 0,
    keep_metadata: Annotated[bool, Parameter(negative="", help="GPS, camera, comments stay in copies.")] = False,
    json: Json = False,
) -> int:  # fmt: skip
    """Write the dataset SRC in another format at OUT.

    Masks are written in one run-length code; photos are copied without their metadata. Faulty records are left out,
    each named on standard error. Whatever is left out, and what the format cannot hold, is counted.
    """
    from miras.data.formats.records import write_records

    heard = _heard()
    read = _records(src, from_, heard, split, instruction)
    records = _counted(_canonical(read, heard, jobs, ray), "converting")
    try:
        report = write_records(records, out, to, photos=photos, on_fault=heard, keep_metadata=keep_metadata)
    except InputError as error:
        raise (error if heard.read["conversations"] else heard.explained(error)) from error
    if json:
        emit({"format": to, "out": str(out), **report.to_dict(), "faults": heard.faults, **heard.to_dict()})
        return _code(heard)
    print(f"{out} ({to}): {report.records} conversations, {report.regions} masks")
    for line in report.losses.lines():
        print(f"not in {to}: {line}")
    for line in report.carried.lines():
        print(line)
    _tell(heard)
    return _code(heard)


@data_app.command
def validate(
    path: Path, /, *, format: Name = None, split: Split = None, json: Json = False,
    fast: Annotated[bool, Parameter(negative="", help="Photos by their headers: those cut off are not found.")] = False,
) -> int:  # fmt: skip
    """Check every record of PATH; every fault with its place, one a line. Photos are decoded, on all cores.

    Photos of one split that are copies of others in another split, under other names, are noted: no fault.
    """
    from miras.data.inspect.validate import validate as faults_of
    from miras.data.photos.contents import File, Parted

    told: list[str] = []
    parted, photos = Parted(), set[str]()
    heard = LeftOut(told.append)
    seen = 0

    def counted() -> Iterator[Record]:
        nonlocal seen
        for record in _records(path, format, heard, split):
            seen += 1
            name = f"{record['source']}/{record['image_id']}"
            parted.add(name, record["split"], File(Path(record["image"]), record.get("image_bytes")))
            photos.add(record["image"])
            yield record

    found = [str(fault) for fault in faults_of(_counted(counted(), "checking"), photos=True, decode=not fast)]
    faults = told + found
    if not seen and not faults:
        raise heard.explained(InputError(f"records in {path}", "none"))
    for line in parted.lines:
        say(f"miras: note: {line}")
    if json:
        result = {
            "records": seen, "unread": len(told), "photos": len(photos), "decoded": not fast, "faults": faults,
            "copies": parted.lines, "ok": not faults,
        }  # fmt: skip
        emit({**result, **heard.to_dict()})
    else:
        for line in faults:
            print(line)
        unread = f", {len(told)} that cannot be read" if told else ""
        count = f"{len(faults) or 'no'} fault{'' if len(faults) == 1 else 's'}"
        looked = f"{len(photos)} photos {'by their headers alone (--fast)' if fast else 'decoded'}"
        print(f"{path}: {seen} records{unread}, {count}; {looked}")
        _tell(heard, faults=False)
    return FAULTY if faults else 0


@data_app.command
def stats(
    path: Path, /, *, format: Name = None, split: Split = None, json: Json = False,
    page: Annotated[Path | None, Parameter(help="Also a page of plots, .html or .png.")] = None,
) -> int:  # fmt: skip
    """Counts, lengths, sizes of targets, kinds, hops and duplicates of PATH."""
    from miras.data.inspect.stats import statistics, table

    heard = _heard()
    result = statistics(_counted(_records(path, format, heard, split), "counting"))
    if not result["conversations"]:
        raise heard.explained(InputError(f"conversations in {path}", "none"))
    if page is not None:
        from miras.data.inspect import plots

        plots.page(result, page)
    if json:
        emit({**result, **heard.to_dict()})
    else:
        print(table(result))
        _tell(heard)
    return _code(heard)


@data_app.command
def show(
    path: Path, out: Path, /, *, format: Name = None, split: Split = None, limit: int = 60,
    seed: Annotated[int, Parameter(help="Which conversations are drawn.")] = 0,
) -> int:  # fmt: skip
    """Draw conversations of PATH, with their masks, as contact sheets in the folder OUT."""
    if limit < 1:
        raise InputError("--limit of at least 1", str(limit))
    from miras.data.inspect.sheet import contact_sheet

    heard = _heard()
    records = _counted(_records(path, format, heard, split), "drawing")
    for file in contact_sheet(records, out, limit=limit, seed=seed):
        print(file)
    return _code(heard)


def _heard() -> LeftOut:
    """Counts what is left out, and says each fault on standard error."""
    return LeftOut(lambda fault: say(f"miras: left out: {fault}"))


def _code(heard: LeftOut) -> int:
    return FAULTY if heard.faults else 0


def _tell(heard: LeftOut, faults: bool = True) -> None:
    """What was left out, in one line. faults: see `LeftOut.line`."""
    if line := heard.line(faults):
        print(line)


def _canonical(records: Iterable[Record], heard: LeftOut, jobs: int, ray: bool) -> Iterator[Record]:
    """Records without a fault, CHUNK at a time so that memory stays bounded."""
    from miras.core.parallel.processes import mapped
    from miras.data.inspect.validate import canonical

    source = iter(records)
    while chunk := list(islice(source, CHUNK)):
        for record, faults in mapped(canonical, chunk, jobs=jobs, ray=ray):
            if faults:
                heard.faulty(faults, "conversations")
            else:
                heard.read["conversations"] += 1
                yield record


def _records(
    path: Path, format: str | None, on_fault: OnFault, split: str | None, instruction: int = 0
) -> Iterator[Record]:  # fmt: skip
    """The records of a path, of one split where it is named. Raises InputError at once for what cannot be read."""
    from miras.data.formats.records import guess_format, read_records
    from miras.data.record import SPLITS

    if split is not None and split not in SPLITS:
        raise InputError(f"a split of {', '.join(SPLITS)}", repr(split))
    records = read_records(path, format or guess_format(path), on_fault, instruction=instruction)
    return records if split is None else (record for record in records if record["split"] == split)


def _counted(items: Iterable[T], what: str) -> Iterator[T]:
    """The items, their number growing on standard error: a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        told = time.monotonic()
        for number, item in enumerate(items, 1):
            yield item
            if time.monotonic() - told > PAUSE:
                told = time.monotonic()
                say(f"{what} {number:,}")
        return
    columns = (SpinnerColumn(), TextColumn(f"{what} {{task.completed:,}}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        for item in items:
            yield item
            bar.advance(task)
