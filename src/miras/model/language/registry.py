"""The language models by name: a new one is a module beside this one, and a line here.

In: a name of a configuration. Out: where it comes from. Imports a source's module when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from miras.model.language.base import Source

LANGUAGES: dict[str, str | Callable[[str], Source]] = {
    "llava": "miras.model.language.llava:Llava",
    "qwen3vl": "miras.model.language.qwen:Qwen3VL",
    "smollm2-135m-instruct": "miras.model.language.smollm2:SmolLM2",
    "tiny": "miras.model.language.tiny:Tiny",
}
"""Name -> its source: "module:class", or the class itself. What stands behind a colon in a configuration
("llava:REPO") is for the source, which gets the whole name."""


def source(name: str) -> Source:
    """Where the language model of a name comes from. Raises KeyError for an unknown name: configurations are checked
    before."""
    maker = LANGUAGES[name.partition(":")[0]]
    if isinstance(maker, str):
        maker = cast("Callable[[str], Source]", resolve_name(maker))
    return maker(name)
