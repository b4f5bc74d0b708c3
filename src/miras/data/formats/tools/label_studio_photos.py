"""Which file is the photo of a task of Label Studio.

In: the addresses that tasks have for their photos, and the folder of the JSON. Out: files, each of one address
alone. The longest end of an address that leads to a file wins; a file that two different addresses lead to belongs to
neither, for then nobody knows whose masks it would get. Fetches nothing.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from miras.core.errors import InputError
from miras.data.formats.tools.labelled import SUFFIXES, plain_name

FOLDERS = ("", "images", "upload", "media/upload")
"""Folders beside the JSON that photos are looked for in."""
_KEYS = ("image", "img", "photo", "picture", "url", "image_url")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""


class Shelf:
    """The photos of one JSON. root: its folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.claims: dict[int, str] = {}
        self._files: dict[str, Path | None] = {}
        self._addresses: dict[Path, set[str]] = {}
        self._last: dict[str, tuple[str, int]] = {}

    def claim(self, number: int, address: str, changed: str) -> None:
        """Note which photo a task has; changed: when, to choose of several tasks with the same photo."""
        self.claims[number] = address
        self._last[address] = max(self._last.get(address, ("", -1)), (changed, number))
        if address not in self._files:
            path = self._files[address] = self._found(address)
            if path is not None:
                self._addresses.setdefault(path, set()).add(address)

    def is_chosen(self, number: int) -> bool:
        """Whether the task is the last one of its photo."""
        return self._last[self.claims[number]][1] == number

    def path(self, number: int) -> Path:
        """The file. Raises InputError when there is none, or two addresses lead to it."""
        address = self.claims[number]
        path = self._files[address]
        if path is None:
            cure = f"put it into {self.root / 'images'}"
            raise InputError("the photo", f"no file for {address[:120]!r}", cure)
        if len(self._addresses[path]) > 1:
            others = sorted(self._addresses[path] - {address})
            raise InputError(
                "a photo of its own for each address", f"{path.name} for {address!r:.80} and {others[0]!r:.80}"
            )
        return path

    def _found(self, address: str) -> Path | None:
        parts = parts_of(address)
        for start in range(len(parts)):
            for folder in FOLDERS:
                path = self.root.joinpath(folder, *parts[start:])
                if _is_file(path):
                    return path
        if parts and _UPLOADED.match(parts[-1]):
            name = _UPLOADED.sub("", parts[-1], count=1)
            return next((path for folder in FOLDERS if _is_file(path := self.root / folder / name)), None)
        return None


def address_of(task: Any) -> str:
    """Where a task says that its photo is. Raises InputError for none, several, and photos inside the JSON."""
    if not isinstance(task, dict):
        raise InputError("a task, an object", f"{task!r:.40}")
    data = task.get("data", task)
    if not isinstance(data, dict):
        raise InputError('"data" to be an object', f"{data!r:.40}")
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    found = [value for key, value in texts.items() if _looks_like_photo(value) or key in _KEYS]
    if len(set(found)) != 1:
        got = ", ".join(found)[:80] if found else "none"
        raise InputError("the address of one photo in the task", got)
    if found[0].startswith("data:"):
        raise InputError("the address of a photo", "a photo inside the JSON (data:)", "put photos into files")
    return found[0]


def parts_of(address: str) -> list[str]:
    """The folders and the name at the end of an address, without any that leads upwards."""
    try:
        split = urlsplit(plain_name(address))
        query = parse_qs(split.query).get("d")
    except ValueError:
        return []
    path = query[0] if query else unquote(split.path)
    return [part for part in PurePosixPath(plain_name(path)).parts if part not in ("/", "..", ".")]


def _looks_like_photo(text: str) -> bool:
    parts = parts_of(text) if len(text) < 4096 else []
    return text.startswith("data:image/") or bool(parts and PurePosixPath(parts[-1]).suffix.lower() in SUFFIXES)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
