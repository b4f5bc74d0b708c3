"""Files that are written whole or not at all, and the folders they go into.

In: a path, and whatever writes a file. Out: the file in its place when the writing went well; else what was there
before, and nothing beside it. Knows no format.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from miras.core.errors import InputError, WeightsError


def cache_folder() -> Path:
    """Where converted and exported models lie: `MIRAS_CACHE`, or `~/.cache/miras`."""
    return Path(os.environ.get("MIRAS_CACHE") or Path.home() / ".cache" / "miras")


def cache_staging(place: Path, needed: int, expected: str, purpose: str = "") -> Path:
    """A new hidden folder beside `place` in the cache, to be filled and put there. needed: bytes. Raises WeightsError
    where none can be (expected: what was), or there is no room (purpose: what for)."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
        staging = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    except OSError as error:
        got = f"{error.strerror or error} at {place.parent}"
        raise WeightsError(expected, got, "set MIRAS_CACHE to a folder that can be written") from error
    if free < needed:
        staging.rmdir()
        cure = "free some, or set MIRAS_CACHE to another folder"
        room = f"{needed // 1_000_000} MB{purpose and f' for {purpose}'} in {place.parent}"
        raise WeightsError(room, f"{free // 1_000_000} MB", cure)
    return staging


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Where to write what shall lie at `path`: a hidden neighbour, put in place at the end of the block, or taken away.

    Folders are made as needed. Raises what the block raises, and OSError.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        staging.replace(path)
    finally:
        with contextlib.suppress(OSError):
            staging.unlink()


@contextlib.contextmanager
def whole(path: Path, cure: str = "free room or give another place", expected: str = "") -> Iterator[Path]:
    """The same for what a person asked for: an OSError becomes an InputError. expected: by default "to write PATH"."""
    try:
        with staged(path) as staging:
            yield staging
    except OSError as error:
        raise InputError(expected or f"to write {path}", error.strerror or str(error), cure) from error


def folder(path: Path) -> Path:
    """A folder to write into, made if it is not there. Raises InputError when it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"a folder to write into at {path}", str(error.strerror), "give another --out") from error
    return path


def write_whole(path: Path, content: bytes, cure: str = "give another folder", expected: str = "") -> Path:
    """Bytes as a file, as `whole` does; returns its path. expected: by default "room to write PATH"."""
    with whole(path, cure, expected or f"room to write {path}") as staging:
        staging.write_bytes(content)
    return path
