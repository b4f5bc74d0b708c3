"""The columns of the format "miras", and the package that reads and writes them.

In: nothing. Out: a schema; pyarrow's modules, or an InputError that says how to get them. Knows no file.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from miras.core.errors import InputError

VERSION = 1
COLUMNS = (
    "id", "image_id", "image", "height", "width", "split", "source", "kind", "hops", "focus", "turns", "meta",
)  # fmt: skip


def schema() -> Any:
    """The columns and their types, a `pyarrow.Schema`. Raises InputError without pyarrow."""
    pa = pyarrow_module()
    piece = pa.struct([("type", pa.string()), ("text", pa.string()), ("region", pa.int32())])
    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    region = pa.struct([("id", pa.int32()), ("phrase", pa.string()), ("operator", pa.string()), ("rle", rle)])
    turn = pa.struct(
        [("role", pa.string()), ("text", pa.string()), ("content", pa.list_(piece)), ("regions", pa.list_(region))]
    )
    types = dict.fromkeys(COLUMNS, pa.string()) | dict.fromkeys(("height", "width", "hops"), pa.int32())
    types |= {"image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "turns": pa.list_(turn)}
    return pa.schema(list(types.items()), metadata={"miras": json.dumps({"format": "miras", "version": VERSION})})


def check_columns(got: Any, file: Path) -> None:
    """Raises InputError when the schema of a file lacks a column, or is of another version."""
    missing = [name for name in COLUMNS if name not in got.names]
    if missing:
        raise InputError(f"the columns {', '.join(COLUMNS)}", f"{file.name} without {', '.join(missing)}")
    version = json.loads((got.metadata or {}).get(b"miras", b"{}")).get("version", VERSION)
    if version != VERSION:
        raise InputError(f"version {VERSION} of the format miras", f"{version} in {file}", "install a newer miras")


def pyarrow_module() -> Any:
    """`pyarrow`. Raises InputError where it is not installed."""
    return _module("pyarrow")


def parquet_module() -> Any:
    """`pyarrow.parquet`. Raises InputError where it is not installed."""
    return _module("pyarrow.parquet")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError("the package pyarrow", "none", "run pip install 'miras[data]'") from error
