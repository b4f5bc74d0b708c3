"""GGUF files, drawn by hand, value by value."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from miras.model.language.gguf_file import GgufFile


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def half(value: float) -> bytes:
    return np.float16(value).tobytes()


BLOCKS = {
    "plain": (0, (2, 3), np.arange(6, dtype="<f4").tobytes(), np.arange(6.0).reshape(2, 3)),
    "halves": (1, (4,), np.arange(4, dtype="<f2").tobytes(), np.arange(4.0)),
    "eight": (8, (1, 32), half(0.5) + np.arange(-16, 16, dtype=np.int8).tobytes(), 0.5 * np.arange(-16, 16)[None]),
    "four": (
        3, (32,), half(2) + half(-1) + bytes(low | (15 - low) << 4 for low in range(16)),
        np.concatenate([2 * np.arange(16) - 1, 2 * (15 - np.arange(16)) - 1]),
    ),
}  # fmt: skip


def drawn(path: Path) -> Path:
    values = text("a.count") + struct.pack("<II", 4, 7)
    values += text("words") + struct.pack("<IIQ", 9, 8, 2) + text("Ġa") + text("b")
    values += text("share") + struct.pack("<If", 6, 0.25) + text("yes") + struct.pack("<I?", 7, True)
    heads, content = b"", b""
    for name, (kind, shape, raw, _) in BLOCKS.items():
        content += bytes(-len(content) % 32)
        heads += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        heads += struct.pack("<IQ", kind, len(content))
        content += raw
    head = struct.pack("<IIQQ", 0x46554747, 3, len(BLOCKS), 4) + values + heads
    path.write_bytes(head + bytes(-len(head) % 32) + content)
    return path


def test_values_and_tensors(tmp_path: Path) -> None:
    file = GgufFile(drawn(tmp_path / "a.gguf"))
    assert file.values == {"a.count": 7, "words": ["Ġa", "b"], "share": 0.25, "yes": True}
    assert file.names == tuple(BLOCKS)
    for name, (_, shape, _, wanted) in BLOCKS.items():
        assert np.array_equal(file.tensor(name), wanted) and file.tensor(name).shape == shape


@pytest.mark.parametrize("length", [0, 3, 20, 60, 200, -1])
def test_a_file_that_is_cut_off(tmp_path: Path, length: int) -> None:
    file = drawn(tmp_path / "a.gguf")
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"GGUF|empty"):
        GgufFile(file).tensor("four")


def test_another_kind_of_numbers(tmp_path: Path) -> None:
    file = drawn(tmp_path / "a.gguf")
    file.write_bytes(
        file.read_bytes().replace(
            text("four") + struct.pack("<IQI", 1, 32, 3), text("four") + struct.pack("<IQI", 1, 32, 14)
        )
    )
    with pytest.raises(ValueError, match="kind 14"):
        GgufFile(file).tensor("four")
