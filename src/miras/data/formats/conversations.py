"""The formats that hold conversations: Parquet, JSONL and PRIST.

In: records. Out: files, and the three `Format` values; their modules read and write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from miras.data.formats import jsonl, parquet, prist
from miras.data.formats.format import Format, Signs
from miras.data.io.checks import OnFault, files_in
from miras.data.io.gather import Album, Photos, Picture
from miras.data.photos.carry import Carrier
from miras.data.photos.contents import File
from miras.data.record import Record


def _parquet(records: Iterator[Record], out: Path, photos: Photos, on_fault: OnFault | None, carrier: Carrier) -> int:
    return parquet.write(records, out, photos=photos, on_fault=on_fault, carrier=carrier)


def _jsonl(records: Iterator[Record], out: Path, photos: Photos, on_fault: OnFault | None, carrier: Carrier) -> int:
    return jsonl.write_jsonl(carrier.records(records), out)


def _prist(records: Iterator[Record], out: Path, photos: Photos, on_fault: OnFault | None, carrier: Carrier) -> int:
    file = out if out.suffix == ".json" else out / "test.json"
    names = prist.PhotoNames()
    count = prist.write(records, file, on_fault=on_fault, names=names)
    if photos != "reference":
        _place(names.taken, file.parent / "images", Album(photos, carrier))
    return count


def _unkept(record: Record) -> dict[str, int]:
    return {
        "kind and hops of {} conversations": int(record["kind"] != "progressive"),
        "split of {} conversations": int(record["split"] not in ("", "test")),
    }


def _place(held: dict[str, File], folder: Path, album: Album) -> None:
    """Photos under the names that PRIST has for them."""
    for name, (path, data) in held.items():
        placed = folder / album.place(Picture(path, name, path, (0, 0), data), folder, Path(name).stem)
        placed.replace(folder / name)


MIRAS = Format(
    "folder of Parquet files, masks as run lengths; holds everything", parquet.read, talk=_parquet,
    signs=Signs(
        file=lambda path: path.suffix.lower() == ".parquet",
        folder=lambda path: bool(files_in(path, "*.parquet") or files_in(path / "data", "*.parquet")),
    ),
    by_reference=True, undivided=True,
)  # fmt: skip
JSONL = Format(
    "one record a line; holds everything", jsonl.read_jsonl, talk=_jsonl,
    signs=Signs(
        file=lambda path: path.suffix.lower() == ".jsonl", folder=lambda path: bool(files_in(path, "*.jsonl"))
    ),
    by_reference=True, undivided=True,
)  # fmt: skip
PRIST = Format(
    "official PRIST: test.json, and LabelMe polygons in masks/", prist.read, talk=_prist,
    signs=Signs(keys=lambda found: "dialogue" in found), by_reference=True, undivided=True, unkept=_unkept,
)  # fmt: skip
