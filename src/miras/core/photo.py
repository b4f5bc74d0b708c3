"""Any photograph as RGB pixels in the frame a person sees.

In: a path, bytes, an open file, a PIL image or an array. Out: (H, W, 3) uint8 RGB, or one
`InputError` that says what is wrong with it. Knows nothing of models, and never uses the network.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.errors import InputError

Photo = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, EXIF orientation applied."""
PhotoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any]

MIN_SIDE = 8
"""Pixels; a smaller picture shows nothing."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused from their header, before they are decoded."""
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
"""What is read. Pillow knows more, some of which start other programs (EPS starts Ghostscript) or
take text for a picture (TGA)."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_EXPECTED = "a photo (JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, ...)"
_CURE = "save it again as JPEG or PNG"


def read_photo(source: PhotoSource) -> Photo:
    """The pixels of a photo: (H, W, 3) uint8 RGB, EXIF orientation applied, memory of its own.

    Transparent parts lie over white, of an animation it is the first frame, 16-bit values are
    scaled to 8 bits (65535 becomes 255), palette and CMYK become RGB. Arrays may be (H, W),
    (H, W, 1), (H, W, 3) or (H, W, 4), of uint8, uint16, bool or floats in 0..1.
    Raises InputError for a folder, a missing, empty, truncated or unreadable file, a text file, a
    web address, a side under MIN_SIDE, or more than MAX_PIXELS.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, "the PIL image")
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_file(io.BytesIO(source), "the bytes")
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fspath(source))
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the open file"))
        try:
            content = source.read()
        except (OSError, ValueError) as error:
            raise InputError(_EXPECTED, f"{name}, which cannot be read ({error})") from error
        if not isinstance(content, bytes):
            raise InputError("a file opened in binary mode", f"{name} in text mode", 'open it with mode "rb"')
        return _from_file(io.BytesIO(content), name)
    raise InputError("a path, bytes, an open file, a PIL image or an array", type(source).__name__)


def _from_path(path: str | bytes) -> Photo:
    name = os.fsdecode(path)
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", name):
        raise InputError("a photo on this machine", f"the address {name}", "download it first and give its path")
    shown = name if len(name) <= 200 else f"{name[:100]}... ({len(name)} characters)"
    try:
        if not name:
            raise InputError("the path of a photo", "an empty path")
        if Path(name).is_dir():
            raise InputError("the path of a photo", f"the folder {shown}", "name one file in it")
        if not Path(name).exists():
            raise InputError("the path of a photo", f"{shown}, which does not exist")
        if not Path(name).is_file():
            raise InputError("the path of a photo", f"{shown}, which is not a regular file")
        with open(name, "rb") as file:
            return _from_file(file, shown)
    except (OSError, ValueError) as error:
        raise InputError("the path of a photo", f"{shown!r}, which cannot be opened ({error})") from error


def _from_file(file: BinaryIO, name: str) -> Photo:
    """A seekable file, from its start."""
    if not file.read(1):
        raise InputError(_EXPECTED, f"{name}, which is empty")
    file.seek(0)
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(file, formats=[known for known in FORMATS if known in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise _too_large(f"{name}, which has more by its header") from error
    except Exception as error:  # plugins raise whatever the bytes make them: SyntaxError, struct.error, ...
        raise InputError(_EXPECTED, f"{name}, which is not one or is damaged", _CURE) from error
    with image:
        return _decode(image, name)


def _decode(image: Image.Image, name: str) -> Photo:
    """The pixels of an opened image; sizes are checked before anything is decoded."""
    _check_size(image.width, image.height, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            turn = _TURNS.get(_orientation(image))
            upright = image if turn is None else image.transpose(turn)
            if upright.mode in _WIDE_MODES or upright.mode == "F":
                return _from_array(_wide_pixels(upright))
            if upright.has_transparency_data:
                return _over_white(np.asarray(upright.convert("RGBA")))
            return np.array(upright.convert("RGB"))
    except InputError as error:
        raise InputError(error.expected, f"{error.got} in {name}", error.cure) from error
    except Exception as error:  # decoders raise whatever the bytes make them: OSError, SyntaxError, zlib.error, ...
        raise InputError("a complete, undamaged photo", f"{name}: {error}", _CURE) from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or where the EXIF block is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _wide_pixels(image: Image.Image) -> NDArray[Any]:
    """Grey values of more than 8 bits: uint16, or floats as they are."""
    values = np.asarray(image)
    if image.mode == "F":
        return values
    if values.min() < 0 or values.max() > 65535:
        raise InputError("8 or 16 bits a channel", f"values from {values.min()} to {values.max()}", _CURE)
    return values.astype(np.uint16)


def _from_array(array: NDArray[Any]) -> Photo:
    shape = " x ".join(map(str, array.shape))
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        cure = "move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise InputError("an array of H x W, H x W x 1, H x W x 3 or H x W x 4", f"{shape or 'a single value'}", cure)
    _check_size(array.shape[1], array.shape[0], "the array")
    pixels = _eight_bits(array)
    if pixels.shape[2] == 4:
        return _over_white(pixels)
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")


def _eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 as it is, uint16 scaled by 257, bool as black and white, floats from 0..1."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError("pixels of uint8, uint16, bool or float", str(array.dtype), "convert them to uint8")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0.0 and high <= 1.0):
        raise InputError("float pixels in 0..1", f"{low:g}..{high:g}", "scale them, or convert them to uint8")
    return np.rint(array * 255.0).astype(np.uint8)


def _over_white(rgba: NDArray[np.uint8]) -> Photo:
    """(H, W, 4) with straight alpha over white, rounded."""
    colour, alpha = rgba[:, :, :3].astype(np.uint16), rgba[:, :, 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise InputError(f"a photo of at least {MIN_SIDE} x {MIN_SIDE} pixels", f"{width} x {height} (W x H) in {name}")
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} (W x H) in {name}")


def _too_large(got: str) -> InputError:
    return InputError(f"a photo of at most {MAX_PIXELS // 1_000_000} megapixels", got, "make it smaller first")
