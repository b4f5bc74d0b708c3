"""The dataset on disk, format "miras": Parquet that `datasets` reads, photos by path or embedded, a card.

In and out: `Record` values, one at a time, in a folder

    README.md                                 the card; its front matter names the files of each split
    data/{train,val,test}-00000-of-00002.parquet    ("all-..." for records of no split)
    images/...                                photos, where they are copied or linked

Equal records give equal bytes with one version of pyarrow. Knows no sense of a record (that is `validate`).
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from miras.core.errors import InputError
from miras.data.formats.jsonl import checked, located, relative
from miras.data.formats.parquet_schema import COLUMNS, check_columns, parquet_module, pyarrow_module, schema
from miras.data.inspect.card import front_matter, ordered
from miras.data.io.checks import Faults, OnFault, files_in, is_hidden
from miras.data.io.places import split_named
from miras.data.photos.carry import Carrier
from miras.data.photos.identity import FileNames, Known, Names
from miras.data.record import SPLITS, Record

Photos = Literal["copy", "link", "reference"]
SHARD = 5000
"""Rows of a file."""
GROUP_ROWS, GROUP_BYTES = 256, 32 * 2**20
"""A row group is closed at either: what a reader holds in memory at once."""
_OURS = re.compile(r"(train|val|test|all)-\d{5}-of-\d{5}\.parquet")


def write(
    records: Iterable[Record],
    out: Path | str,
    *,
    photos: Photos = "reference",
    embed: bool = False,
    shard: int = SHARD,
    card: str | None = None,
    on_fault: OnFault | None = None,
    carrier: Carrier | None = None,
) -> int:
    """Write the dataset into the folder `out`, whole or not at all; returns the number of records.

    photos: "copy" or "link" (hard links, copies where there can be none) put them under images/; "reference"
    leaves them where they are and notes the way there (embedded ones stay embedded). embed: the photo's file
    stands in the row instead. carrier: what becomes of their metadata; by default it is left out of copies and of what
    is embedded.
    shard: rows of a file. card: README.md; front matter is put before it where it has none. An earlier
    dataset in the folder is replaced, its photos stay. A record whose photo is missing (where it is
    needed), or that the columns cannot hold, is a fault: it goes to `on_fault`, and without that nothing
    is written. Raises InputError.
    """
    if shard < 1 or photos not in ("copy", "link", "reference"):
        raise InputError("a shard of at least 1 row; photos of copy, link or reference", f"{shard}, {photos!r}")
    out = Path(out)
    _refuse_strangers(out)
    faults = Faults(out, on_fault)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".miras-", suffix=".part", dir=out) as folder:
            staging = Path(folder)
            albums = _Album(out.resolve(), staging, "embed" if embed else photos, carrier or Carrier())
            with contextlib.closing(_Files(staging / "data", shard)) as files:
                for index, record in enumerate(records):
                    with faults.of(f"record {index} ({record.get('id', '?')!r})"):
                        files.add(_row(record, albums))
            faults.finish()
            (staging / "README.md").write_text(_card(card, files.splits), encoding="utf-8")
            _commit(staging, out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"to write {out}", reason, "free room or give another place") from error
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()  # only where it is empty: nothing was written
    return files.count


def read(path: Path | str, on_fault: OnFault | None = None, split: str | None = None) -> Iterator[Record]:
    """The records of a dataset folder, or of one .parquet file, one by one; never a whole file in memory.

    split: one of SPLITS, "" for the undivided; None = all, in that order. Faulty rows go to `on_fault`;
    without it they are left out and one InputError names them at the end of their file. Raises InputError
    for a folder without Parquet, another file, and columns that are missing or of another type.
    """
    path = Path(path)
    if split not in (None, "", *SPLITS):
        raise InputError(f"a split of {', '.join(SPLITS)}", repr(split))
    root = path.resolve() if path.is_dir() else _root(path)
    for file in files_of(path, split):
        for record in _rows(file, root, on_fault):
            if split is None or record["split"] == split:
                yield record


def files_of(path: Path, split: str | None = None) -> list[Path]:
    """The Parquet files of a dataset in reading order. Raises InputError when there is none."""
    if path.is_file():
        return [path]
    folder = path / "data" if (path / "data").is_dir() else path
    order = (*SPLITS, "")
    files = sorted(files_in(folder, "*.parquet"), key=lambda file: (order.index(_split(file)), file.name))
    if not files:
        got = f"a folder without {folder.name}/*.parquet" if path.exists() else f"no file or folder {path}"
        raise InputError("a miras dataset (Parquet)", got)
    if split is not None and (named := [file for file in files if _split(file) == split]):
        return named
    return files


def _split(file: Path) -> str:
    """The split in the name of a file: "val" of "val-00000-of-00001", "validation-0"."""
    return split_named(file.name.partition("-")[0])


# Writing


class _Album:
    """Puts photos where the dataset wants them and gives them their names in it."""

    def __init__(self, out: Path, staging: Path, mode: str, carrier: Carrier) -> None:
        self._out, self._staging, self._mode, self._carrier = out, staging, mode, carrier
        self._names, self._files, self._placed = Names(), FileNames(), set[str]()

    def known(self, record: Record) -> Known:
        """Which photo a record is about."""
        name = record["image_id"] or record["image"]
        return self._names(record["source"], name, record["image"], record.get("image_bytes"))

    def enter(self, record: Record) -> dict[str, Any]:
        """The image column of a record: {"bytes", "path"}."""
        path, content = record["image"], record.get("image_bytes")
        if (self._mode == "reference" and content is None) or "photo" in record["meta"].get("without", ()):
            return {"bytes": None, "path": relative(path, self._out)}
        name = self._name(record)
        if self._mode in ("copy", "link"):
            return {"bytes": None, "path": name}
        held = self._carrier.read(Path(path)) if content is None else self._carrier.clean(content)
        return {"bytes": held, "path": name}

    def _name(self, record: Record) -> str:
        """images/<source>/<file>; more is added where another photo has that name already."""
        path, source = record["image"], record["source"]
        file, id = _safe(Path(path).name), "/".join(map(_safe, record["image_id"].split("/")))
        name = self._files((source, *self.known(record)), file, id, f"images/{_safe(source)}/")
        if self._mode in ("copy", "link") and name not in self._placed:
            self._place(Path(path), record.get("image_bytes"), name)
            self._placed.add(name)
        return name

    def _place(self, photo: Path, content: bytes | None, name: str) -> None:
        if content is None and not photo.is_file():
            raise InputError("the photo", f"no file {photo}")
        target = self._staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            target.write_bytes(self._carrier.clean(content))
        elif self._mode == "link":
            self._carrier.link(photo, target)
        else:
            self._carrier.copy(photo, target)


class _Files:
    """The Parquet files while they are written: one open for each split."""

    def __init__(self, folder: Path, shard: int) -> None:
        folder.mkdir()
        self._folder, self._shard, self._schema = folder, shard, schema()
        self._open: dict[str, Any] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self._bytes: dict[str, int] = {}
        self._rows: dict[str, int] = {}

    @property
    def count(self) -> int:
        return sum(self._rows.values())

    @property
    def splits(self) -> list[str]:
        return ordered(self._rows) or [""]

    def add(self, row: dict[str, Any]) -> None:
        split = row["split"]
        if split not in (*SPLITS, ""):
            raise InputError(f"a split of {', '.join(SPLITS)}, or none", repr(split))
        rows = self._rows.get(split, 0)
        if rows and rows % self._shard == 0:
            self._finish(split)
        self._rows[split] = rows + 1
        self._waiting.setdefault(split, []).append(row)
        self._bytes[split] = self._bytes.get(split, 0) + len(row["image"]["bytes"] or b"")
        if len(self._waiting[split]) >= GROUP_ROWS or self._bytes[split] >= GROUP_BYTES:
            self._flush(split)

    def close(self) -> None:
        """Write what waits and give the files their numbers. An empty dataset is one file without rows."""
        for split in self.splits:
            self._finish(split)
            parts = sorted(self._folder.glob(f"{split or 'all'}-*.part"))
            for number, part in enumerate(parts):
                part.rename(part.with_name(f"{split or 'all'}-{number:05d}-of-{len(parts):05d}.parquet"))

    def _flush(self, split: str) -> None:
        rows = self._waiting.get(split, [])
        if split not in self._open:
            number = max(self._rows.get(split, 0) - 1, 0) // self._shard
            path = self._folder / f"{split or 'all'}-{number:05d}.part"
            self._open[split] = parquet_module().ParquetWriter(path, self._schema, compression="zstd")
        if rows:
            self._open[split].write_table(pyarrow_module().Table.from_pylist(rows, schema=self._schema))
        self._waiting[split], self._bytes[split] = [], 0

    def _finish(self, split: str) -> None:
        if self._waiting.get(split) or split not in self._open:
            self._flush(split)
        self._open.pop(split).close()


def _row(record: Record, album: _Album) -> dict[str, Any]:
    checked(record)
    row: dict[str, Any] = {**record}
    row.pop("image_bytes", None)
    row["meta"] = json.dumps(record["meta"], ensure_ascii=False)
    try:
        row["meta"].encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError('"meta" in valid Unicode', str(error.reason)) from error
    row["image"] = album.enter(record)
    row["image_id"] = record["image_id"] and album.known(record).id
    return row


def _safe(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.\-]+", "_", name).strip(".") or "photo"


def _card(card: str | None, splits: list[str]) -> str:
    text = card if card is not None else "# Conversations about photographs\n\nMasks are COCO run lengths.\n"
    return text if text.startswith("---\n") else front_matter(splits) + "\n" + text


def _refuse_strangers(out: Path) -> None:
    """Nothing that is not ours is replaced."""
    if out.exists() and not out.is_dir():
        raise InputError("a folder to write into", f"the file {out}", "give another place")
    strange = [path.name for path in (out / "data").glob("*") if not _OURS.fullmatch(path.name) and not is_hidden(path)]
    if strange:
        raise InputError(f"{out} to be empty or a miras dataset", f"data/{sorted(strange)[0]}", "give another place")


def _commit(staging: Path, out: Path) -> None:
    """Move what is ready into its place; the data last, for they say that the rest is there."""
    for photo in sorted((staging / "images").rglob("*")):
        if photo.is_file():
            target = out / photo.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            photo.replace(target)
    (staging / "README.md").replace(out / "README.md")
    if (out / "data").exists():
        (out / "data").rename(staging / "before")
    (staging / "data").rename(out / "data")


# Reading


def _rows(file: Path, root: Path, on_fault: OnFault | None) -> Iterator[Record]:
    pa = pyarrow_module()
    faults = Faults(file, on_fault)
    number = 0
    try:
        with parquet_module().ParquetFile(file, pre_buffer=False) as parquet:
            check_columns(parquet.schema_arrow, file)
            for batch in parquet.iter_batches(batch_size=64, columns=list(COLUMNS)):
                table = pa.Table.from_batches([batch]).select(COLUMNS).cast(schema())
                for row in table.to_pylist():
                    with faults.of(f"record {number} ({row['id']!r})", "records"):
                        yield located(_record(row), root)
                    number += 1
    except OSError as error:
        raise InputError("a Parquet file", f"{file} ({error.strerror or error})") from error
    except pa.ArrowException as error:
        raise InputError("a Parquet file of the format miras", f"{file}: {error}") from error
    faults.finish()


def _record(row: dict[str, Any]) -> Record:
    image = row["image"] or {}
    value = {**row, "image": image.get("path")}
    if image.get("bytes") is not None:
        value["image_bytes"] = image["bytes"]
    try:
        value["meta"] = json.loads(row["meta"] or "")
    except (ValueError, RecursionError) as error:
        raise InputError('"meta" in JSON', f"{row['meta']!r:.60}") from error
    return checked(value)


def _root(file: Path) -> Path:
    """The folder of the dataset that a file belongs to: the paths of photos count from there."""
    folder = file.resolve().parent
    return folder.parent if folder.name == "data" and (folder.parent / "README.md").is_file() else folder
