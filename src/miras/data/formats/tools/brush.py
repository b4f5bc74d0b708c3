"""Label Studio's run lengths of a brush: a stream of bits, as `@thi.ng/rle-pack` packs it.

In and out: an (H, W) mask, and a list of bytes that unpacks to RGBA, row by row. The stream: 32 bits number of words,
5 bits their size less 1, four times 4 bits sizes of counts less 1; then blocks of 1 bit (1: one word, repeated; 0:
words as they are), 2 bits which of the sizes, a count less 1 of that size, and the word or words. A pixel belongs to
the mask when its alpha is not 0, as Label Studio's own converter has it. Source: README of the package rle-pack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.types import Mask

_WORD = 8
_COUNTS = (3, 4, 8, 16)
"""Bits of a count, as Label Studio writes them."""
_LONGEST = 1 << _COUNTS[-1]
_HEAD = 32 + 5 + 4 * 4
_EXPECTED = "run lengths of a brush"


def unpack(stream: Any, size: tuple[int, int]) -> Mask:
    """The mask of a brush on a photo of size (H, W). Raises InputError for anything but a whole stream of that size."""
    if not isinstance(stream, list) or not all(type(byte) is int and 0 <= byte <= 255 for byte in stream):
        raise InputError(f"{_EXPECTED}, a list of bytes", f"{stream!r:.40}")
    bits = np.unpackbits(np.array(stream, np.uint8))
    total = 4 * size[0] * size[1]
    reader = _Bits(bits)
    count = reader.number(32)
    if count != total:
        raise InputError(f"{_EXPECTED} for {size[1]} x {size[0]} x 4 = {total} values", str(count))
    word = reader.number(5) + 1
    sizes = [reader.number(4) + 1 for _ in range(4)]
    if word != _WORD:
        raise InputError(f"{_EXPECTED} with values of {_WORD} bits", str(word))
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        repeated = reader.number(1)
        length = reader.number(sizes[reader.number(2)]) + 1
        if done + length > total:
            raise InputError(f"{_EXPECTED} for {total} values", "more")
        values[done : done + length] = reader.number(_WORD) if repeated else reader.words(length)
        done += length
    mask: Mask = values.reshape(*size, 4)[..., 3] > 0
    return mask


def pack(mask: Mask) -> list[int]:
    """The stream of an (H, W) mask: 255 in all four channels where it is set."""
    flat = mask.reshape(-1)
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = 4 * np.diff(np.append(starts, flat.size))
    parts = [f"{4 * flat.size:032b}{_WORD - 1:05b}", *(f"{bits - 1:04b}" for bits in _COUNTS)]
    for value, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        while length:
            some = min(length, _LONGEST)
            which = next(n for n, bits in enumerate(_COUNTS) if some <= 1 << bits)
            parts.append(f"1{which:02b}{some - 1:0{_COUNTS[which]}b}{255 * value:0{_WORD}b}")
            length -= some
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return np.packbits(np.frombuffer(text.encode("ascii"), np.uint8) - ord("0")).tolist()


class _Bits:
    """Reads numbers from bits, the highest first. Raises InputError past the end."""

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        self._bits, self._at = bits, 0

    def number(self, length: int) -> int:
        value = 0
        for bit in self._take(length).tolist():
            value = value << 1 | bit
        return value

    def words(self, count: int) -> NDArray[np.uint8]:
        return np.packbits(self._take(count * _WORD).reshape(count, _WORD), axis=1)[:, 0]

    def _take(self, length: int) -> NDArray[np.uint8]:
        found = self._bits[self._at : self._at + length]
        if len(found) < length:
            raise InputError(f"{_EXPECTED} to their end", "a stream that breaks off")
        self._at += length
        return found
