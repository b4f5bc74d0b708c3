"""Uploaded photos: decoded in a guarded way, without metadata, upright, in three sizes on the disk.

In: bytes from anybody. Out: files named by us. What a client calls a photo is never part of a path. Knows no
conversation.
"""

from __future__ import annotations

import contextlib
import io
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from threading import BoundedSemaphore
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.errors import InputError
from miras.core.photo import format_of, orientation_of, photo_size, read_photo
from miras.data.photos.metadata import stripped
from miras.serve.settings import Limits

Variant = Literal["full", "preview", "thumbnail"]
SIDES = {"preview": 1600, "thumbnail": 320}
"""Pixels of the longer side of the smaller variants."""
AT_ONCE = 2
"""Photos that are decoded at the same time, at most: a decoded photo takes far more memory than its file."""
_decoding = BoundedSemaphore(AT_ONCE)
CREDITS = {
    "astronaut": ("Eileen Collins in an orange suit, a helmet in front of her", "NASA, public domain"),
    "chelsea": ("the face of a cat", "Stefan van der Walt, CC0"),
    "coffee": ("a cup of espresso on a saucer, with a spoon", "Rachel Michetti, CC0"),
    "rocket": ("a Falcon 9 on its launch pad at dusk", "SpaceX, public domain"),
}
"""The photos that ship with the package: what they show, by whom."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photo as it is kept. suffix: of the full file, "jpg" or "png". content: the file of each variant."""

    width: int
    height: int
    suffix: str
    content: dict[Variant, bytes]


def prepare(content: bytes, limits: Limits) -> Prepared:
    """Decode an upload and write it anew where that is needed. Raises InputError for what is no photo, or too large.

    The size is known from the header, before a pixel is decoded. A JPEG that stands upright keeps its coded pixels and
    loses its metadata; everything else becomes PNG. Either way it reads as exactly the pixels that the upload has.
    """
    height, width = photo_size(content)
    if height * width > limits.photo_pixels:
        most = f"{limits.photo_pixels / 1e6:g} megapixels"
        raise InputError(f"a photo of at most {most}", f"{width} x {height} (W x H)", "make it smaller first")
    with _decoding:
        pixels = read_photo(content)
        kept = _bare_jpeg(content, pixels)
        suffix = "png" if kept is None else "jpg"
        picture = Image.fromarray(pixels)
        full = kept or _written(picture, "PNG", compress_level=3)
        small = {name: _written(_scaled(picture, side), "JPEG", quality=86) for name, side in SIDES.items()}
    variants: dict[Variant, bytes] = {"full": full, "preview": small["preview"], "thumbnail": small["thumbnail"]}
    return Prepared(pixels.shape[1], pixels.shape[0], suffix, variants)


def shown_name(name: str) -> str:
    """What a client calls a photo, as it is shown: one line, no control characters, no folders, 120 characters."""
    whole = name.encode("utf-8", "replace").decode("utf-8").replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(char for char in whole if unicodedata.category(char)[0] != "C").strip()
    return kept[:120].strip() or "photo"


def sample(name: str) -> bytes:
    """A photo that ships with the package. Raises InputError for another name."""
    if name not in CREDITS:
        raise InputError(f"a sample: {', '.join(CREDITS)}", repr(name)[:80])
    return (files("miras") / "assets" / f"{name}.jpg").read_bytes()


def media_type(variant: Variant, suffix: str) -> str:
    """Content type of a variant."""
    return "image/png" if variant == "full" and suffix == "png" else "image/jpeg"


class PhotoFiles:
    """The folder of the photos. Names are made of ids of ours alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, photo: str, variant: Variant, suffix: str) -> Path:
        """Where a variant lies."""
        return self.folder / f"{photo}.{variant}.{suffix if variant == 'full' else 'jpg'}"

    def put(self, photo: str, prepared: Prepared) -> None:
        """Write all variants: on the disk when this returns."""
        for variant, content in prepared.content.items():
            _write(self.path(photo, variant, prepared.suffix), content)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self, photo: str, variant: Variant, suffix: str) -> bytes:
        """The file of a variant. Raises InputError when somebody took it away."""
        try:
            return self.path(photo, variant, suffix).read_bytes()
        except FileNotFoundError:
            raise InputError("the photo's file", "none on the server's disk", "upload it again") from None

    def delete(self, photo: str) -> None:
        """Take every file of a photo away."""
        for path in self.folder.glob(f"{photo}.*"):
            path.unlink(missing_ok=True)

    def sweep(self, known: Iterable[str]) -> int:
        """Take the files away that belong to no photo: leftovers of a crash. Returns how many."""
        wanted, gone = set(known), 0
        for path in self.folder.iterdir():
            if path.name.split(".", 1)[0] not in wanted or path.suffix == ".part":
                path.unlink(missing_ok=True)
                gone += 1
        return gone


def _bare_jpeg(content: bytes, pixels: NDArray[np.uint8]) -> bytes | None:
    """The JPEG without its metadata, when it is one that every browser shows as we read it."""
    if format_of(content) not in ("JPEG", "MPO") or orientation_of(content) != 1:
        return None
    bare = stripped(content)
    if bare is None:
        return None
    with Image.open(io.BytesIO(bare), formats=["JPEG"]) as image:
        if image.mode not in ("RGB", "L"):
            return None
    return bare if np.array_equal(read_photo(bare), pixels) else None


def _scaled(picture: Image.Image, side: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def _written(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    """A file that is whole on the disk, or not there."""
    staging = path.with_name(f"{path.name}.part")
    try:
        with open(os.open(staging, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            staging.unlink()
        raise
