"""One module a format, or two: a reader and a writer. `records` and `annotated` are the doors to all.

`from miras.data.formats.records import read_records` is the public path. Importing this package reads no format.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miras.data.formats.records import FORMATS, guess_format, read_records, write_records

__all__ = ["FORMATS", "guess_format", "read_records", "write_records"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("miras.data.formats.records"), name)
