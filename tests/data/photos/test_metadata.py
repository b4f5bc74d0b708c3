"""Metadata taken out of photos: nothing of it is left, pixels, colours and the way up stay."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from miras.core.photo import orientation_of, read_photo
from miras.data.photos.carry import Carrier
from miras.data.photos.metadata import stripped

SECRET = b"Secret"
WORDS = SECRET.decode()
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description photoshop:City="{WORDS}"/></x:xmpmeta>'.encode()
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def exif(orientation: int = 1) -> Image.Exif:
    """GPS, camera, owner, a comment in the Exif directory."""
    found = Image.Exif()
    found[0x0112], found[271], found[315] = orientation, f"{WORDS} camera", f"{WORDS} owner"
    found.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + SECRET * 3
    found.get_ifd(0x8769)[0x927C] = SECRET * 9
    found.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 33.0), 3: "E", 4: (8.0, 32.0, 1.0), 29: f"{WORDS}:1"})
    return found


def written(form: str, orientation: int = 1, image: Image.Image | None = None, **more: Any) -> bytes:
    options: dict[str, Any] = {"exif": exif(orientation), "icc_profile": PROFILE, **more}
    if form == "JPEG":
        options |= {"quality": 90, "comment": SECRET, "xmp": XMP}
    elif form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", WORDS)
        text.add_text("Comment", WORDS, zip=True)
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = text
    elif form == "WEBP":
        options |= {"lossless": True, "xmp": XMP}
    elif form == "AVIF":
        options |= {"xmp": XMP, "quality": 100}
    elif form == "TIFF":
        tags = ImageFileDirectory_v2()
        for tag in (270, 305, 315):
            tags[tag] = f"{WORDS} and more of it"
        tags[700] = XMP
        tags.tagtype[700] = 1
        options["tiffinfo"] = tags
        options["compression"] = "tiff_lzw"
        del options["exif"]
        tags[274] = orientation
    elif form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
        options |= {"xmp": XMP, "quality": 90}
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, form, **options)
    return buffer.getvalue()


def raw(content: bytes) -> tuple[str | None, str, bytes]:
    """Format, mode and pixels as they are stored."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return "JPEG" if image.format == "MPO" else image.format, image.mode, image.tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_nothing_is_left_but_the_photo(form: str, orientation: int) -> None:
    content = written(form, orientation)
    assert SECRET in content or form == "PNG"
    found = stripped(content)
    assert found is not None and found != content
    for word in (SECRET, b"Exif\0\0MM" if orientation == 1 else SECRET, b"photoshop", b"GPS"):
        assert word not in found
    assert raw(found) == raw(content)
    np.testing.assert_array_equal(read_photo(found), read_photo(content))
    assert orientation_of(found) == orientation_of(content)
    with Image.open(io.BytesIO(found)) as image:
        assert image.info["icc_profile"] == PROFILE
        said = image.getexif()
        assert not said.get_ifd(0x8825) and not said.get_ifd(0x8769)
        assert set(said) <= {274} or form == "TIFF"
        assert not {"comment", "Author", "Comment", "XML:com.adobe.xmp"} & set(image.info)
        assert not image.info.get("xmp", b"").strip()
    assert stripped(found) == found


def test_gps_of_a_tiff_is_blanked_where_it_stands() -> None:
    """Both orders of bytes, directories below directories; what is left out leaves no trace."""
    for order in "<>":
        strip = bytes(range(64)) * 3
        gps = struct.pack(order + "H", 2) + struct.pack(order + "HHI4s", 1, 2, 2, b"N\0\0\0")
        parts: dict[str, bytes] = {
            "pixels": strip,
            "text": SECRET * 4,
            "rationals": struct.pack(order + "6I", *[77] * 6),
        }
        place, where = 8, {}
        for name, data in parts.items():
            where[name] = place
            place += len(data) + len(data) % 2
        gps += struct.pack(order + "HHII", 2, 5, 3, where["rationals"]) + bytes(4)
        where["gps"] = place
        sub = struct.pack(order + "HHHII", 1, 0x9286, 7, 24, where["text"]) + bytes(4)
        where["sub"] = place + len(gps)
        entries = [
            (256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (270, 2, 24, where["text"]),
            (273, 4, 1, where["pixels"]), (277, 3, 1, 3), (278, 4, 1, 8), (279, 4, 1, len(strip)),
            (34665, 4, 1, where["sub"]), (34853, 4, 1, where["gps"]),
        ]  # fmt: skip
        table = struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            short = kind == 3
            table += struct.pack(
                order + "HHI" + ("HH" if short else "I"), tag, kind, count, *((value, 0) if short else (value,))
            )
        body = b"".join(data + bytes(len(data) % 2) for data in parts.values()) + gps + sub
        content = (
            (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(body)) + body + table + bytes(4)
        )
        with Image.open(io.BytesIO(content)) as image:
            assert image.getexif().get_ifd(34853)[2] == (1, 1, 1)
        found = stripped(content)
        assert found is not None and len(found) == len(content)
        assert SECRET not in found and parts["rationals"] not in found and b"N\0\0\0" not in found[8 + len(body) :]
        np.testing.assert_array_equal(read_photo(found), read_photo(content))
        with Image.open(io.BytesIO(found)) as image:
            assert {34665, 34853, 270}.isdisjoint(image.tag_v2)  # type: ignore[attr-defined]


def test_thumbnails_and_what_stands_behind_a_jpeg_go() -> None:
    plain = io.BytesIO()
    Image.fromarray(PIXELS).save(plain, "JPEG")
    content = plain.getvalue()
    thumb = b"\xff\xe0" + struct.pack(">H", 16 + 12) + b"JFIF\0\1\1\0\0\1\0\1\2\2" + SECRET * 2
    assert content[2:4] == b"\xff\xe0"
    bare = content[:2] + content[20:]
    jfxx = b"\xff\xe0" + struct.pack(">H", 8 + 6) + b"JFXX\0\x13" + SECRET
    fill = b"\xff\xff\xff\xfe" + struct.pack(">H", 8) + SECRET  # padded with fill bytes
    other = b"".join(bytes([0xFF, 0xE0 + n]) + struct.pack(">H", 8) + SECRET for n in (1, 2, 3, 4, 5, 11, 12, 13, 15))
    made = bare[:2] + thumb + jfxx + fill + other + bare[2:] + SECRET + content
    found = stripped(made)
    assert found is not None and SECRET not in found and found.endswith(b"\xff\xd9")
    assert raw(found) == raw(content)
    assert len(found) == len(content)
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(
        buffer, "MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])], exif=exif(6)
    )
    found = stripped(buffer.getvalue())
    assert found is not None and SECRET not in found
    with Image.open(io.BytesIO(found)) as image:
        assert image.format == "JPEG"
    np.testing.assert_array_equal(read_photo(found), read_photo(buffer.getvalue()))


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}, {"optimize": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg(options: dict[str, Any], mode: str) -> None:
    content = written("JPEG", 6, Image.fromarray(PIXELS).convert(mode), **options)
    found = stripped(content)
    assert found is not None and SECRET not in found and raw(found) == raw(content)


def test_transparency_palettes_and_animations_stay() -> None:
    clear = Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]))
    frames = [Image.fromarray(np.roll(PIXELS, n, 1)) for n in range(3)]
    palette = Image.fromarray(PIXELS).quantize(8)
    for form, image, more in (
        ("PNG", clear, {}), ("WEBP", clear, {}), ("PNG", palette, {"transparency": 3}), ("TIFF", palette, {}),
        ("PNG", frames[0], {"save_all": True, "append_images": frames[1:], "duration": 50}),
        ("WEBP", frames[0], {"save_all": True, "append_images": frames[1:], "duration": 50}),
    ):  # fmt: skip
        content = written(form, 1, image, **more)
        found = stripped(content)
        assert found is not None and SECRET not in found and raw(found) == raw(content)
        with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(found)) as after:
            assert getattr(before, "n_frames", 1) == getattr(after, "n_frames", 1) == (3 if "duration" in more else 1)
            assert before.info.get("transparency") == after.info.get("transparency")
            before.seek(getattr(before, "n_frames", 1) - 1)
            after.seek(getattr(after, "n_frames", 1) - 1)
            np.testing.assert_array_equal(np.asarray(before.convert("RGBA")), np.asarray(after.convert("RGBA")))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_damaged_files_never_cost_the_photo(form: str) -> None:
    """Cut off or turned anywhere: either the same size is read as before, or nothing is said to be out."""
    content = written(form, 6)
    dice = np.random.default_rng(1)
    damaged = [content[:end] for end in dice.integers(1, len(content), 60).tolist()]
    for place in dice.integers(2, len(content), 100).tolist():
        damaged.append(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
    out = 0
    for one in damaged:
        found = stripped(one)
        if found is not None and found != one:
            out += 1
            with Image.open(io.BytesIO(one)) as before, Image.open(io.BytesIO(found)) as after:
                assert before.size == after.size and before.format == after.format
    assert out > 20


def test_files_without_metadata_stay_byte_by_byte() -> None:
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, form)
        assert stripped(buffer.getvalue()) == buffer.getvalue()
    for other in (b"", b"GIF89a", b"BM", b"text", b"\xff\xd8\xff", b"II*\0", b"RIFF\0\0\0\0WEBP"):
        assert stripped(other) is None


# --- carried into a dataset


def plain(form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "keep", "counts"),
    [
        (written("JPEG"), False, {"stripped": 1, "kept": 0, "linked": 0}),
        (written("JPEG"), True, {"stripped": 0, "kept": 0, "linked": 0}),
        (plain("JPEG"), False, {"stripped": 0, "kept": 0, "linked": 0}),
        (plain("GIF", comment=SECRET), False, {"stripped": 0, "kept": 1, "linked": 0}),
        (plain("BMP"), False, {"stripped": 0, "kept": 0, "linked": 0}),
    ],
    ids=["stripped", "kept on request", "none", "a GIF with a comment", "a BMP"],
)
def test_copies_are_counted_once_a_photo(tmp_path: Path, content: bytes, keep: bool, counts: dict[str, int]) -> None:
    (tmp_path / "a").write_bytes(content)
    carrier = Carrier(keep)
    carrier.copy(tmp_path / "a", tmp_path / "b")
    assert carrier.read(tmp_path / "a") == carrier.clean(content) == (tmp_path / "b").read_bytes()
    assert carrier.counts() == counts
    assert (SECRET in (tmp_path / "b").read_bytes()) == (bool(counts["kept"]) or keep)
    assert len(carrier.lines()) == sum(counts.values())


def test_links_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(written("JPEG"))
    carrier = Carrier()
    carrier.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    said = ["metadata goes along with 1 photos that are links; --photos copy leaves it out"]
    assert carrier.lines() == said
    for form in ("PNG", "JPEG", "WEBP"):
        (tmp_path / f"plain.{form}").write_bytes(plain(form))
        carrier.link(tmp_path / f"plain.{form}", tmp_path / f"linked.{form}")
    assert carrier.lines() == said

    def refuse(*_: Any) -> None:
        raise OSError("another disk")

    monkeypatch.setattr("os.link", refuse)
    carrier.link(tmp_path / "a", tmp_path / "c")
    assert SECRET not in (tmp_path / "c").read_bytes() and carrier.counts()["stripped"] == 1
