"""Sessions that are kept ready, the least used put aside first; every one of them can be made again from the disk.

In: sessions by the id of their conversation. Out: the same, while there is memory for them. Knows what a session
weighs, and nothing of what it says.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from miras.chat.session import ChatSession
from miras.model.runtime.base import Runtime


class Sessions:
    """A cache by bytes. most: bytes of all sessions together; the one that was used last always stays."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[ChatSession, int]] = OrderedDict()
        self.put_aside = 0

    def get(self, conversation: str) -> ChatSession | None:
        """A session, when it is ready."""
        with self._lock:
            if conversation not in self._kept:
                return None
            self._kept.move_to_end(conversation)
            return self._kept[conversation][0]

    def put(self, conversation: str, session: ChatSession) -> None:
        """Keep a session ready, or say that it has changed."""
        weight = weigh(session)
        with self._lock:
            self._kept[conversation] = (session, weight)
            self._kept.move_to_end(conversation)
            while len(self._kept) > 1 and sum(one for _, one in self._kept.values()) > self.most:
                self._kept.popitem(last=False)
                self.put_aside += 1

    def drop(self, conversation: str) -> None:
        """A session that is not as it is on the disk, or whose conversation is gone."""
        with self._lock:
            self._kept.pop(conversation, None)

    @property
    def bytes(self) -> int:
        """Bytes of all sessions. What forks share is counted for each."""
        with self._lock:
            return sum(weight for _, weight in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)


def weigh(session: ChatSession) -> int:
    """Bytes of the tensors and arrays that a session holds, each once; the model's own are not counted."""
    seen: set[int] = set()
    total = 0
    rest: list[Any] = [vars(session)]
    torch = sys.modules.get("torch")
    while rest:
        thing = rest.pop()
        if id(thing) in seen or isinstance(thing, Runtime | str | bytes | int | float | type(None)):
            continue
        if torch is not None and isinstance(thing, torch.nn.Module):
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
