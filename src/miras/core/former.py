"""Names that were changed: the old one works for one version more, and says what it is called now.

In: a class with new names, the old ones. Out: the class, which knows both. Knows nothing of what they do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from miras.core.errors import MirasWarning

C = TypeVar("C", bound=type)


class FormerNameWarning(MirasWarning):
    """A name was used that the next version will not know."""


def formerly(old: str, new: str) -> None:
    """Tells whoever used an old name what it is called now."""
    warnings.warn(f"{old!r} is called {new!r} now; the old name goes with the next version", FormerNameWarning, 3)


def former_names(**new_by_old: str) -> Callable[[C], C]:
    """A decorator: attributes (methods, properties) of the class stay reachable by their old names, with a notice."""

    def decorate(owner: C) -> C:
        for old, new in new_by_old.items():
            setattr(owner, old, property(_reader(owner.__name__, old, new), doc=f"Former name of `{new}`."))
        return owner

    return decorate


def _reader(owner: str, old: str, new: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        formerly(f"{owner}.{old}", f"{owner}.{new}")
        return getattr(self, new)

    return read
