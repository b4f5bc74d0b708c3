"""Photos: every kind of file a person may give, handled or refused in one line."""

from __future__ import annotations

import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from miras.core.errors import InputError, PhotoWarning
from miras.core.photo import MAX_PIXELS, check_photo, photo_size, read_photo

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


# --- fewer bits than the file has room for


def deep_png(values: NDArray[Any]) -> bytes:
    """A PNG of 16 bits a channel: (H, W, 3) colour or (H, W, 4) with alpha."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(width, height, depth=16, colour={3: 2, 4: 6}[channels], rows=rows)


def tiff(values: NDArray[Any], bits: int, order: str = "<") -> bytes:
    """A TIFF written by hand: (H, W) grey or (H, W, 3) colour, 12 (packed) or 16 bits a value."""
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else 3
    if bits == 12:
        pairs = values.reshape(height, -1, 2).astype(np.uint32)
        first, second = pairs[..., 0], pairs[..., 1]
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
        data = packed.astype(np.uint8).tobytes()
    else:
        data = values.astype(f"{order}u2").tobytes()
    depth = (3, 1, bits) if channels == 1 else (3, 3, 8)
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, *depth), (259, 3, 1, 1), (262, 3, 1, 1 if channels == 1 else 2),
        (273, 4, 1, 14), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data)),
    ]  # fmt: skip
    start = 14 + len(data) + len(data) % 2
    body = struct.pack(f"{order}HHHH", bits, bits, bits, 0)[:6]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start) + body
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3 and count == 1
        table += struct.pack(
            f"{order}HHI" + ("HH" if short else "I"), tag, kind, count, *((value, 0) if short else (value,))
        )
    return head + data.ljust(start - 14, b"\0") + table + b"\0\0\0\0"


RAMP = np.linspace(0, 1, 96).reshape(8, 12)
TOPS = {8: 255, 10: 1023, 12: 4095, 14: 16383, 16: 65535}


def seen(values: NDArray[Any]) -> NDArray[np.uint8]:
    """What a ramp should look like, 0..1."""
    return np.asarray(np.rint(values * 255), np.uint8)


@pytest.mark.parametrize("bits", TOPS)
@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "array", "colour PNG", "colour PNG, alpha", "colour TIFF II", "colour TIFF MM"]
)
def test_values_that_fill_fewer_bits_are_stretched_with_a_warning(tmp_path: Path, bits: int, kind: str) -> None:
    colour = np.stack([RAMP, RAMP[::-1], RAMP.T.reshape(8, 12)], axis=-1)
    ramp = colour if "colour" in kind else RAMP
    values = np.rint(ramp * TOPS[bits]).astype(np.uint16)
    alpha = np.full((8, 12, 1), 65535, np.uint16)
    source: Any = {
        "PNG": lambda: written(Image.fromarray(values)), "TIFF": lambda: written(Image.fromarray(values), "TIFF"),
        "array": lambda: values, "colour PNG": lambda: deep_png(values),
        "colour PNG, alpha": lambda: deep_png(np.concatenate([values, alpha], axis=2)),
        "colour TIFF II": lambda: tiff(values, 16), "colour TIFF MM": lambda: tiff(values, 16, ">"),
    }[kind]()  # fmt: skip
    if kind != "array":
        (tmp_path / "deep.img").write_bytes(source)
        source = tmp_path / "deep.img"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        photo = read_photo(source)
    expected = seen(ramp if ramp.ndim == 3 else ramp[:, :, None])
    np.testing.assert_allclose(photo.astype(int), np.broadcast_to(expected, photo.shape).astype(int), atol=1)
    said = [str(warning.message) for warning in told if warning.category is PhotoWarning]
    name = "the array" if kind == "array" else str(tmp_path / "deep.img")
    what = f"{name}: no 16-bit value above {TOPS[bits]}, so they are taken for {bits} bits and brightened"
    assert said == ([] if bits == 16 else [what])


def test_a_file_that_says_12_bits_is_stretched_without_a_warning() -> None:
    values = np.rint(RAMP * 4095).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for most in (1.0, 0.1):  # however dark it is
            photo = read_photo(tiff(np.rint(values * most), 12))
            np.testing.assert_allclose(photo[..., 0].astype(int), seen(RAMP * most).astype(int), atol=1)


def test_black_stays_black_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (np.zeros((9, 9), np.uint16), deep_png(np.zeros((9, 9, 3)))):
            assert not read_photo(source).any()


# --- profiles

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
}


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """An ICC profile written by hand."""
    words = b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(78)
    tags = {b"desc": words, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": b"XYZ " + bytes(4) + fixed(*D50), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, kind, space, pcs) + bytes(12) + b"acsp"
    return (head + bytes(28) + fixed(*D50)).ljust(128, b"\0") + table + body


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


CURVE = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""That of sRGB."""


def rgb_profile(primaries: Any, curve: bytes = CURVE) -> bytes:
    tags = {}
    for name, colour in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": b"XYZ " + bytes(4) + fixed(*colour), name + b"TRC": curve}
    return profile(b"RGB ", tags)


def cmyk_profile() -> bytes:
    """Cyan, magenta and yellow print nothing; black prints grey."""
    identity = bytes(range(256))
    grid = b"".join(bytes([round(255 * (1 - (n & 1))), 128, 128]) for n in range(16))
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + identity * 4 + grid + identity * 3
    )
    return profile(b"CMYK", {b"A2B0": table}, b"Lab ", b"prtr")


SRGB = rgb_profile(PRIMARIES["sRGB"])
SWAPPED = rgb_profile(PRIMARIES["sRGB"][::-1])
ADOBE = rgb_profile(PRIMARIES["Adobe RGB"], gamma(2.19921875))
GREY = profile(b"GRAY", {b"kTRC": gamma(1.5)})
COLOURS = np.kron(np.random.default_rng(3).integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_colours_of_another_space_become_srgb(form: str) -> None:
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(form, {})
    data = written(Image.fromarray(COLOURS), form, icc_profile=SWAPPED, **options)
    np.testing.assert_allclose(
        read_photo(data).astype(int), COLOURS[..., ::-1].astype(int), atol=8 if form == "JPEG" else 2
    )


def test_adobe_rgb_as_the_formulas_say() -> None:
    linear = (
        (COLOURS / 255.0) ** 2.19921875 @ np.array(PRIMARIES["Adobe RGB"]) @ np.linalg.inv(np.array(PRIMARIES["sRGB"]))
    )
    linear = linear.clip(0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    photo = read_photo(written(Image.fromarray(COLOURS), icc_profile=ADOBE))
    np.testing.assert_allclose(photo, expected, atol=2)
    assert np.abs(photo.astype(int) - COLOURS).max() > 40


def test_srgb_broken_and_foreign_profiles_change_nothing() -> None:
    broken = [b"", b"no profile", SWAPPED[:200], SWAPPED.replace(b"rTRC", b"xTRC"), GREY, cmyk_profile()]
    for given in (SRGB, *broken):
        np.testing.assert_array_equal(read_photo(written(Image.fromarray(COLOURS), icc_profile=given)), COLOURS)
    built = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read_photo(written(Image.fromarray(COLOURS), icc_profile=built)), COLOURS)
    grey = Image.fromarray(COLOURS[..., 0])
    np.testing.assert_array_equal(read_photo(written(grey, icc_profile=cmyk_profile()))[..., 0], COLOURS[..., 0])


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_a_profile(mode: str) -> None:
    values = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
    grey = Image.fromarray(values.astype(np.uint16) * np.uint16(257)) if mode == "I;16" else Image.fromarray(values)
    image = Image.merge("LA", (grey, Image.new("L", (8, 8), 255))) if mode == "LA" else grey
    light = (values / 255) ** 1.5
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    photo = read_photo(written(image, icc_profile=GREY))
    np.testing.assert_allclose(photo, np.repeat(expected[..., None], 3, axis=2), atol=3)


def test_alpha_and_palette_with_a_profile() -> None:
    alpha = np.tile(np.array([0, 255], np.uint8), (16, 8))
    image = Image.fromarray(np.dstack([COLOURS, alpha]))
    photo = read_photo(written(image, icc_profile=SWAPPED))
    expected = np.where(alpha[..., None] > 0, COLOURS[..., ::-1], 255)
    np.testing.assert_allclose(photo.astype(int), expected.astype(int), atol=2)
    palette = Image.fromarray(COLOURS).quantize(16)
    photo = read_photo(written(palette, icc_profile=SWAPPED))
    np.testing.assert_allclose(photo.astype(int), np.asarray(palette.convert("RGB"))[..., ::-1].astype(int), atol=2)


def test_cmyk_with_a_profile() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for form in ("JPEG", "TIFF"):
        assert corners(read_photo(written(cyan, form)))[0][0] < 10  # without one: as screens mix it
        assert min(corners(read_photo(written(cyan, form, icc_profile=cmyk_profile())))[0]) > 245


# --- HEIC


def heic(image: Image.Image, **options: Any) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return written(image, "HEIF", quality=-1, chroma=444, **options)


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path) -> None:
    data = heic(Image.fromarray(np.kron(quarters(), np.ones((4, 4, 1), np.uint8))))
    for name in ("photo.heic", "renamed.jpg"):
        (tmp_path / name).write_bytes(data)
        photo = read_photo(tmp_path / name)
        assert photo.shape == (HEIGHT * 4, WIDTH * 4, 3) == (*photo_size(tmp_path / name), 3)
        np.testing.assert_allclose(np.array(corners(photo), int), np.array([RED, GREEN, BLUE, WHITE]), atol=12)
    with pytest.raises(InputError, match="damaged"):
        read_photo(data[: len(data) // 2])


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"heix"])
def test_heic_without_the_package_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brand: bytes
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    for name in ("photo.heic", "renamed.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(4) + b"mif1heic" + bytes(100))
        for read in (read_photo, photo_size, check_photo):
            with pytest.raises(InputError, match=rf"got .*{name}, a HEIC photo; pip install 'miras\[heif\]'"):
                read(tmp_path / name)


# --- one truth about a file


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_the_header_is_the_size_that_is_read(tmp_path: Path, form: str, orientation: int) -> None:
    image = Image.fromarray(np.kron(quarters(), np.ones((4, 4, 1), np.uint8)))
    options: dict[str, Any] = {"save_all": True, "append_images": [image]} if form == "MPO" else {}
    data = (heic if form == "HEIF" else lambda image, **more: written(image, form, **more))(
        image, exif=exif(orientation), **options
    )
    (tmp_path / "a.img").write_bytes(data)
    for source in (data, tmp_path / "a.img", io.BytesIO(data)):
        size = read_photo(source).shape[:2]
        if isinstance(source, io.BytesIO):
            source.seek(0)
        assert photo_size(source) == size
        assert size == ((80, 48) if orientation > 4 else (48, 80)) or form == "HEIF"  # where the EXIF value is a note
    assert check_photo(data) == size


def late(data: bytes) -> bytes:
    """A PNG with what is written before its pixels moved behind them."""
    chunks, place = [], 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        chunks.append(data[place:end])
        place = end
    head, *middle, last = chunks
    middle.sort(key=lambda chunk: chunk[4:8] != b"IDAT")
    return data[:8] + head + b"".join(middle) + last


@pytest.mark.parametrize("where", ["eXIf", "raw profile", "XMP"])
@pytest.mark.parametrize("move", [bytes, late])
def test_a_png_may_say_late_that_it_is_turned(where: str, move: Callable[[bytes], bytes]) -> None:
    info = PngImagePlugin.PngInfo()
    if where == "raw profile":
        content = exif(6).tobytes()
        info.add_text("Raw profile type exif", f"\nexif\n{len(content):8d}\n{content.hex()}\n", zip=True)
    elif where == "XMP":
        info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>')
    options: dict[str, Any] = {"exif": exif(6)} if where == "eXIf" else {}
    data = move(written(Image.fromarray(quarters()), pnginfo=info, **options))
    assert read_photo(data).shape == (WIDTH, HEIGHT, 3)
    assert photo_size(data) == check_photo(data) == (WIDTH, HEIGHT)


def test_the_size_of_a_png_needs_no_pixels() -> None:
    assert photo_size(png(9000, 9000)) == (9000, 9000)
    assert photo_size(written(Image.fromarray(quarters()))[:60]) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "form", ["PNG", "JPEG", "progressive", "CMYK", "restarts", "WEBP", "GIF", "TIFF", "JPEG2000", "I;16"]
)
def test_what_is_checked_is_what_is_read(form: str) -> None:
    """Cut off anywhere, or with a byte turned: either both raise or neither does."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    image = Image.fromarray(noise if form != "I;16" else noise[..., 0].astype(np.uint16) * np.uint16(257))
    options: dict[str, Any] = {"progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}}.get(
        form, {}
    )
    if form == "CMYK":
        image = image.convert("CMYK")
    names = {"progressive": "JPEG", "restarts": "JPEG", "CMYK": "JPEG", "I;16": "PNG"}
    data = written(image, names.get(form, form), **options)
    dice = np.random.default_rng(2)
    cuts = [data[:end] for end in [*dice.integers(1, len(data), 60).tolist(), *range(len(data) - 40, len(data) + 1)]]
    turned = [bytearray(data) for _ in range(60)]
    for one, place in zip(turned, dice.integers(2, len(data), 60).tolist(), strict=True):
        one[place] ^= 0x5A
    faults = 0
    for one in [*cuts, *map(bytes, turned)]:
        told = []
        for read in (read_photo, check_photo):
            try:
                told.append(read(one).shape[:2] if read is read_photo else read(one))
            except InputError as error:
                told.append(str(error))
        if not isinstance(told[0], str) or not isinstance(told[1], str):
            assert told[0] == told[1]
        faults += isinstance(told[0], str)
    assert 60 <= faults < 161 and check_photo(data) == read_photo(data).shape[:2]


def test_photos_are_checked_in_threads(tmp_path: Path) -> None:
    filters = list(warnings.filters)
    good = [written(Image.fromarray(quarters()), form) for form in ("JPEG", "PNG", "WEBP", "TIFF")] * 20
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(check_photo, good)) == [(HEIGHT, WIDTH)] * 80
    assert warnings.filters == filters


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
@pytest.mark.parametrize("kind", [str, Path], ids=["text", "a path, which drops a slash"])
def test_a_web_address_is_fetched_only_when_asked_for(address: str, kind: Callable[[str], Any]) -> None:
    with pytest.raises(
        InputError, match=f"got the address {address}; download it first and give its path, or say --url"
    ):
        read_photo(kind(address))


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
