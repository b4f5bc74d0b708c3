"""What every reader checks: JSON that can be read, photos that exist, faults gathered by file.

In: paths and parsed JSON. Out: values that can be trusted, or an `InputError` that names the
record; what is left out is counted (`left_out`). Knows no annotation format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core import photo
from miras.core.errors import InputError
from miras.core.masks import mask_of_picture
from miras.core.text import read_text
from miras.core.types import Mask
from miras.data.io.left_out import LeftOut, Omitted

T = TypeVar("T")
OnFault = Callable[[str], None]
"""Called with one line for each record that cannot be used; the record is then left out. A `LeftOut` also counts what
is left out without a fault."""

SHOWN_FAULTS = 3
LONGEST_NAME = 255
"""Bytes of a file's name, on the usual file systems."""
_SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
_INDEX_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B"})


class Faults:
    """The faults of one file. Without `on_fault` they are kept and `finish` raises them together.

    What is read or left out goes to the tally, where `on_fault` is one (`LeftOut`).
    """

    def __init__(self, file: Path, on_fault: OnFault | None = None) -> None:
        """file: named in every line."""
        self._file, self.tally = file, LeftOut.of(on_fault)
        self._kept: list[str] = []

    @contextmanager
    def of(self, record: str, unit: str = "records", count: int = 1, apart: bool = False) -> Iterator[None]:
        """Read one record: `count` of `unit` are read, or left out.

        An `InputError` inside becomes a fault of this record, `Omitted` leaves it out without one. apart: what is read
        is counted inside, one by one.
        """
        try:
            yield
        except Omitted as omitted:
            self.leave(unit, str(omitted), record, count)
        except InputError as error:
            self.add(record, str(error), unit, count)
        else:
            self.tally.read[unit] += 0 if apart else count

    def add(self, record: str, what: str, unit: str = "records", count: int = 1, was_read: bool = False) -> None:
        """Note one fault, for which `count` of `unit` are left out, see `LeftOut.leave`."""
        line = f"{self._file.name}: {record}: {what}"
        if self.tally.on_fault is None:
            self._kept.append(line)
        else:
            self.tally.fault(line, unit, count, was_read, f"{self._file.name}: {record}")

    def leave(self, unit: str, reason: str, first: str, count: int = 1, was_read: bool = False) -> None:
        """Leave something out that is no fault, see `LeftOut.leave`; first: its name within this file."""
        self.tally.leave(unit, reason, f"{self._file.name}: {first}", count, was_read)

    def files(self, folder: Path, pattern: str) -> list[Path]:
        """`files_in`, with the hidden ones counted as left out."""
        for file in hidden_in(folder, pattern):
            self.leave("files", "hidden files", file.name)
        return files_in(folder, pattern)

    def unread(self, root: Path, read: Iterable[Path], pattern: str) -> None:
        """Count what else lies in `root`: files and folders with files of this name, when they are not in `read`."""
        folders = {folder.resolve() for folder in read}
        if root.resolve() not in folders:
            for file in files_in(root, pattern):
                self.leave("files", "files beside the folders that are read", file.name)
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and not is_hidden(folder) and folder.resolve() not in folders:
                count = len(files_in(folder, pattern))
                self.leave("files", "files in folders that are not read", f"{folder.name}/", count)

    def finish(self) -> None:
        """Raise one `InputError` with the count and the first faults, if there are any."""
        if not self._kept:
            return
        more = len(self._kept) - SHOWN_FAULTS
        shown = " | ".join(self._kept[:SHOWN_FAULTS]) + (f" | and {more} more" if more > 0 else "")
        count = f"{len(self._kept)} fault" + ("s" if len(self._kept) > 1 else "")
        raise InputError(
            f"{self._file} without faults", f"{count}: {shown}", "mend these records, or pass on_fault to skip them"
        )


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose name fits, capitals or not, sorted; hidden ones are none."""
    return [file for file in _named(folder, pattern) if not is_hidden(file)]


def hidden_in(folder: Path, pattern: str) -> list[Path]:
    """Those that `files_in` passes over."""
    return [file for file in _named(folder, pattern) if is_hidden(file)]


def is_hidden(path: Path) -> bool:
    """Whether a system or a tool put it there: "._a.json", ".ipynb_checkpoints", "Thumbs.db", "__MACOSX"."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM


def _named(folder: Path, pattern: str) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(file for file in found if fnmatch(file.name.lower(), pattern.lower()) and file.is_file())


def load_json(path: Path, kind: type[T], prefer: str = "") -> T:
    """The parsed file, a list or a dict as `kind` says. prefer: see `core.text.decoded`.

    Raises InputError for anything else.
    """
    try:
        value = json.loads(read_text(path, prefer))
    except OSError as error:
        raise InputError("a JSON file", f"{path} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError("valid JSON", f"{path}: {error}") from error
    if not isinstance(value, kind):
        raise InputError(f"a JSON {_NAMES[kind]} in {path}", f"a {type(value).__name__}", "is it another format?")
    return value


def field(record: Any, key: str, kind: type[T]) -> T:
    """`record[key]`, of the type asked for (True is never a number; 40.0 is a whole one)."""
    if not isinstance(record, dict):
        raise InputError(f'a record with "{key}"', f"a {type(record).__name__}")
    if key not in record:
        raise InputError(f'a record with "{key}"', f"keys {sorted(map(str, record))[:8]}")
    value = whole_number(record[key]) if kind is int else record[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f'"{key}" to be a {_NAMES.get(kind, kind.__name__)}', f"{_short(value)}")
    if isinstance(value, str) and not is_valid(value):
        raise InputError(f'"{key}" in valid Unicode', f"{value!a:.60}")
    return value


def key_of(record: Any, key: str) -> Any:
    """An id: a whole number (1.0 is 1) or text. Raises InputError for anything else."""
    value = whole_number(record.get(key)) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str) or not is_valid(str(value)):
        raise InputError(f'a record with "{key}"', f"{record!a:.60}")
    return value


def is_valid(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON can hold halves of characters, which nothing can."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def whole_number(value: Any) -> Any:
    """1 for 1.0, as some tools write their ids and sizes; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def inside(root: Path, name: str) -> Path:
    """The file `name` under `root`; "\\" stands between folders as "/" does.

    Of a whole path, as another machine wrote it ("C:\\Users\\x\\a.jpg"), the longest end that lies there. Raises
    InputError for one of which nothing does, and for a name with "..".
    """
    plain = PurePath(name.replace("\\", "/"))
    if not name.strip() or "\0" in name or ".." in plain.parts:
        raise InputError(f"a file name inside {root}", ascii(name))
    if any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in plain.parts):
        raise InputError(f"a file name of at most {LONGEST_NAME} bytes", f"{name!a:.60}")
    if not PurePath(name).is_absolute() and (root / name).is_file():
        return root / name
    if not is_foreign(name):
        return root / plain
    found = end_of(name, root)
    if found is None:
        raise InputError(f"a file name inside {root}", repr(name), f"put {plain.name} there")
    return found


def lies_in(root: Path, name: str) -> bool:
    """Whether `inside` finds the file there."""
    try:
        return inside(root, name).is_file()
    except InputError:
        return False


def is_foreign(name: str) -> bool:
    """Whether a file name is a whole path, of this machine or another one."""
    return bool(PureWindowsPath(name).root or PureWindowsPath(name).drive)


def end_of(name: str, *roots: Path) -> Path | None:
    """The file under one of `roots` that the longest end of a path names; None where there is none."""
    parts = PureWindowsPath(name).relative_to(PureWindowsPath(name).anchor).parts
    for start in range(len(parts)):
        for root in roots:
            if (root.joinpath(*parts[start:])).is_file():
                return root.joinpath(*parts[start:])
    return None


def photo_size(path: Path) -> tuple[int, int]:
    """(H, W) as the person sees it, from the header, as `core.photo` says it to everybody."""
    if not path.is_file():
        raise InputError("the photo", f"no file {path}")
    return photo.photo_size(path)


def same_size(what: str, expected: tuple[int, int], got: tuple[int, int]) -> None:
    """Raise InputError unless two (H, W) are equal."""
    if expected != got:
        raise InputError(f"{what} of {expected[1]} x {expected[0]} pixels", f"{got[1]} x {got[0]}")


def index_image(path: Path, size: tuple[int, int], mode: str = "index") -> NDArray[Any]:
    """The pixels of a PNG that must be `size` (H, W): (H, W) indices, or (H, W, 3) for mode "RGB".

    Raises InputError for a missing, unreadable or colour file (where indices are wanted), or another size.
    """
    if not path.is_file():
        raise InputError("the mask", f"no file {path}")
    try:
        with Image.open(path) as image:
            same_size(f"a mask ({path.name})", size, (image.height, image.width))
            if mode == "index" and image.mode not in _INDEX_MODES:
                raise InputError("a mask with one index a pixel", f"{path.name} of mode {image.mode}")
            if mode == "RGB" and image.mode != "RGB":
                image = image.convert("RGB")  # type: ignore[assignment]
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("a mask image", f"{path} ({error})") from error


def mask_image(path: Path, size: tuple[int, int] | None = None) -> Mask:
    """The mask of a PNG, (H, W) as `size` says where it is given; what is one says `masks.mask_of_picture`.

    Raises InputError for anything else, and for a missing or unreadable file.
    """
    if not path.is_file():
        raise InputError("the mask", f"no file {path}")
    try:
        with Image.open(path) as image:
            same_size(f"a mask ({path.name})", size or (image.height, image.width), (image.height, image.width))
            return mask_of_picture(image, f"a mask ({path.name})")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("a mask image", f"{path} ({error})") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_NAMES: dict[type[Any], str] = {list: "list", dict: "object", str: "text", int: "whole number"}
