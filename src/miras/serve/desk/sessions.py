"""Sessions that are kept ready, the least used put aside first; every one of them can be made again from the disk.

In: sessions by the id of their conversation. Out: the same, while there is room for them in memory, or in the files of
those that are put aside. Knows what a session weighs, and nothing of what it says.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from miras.chat.session import ChatSession
from miras.model.runtime.base import Runtime
from miras.serve.desk.aside import Aside


@dataclass(frozen=True, eq=False)
class _Kept:
    """weight: bytes. keys: see `Sessions.put`."""

    session: ChatSession
    weight: int
    keys: tuple[str, ...]


class Sessions:
    """A cache by bytes. most: bytes of all sessions together in memory; the one that was used last always stays.
    aside: takes those that memory has no room for; None: they are dropped."""

    def __init__(self, most: int, aside: Aside | None = None) -> None:
        self.most, self.aside = most, aside
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self.put_aside = self.brought_back = 0

    def get(self, conversation: str) -> ChatSession | None:
        """A session, when it is ready or was put aside."""
        with self._lock:
            if conversation in self._kept:
                self._kept.move_to_end(conversation)
                return self._kept[conversation].session
            found = None if self.aside is None else self.aside.take(conversation)
            if found is None:
                return None
            self.brought_back += 1
            self._keep(conversation, *found)
            return found[0]

    def keys(self, conversation: str) -> tuple[str, ...] | None:
        """What was said when it was kept; None for one that is neither ready nor put aside."""
        with self._lock:
            if conversation in self._kept:
                return self._kept[conversation].keys
            return None if self.aside is None else self.aside.keys(conversation)

    def put(self, conversation: str, session: ChatSession, keys: Sequence[str] = ()) -> None:
        """Keep a session ready, or say that it has changed. keys: of its turns, for who wants to know them."""
        with self._lock:
            if self.aside is not None:
                self.aside.drop(conversation)
            self._keep(conversation, session, tuple(keys))

    def _keep(self, conversation: str, session: ChatSession, keys: tuple[str, ...]) -> None:
        self._kept[conversation] = _Kept(session, weigh(session), keys)
        self._kept.move_to_end(conversation)
        before = self.put_aside
        while len(self._kept) > 1 and sum(one.weight for one in self._kept.values()) > self.most:
            name, eldest = self._kept.popitem(last=False)
            self.put_aside += 1
            if self.aside is not None:
                self.aside.put(name, eldest.session, eldest.keys)
            del eldest
        if self.put_aside > before:
            give_back()

    def drop(self, conversation: str) -> None:
        """A session that is not as it is on the disk, or whose conversation is gone."""
        with self._lock:
            self._kept.pop(conversation, None)
            if self.aside is not None:
                self.aside.drop(conversation)

    def close(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._kept.clear()
            if self.aside is not None:
                self.aside.clear()

    @property
    def bytes(self) -> int:
        """Bytes of all sessions that are ready. What forks share is counted for each."""
        with self._lock:
            return sum(one.weight for one in self._kept.values())

    @property
    def bytes_aside(self) -> int:
        """Bytes of the files of those that are put aside."""
        with self._lock:
            return 0 if self.aside is None else self.aside.bytes

    def __len__(self) -> int:
        return len(self._kept)


def give_back() -> None:
    """Memory that is free goes to the system: glibc keeps it otherwise, since sessions lie between other things."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # no such thing on Windows
        return None


def weigh(session: ChatSession) -> int:
    """Bytes of the tensors and arrays that a session holds, each once; the model's own are not counted."""
    seen: set[int] = set()
    total = 0
    rest: list[Any] = [vars(session)]
    torch, static = sys.modules.get("torch"), sys.modules.get("miras.model.language.static")
    while rest:
        thing = rest.pop()
        if id(thing) in seen or isinstance(thing, Runtime | str | bytes | int | float | type(None)):
            continue
        if torch is not None and isinstance(thing, torch.nn.Module):
            continue
        if static is not None and isinstance(thing, static.Buffers):  # those of all sessions
            continue
        seen.add(id(thing))
        if torch is not None and isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                total += storage.nbytes()
        elif isinstance(thing, np.ndarray):
            total += thing.nbytes
        elif isinstance(thing, Mapping):
            rest += thing.values()
        elif isinstance(thing, list | tuple | set | frozenset):
            rest += thing
        elif type(thing).__module__.startswith(("miras.chat", "miras.core", "miras.model", "transformers.cache")):
            rest += [getattr(thing, name) for name in _fields(thing) if hasattr(thing, name)]
    return total


def _fields(thing: Any) -> list[str]:
    """Names of what an object holds itself."""
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(thing, "__dict__", {}), *slots]
