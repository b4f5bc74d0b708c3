"""The image towers by name: a new one is a module beside this one, and a line here.

In: a name of a configuration. Out: a tower. Imports a tower's module when it is built.
"""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from miras.model.towers.base import Tower

TOWERS: dict[str, str | Callable[[str], Tower]] = {
    "clip": "miras.model.towers.clip:ClipTower",
    "convnext": "miras.model.towers.convnext:ConvNextTower",
    "efficientnet-lite0": "miras.model.towers.efficientnet:EfficientNetLite",
    "efficientnet-lite2": "miras.model.towers.efficientnet:EfficientNetLite",
    "qwen3vl": "miras.model.towers.qwen:QwenTower",
    "tiny": "miras.model.towers.efficientnet:EfficientNetLite",
}
"""Name -> what makes a tower of that name: "module:class", or the class itself. What stands behind a colon in a
configuration ("clip:REPO") is for the maker, which gets the whole name."""


def build(name: str) -> Tower:
    """A tower with fresh weights. Raises KeyError for an unknown name: configurations are checked before."""
    maker = TOWERS[name.partition(":")[0]]
    if isinstance(maker, str):
        maker = cast("Callable[[str], Tower]", resolve_name(maker))
    return maker(name)
