"""Lists inside JSON files of any size, record by record.

In: a file and the key of a list ("" for a file that is one list). Out: its items. Files over
`STREAM_FROM` bytes are never held whole; they need ijson. Knows no annotation format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.text import opened
from miras.data.io.checks import field, load_json

STREAM_FROM = 64_000_000
"""Bytes from which a file is streamed."""


def items(path: Path, key: str = "") -> Iterator[Any]:
    """The items of the list under `key`, floats as floats.

    Raises InputError for a file that cannot be read, is no JSON (when streamed: on the way), or has no such list.
    """
    if _size(path) < STREAM_FROM:
        yield from field(load_json(path, dict), key, list) if key else load_json(path, list)
        return
    from_file, found = _ijson(), False
    try:
        with opened(path) as file:
            for item in from_file.items(file, f"{key}.item" if key else "item", use_float=True):
                found = True
                yield item
        found = found or _has_list(path, key, from_file)
    except (from_file.JSONError, ValueError) as error:
        raise _invalid(path, error) from error
    if not found:
        raise InputError(f'a list under "{key}" in {path}' if key else f"a JSON list in {path}", "none")


def _has_list(path: Path, key: str, from_file: Any) -> bool:
    """Whether there is such a list at all. Slow: asked only where no item came."""
    with opened(path) as file:
        return any(place == key and event == "start_array" for place, event, _ in from_file.parse(file))


def keys(path: Path) -> set[str]:
    """What a JSON file holds, as far as its format is told by it.

    The keys of the object, or those of the first item of the list; and those of the first item of
    the object's "annotations". Empty for anything else. Raises InputError like `items`.
    """
    if _size(path) < STREAM_FROM:
        value = load_json(path, object)
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, dict):
            return set()
        notes = first.get("annotations")
        more = set(notes[0]) if isinstance(notes, list) and notes and isinstance(notes[0], dict) else set()
        return set(first) | more
    return _streamed_keys(path)


def _streamed_keys(path: Path) -> set[str]:
    from_file = _ijson()
    found: set[str] = set()
    ends = ("annotations.item", "item")
    try:
        with opened(path) as file:
            for place, event, value in from_file.parse(file):
                if event == "map_key" and place in ("", *ends):
                    found.add(value)
                if event == "end_map" and place in ends:
                    break
    except (from_file.JSONError, ValueError) as error:
        raise _invalid(path, error) from error
    return found


def _invalid(path: Path, error: Exception) -> InputError:
    cure = "save it as UTF-8 (iconv -f ITS_ENCODING -t UTF-8 FILE)" if "utf" in str(error).lower() else ""
    return InputError("valid JSON", f"{path}: {str(error)[:200]}", cure)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError("a JSON file", f"{path} ({error.strerror})") from error


def _ijson() -> Any:
    try:
        import ijson
    except ImportError as error:
        raise InputError(
            f"ijson, to read a file over {STREAM_FROM // 1_000_000} MB", "none", "run pip install 'miras[data]'"
        ) from error
    return ijson
