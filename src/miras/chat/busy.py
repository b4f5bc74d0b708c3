"""One turn at a time: a second message to a session that is answering one is refused, whichever thread it comes from.

In: the turns of a session. Out: the same, or InputError at once; nobody waits. A stream is busy while its next event is
made, not while somebody looks at the last one: a stream that is dropped holds nothing up. Knows no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from threading import Lock
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from miras.core.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")


class Busy:
    """`with busy:` is one turn. A copy is free."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Busy], tuple[()]]:
        return Busy, ()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise InputError(
                "one turn at a time", "a second one while the first is answered", "wait for its reply, or fork before"
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def each(self, events: Iterator[T]) -> Iterator[T]:
        """The events of a turn."""
        while True:
            with self:
                try:
                    event = next(events)
                except StopIteration:
                    return
            yield event


class _HasBusy(Protocol):
    _busy: Busy


S = TypeVar("S", bound=_HasBusy)


def alone(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method that is a turn from its beginning to its end."""

    @wraps(method)
    def turn(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._busy:
            return method(self, *args, **kwargs)

    return turn
