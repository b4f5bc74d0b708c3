"""What every reader checks: JSON that can be read, photos that exist, faults gathered by file.

In: paths and parsed JSON. Out: values that can be trusted, or an `InputError` that names the
record. Knows no annotation format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core import photo
from miras.core.errors import InputError
from miras.core.masks import mask_of_picture
from miras.core.types import Mask

T = TypeVar("T")
OnFault = Callable[[str], None]
"""Called with one line for each record that cannot be used; the record is then left out."""

SHOWN_FAULTS = 3
_INDEX_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B"})


class Faults:
    """The faults of one file. Without `on_fault` they are kept and `finish` raises them together."""

    def __init__(self, file: Path, on_fault: OnFault | None = None) -> None:
        """file: named in every line."""
        self._file, self._on_fault = file, on_fault
        self._kept: list[str] = []

    @contextmanager
    def of(self, record: str) -> Iterator[None]:
        """Read one record: an `InputError` inside becomes a fault of this record."""
        try:
            yield
        except InputError as error:
            self.add(record, str(error))

    def add(self, record: str, what: str) -> None:
        """Note one fault."""
        line = f"{self._file.name}: {record}: {what}"
        if self._on_fault is None:
            self._kept.append(line)
        else:
            self._on_fault(line)

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


def load_json(path: Path, kind: type[T]) -> T:
    """The parsed file, a list or a dict as `kind` says. Raises InputError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("a JSON file", f"{path} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError("valid JSON", f"{path}: {error}") from error
    if not isinstance(value, kind):
        raise InputError(f"a JSON {_NAMES[kind]} in {path}", f"a {type(value).__name__}", "is it another format?")
    return value


def field(record: Any, key: str, kind: type[T]) -> T:
    """`record[key]`, of the type asked for (True is never a number)."""
    if not isinstance(record, dict):
        raise InputError(f'a record with "{key}"', f"a {type(record).__name__}")
    if key not in record:
        raise InputError(f'a record with "{key}"', f"keys {sorted(map(str, record))[:8]}")
    value = record[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f'"{key}" to be a {_NAMES.get(kind, kind.__name__)}', f"{_short(value)}")
    return value


def inside(root: Path, name: str) -> Path:
    """The file `name` under `root`. Raises InputError for an absolute name or one with "..".."""
    path = Path(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise InputError(f"a file name inside {root}", repr(name))
    return root / path


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
