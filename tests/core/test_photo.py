"""Photos: every kind of file a person may give, handled or refused in one line."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from miras.core.errors import InputError
from miras.core.photo import MAX_PIXELS, read_photo

HEIGHT, WIDTH = 12, 20
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters() -> NDArray[np.uint8]:
    """Red, green over blue, white: each corner of its own colour, (12, 20, 3)."""
    photo = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    photo[:6, :10], photo[:6, 10:], photo[6:, :10], photo[6:, 10:] = RED, GREEN, BLUE, WHITE
    return photo


def corners(photo: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Colours of the four corners: top left, top right, bottom left, bottom right."""
    return [tuple(photo[y, x].tolist()) for y in (1, -2) for x in (1, -2)]


def written(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    """A PNG written by hand, so that its header can say anything."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- sources


@pytest.mark.parametrize(
    "source",
    [
        lambda path: str(path),
        lambda path: path,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: Image.open(path),
        lambda path: np.asarray(Image.open(path)),
    ],
)
def test_every_source_gives_the_same_pixels(tmp_path: Path, source: Callable[[Path], Any]) -> None:
    path = tmp_path / "ein foto é.png"
    path.write_bytes(written(Image.fromarray(quarters())))
    photo = read_photo(source(path))
    assert (photo.dtype.name, photo.flags.c_contiguous, photo.flags.writeable) == ("uint8", True, True)
    np.testing.assert_array_equal(photo, quarters())


def test_a_pipe_that_cannot_seek_is_read(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as sender:
        sender.write(written(Image.fromarray(quarters())))
    with os.fdopen(read_end, "rb") as pipe:
        np.testing.assert_array_equal(read_photo(pipe), quarters())


def test_an_array_is_copied() -> None:
    array = quarters()
    read_photo(array)[:] = 0
    np.testing.assert_array_equal(array, quarters())


# --- kinds of files


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_formats(form: str) -> None:
    photo = read_photo(written(Image.fromarray(quarters()), form))
    assert photo.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(np.array(corners(photo), int), np.array([RED, GREEN, BLUE, WHITE]), atol=60)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "seen"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
        (0, [RED, GREEN, BLUE, WHITE]),
        (99, [RED, GREEN, BLUE, WHITE]),
    ],
)
def test_exif_orientation_is_applied_once(form: str, orientation: int, seen: list[tuple[int, ...]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.kron(quarters(), np.ones((4, 4, 1), np.uint8)))
    data = written(stored, form, exif=exif, **({} if form in ("PNG", "TIFF") else {"quality": 95}))
    turned = orientation in (5, 6, 7, 8)
    for source in (data, Image.open(io.BytesIO(data))):
        photo = read_photo(source)
        assert photo.shape == ((WIDTH * 4, HEIGHT * 4, 3) if turned else (HEIGHT * 4, WIDTH * 4, 3))
        np.testing.assert_allclose(np.array(corners(photo), int), np.array(seen), atol=60)


def test_a_damaged_exif_block_does_not_cost_the_photo() -> None:
    data = written(Image.fromarray(quarters()), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fgarbage")
    np.testing.assert_array_equal(read_photo(data), quarters())


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form: str) -> None:
    values = np.tile(np.array([0, 128, 129, 257, 32768, 65278, 65535, 1000], np.uint16), (8, 1))
    photo = read_photo(written(Image.fromarray(values), form))
    np.testing.assert_array_equal(photo[0, :, 0], [0, 0, 1, 1, 128, 254, 255, 4])
    assert (photo == photo[:, :, :1]).all()
    np.testing.assert_array_equal(read_photo(values), photo)


def test_sixteen_bit_colour_png() -> None:
    row = b"\x00" + struct.pack(">HHH", 65535, 32768, 0) * 9
    photo = read_photo(png(9, 9, depth=16, rows=row * 9))
    assert set(map(tuple, photo.reshape(-1, 3).tolist())) == {(255, 128, 0)}


def test_wide_integers_and_floats_of_tiff() -> None:
    wide = np.full((9, 9), 70000, np.int32)
    with pytest.raises(InputError, match="8 or 16 bits a channel, got values from 70000 to 70000 in the bytes"):
        read_photo(written(Image.fromarray(wide), "TIFF"))
    assert (read_photo(written(Image.fromarray(wide // 2), "TIFF")) == 136).all()
    assert (read_photo(written(Image.fromarray(np.full((9, 9), 0.5, np.float32)), "TIFF")) == 128).all()


def test_cmyk_and_inverted_adobe_jpeg() -> None:
    cmyk = Image.fromarray(quarters()).convert("CMYK")
    for data in (written(cmyk, "JPEG", quality=100), written(cmyk, "TIFF")):
        photo = read_photo(data)
        np.testing.assert_allclose(np.array(corners(photo), int), np.array([RED, GREEN, BLUE, WHITE]), atol=12)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "RGBX"])
def test_pil_modes_of_a_white_picture(mode: str) -> None:
    white = Image.new("L", (10, 9), 255)
    if mode == "F":
        image = Image.fromarray(np.ones((9, 10), np.float32))
    elif mode in ("I", "I;16"):
        image = Image.fromarray(np.full((9, 10), 65535, np.int32 if mode == "I" else np.uint16))
    else:
        image = white.convert("RGB").convert(mode)
    assert image.mode == mode
    photo = read_photo(image)
    assert photo.shape == (9, 10, 3)
    assert (photo >= 254).all()


def test_alpha_lies_over_white() -> None:
    image = Image.new("RGBA", (16, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    image.paste((0, 0, 0, 128), (4, 0, 8, 8))
    for source in (image, written(image), written(image, "WEBP", lossless=True, exact=True), np.asarray(image)):
        photo = read_photo(source)
        assert [tuple(photo[3, x].tolist()) for x in (0, 5, 9)] == [WHITE, (127, 127, 127), RED]
    grey = Image.merge("LA", (Image.new("L", (9, 9), 0), Image.new("L", (9, 9), 51)))
    assert (read_photo(written(grey)) == 204).all()


def test_palette_with_transparent_colour() -> None:
    image = Image.new("P", (16, 8), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (8, 0, 16, 8))
    for form in ("PNG", "GIF"):
        assert corners(read_photo(written(image, form))) == [RED, BLUE, RED, BLUE]
        assert corners(read_photo(written(image, form, transparency=1))) == [RED, WHITE, RED, WHITE]
    half = written(image, "PNG", transparency=bytes([255, 51]))
    assert corners(read_photo(half))[1] == (204, 204, 255)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if form == "WEBP" else {}
    data = written(frames[0], form, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as opened:
        assert getattr(opened, "n_frames", 1) == 3
    assert corners(read_photo(data)) == [RED] * 4


# --- refused


@pytest.mark.parametrize(
    ("width", "height", "says"),
    [
        (0, 0, "expected"),
        (1, 1, "at least 8 x 8 pixels, got 1 x 1"),
        (7, 900, "at least 8 x 8 pixels, got 7 x 900"),
        (900, 0, "expected"),
        (30_000, 30_000, "at most 100 megapixels"),
        (10_001, 10_000, "at most 100 megapixels, got 10001 x 10000"),
        (2**31 - 1, 2**31 - 1, "at most 100 megapixels"),
    ],
)
def test_sizes_are_refused_from_the_header_without_a_warning(width: int, height: int, says: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=says):
            read_photo(png(width, height))


def test_the_smallest_and_a_long_photo_are_read() -> None:
    assert read_photo(np.zeros((8, 8), np.uint8)).shape == (8, 8, 3)
    assert read_photo(written(Image.new("L", (20_000, 8)))).shape == (8, 20_000, 3)
    assert MAX_PIXELS == 100_000_000


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, form: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (60, 50, 3), np.uint8)
    data = written(Image.fromarray(noise), form)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="damaged") as caught:
        read_photo(path)
    assert "cut.img" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_truncated_pil_image_is_refused() -> None:
    data = written(Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 50, 3), np.uint8)), "JPEG")
    with pytest.raises(InputError, match="the PIL image"):
        read_photo(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "which is empty"),
        (b"just some words\n", "not one or is damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "not one or is damaged"),
        (b"%PDF-1.7\n", "not one or is damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not one or is damaged"),
        (b"\x00" * 500, "not one or is damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
    ],
)
def test_files_that_are_no_photo(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_photo(path)
    assert "photo.jpg" in str(caught.value)
    with pytest.raises(InputError, match=says):
        read_photo(content)


@pytest.mark.parametrize("address", ["http://example.org/a.jpg", "https://example.org/a.jpg", "S3://bucket/a.png"])
def test_a_web_address_is_to_be_downloaded_first(address: str) -> None:
    with pytest.raises(InputError, match=f"got the address {address}; download it first"):
        read_photo(address)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "an empty path"),
        (".", "the folder"),
        ("no such photo.jpg", "no such photo.jpg, which does not exist"),
        ("a\0b.jpg", "expected the path of a photo"),
        ("x" * 5000, "5000 characters"),
        (os.devnull, "not a regular file"),
    ],
)
def test_paths_that_lead_to_no_file(path: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_photo(path)


@pytest.mark.parametrize("source", [None, 7, ["photo.jpg"], io.StringIO("text"), object(), {"path": "photo.jpg"}])
def test_other_sources_are_refused(source: Any) -> None:
    with pytest.raises(InputError, match="expected a"):
        read_photo(source)


def test_a_closed_file_is_refused() -> None:
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(file)


# --- arrays


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((8, 9), 7, np.uint8), 7),
        (np.full((8, 9, 1), 7, np.uint8), 7),
        (np.full((8, 9, 3), 7, np.uint8), 7),
        (np.full((8, 9, 3), 7, np.uint8)[::-1, ::-1], 7),
        (np.full((8, 9, 4), 255, np.uint8), 255),
        (np.zeros((8, 9, 4), np.uint8), 255),
        (np.ones((8, 9), np.bool_), 255),
        (np.full((8, 9, 3), 0.5, np.float32), 128),
        (np.full((8, 9, 3), 1.0, np.float16), 255),
        (np.full((8, 9, 4), 1.0), 255),
        (np.full((8, 9, 3), 65535, np.uint16), 255),
    ],
)
def test_arrays(array: NDArray[Any], expected: int) -> None:
    photo = read_photo(array)
    assert (photo.shape, photo.dtype.name, photo.flags.c_contiguous) == ((8, 9, 3), "uint8", True)
    assert (photo == expected).all()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((0, 0, 3), np.uint8), "at least 8 x 8 pixels"),
        (np.zeros((1, 1, 3), np.uint8), "at least 8 x 8 pixels"),
        (np.broadcast_to(np.uint8(0), (30_000, 30_000, 3)), "at most 100 megapixels"),
        (np.zeros((3, 20, 20), np.uint8), "got 3 x 20 x 20; move the channels last"),
        (np.zeros((1, 20, 20, 3), np.uint8), "got 1 x 20 x 20 x 3"),
        (np.zeros((20, 20, 2), np.uint8), "got 20 x 20 x 2"),
        (np.uint8(3) + np.zeros((), np.uint8), "an array of H x W"),
        (np.zeros((20, 20, 3), np.int64), "got int64; convert them to uint8"),
        (np.full((20, 20), "a"), "convert them to uint8"),
        (np.zeros((20, 20), object), "got object"),
        (np.full((20, 20, 3), 255.0), r"in 0..1, got 255..255"),
        (np.full((20, 20, 3), np.nan), "in 0..1, got nan..nan"),
        (np.full((20, 20, 3), -0.1), "in 0..1"),
    ],
)
def test_arrays_that_are_refused(array: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_photo(np.asarray(array) if np.ndim(array) == 0 else array)
