"""Files told apart by their bytes, as cheaply as can be: by size first, then by their ends, only then by all of them.

In: paths, or bytes of files that are embedded in a dataset. Out: numbers, equal for equal files. Knows no names and no
file format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_END = 4096
"""Bytes at the end of a file that are compared before the whole of it."""


class File(NamedTuple):
    """A photo's file. content: its bytes, where it is embedded; the path is no more than a name then."""

    path: Path
    content: bytes | None = None


class Contents:
    """Numbers files by their bytes, from 0: equal ones have one number. Bytes are read where sizes are equal.

    A file that cannot be read is equal to those of its own path.
    """

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[Look, int] | None] = {}
        self._paths: dict[Path, int] = {}
        self.count = 0

    def __call__(self, file: File) -> int:
        """The number of a file."""
        if file.content is not None:
            return self.of(Look(file))
        if file.path not in self._paths:
            self._paths[file.path] = self.of(Look(file))
        return self._paths[file.path]

    def of(self, look: Look) -> int:
        """The number of a file, which is looked at as closely as needed to tell it from all others."""
        key: tuple[Hashable, ...] = ()
        for closer in _CLOSER:
            key = (*key, closer(look))
            if key not in self._held:
                self._held[key] = look, self.count
                self.count += 1
                return self.count - 1
            held = self._held[key]
            if closer is _CLOSER[-1]:
                break
            if held is not None:  # alone so far: from now on the next look decides
                self._held[key] = None
                self._held[(*key, _CLOSER[len(key)](held[0]))] = held
        assert held is not None
        return held[1]


def copies(files: Iterable[File]) -> list[int]:
    """For each file the place of the first with the same bytes, mostly its own."""
    contents, first = Contents(), dict[int, int]()
    return [first.setdefault(contents(file), place) for place, file in enumerate(files)]


class Parted:
    """Finds copies that a split puts on two sides: the same bytes under two names, "b (val) is a copy of a (train)"."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._first: dict[int, tuple[str, str]] = {}
        self._seen: set[tuple[str, str]] = set()
        self.lines: list[str] = []

    def add(self, photo: str, split: str, file: File) -> None:
        """photo: its name, by which it is told. Photos of no split are passed over; so is one that came before."""
        if not split or (photo, split) in self._seen or (file.content is None and not file.path.is_file()):
            return
        self._seen.add((photo, split))
        first, side = self._first.setdefault(self._contents(file), (photo, split))
        if side != split and first != photo:
            self.lines.append(f"{photo} ({split}) is a copy of {first} ({side})")


def same_file(one: File, other: File) -> bool:
    """Whether two files hold the same bytes."""
    contents = Contents()
    return contents(one) == contents(other)


class Look:
    """A file as it is looked at. Of an embedded one digests are kept, not the bytes."""

    __slots__ = ("_size", "digest", "end", "path")

    def __init__(self, file: File) -> None:
        self.path, content = file
        self._size = -1 if content is None else len(content)
        self.end = b"" if content is None else _digest(content[-_END:])
        self.digest = b"" if content is None else _digest(content)

    def size(self) -> Hashable:
        """Bytes of the file; its path where there is none."""
        if self.digest:
            return self._size
        try:
            return self.path.stat().st_size if self.path.is_file() else str(self.path)
        except OSError:
            return str(self.path)

    def ending(self) -> Hashable:
        """What stands at the end."""
        try:
            return self.end or _of_file(self.path, _END)
        except OSError:
            return str(self.path)

    def whole(self) -> Hashable:
        """What stands in it."""
        try:
            return self.digest or _of_file(self.path, 0)
        except OSError:
            return str(self.path)


_CLOSER = (Look.size, Look.ending, Look.whole)


def _of_file(path: Path, last: int) -> bytes:
    """A digest of the last bytes of a file, 0: of all of them. Raises OSError."""
    about = path.stat()
    return _of_file_once(str(path), last, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=65536)
def _of_file_once(path: str, last: int, size: int, changed: int) -> bytes:
    with open(path, "rb") as file:
        if last:
            file.seek(max(0, size - last))
            return _digest(file.read())
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).digest()


def _digest(content: bytes) -> bytes:
    """32 bytes that stand for others."""
    return hashlib.blake2b(content, digest_size=32).digest()
