"""Every photo of a dataset decoded, on all cores: what a header cannot say.

In: records, or (photo, size) pairs. Out: the same with the size that reading gives or what is wrong with the photo; all
faulty photos at once. A file that was decoded before in this process, and has not changed since, is not decoded again.
Knows no file format of annotations.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from miras.core.errors import InputError
from miras.core.parallel.threads import in_order
from miras.core.photo import check_photo
from miras.data.io.checks import SHOWN_FAULTS, same_size
from miras.data.record import Record

Size = tuple[int, int]
Content = bytes | None
"""A photo's own bytes, where it is embedded."""
_known: dict[Hashable, Size | InputError] = {}


def decoded(records: Iterable[Record], jobs: int | None = None) -> Iterator[tuple[Record, Size | InputError]]:
    """Each record with the (H, W) of its photo as it is read, or why it cannot be. jobs: threads; all cores.

    A record that has no photo by design (`meta["without"]`) comes with (0, 0).
    """
    yield from in_order(_look_at, records, key=_key_of, known=_known, jobs=jobs)


def faulty(photos: Iterable[tuple[Path, Content, Size]]) -> dict[str, str]:
    """Photos, each with the (H, W) that it must have: path -> what is wrong, in their order; {} when all is well."""
    faults: dict[str, str] = {}
    for (path, _, size), found in in_order(_look, photos, key=_key, known=_known):
        try:
            if isinstance(found, InputError):
                raise found
            same_size(f"{path}", size, found)
        except InputError as error:
            faults.setdefault(str(path), str(error))
    return faults


def all_of(faults: Sequence[str], expected: str, cure: str, report: Path | None = None) -> InputError:
    """One error for many faults: how many, the first few, and where all of them stand.

    report: a file that gets a line for each; where it cannot be written the error goes without it.
    """
    if report is not None:
        try:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text("\n".join(faults) + "\n", encoding="utf-8")
            cure = f"{cure}; all of them: {report}"
        except OSError:
            pass
    more = f" | and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return InputError(expected, f"{len(faults)}: " + " | ".join(faults[:SHOWN_FAULTS]) + more, cure)


def _look_at(record: Record) -> Size | InputError:
    if "photo" in (record["meta"].get("without") or ()):
        return 0, 0
    return _look((Path(record["image"]), record.get("image_bytes"), (0, 0)))


def _key_of(record: Record) -> Hashable:
    if "photo" in (record["meta"].get("without") or ()):
        return None
    return _key((Path(record["image"]), record.get("image_bytes"), (0, 0)))


def _look(photo: tuple[Path, Content, Size]) -> Size | InputError:
    path, content, _ = photo
    try:
        if content is None and not path.is_file():
            raise InputError("the photo", f"no file {path}")
        return check_photo(path if content is None else content)
    except InputError as error:
        return InputError(error.expected, error.got, error.cure)  # without the frames that the other one holds


def _key(photo: tuple[Path, Content, Size]) -> Hashable:
    """The file as it is now; embedded photos are told apart by their bytes."""
    path, content, _ = photo
    if content is not None:
        return content if len(content) < 64 else (len(content), hash(content))
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    return os.fspath(path), about.st_mtime_ns, about.st_size
