"""Numbers in 16 and 8 bits: as torch and onnxruntime make them, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.model.numeric.halves import bfloat16, eight_bits, float32, packed

VALUES = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
EDGES = np.array([0, -0.0, 1, 1.00390625, 1.01171875, 3e38, -1e-38, 65504], np.float32)


@pytest.mark.parametrize("values", [VALUES, EDGES])
def test_bfloat16_as_torch(values: np.ndarray) -> None:
    wanted = torch.from_numpy(values).bfloat16()
    assert np.array_equal(bfloat16(values), wanted.view(torch.uint16).numpy())
    assert np.array_equal(float32(bfloat16(values)), wanted.float().numpy())


@pytest.mark.parametrize(("value", "kind"), [(1.5, np.uint16), (1.0009765625, np.float32)])
def test_tables_are_halved_where_nothing_is_lost(value: float, kind: type) -> None:
    assert packed(np.full((2, 3), value, np.float32)).dtype == kind
    assert np.array_equal(float32(packed(np.full((2, 3), value, np.float32))), np.full((2, 3), value, np.float32))


@pytest.mark.parametrize("spoil", ["", "zeros", "one sign", "ties"])
def test_eight_bits_as_onnxruntime(spoil: str) -> None:
    state = pytest.importorskip("onnxruntime.capi._pybind_state")
    matrix = VALUES[: 48 * 64].reshape(48, 64).copy()
    if spoil == "zeros":
        matrix[0] = 0
    if spoil == "one sign":
        matrix = np.abs(matrix)
    if spoil == "ties":
        matrix = np.round(matrix * 4) / 4
    values, scales = np.zeros((48, 2, 32), np.uint8), np.zeros((48, 2), np.float32)
    points = np.zeros((48, 2), np.uint8)
    state.quantize_matmul_8bits(values, np.ascontiguousarray(matrix.T), scales, points, 32, 48, 64, True)
    ours = eight_bits(matrix)
    assert np.array_equal(ours[0], values) and np.array_equal(ours[1], scales)
