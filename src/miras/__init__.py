"""Talk about a photograph; get sentences and exact masks back, turn after turn.

    miras.load("miras-mini").chat("photo.jpg").ask("What do I hold to lift the cup?")

Importing this package is light: torch is loaded with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miras.chat.composed.compose import Composed, compose
    from miras.chat.load import Loaded, load
    from miras.chat.session import ChatSession

__version__ = "0.1.0"
__all__ = ["ChatSession", "Composed", "Loaded", "__version__", "compose", "load"]

_HOMES = {
    "ChatSession": "miras.chat.session", "Composed": "miras.chat.composed.compose", "Loaded": "miras.chat.load",
    "compose": "miras.chat.composed.compose", "load": "miras.chat.load",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
