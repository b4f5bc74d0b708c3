"""Numbers of a picture as the colours they stand for: sRGB, 8 bits a channel.

In: PIL images with an embedded colour profile, values of more than 8 bits. Out: images in sRGB, uint8 values. Knows no
file and no frame; `photo` asks it.
"""

from __future__ import annotations

import io
import sys
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from miras.core.errors import PhotoWarning

DEPTHS = (8, 10, 12, 14, 16)
"""Significant bits that cameras and scanners put into 16."""
SAME = 2
"""Levels of 255: a profile that changes no colour by more is taken for sRGB, and the pixels stay as they are."""
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""Pillow keeps the high byte of a 16-bit colour; told the other order of bytes, it keeps the low one."""


# Profiles


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in sRGB, mode RGB or RGBA, when its ICC profile says that it is in another space; else as it is.

    A profile that is broken, or that is not one of the image's own kind of colour, is ignored.
    """
    space = None if not profile else _space(profile)
    if profile is None or space is None or (space == "CMYK") != (image.mode == "CMYK"):
        return image
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    plain = image if image.mode == "CMYK" else image.convert("RGB")
    if space == "L":
        red, green, blue = (np.asarray(plain.getchannel(name)) for name in "RGB")
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return image
        plain = plain.getchannel("R")
    transform = _transform(profile, plain.mode)
    if transform is None:
        return image
    found: Image.Image = transform.apply(plain)
    if alpha is not None:
        found.putalpha(alpha)
    return found


@lru_cache(maxsize=64)
def _space(profile: bytes) -> str | None:
    """The mode that a profile is for; None for broken ones and other spaces."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return _SPACES.get(opened.profile.xcolor_space)
    except Exception:  # the library raises whatever the bytes make it
        return None


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Any:
    """An ImageCmsTransform to sRGB; None where the profile is broken or as good as sRGB."""
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), mode, "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
        if mode == "CMYK":
            return transform
        probe = _probe(mode)
        change = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB")).astype(int)
    except Exception:  # as above
        return None
    return transform if np.abs(change).max() > SAME else None


def _probe(mode: str) -> Image.Image:
    """Colours all over the space: 9 levels of each channel, or every grey."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3))


# More than 8 bits


def stretched(values: NDArray[np.uint16], name: str, bits: int | None = None) -> NDArray[np.uint8]:
    """8 bits of values that hold so many; of any shape.

    bits: as the file says; None takes as many as the largest value needs, of DEPTHS, and warns where that is not 16:
    most programs write 12 bits into 16 without a word, and all of it would be black. name: in the warning.
    """
    top = int(values.max(initial=0))
    if bits is None or top >= 1 << bits:
        bits = next(depth for depth in DEPTHS if top < 1 << depth) if top else 16
        if bits < 16:
            said = f"{name}: no 16-bit value above {top}, so they are taken for {bits} bits and brightened"
            warnings.warn(PhotoWarning(said), stacklevel=2)
    most = (1 << bits) - 1
    return ((values.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def is_deep(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel where Pillow keeps 8; asked before the pixels are loaded."""
    return image.mode in ("RGB", "RGBA") and any(";16" in _rawmode(tile) for tile in getattr(image, "tile", ()))


def brightened(image: Image.Image, again: Image.Image | None, name: str) -> Image.Image:
    """A loaded image of which `is_deep` was true: as it is, or stretched where its values fill fewer than 16 bits.

    again: the same file, opened once more and not loaded, for the bytes that Pillow left out.
    """
    high = np.asarray(image)
    if int(high[..., :3].max(initial=0)) << 8 >= 1 << DEPTHS[-2]:
        return image
    values: NDArray[np.uint16] = np.asarray(high[..., :3], np.uint16) << np.uint16(8)
    if again is not None and _take_low_bytes(again):
        again.load()
        values |= np.asarray(again)[..., :3]
    colours = stretched(values, name)
    return Image.fromarray(np.dstack([colours, high[..., 3:]]))


def _take_low_bytes(image: Any) -> bool:
    """Have Pillow load the low bytes; False where it cannot."""
    tiles = []
    for tile in image.tile:
        raw = _rawmode(tile)
        other = raw[:-3] + _OTHER_BYTE.get(raw[-3:], "")
        if raw not in ("RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N"):
            return False
        tiles.append(tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:])))
    image.tile = tiles
    return bool(tiles)


def _rawmode(tile: Any) -> str:
    args = tile.args
    raw = args if isinstance(args, str) else args[0] if isinstance(args, tuple) and args else ""
    return raw if isinstance(raw, str) else ""
