"""Uploads: the pixels stay, everything else goes; what is no photo is refused before it costs anything."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from miras.core.errors import InputError
from miras.core.photo import read_photo
from miras.serve.photos import CREDITS, PhotoFiles, prepare, sample, shown_name
from miras.serve.settings import Limits
from tests.serve.conftest import API, upload

SECRET = b"Zanzibar harbour"


def picture(kind: str, mode: str = "RGB", orientation: int = 1, **options: object) -> bytes:
    """A photo of 40 x 24 pixels (W x H) that says where it was taken."""
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 255, (24, 40, 3), dtype=np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, SECRET.decode()
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "S", (IFDRational(6), IFDRational(9), IFDRational(57))
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"exif": exif} if kind not in ("GIF", "BMP") else {}), **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (picture("JPEG", comment=SECRET), "jpg"),
        (picture("JPEG", "L"), "jpg"),
        (picture("JPEG", "CMYK"), "png"),
        *((picture("JPEG", orientation=turn), "png") for turn in range(2, 9)),
        (picture("PNG"), "png"),
        (picture("PNG", orientation=6), "png"),
        (picture("PNG", "RGBA"), "png"),
        (picture("WEBP", lossless=True), "png"),
        (picture("TIFF"), "png"),
        (picture("GIF", "P", comment=SECRET), "png"),
        (picture("BMP"), "png"),
    ],
)
def test_the_pixels_stay_and_the_place_goes(content: bytes, suffix: str) -> None:
    found = prepare(content, Limits())
    seen = read_photo(content)
    assert found.suffix == suffix and (found.height, found.width) == seen.shape[:2]
    assert (read_photo(found.content["full"]) == seen).all()
    for kept in found.content.values():
        assert SECRET not in kept
        with Image.open(io.BytesIO(kept)) as image:
            assert not image.getexif() and "comment" not in image.info
            image.load()


def test_smaller_variants_are_upright_and_small() -> None:
    wide = Image.fromarray(np.zeros((900, 2400, 3), np.uint8))
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    wide.save(buffer, "JPEG", exif=exif)
    found = prepare(buffer.getvalue(), Limits())
    assert (found.width, found.height) == (900, 2400)
    sizes = {name: Image.open(io.BytesIO(content)).size for name, content in found.content.items()}
    assert sizes == {"full": (900, 2400), "preview": (600, 1600), "thumbnail": (120, 320)}


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes whose header asks for many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a photo"),
        (b"hello", "a photo"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "a photo"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a photo"),
        (picture("JPEG")[:300], "photo"),
        (bomb(60_000, 60_000), "megapixels"),
        (bomb(8_000, 8_000), "at most 50 megapixels"),
        (bomb(4, 4), "at least 8 x 8"),
    ],
)
def test_what_is_no_photo_is_told(client: TestClient, content: bytes, expected: str, tmp_path: Path) -> None:
    answer = client.post(f"{API}/photos", content=content, headers={"Content-Type": "image/png"})
    assert answer.status_code == 422 and expected in answer.json()["expected"]
    assert list((tmp_path / "data" / "photos").iterdir()) == []
    with pytest.raises(InputError):
        prepare(content, Limits())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cup.jpg", "cup.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\me.png", "me.png"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("\u202egpj.exe", "gpj.exe"),
        ("", "photo"),
        ("..", ".."),
        ("x" * 500, "x" * 120),
        ("Tasse \u2615.jpg", "Tasse \u2615.jpg"),
    ],
)
def test_names_are_only_shown(client: TestClient, jpeg: bytes, name: str, shown: str, tmp_path: Path) -> None:
    assert shown_name(name) == shown
    photo = upload(client, jpeg, name)
    assert photo["name"] == shown
    files = {path.name for path in (tmp_path / "data" / "photos").iterdir()}
    assert files == {f"{photo['id']}.{rest}" for rest in ("full.jpg", "preview.jpg", "thumbnail.jpg")}


def test_an_upload_is_given_back(client: TestClient, jpeg: bytes) -> None:
    photo = upload(client, jpeg)
    assert (photo["width"], photo["height"], photo["sample"]) == (64, 48, None)
    assert client.get(f"{API}/photos/{photo['id']}").json() == photo
    full = client.get(photo["image_url"])
    assert full.headers["content-type"] == "image/jpeg" and len(full.content) == photo["bytes"]
    assert (read_photo(full.content) == read_photo(jpeg)).all()
    assert Image.open(io.BytesIO(client.get(photo["thumbnail_url"]).content)).size == (64, 48)
    assert client.delete(f"{API}/photos/{photo['id']}").status_code == 204
    assert client.get(photo["image_url"]).status_code == 404


def test_samples(client: TestClient) -> None:
    items = client.get(f"{API}/samples").json()["items"]
    assert [item["name"] for item in items] == list(CREDITS)
    for item in items:
        content = client.get(item["image_url"]).content
        assert content == sample(item["name"])
        assert read_photo(content).shape[:2] == (item["height"], item["width"])
    photo = client.post(f"{API}/photos/sample", json={"sample": "coffee"}).json()
    assert photo["sample"] == "coffee" and photo["name"] == "coffee.jpg"
    assert client.post(f"{API}/photos/sample", json={"sample": "../main"}).status_code == 422
    assert client.get(f"{API}/samples/..%2f..%2fcli/image").status_code == 404


def test_leftovers_of_a_crash_are_swept(tmp_path: Path) -> None:
    files = PhotoFiles(tmp_path / "photos")
    prepared = prepare(picture("JPEG"), Limits())
    for photo in ("p_kept", "p_lost"):
        files.put(photo, prepared)
    (tmp_path / "photos" / "p_kept.full.jpg.part").write_bytes(b"half")
    assert files.sweep(["p_kept"]) == 4
    assert files.read("p_kept", "full", "jpg") == prepared.content["full"]
    with pytest.raises(InputError, match="upload it again"):
        files.read("p_lost", "full", "jpg")
