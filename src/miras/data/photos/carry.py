"""Photos carried into a dataset, without what their files say beside the pixels.

In: files and embedded bytes. Out: copies without metadata (`metadata.stripped`), and how many there were of each kind.
Knows no dataset and no names.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from miras.core.errors import InputError
from miras.data.photos.metadata import stripped
from miras.data.record import Record


class Carrier:
    """Copies photos. keep: their metadata too."""

    def __init__(self, keep: bool = False) -> None:
        self.keep = keep
        self._counts: Counter[str] = Counter()
        self._cleaned: dict[int, bytes] = {}
        self._seen: set[int] = set()

    def copy(self, photo: Path, target: Path) -> None:
        """A copy of a file. Raises OSError."""
        target.write_bytes(self.clean(photo.read_bytes()))

    def link(self, photo: Path, target: Path) -> None:
        """A hard link, whose metadata nobody can take out; a copy where there can be none. Raises OSError."""
        try:
            os.link(photo.resolve(), target)
        except OSError:
            self.copy(photo, target)
            return
        self._counts["linked"] += _has_metadata(photo)

    def read(self, photo: Path) -> bytes:
        """The file to embed. Raises InputError."""
        try:
            content = photo.read_bytes()
        except OSError as error:
            raise InputError("the photo", f"{photo} ({error.strerror})") from error
        return self.clean(content)

    def clean(self, content: bytes) -> bytes:
        """The file without its metadata; as it is where that stays, or where there is none."""
        if self.keep:
            return content
        name = hash(content)
        if name not in self._cleaned:
            without = stripped(content)
            if without is None:
                kind = "kept" if _has_metadata(io.BytesIO(content)) else "none"
            else:
                kind = "none" if without == content else "stripped"
            if name not in self._seen:
                self._counts[kind] += 1
                self._seen.add(name)
            self._cleaned.clear()  # the same photo comes again at once, record after record, or not for long
            self._cleaned[name] = without or content
        return self._cleaned[name]

    def records(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, embedded photos cleaned."""
        for record in records:
            yield {**record, "image_bytes": self.clean(record["image_bytes"])} if "image_bytes" in record else record

    def counts(self) -> dict[str, int]:
        """Photos whose metadata was left out ("stripped"), could not be ("kept"), or goes with a link ("linked")."""
        return {name: self._counts[name] for name in ("stripped", "kept", "linked")}

    def lines(self) -> list[str]:
        """The same for a person; nothing where there is nothing to say."""
        said = {
            "stripped": "metadata (place, time, camera, comments) left out of {} photos; --keep-metadata keeps it",
            "kept": "metadata stays in {} photos of kinds that nothing can be taken out of",
            "linked": "metadata goes along with {} photos that are links; --photos copy leaves it out",
        }
        return [text.format(count) for name, text in said.items() if (count := self.counts()[name])]


def _has_metadata(file: Path | BinaryIO) -> bool:
    """Whether a header shows any; True for what cannot be opened."""

    try:
        with Image.open(file) as image:
            has_text = image.format == "PNG" and any(isinstance(value, str) for value in image.info.values())
            return has_text or bool({"exif", "xmp", "comment", "photoshop", "mp"} & set(image.info))
    except Exception:  # plugins raise whatever the bytes make them
        return True
