"""Records as JSON lines (JSONL), and the check that a plain value is a record.

In: files of any size, read line by line. Out: `Record` values whose every field has its type. A line that
cannot be used is a fault with its number; the rest goes on. Knows the shape of a record, not its sense
(that is `validate`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from miras.core.errors import InputError
from miras.core.files import whole
from miras.core.text import decoded, opened
from miras.data.io.checks import Faults, OnFault, field, files_in
from miras.data.record import Record, RegionRecord, TurnRecord

MAX_LINE = 256 * 2**20
"""Bytes of the longest line that is read; a longer one is a fault and is skipped unread."""
TEXTS = ("id", "image_id", "image", "split", "source", "kind", "focus")
NUMBERS = ("height", "width", "hops")
_KEYS = Record.__required_keys__ | {"image_bytes"}
_BIGGEST = 2**31 - 1


def read_jsonl(path: Path | str, on_fault: OnFault | None = None) -> Iterator[Record]:
    """The records of a JSONL file (or of the only one in a folder), one by one; photos are found from its folder.

    Faulty lines go to `on_fault`; without it they are left out and one InputError names them at the end.
    Raises InputError for a file that cannot be opened, and a folder with none or several.
    """
    path = Path(path)
    if path.is_dir():
        files = files_in(path, "*.jsonl")
        if len(files) != 1:
            got = ", ".join(file.name for file in files[:5]) or "none"
            raise InputError(f"one JSONL file in {path}", got, "name the file itself")
        path = files[0]
    faults = Faults(path, on_fault)
    root = path.resolve().parent
    for number, line in _lines(path, faults):
        with faults.of(f"line {number}", "lines"):
            try:
                value = json.loads(decoded(line, f"line {number}"))
            except (ValueError, RecursionError) as error:
                raise InputError("a JSON object", str(error)) from error
            yield located(checked(value), root)
    faults.finish()


def write_jsonl(records: Iterable[Record], path: Path | str) -> int:
    """Write the records, one a line, whole or not at all; returns how many. Equal records, equal bytes.

    Photos are named from the file's folder. Embedded photos become base64. Raises InputError.
    """
    path = Path(path)
    count = 0
    with whole(path) as staging, staging.open("wb") as file:
        root = path.resolve().parent
        for record in records:
            value: dict[str, Any] = {**record, "image": relative(record["image"], root)}
            if "image_bytes" in record:
                value["image_bytes"] = base64.b64encode(record["image_bytes"]).decode("ascii")
            file.write(_line(value))
            count += 1
    return count


def checked(value: Any) -> Record:
    """The value as a record: every key, every type, no key more. Raises InputError for the first fault.

    Strings must be valid Unicode and numbers fit 32 bits, so that every format can hold them.
    """
    for key in TEXTS:
        _text(value, key)
    for key in NUMBERS:
        _number(value, key)
    _only(value, _KEYS)
    field(value, "meta", dict)
    for number, turn in enumerate(field(value, "turns", list)):
        try:
            _turn(turn)
        except InputError as error:
            raise InputError(f"turn {number}: {error.expected}", error.got, error.cure) from error
    if isinstance(value.get("image_bytes"), str):
        try:
            value["image_bytes"] = base64.b64decode(value["image_bytes"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError('"image_bytes" in base64', str(error)) from error
    return cast(Record, value)


def located(record: Record, root: Path) -> Record:
    """The record with the absolute path of its photo; root: the folder that the path counts from."""
    return {**record, "image": Path(os.path.normpath(root / record["image"])).as_posix()}


def relative(image: str, root: Path) -> str:
    """The path of a photo counted from a folder, "/" between its parts; it may lead upwards."""
    return Path(os.path.relpath(image, root)).as_posix() if os.path.isabs(image) else Path(image).as_posix()


def _lines(path: Path, faults: Faults) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of the lines that hold something."""
    try:
        with opened(path) as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE and not line.endswith(b"\n"):
                    what = f"expected at most {MAX_LINE} bytes, got more; is it JSON lines?"
                    faults.add(f"line {number}", what, "lines")
                    while (line := file.readline(MAX_LINE)) and not line.endswith(b"\n"):
                        pass
                    continue
                if line.strip():
                    yield number, line
    except OSError as error:
        raise InputError("a JSONL file", f"{path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError("text in UTF-8, or whole UTF-16", f"{path}: {error.reason}", "save it as UTF-8") from error


def _line(value: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"valid Unicode in record {value['id']!a}", str(error.reason)) from error


def _turn(turn: Any) -> TurnRecord:
    _text(turn, "role")
    _text(turn, "text")
    _only(turn, TurnRecord.__required_keys__)
    for piece in field(turn, "content", list):
        _text(piece, "type")
        _text(piece, "text")
        _number(piece, "region")
    for region in field(turn, "regions", list):
        _number(region, "id")
        _text(region, "phrase")
        _text(region, "operator")
        _only(region, RegionRecord.__required_keys__)
        rle = field(region, "rle", dict)
        _text(rle, "counts")
        size = field(rle, "size", list)
        if len(size) != 2 or not all(type(side) is int and 0 <= side <= _BIGGEST for side in size):
            raise InputError('"size" to be [H, W]', f"{size!r:.60}")
    return cast(TurnRecord, turn)


def _text(record: Any, key: str) -> None:
    field(record, key, str)


def _only(record: Any, keys: frozenset[str]) -> None:
    if unknown := sorted(set(record) - keys):
        raise InputError(f"the keys {', '.join(sorted(keys))}", f"also {unknown[:4]}", 'move them into "meta"')


def _number(record: Any, key: str) -> None:
    if not 0 <= field(record, key, int) <= _BIGGEST:
        raise InputError(f'"{key}" from 0 to {_BIGGEST}', str(record[key]))
