"""The rows of a key-value cache, in numpy.

In: rows of new tokens. Out: those of all tokens, as one array. Conversations that fork share what they have in common.
Knows no model.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from weakref import WeakSet

import numpy as np

from miras.model.numeric.views import Floats

FIRST = 256
"""Tokens that there is room for at first."""


class _Buffer:
    """rows: of which the first may be written. users: the caches that read it."""

    def __init__(self, rows: Floats) -> None:
        self.rows = rows
        self.lock = threading.Lock()
        self.users: WeakSet[RowCache] = WeakSet()


class RowCache:
    """row: shape of what is kept of a token."""

    def __init__(self, row: tuple[int, ...]) -> None:
        self._length = 0
        self._use(_Buffer(np.empty((FIRST, *row), np.float32)))

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return True

    @property
    def rows(self) -> Floats:
        """(T, ...) of all tokens; not to be written."""
        return self._buffer.rows[: self._length]

    def append(self, new: Floats) -> None:
        """Rows of new tokens: written in place where there is room and no other cache reads there."""
        buffer = self._buffer
        with buffer.lock:
            start, end = self._length, self._length + len(new)
            if end <= len(buffer.rows) and all(other is self or len(other) <= start for other in list(buffer.users)):
                buffer.rows[start:end] = new
                self._length = end
                return
        rows = np.empty((max(FIRST, 2 * end), *new.shape[1:]), np.float32)
        rows[:start], rows[start:end] = self.rows, new
        self._use(_Buffer(rows))
        self._length = end

    def fork(self) -> RowCache:
        """The rows are shared."""
        twin = RowCache.__new__(RowCache)
        with self._buffer.lock:
            twin._length, twin._buffer = self._length, self._buffer
            self._buffer.users.add(twin)
        return twin

    def crop(self, length: int) -> None:
        """Keep the first tokens."""
        self._length = min(self._length, length)

    def keep(self, first: int, rows: Sequence[int]) -> None:
        """Keep the first tokens, and of those after them only `rows`."""
        kept = self.rows[[first + row for row in rows]]
        self.crop(first)
        self.append(kept)

    def __getstate__(self) -> Floats:
        """What it reads; what it shares with forks is written for each."""
        return self.rows

    def __setstate__(self, rows: Floats) -> None:
        room = np.empty((max(FIRST, len(rows)), *rows.shape[1:]), np.float32)
        room[: len(rows)] = rows
        self._length = len(rows)
        self._use(_Buffer(room))

    def _use(self, buffer: _Buffer) -> None:
        self._buffer = buffer
        buffer.users.add(self)
