"""The formats by name: a new one is a module that declares a `Format`, and a line here.

In: a name. Out: its `Format`. A format's module is imported when it is looked up.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import cast

from miras.core.errors import InputError
from miras.data.formats.format import Format

WHERE: dict[str, str | Format] = {
    "miras": "miras.data.formats.conversations:MIRAS",
    "jsonl": "miras.data.formats.conversations:JSONL",
    "reasonseg": "miras.data.formats.single_photos:REASONSEG",
    "labelme": "miras.data.formats.single_photos:LABELME",
    "coco-panoptic": "miras.data.formats.coco.records:PANOPTIC",
    "label-studio": "miras.data.formats.tools.sniff:LABEL_STUDIO",
    "coco": "miras.data.formats.coco.records:INSTANCES",
    "prist": "miras.data.formats.conversations:PRIST",
    "refcoco": "miras.data.formats.coco.records:REFCOCO",
    "instructpart": "miras.data.formats.mask_folders:INSTRUCTPART",
    "indexed-png": "miras.data.formats.mask_folders:INDEXED_PNG",
    "yolo": "miras.data.formats.tools.sniff:YOLO",
    "cvat": "miras.data.formats.tools.sniff:CVAT",
    "supervisely": "miras.data.formats.tools.sniff:SUPERVISELY",
    "pascal-part": "miras.data.formats.published.pascal_part:PASCAL_PART",
    "llava": "miras.data.formats.published.llava:LLAVA",
}
"""Name -> where its `Format` is, "module:attribute", or the `Format`."""


class _Formats(MutableMapping[str, Format]):
    """`WHERE`, each looked up once it is asked for."""

    def __getitem__(self, name: str) -> Format:
        found = WHERE[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = WHERE[name] = cast(Format, getattr(import_module(module), attribute))
        return found

    def __contains__(self, name: object) -> bool:
        return name in WHERE

    def __setitem__(self, name: str, format: Format) -> None:
        WHERE[name] = format

    def __delitem__(self, name: str) -> None:
        del WHERE[name]

    def __iter__(self) -> Iterator[str]:
        return iter(WHERE)

    def __len__(self) -> int:
        return len(WHERE)


FORMATS = _Formats()
"""Name -> `Format`."""


def known(name: str, among: list[str] | None = None) -> Format:
    """The format of a name. among: the names that will do; None: all. Raises InputError with the near one."""
    names = list(FORMATS) if among is None else among
    if name not in names:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1)
        cure = f"did you mean {near[0]!r}?" if near else ""
        raise InputError(f"a format of {', '.join(names)}", repr(name), cure)
    return FORMATS[name]
