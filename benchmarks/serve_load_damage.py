"""Damaged photos and bodies for `serve_load.py`: what a broken or hostile program may send.

In: a random generator, seeds. Out: (kind, ...) and bytes. Knows the routes that take a body, and no server.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

NUMBERS = (0, -1, 1, 2**31, 2**63, 1e308, -1e308, 0.5, 10.0, True)
TEXTS = (
    "",
    " ",
    "\u200b",
    "x" * 5000,
    "[SEG]",
    "<mask><image>",
    "\ud800",
    "\x00",
    "../../etc/passwd",
    "' OR 1=1 --",
    "\u202ecup",
    "\U0001f600" * 200,
)
REFINE = "conversations/{talk}/refine"
POINTS = {"region": 1, "points": [{"x": 20, "y": 20, "label": 1}], "box": [4, 4, 60, 50]}
STROKES = {"region": 1, "paint": True, "strokes": [{"path": [[4, 4], [60, 50]], "label": 1, "width": 9}]}
BODIES: dict[str, tuple[str, str, Any]] = {
    "ask": ("POST", "conversations/{talk}/ask", {"text": "Where is the cup?"}),
    "points": ("POST", REFINE, POINTS),
    "strokes": ("POST", REFINE, STROKES),
    "mask": ("POST", REFINE, {"region": 1, "mask": {"rle": {"size": [72, 96], "counts": "PT?1"}}}),
    "png": ("POST", REFINE, {"region": 1, "mask": {"png": "iVBORw0KGgo="}}),
    "alternative": ("POST", "conversations/{talk}/alternative", {"region": 1, "phrase": "mug"}),
    "fork": ("POST", "conversations/{talk}/fork", {"turns": 1, "title": "a"}),
    "rename": ("PATCH", "conversations/{talk}", {"title": "a"}),
    "start": ("POST", "conversations", {"photo": "{photo}", "title": None}),
    "sample": ("POST", "photos/sample", {"sample": "coffee"}),
    "login": ("POST", "login", {"token": "x"}),
    "select": ("POST", "conversations/{talk}/select", {"expression": "~(1 + 1) & 1"}),
    "undo": ("POST", "conversations/{talk}/undo", {}),
}  # fmt: skip


def photos_of_all_kinds(jpeg: bytes) -> dict[str, bytes]:
    """One photo in the formats that are taken."""
    picture = Image.open(io.BytesIO(jpeg))
    found = {"jpeg": jpeg}
    for name, options in {
        "PNG": {},
        "WEBP": {},
        "GIF": {},
        "BMP": {},
        "TIFF": {"compression": "tiff_lzw"},
        "JPEG2000": {},
        "AVIF": {},
    }.items():
        buffer = io.BytesIO()
        try:
            picture.save(buffer, name, **options)
        except (KeyError, OSError):  # not in this Pillow
            continue
        found[name.lower()] = buffer.getvalue()
    rotated = picture.getexif()
    rotated[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=rotated)
    return found | {"exif": buffer.getvalue()}


def damaged_bytes(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Bits turned, bytes taken out, put in, cut off, copied from elsewhere."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        if not found:
            break
        at, length = rng.randrange(len(found)), rng.choice((1, 2, 4, 16, 256))
        match rng.randrange(7):
            case 0:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at : at + length] = rng.randbytes(length)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = rng.randbytes(length)
            case 4:
                del found[at:]
            case 5:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                found[at : at + length] = other[start : start + length]
            case _:
                early = rng.randrange(min(64, len(found)))  # headers
                found[early] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(found)


def damaged_photo(rng: random.Random, seeds: Mapping[str, bytes]) -> tuple[str, bytes]:
    name = rng.choice(sorted(seeds))
    return f"photo {name}", damaged_bytes(rng, seeds[name], list(seeds.values()))


def damaged_body(rng: random.Random, names: Mapping[str, str]) -> tuple[str, str, str, bytes]:
    """(kind, method, path, content)."""
    kind = rng.choice(sorted(BODIES))
    method, path, body = BODIES[kind]
    value = json.loads(json.dumps(body).replace("{photo}", names["photo"]))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        value = _changed(rng, value)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        text = damaged_bytes(rng, text, [b'{"text": "a"}', b"[[[[[[[[", b"NaN", b"1e999", b'"\\ud800"'])
    return kind, method, path.format(**names), text


def _changed(rng: random.Random, value: Any) -> Any:
    """One thing in it is another one."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        acts: tuple[Callable[[], Any], ...] = (
            lambda: {**value, key: _changed(rng, value[key])}, lambda: {**value, key: _any(rng)},
            lambda: {name: one for name, one in value.items() if name != key}, lambda: {**value, "more": _any(rng)},
        )  # fmt: skip
        return rng.choice((acts[0], *acts))()
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return rng.choice((
            [*value[:at], _changed(rng, value[at]), *value[at + 1 :]], value * rng.choice((2, 70, 700)), value[:at],
        ))  # fmt: skip
    return _any(rng)


def _any(rng: random.Random) -> Any:
    return rng.choice(
        (None, [], {}, [[]], rng.choice(NUMBERS), rng.choice(TEXTS), rng.choice(TEXTS), rng.uniform(-100, 200))
    )
