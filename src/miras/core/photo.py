"""Any photograph as RGB pixels in the frame a person sees; its size alone; whether it is whole.

In: a path, bytes, an open file, a PIL image or an array. Out: (H, W, 3) uint8 RGB in sRGB, or (H, W), or one
`InputError` that says what is wrong with it. Size and orientation come from here for everybody, so that a header can
never say what reading does not. Knows nothing of models, and never uses the network.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.colour import DEPTHS, brightened, in_srgb, is_deep, stretched
from miras.core.errors import InputError

Photo = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, EXIF orientation applied."""
PhotoFile = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
PhotoSource = PhotoFile | Image.Image | NDArray[Any]

MIN_SIDE = 8
"""Pixels; a smaller picture shows nothing."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused from their header, before they are decoded."""
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
"""What is read. Pillow knows more, some of which start other programs (EPS starts Ghostscript) or
take text for a picture (TGA). With the package `pillow-heif` also HEIF."""
HEIF = "HEIF"

_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 0x0102
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
_WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
_EXPECTED = "a photo (JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, ...)"
_CURE = "save it again as JPEG or PNG"
_NO_HEIF = "pip install 'miras[heif]' (pillow-heif), or save it as JPEG"


def read_photo(source: PhotoSource) -> Photo:
    """The pixels of a photo: (H, W, 3) uint8 RGB, EXIF orientation applied, memory of its own.

    Transparent parts lie over white, of an animation it is the first frame, palette and CMYK become RGB, and colours
    with an embedded profile become sRGB (a broken profile is ignored). 16-bit values are scaled to 8 bits: 65535
    becomes 255; where none is above 16383, 4095, 1023 or 255 they are taken for values of 14, 12, 10 or 8 bits, with a
    `PhotoWarning`. Arrays may be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of uint8, uint16, bool or floats in 0..1.
    Raises InputError for a folder, a missing, empty, truncated or unreadable file, a text file, a
    web address, a side under MIN_SIDE, or more than MAX_PIXELS.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    with _opened(source) as (image, name, file):
        return _decode(image, name, file)


def photo_size(source: PhotoFile) -> tuple[int, int]:
    """(H, W) of what `read_photo` gives, from the header: no pixel is decoded. Raises InputError as `read_photo`."""
    with _opened(source) as (image, name, file):
        return _upright_size(image, name, file)


def check_photo(source: PhotoFile) -> tuple[int, int]:
    """(H, W) of a photo that `read_photo` reads: the whole file is decoded, at the price of the decoding alone.

    Of a JPEG every byte is decoded, to an eighth of its sides. Raises InputError as `read_photo`. Safe in threads.
    """
    with _opened(source) as (image, name, file):
        size = _upright_size(image, name, file)
        if image.mode in _WIDE_MODES or image.mode == "F":
            return _decode(image, name, file).shape[:2]
        if image.format in ("JPEG", "MPO"):  # of other formats a draft may be a thumbnail
            image.draft(image.mode, (1, 1))
        _load(image, name)
        return size


def orientation_of(source: PhotoFile) -> int:
    """The EXIF orientation of a file, 1 (upright) where it says none, from its header. Raises InputError."""
    with _opened(source) as (image, _, file):
        return _orientation_of_png(file) if image.format == "PNG" and file is not None else orientation(image)


def format_of(source: PhotoFile) -> str:
    """What a photo is, as Pillow calls it: "JPEG", "PNG", ... Raises InputError as `read_photo`."""
    with _opened(source) as (image, _, _):
        return str(image.format)


@contextmanager
def _opened(source: PhotoSource) -> Iterator[tuple[Image.Image, str, BinaryIO | None]]:
    """(image with its header read, its name in errors, the file it comes from)."""
    if isinstance(source, Image.Image):
        yield source, "the PIL image", None
    elif isinstance(source, bytes | bytearray | memoryview):
        yield from _from_file(io.BytesIO(source), "the bytes")
    elif isinstance(source, str | os.PathLike):
        file, name = _open_path(os.fspath(source))
        with file:
            yield from _from_file(file, name)
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "the open file"))
        try:
            content = source.read()
        except (OSError, ValueError) as error:
            raise InputError(_EXPECTED, f"{name}, which cannot be read ({error})") from error
        if not isinstance(content, bytes):
            raise InputError("a file opened in binary mode", f"{name} in text mode", 'open it with mode "rb"')
        yield from _from_file(io.BytesIO(content), name)
    else:
        raise InputError("a path, bytes, an open file, a PIL image or an array", type(source).__name__)


def _open_path(path: str | bytes) -> tuple[BinaryIO, str]:
    """The file, open, and its name as errors show it."""
    name = os.fsdecode(path)
    if address := re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+):/{1,2}(?=[^/])", name):  # a Path has lost one of the two
        got = f"the address {address[1]}://{name[address.end() :]}"
        raise InputError("a photo on this machine", got, "download it first and give its path, or say --url")
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
        return open(name, "rb"), shown
    except (OSError, ValueError) as error:
        raise InputError("the path of a photo", f"{shown!r}, which cannot be opened ({error})") from error


def _from_file(file: BinaryIO, name: str) -> Iterator[tuple[Image.Image, str, BinaryIO]]:
    """A seekable file, from its start; the image is closed afterwards."""
    start = file.read(64)
    if not start:
        raise InputError(_EXPECTED, f"{name}, which is empty")
    if is_heic(start) and not _reads_heif():
        raise InputError(_EXPECTED, f"{name}, a HEIC photo", _NO_HEIF)
    try:
        image = _identified(file)
    except Image.DecompressionBombError as error:
        raise _too_large(f"{name}, which has more by its header") from error
    except Exception as error:  # plugins raise whatever the bytes make them: SyntaxError, struct.error, ...
        raise InputError(_EXPECTED, f"{name}, which is not one or is damaged", _CURE) from error
    with image:
        yield image, name, file


def _identified(file: BinaryIO) -> Image.Image:
    Image.init()
    file.seek(0)
    with _quiet():
        return Image.open(file, formats=[known for known in (*FORMATS, HEIF) if known in Image.OPEN])


def is_heic(start: bytes) -> bool:
    """Whether a file that begins so (64 bytes will do) is HEIC/HEIF, and not AVIF, which Pillow reads itself."""
    brands = {start[i : i + 4] for i in range(8, min(int.from_bytes(start[:4]), len(start)), 4) if i != 12}
    return start[4:8] == b"ftyp" and bool(brands & _HEIC) and not brands & {b"avif", b"avis"}


def _reads_heif() -> bool:
    """Whether HEIC can be read, with the package `pillow-heif`."""
    if HEIF not in Image.OPEN:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of Pillow. Filters belong to the whole process, so that only the main thread may change them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _load(image: Image.Image, name: str) -> None:
    """Decode it."""
    try:
        with _quiet():
            image.load()
    except Exception as error:  # decoders raise whatever the bytes make them: OSError, SyntaxError, zlib.error, ...
        raise InputError("a complete, undamaged photo", f"{name}: {error}", _CURE) from error


def _decode(image: Image.Image, name: str, file: BinaryIO | None) -> Photo:
    """The pixels of an opened image; sizes are checked before anything is decoded."""
    _check_size(image.width, image.height, name)
    profile, deep = image.info.get("icc_profile"), is_deep(image)
    depth = (getattr(image, "tag_v2", None) or {}).get(_BITS_PER_SAMPLE, (None,))
    bits = depth[0] if len(depth) == 1 and depth[0] in DEPTHS[1:-1] else None
    _load(image, name)
    try:
        turn = _TURNS.get(orientation(image))
        if deep:
            image = brightened(image, None if file is None else _identified(file), name)
        upright = image if turn is None else image.transpose(turn)
        if upright.mode in _WIDE_MODES or upright.mode == "F":
            upright = Image.fromarray(_wide_pixels(upright, name, bits))
        elif upright.has_transparency_data:
            upright = upright.convert("RGBA")
        upright = in_srgb(upright, profile)
        return _over_white(np.asarray(upright)) if upright.mode == "RGBA" else np.array(upright.convert("RGB"))
    except InputError as error:
        raise InputError(error.expected, f"{error.got} in {name}", error.cure) from error
    except Exception as error:
        raise InputError("a complete, undamaged photo", f"{name}: {error}", _CURE) from error


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or where the EXIF block is damaged.

    A TIFF that is loaded is turned already, and says 1.
    """
    try:
        with _quiet():
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _upright_size(image: Image.Image, name: str, file: BinaryIO | None) -> tuple[int, int]:
    """(H, W) of an image that is not loaded, as a person sees it."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow has turned these sides, or not yet, by its version
        tags = getattr(image, "tag_v2", {})
        width, height = int(tags.get(256, width)), int(tags.get(257, height))
    _check_size(width, height, name)
    if image.format == "PNG" and file is not None:
        return (width, height) if _orientation_of_png(file) in _SIDEWAYS else (height, width)
    return (width, height) if orientation(image) in _SIDEWAYS else (height, width)


def _orientation_of_png(file: BinaryIO) -> int:
    """The same of a PNG without its pixels: Pillow would load them all, for what may stand behind them."""
    place = file.tell()
    file.seek(0)
    kept = [file.read(8)]
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind in (b"IHDR", b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            kept += [head, file.read(length + 4)]
        else:
            file.seek(length + 4, os.SEEK_CUR)
    file.seek(place)
    if len(kept) == 3:  # its header alone
        return 1
    try:
        with _quiet(), Image.open(io.BytesIO(b"".join([*kept, _IEND])), formats=["PNG"]) as notes:
            return int(Image.Image.getexif(notes).get(_ORIENTATION, 1))
    except Exception:  # as in `orientation`
        return 1


def _wide_pixels(image: Image.Image, name: str, bits: int | None) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits, or floats, as 8 bits."""
    values = np.asarray(image)
    if image.mode == "F":
        return _eight_bits(values)
    if values.min() < 0 or values.max() > 65535:
        raise InputError("8 or 16 bits a channel", f"values from {values.min()} to {values.max()}", _CURE)
    return stretched(values.astype(np.uint16), name, bits)


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
    """uint8 as it is, uint16 by the bits that it holds, bool as black and white, floats from 0..1."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        if array.ndim < 3 or array.shape[2] < 4:
            return stretched(array, "the array")
        alpha = stretched(array[:, :, 3:], "", bits=16)
        return np.concatenate([stretched(array[:, :, :3], "the array"), alpha], axis=2)
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
