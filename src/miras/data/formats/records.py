"""One door to every format: records in, records out, and what a format cannot hold.

In: a path and the name of a format. Out: `Record` values; or files, and a `Report`. Knows where each format's
files lie and which splits they are; the formats themselves are in files of their own, loaded when used.
"""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.formats.guess import guess_format
from miras.data.io.checks import Faults, OnFault, files_in, load_json
from miras.data.io.gather import Album, Losses, Photos, Picture, gather
from miras.data.io.left_out import LeftOut
from miras.data.io.places import LOOKS, split_folders, split_of
from miras.data.io.single import records_of
from miras.data.io.stream import keys
from miras.data.photos.carry import Carrier
from miras.data.photos.contents import File
from miras.data.photos.identity import Folders, named
from miras.data.record import Record, regions_of

__all__ = ["FORMATS", "Format", "Report", "guess_format", "read_records", "write_records"]


class Format(NamedTuple):
    """What can be done with a format, and what it is."""

    reads: bool
    writes: bool
    what: str


FORMATS: dict[str, Format] = {
    "miras": Format(True, True, "folder of Parquet files, masks as run lengths; holds everything"),
    "jsonl": Format(True, True, "one record a line; holds everything"),
    "prist": Format(True, True, "official PRIST: test.json, and LabelMe polygons in masks/"),
    "reasonseg": Format(True, True, "ReasonSeg (LISA): a JSON with questions and outlines beside each photo"),
    "instructpart": Format(True, True, "InstructPart: data_*.json, images/, masks/; six instructions a part"),
    "coco": Format(True, True, "COCO instances: instances.json, images/"),
    "coco-panoptic": Format(True, True, "COCO panoptic: panoptic.json, panoptic/*.png, images/"),
    "indexed-png": Format(True, True, "one label a pixel: images/, masks/*.png, labels.txt"),
    "refcoco": Format(True, True, "referring expressions: refs(NAME).json or .p, instances.json, images/"),
    "labelme": Format(True, True, "LabelMe: a JSON with shapes beside each photo"),
    "yolo": Format(True, True, "YOLO for segmentation: data.yaml, images/, labels/*.txt with an outline a line"),
    "label-studio": Format(True, True, "Label Studio: export JSON (or JSON_MIN), photos beside it"),
    "cvat": Format(True, False, "CVAT: XML for images or for video 1.1, images/"),
    "supervisely": Format(True, False, "Supervisely: meta.json, and in each dataset ann/*.json and img/"),
}
"""Name -> what it is."""


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
    _known(format)
    path = Path(path)
    if not path.exists():
        raise InputError(f"{format} data", f"no file or folder {path}")
    return named(_reader(format, instruction)(path, on_fault))


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
    _known(format)
    if not FORMATS[format].writes:
        written = ", ".join(name for name, each in FORMATS.items() if each.writes)
        raise InputError(f"a format that can be written ({written})", repr(format))
    out = Path(out)
    if photos == "reference" and format not in ("miras", "jsonl", "prist", "labelme"):
        raise InputError(f"photos copied or linked for {format}", "reference", "choose link: it takes no room")
    records = iter(records)
    first = next(records, None)
    if first is None:
        raise InputError("at least one record to write", "none")
    carrier = Carrier(keep_metadata)
    records = named(chain([first], records))
    if format in ("miras", "jsonl", "prist"):
        return _write_talk(records, out, format, photos, on_fault, carrier)
    lost = Losses()
    pictures, count = gather(records, lost, questions=format in ("reasonseg", "instructpart"), on_fault=on_fault)
    if not pictures:
        raise InputError("at least one mask to write", f"none in {count} records")
    return Report(count, _in_whole(out, _writer(format), pictures, Album(photos, carrier), lost), lost, carrier)


Reader = Callable[[Path, OnFault | None], Iterator[Record]]
Writer = Callable[[list[Picture], Path, Album, Losses], int]


def _known(format: str) -> None:
    if format not in FORMATS:
        near = difflib.get_close_matches(format.lower().replace("_", "-"), FORMATS, n=1)
        cure = f"did you mean {near[0]!r}?" if near else ""
        raise InputError(f"a format of {', '.join(FORMATS)}", repr(format), cure)


def _reader(format: str, instruction: int) -> Reader:
    from miras.data.formats import jsonl, labelme, parquet, prist, reasonseg
    from miras.data.formats.coco import refcoco
    from miras.data.formats.tools import cvat, label_studio, supervisely, yolo

    readers: dict[str, Reader] = {
        "miras": parquet.read, "jsonl": jsonl.read_jsonl, "prist": prist.read, "reasonseg": reasonseg.read,
        "refcoco": refcoco.read, "labelme": labelme.read, "coco": _instances, "coco-panoptic": _panoptic,
        "indexed-png": _indexed, "instructpart": lambda path, on_fault: _instructpart(path, on_fault, instruction),
        "yolo": yolo.read, "label-studio": label_studio.read, "cvat": cvat.read, "supervisely": supervisely.read,
    }  # fmt: skip
    return readers[format]


def _writer(format: str) -> Writer:
    from miras.data.formats import indexed_write, instructpart_write, labelme, reasonseg
    from miras.data.formats.coco import write as coco_write
    from miras.data.formats.tools import label_studio_write, yolo_write

    writers: dict[str, Writer] = {
        "reasonseg": reasonseg.write, "labelme": labelme.write, "coco": coco_write.write_instances,
        "coco-panoptic": coco_write.write_panoptic, "refcoco": coco_write.write_refs,
        "indexed-png": indexed_write.write, "instructpart": instructpart_write.write,
        "yolo": yolo_write.write, "label-studio": label_studio_write.write,
    }  # fmt: skip
    return writers[format]


# Reading: where the files lie


def _instances(path: Path, on_fault: OnFault | None) -> Iterator[Record]:
    from miras.data.formats.coco import stream

    seen: dict[tuple[str, str], int] = {}
    for file, source, split in _jsons(path, "instances", on_fault):
        yield from stream.read(file, on_fault=on_fault, source=source, split=split, seen=seen)


def _panoptic(path: Path, on_fault: OnFault | None) -> Iterator[Record]:
    from miras.data.formats.annotated import read

    seen: dict[tuple[str, str], int] = {}
    for file, source, split in _jsons(path, "panoptic", on_fault):
        photos = read(file, "coco-panoptic", on_fault)
        photos = [replace(photo, source=source) for photo in photos] if source else photos
        _count_bare(photos, on_fault)
        yield from records_of(photos, split or split_of(file.stem), seen=seen)


def _count_bare(photos: Iterable[AnnotatedPhoto], on_fault: OnFault | None) -> None:
    """Photos that give no record are left out."""
    for photo in photos:
        if not photo.annotations:
            LeftOut.of(on_fault).leave("photos", "photos without annotations", photo.path.name, was_read=True)


def _jsons(path: Path, kind: str, on_fault: OnFault | None) -> list[tuple[Path, str, str]]:
    """(file, source, split) of the JSON files of COCO at a path; source and split "" where the file itself tells them.

    The file itself, the only one of the folder, or those named after their kind; and those in folders of splits.
    """
    if path.is_file():
        return [(path, "", "")]
    faults = Faults(path, on_fault)
    here = path if files_in(path, "*.json") else path / "annotations"
    has = partial(_has_coco, kind)
    found = [(file, "", "") for file in _of_kind(here, kind, faults)] if files_in(here, "*.json") else []
    inside = [(folder, split) for folder, split in split_folders(path, None if found else has) if folder != path]
    read = [here]
    for folder, split in inside:
        if has(folder):
            found += [(file, path.resolve().name, split) for file in _of_kind(folder, kind, faults)]
            read.append(folder)
    found = found or [(file, "", "") for file in _of_kind(here, kind, faults)]  # raises: there is none
    faults.unread(path, read, "*.json")
    return found


def _of_kind(folder: Path, kind: str, faults: Faults) -> list[Path]:
    files = faults.files(folder, "*.json")
    named = [file for file in files if file.name.startswith(kind)]
    if len(files) != 1 and not named:
        got = ", ".join(file.name for file in files[:5]) or "none"
        raise InputError(f"one JSON file, or {kind}_*.json, in {folder}", got, "name the file itself")
    for file in files if named else ():
        if file not in named:
            faults.leave("files", f"JSON files that are not called {kind}", file.name)
    return named or files


def _has_coco(kind: str, folder: Path) -> bool:
    """Whether a folder itself holds a COCO JSON with masks of this kind."""
    wanted = {"images", "annotations", "segmentation" if kind == "instances" else "segments_info"}
    return any(wanted <= keys(file) for file in files_in(folder, "*.json")[:LOOKS])


def _has_masks(folder: Path) -> bool:
    """Whether a folder holds something of indexed PNG or InstructPart."""
    return (folder / "masks").is_dir() or (folder / "labels.txt").is_file() or bool(files_in(folder, "data_*.json"))


def _indexed(path: Path, on_fault: OnFault | None) -> Iterator[Record]:
    from miras.data.formats import indexed_png

    told_apart, seen = Folders(), dict[tuple[str, str], int]()
    folders = split_folders(path, _has_masks)
    Faults(path, on_fault).unread(path, [folder for folder, _ in folders], "labels.txt")
    for folder, split in folders:
        # Specks too: a copy holds what the original holds.
        found = list(indexed_png.photos(folder, path.resolve().name, min_share=0.0, on_fault=on_fault))
        photos = told_apart([photo for photo, _ in found], folder)
        _count_bare(photos, on_fault)
        metas = [{} if void is None else {"ignore": void} for _, void in found]
        yield from records_of(photos, split, metas=metas, seen=seen)


def _instructpart(path: Path, on_fault: OnFault | None, instruction: int) -> Iterator[Record]:
    from miras.data.formats import instructpart

    folders = split_folders(path, _has_masks)
    Faults(path, on_fault).unread(path, [folder for folder, _ in folders], "data_*.json")
    told_apart, seen = Folders(), dict[tuple[str, str], int]()
    for folder, split in folders:
        photos = told_apart(instructpart.read(folder, on_fault), folder)
        (file,) = files_in(folder, "data_*.json")
        told = instructpart.told(load_json(file, list))
        metas = [{"part": True, "instructpart": told.get(photo.path.stem, {})} for photo in photos]
        yield from records_of(photos, split or split_of(file.stem), instruction, metas, seen)


# Writing


def _write_talk(
    records: Iterator[Record], out: Path, format: str, photos: Photos, on_fault: OnFault | None, carrier: Carrier
) -> Report:
    """The formats that hold conversations."""
    from miras.data.formats import jsonl, parquet, prist

    passed = _Passed(records, format, on_fault)
    told = None if on_fault is None else passed.refused
    if format == "miras":
        count = parquet.write(passed, out, photos=photos, on_fault=told, carrier=carrier)
    elif format == "jsonl":
        count = jsonl.write_jsonl(carrier.records(passed), out)
    else:
        file = out if out.suffix == ".json" else out / "test.json"
        names = prist.PhotoNames()
        count = prist.write(passed, file, on_fault=told, names=names)
        if photos != "reference":
            _place(names.taken, file.parent / "images", Album(photos, carrier))
    return Report(count, passed.regions, passed.lost, carrier)


class _Passed:
    """The records on their way to a writer: how many regions, what is lost; less those it refuses."""

    def __init__(self, records: Iterator[Record], format: str, on_fault: OnFault | None) -> None:
        self._records, self._on_fault, self._prist = records, on_fault, format == "prist"
        self._last, self._last_lost = 0, Losses()
        self.regions, self.lost = 0, Losses()

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self._last = sum(1 for _ in regions_of(record))
            self.regions += self._last
            if self._prist:
                self._last_lost = Losses({
                    "kind and hops of {} conversations": int(record["kind"] != "progressive"),
                    "split of {} conversations": int(record["split"] not in ("", "test")),
                })  # fmt: skip
                self.lost.update(self._last_lost)
            yield record

    def refused(self, fault: str) -> None:
        """The writer leaves the last record out."""
        self.regions -= self._last
        self.lost.subtract(self._last_lost)
        self._last, self._last_lost = 0, Losses()
        if self._on_fault is not None:
            self._on_fault(fault)


def _place(held: dict[str, File], folder: Path, album: Album) -> None:
    """Photos under the names that PRIST has for them."""
    for name, (path, data) in held.items():
        placed = folder / album.place(Picture(path, name, path, (0, 0), data), folder, Path(name).stem)
        placed.replace(folder / name)


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
