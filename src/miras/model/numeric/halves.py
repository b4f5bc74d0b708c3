"""Numbers in 16 and 8 bits, without torch: bfloat16, and blocks of 8 bits with a scale of their own.

In and out: float32, and what it is kept as. bfloat16 is the upper half of a float32, as uint16. Knows no model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Values that share a scale in 8 bits."""
_MIDDLE = 128


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest, ties to even, as torch rounds. Finite values alone."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def float32(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Of bfloat16 as uint16; values of another type as they are."""
    if bits.dtype != np.uint16:
        return np.asarray(bits, np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def packed(values: NDArray[np.float32]) -> NDArray[Any]:
    """As they are kept: in bfloat16 where nothing is lost."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return values if (bits & 0xFFFF).any() else (bits >> 16).astype(np.uint16)


def eight_bits(matrix_NK: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A matrix in blocks along its rows: values (N, K / 32, 32) uint8 around 128, scales (N, K / 32); the same bytes as
    MatMulNBits' own quantizer writes. K is a multiple of 32."""
    blocks = np.ascontiguousarray(matrix_NK, np.float32).reshape(len(matrix_NK), -1, BLOCK)
    least, most = blocks.min(-1), blocks.max(-1)
    scales = (np.where(np.abs(most) > np.abs(least), most, least) / np.float32(-_MIDDLE)).astype(np.float32)
    inverse = np.zeros_like(scales)
    np.divide(np.float32(1), scales, out=inverse, where=scales != 0)
    values = blocks * inverse[..., None]
    values += np.float32(_MIDDLE + 0.5)
    np.floor(values, out=values)
    return np.clip(values, 0, 255, out=values).astype(np.uint8), scales
