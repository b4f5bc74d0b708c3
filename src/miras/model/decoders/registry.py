"""The mask decoders by name: a new one is a module beside this one, and a line here.

In: a name of a configuration ("sam:REPO"). Out: a decoder. Imports its module when it is built.
"""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

from miras.core.errors import InputError

if TYPE_CHECKING:
    from miras.model.decoders.base import HubDecoder

DECODERS: dict[str, str | Callable[[str], HubDecoder]] = {
    "sam": "miras.model.decoders.sam:SamDecoder",
    "sam2": "miras.model.decoders.sam2:Sam2Decoder",
}
"""Name -> what makes a decoder of that name: "module:class", or the class itself. It gets the whole name."""


def build(name: str) -> HubDecoder:
    """A decoder with its weights. Raises KeyError for an unknown name: configurations are checked before."""
    maker = DECODERS[name.partition(":")[0]]
    if isinstance(maker, str):
        maker = cast("Callable[[str], HubDecoder]", resolve_name(maker))
    return maker(name)


def fitting(name: str, width: int, size: int, has_bias: bool) -> HubDecoder:
    """The decoder of a configuration (its width and decoder_size; see `HubDecoder.has_bias`). Raises InputError where
    the checkpoint has others."""
    made = build(name)
    if (made.width, made.size) != (width, size):
        got = f"width={width}, decoder_size={size}"
        raise InputError(f"width={made.width} and decoder_size={made.size} for {name}", got)
    made.has_bias = has_bias
    return made
