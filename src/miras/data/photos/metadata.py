"""What a photo's file says beside its pixels, taken out: where it was taken, by whom, with what, comments, thumbnails.

In: the bytes of a file. Out: bytes of the same kind with the same pixels, bit by bit, in the same colours and the same
way up. JPEG, PNG, WebP, TIFF, HEIC and AVIF; nothing is encoded anew. Sources: JPEG (ITU T.81), Exif 3.0, PNG (W3C),
WebP (RFC 9649), TIFF 6.0, ISO/IEC 23008-12.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from miras.core.errors import InputError
from miras.core.photo import orientation_of, photo_size

_Strip = Callable[[bytes, int], bytes]


class _Odd(Exception):
    """The file is not built as its kind should be."""


def stripped(content: bytes) -> bytes | None:
    """The file without its metadata; the very same bytes where it has none. None when its kind is another, or it is
    not built as it should be: then nothing is known to be out."""
    strip = next((strip for starts, strip in _KINDS if starts(content)), None)
    if strip is None:
        return None
    try:
        found = strip(content, orientation_of(content))
        return found if found == content or photo_size(found) == photo_size(content) else None
    except (_Odd, InputError, IndexError, struct.error):
        return None


def _exif(orientation: int) -> bytes:
    """A TIFF block that says which side is up, and nothing else."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"


# JPEG: marker segments

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
"""What ends coded data: neither a stuffed zero nor a restart."""


def _jpeg(content: bytes, orientation: int) -> bytes:
    """Kept of the application segments: JFIF (without thumbnail), the colour profile, Adobe's colour transform. What
    stands behind the first picture (a second one, a film) goes."""
    kept, place = [b"\xff\xd8"], 2
    turned = b"\xff\xe1" + struct.pack(">H", 34) + b"Exif\0\0" + _exif(orientation) if orientation != 1 else b""
    while True:
        found = _MARKER.match(content, place)
        if found is None:
            raise _Odd
        kind, body = found[1][0], found.end()
        if kind == 0xD9:
            kept.append(b"\xff\xd9")
            break
        end = body + int.from_bytes(content[body : body + 2])
        segment = b"\xff" + content[body - 1 : end]
        if end < body + 2 or end > len(content):
            raise _Odd
        if kind == 0xDA:
            following = _MARKER.search(content, end)
            kept += [turned, segment, content[end : following.start() if following else len(content)]]
            turned = b""
            if following is None:  # cut off
                break
            place = following.start()
            continue
        if kind == 0xE0 and segment[4:9] == b"JFIF\0":
            kept.append(b"\xff\xe0\0\x10" + segment[4:16] + b"\0\0")
        elif not (0xE0 <= kind <= 0xEF or kind == 0xFE) or _is_colour(kind, segment):
            kept.append(segment)
        place = end
    return b"".join(kept)


def _is_colour(kind: int, segment: bytes) -> bool:
    """Whether an application segment says how the numbers are meant."""
    return (kind == 0xE2 and segment[4:16] == b"ICC_PROFILE\0") or (kind == 0xEE and segment[4:9] == b"Adobe")


# PNG: chunks

_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN = frozenset(
    b"tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT sTER acTL fcTL fdAT".split()
)  # fmt: skip
"""Chunks that may stay beside the critical ones: colour, transparency, animation."""


def _png(content: bytes, orientation: int) -> bytes:
    kept, place = [_PNG], 8
    body = b"eXIf" + _exif(orientation)
    turned = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) if orientation != 1 else b""
    while place < len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4])
        name = content[place + 4 : place + 8]
        if end > len(content) and name != b"IDAT":
            raise _Odd
        if name in _PLAIN or name[:1].isupper():
            if name == b"IDAT":
                kept.append(turned)
                turned = b""
            kept.append(content[place:end])
        if name == b"IEND":
            break
        place = end
    return b"".join(kept)


# WebP: RIFF chunks

_WEBP = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))


def _webp(content: bytes, orientation: int) -> bytes:
    chunks, place = list[tuple[bytes, bytes]](), 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if name in _WEBP:
            chunks.append((name, content[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    if not chunks:
        raise _Odd
    if chunks[0][0] == b"VP8X":
        flags = chunks[0][1][0] & ~0x0C | (0x08 if orientation != 1 else 0)
        chunks[0] = (b"VP8X", bytes([flags]) + chunks[0][1][1:])
        if orientation != 1:
            chunks.append((b"EXIF", _exif(orientation)))
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


# TIFF: entries of directories, blanked where they stand, so that nothing moves

_TAGS = frozenset((
    34853, 34665, 40965, 700, 33723, 34377, 37724, 42112,  # GPS, Exif, Interoperability, XMP, IPTC, Photoshop, GDAL
    269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, 33550, 33922, 34264, 34735, 34736, 34737,  # names, places
    *range(40091, 40096), 50708, 50735, 50827,
))  # fmt: skip
_POINTERS = frozenset((34853, 34665, 40965))
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


def _tiff(content: bytes, orientation: int) -> bytes:
    """The orientation is an entry like the size, and stays."""
    order = "<" if content[:2] == b"II" else ">"
    data, seen = bytearray(content), set[int]()
    (place,) = struct.unpack_from(order + "I", data, 4)
    while place:
        if place in seen:
            raise _Odd
        seen.add(place)
        place = _without_tags(data, place, order)
    return bytes(data)


def _without_tags(data: bytearray, place: int, order: str) -> int:
    """Take the entries of _TAGS out of a directory, and blank what they point at. Returns where the next one stands."""
    (count,) = struct.unpack_from(order + "H", data, place)
    end = place + 2 + 12 * count
    entries = [bytes(data[at : at + 12]) for at in range(place + 2, end, 12)]
    (following,) = struct.unpack_from(order + "I", data, end)
    kept = []
    for entry in entries:
        if struct.unpack_from(order + "H", entry)[0] in _TAGS:
            _blank(data, entry, order, 0)
        else:
            kept.append(entry)
    if len(kept) < count:
        table = struct.pack(order + "H", len(kept)) + b"".join(kept) + struct.pack(order + "I", following)
        data[place : end + 4] = table.ljust(end + 4 - place, b"\0")
    return int(following)


def _blank(data: bytearray, entry: bytes, order: str, depth: int) -> None:
    """Zeros where the value of an entry stands, and all below where it is a directory."""
    tag, kind, count, value = struct.unpack(order + "HHII", entry)
    if depth > 4:
        raise _Odd
    if tag in _POINTERS:
        (number,) = struct.unpack_from(order + "H", data, value)
        end = value + 2 + 12 * number + 4
        for at in range(value + 2, end - 4, 12):
            _blank(data, bytes(data[at : at + 12]), order, depth + 1)
        _zero(data, value, end)
    elif (size := _SIZES.get(kind, 1) * count) > 4:
        _zero(data, value, value + size)


def _zero(data: bytearray, start: int, end: int) -> None:
    if not 8 <= start <= end <= len(data):
        raise _Odd
    data[start:end] = bytes(end - start)


# HEIC and AVIF: items of the meta box, blanked where they stand

_EMPTY_EXIF = b"\0\0\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
"""The offset of the TIFF header, and a directory of no entries."""


def _heif(content: bytes, orientation: int) -> bytes:
    """Which side is up is a property of the picture there, and stays."""
    data = bytearray(content)
    meta = next((body for name, body in _boxes(content, 0, len(content)) if name == b"meta"), None)
    if meta is None:
        raise _Odd
    inner = dict(_boxes(content, meta.start + 4, meta.stop))
    kinds = _item_kinds(content, inner[b"iinf"]) if b"iinf" in inner else {}
    for number, start, length in _extents(content, inner):
        if kinds.get(number) == b"Exif" and length >= len(_EMPTY_EXIF):
            _zero(data, start, start + length)
            data[start : start + len(_EMPTY_EXIF)] = _EMPTY_EXIF
        elif kinds.get(number) in (b"Exif", b"mime", b"uri "):
            _zero(data, start, start + length)
            data[start : start + length] = b" " * length
    return bytes(data)


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, range]]:
    """(name, where its body stands) of the boxes in a stretch."""
    while start + 8 <= end:
        size, head = int.from_bytes(content[start : start + 4]), 8
        if size == 1:
            size, head = int.from_bytes(content[start + 8 : start + 16]), 16
        stop = end if size == 0 else start + size
        if not start + head <= stop <= end:
            raise _Odd
        yield content[start + 4 : start + 8], range(start + head, stop)
        start = stop


def _item_kinds(content: bytes, body: range) -> dict[int, bytes]:
    """Item -> its type, from the item information box."""
    wide = content[body.start] != 0
    found = {}
    for name, item in _boxes(content, body.start + (8 if wide else 6), body.stop):
        if name == b"infe" and content[item.start] >= 2:
            size = 2 if content[item.start] == 2 else 4
            number = int.from_bytes(content[item.start + 4 : item.start + 4 + size])
            found[number] = content[item.start + 6 + size : item.start + 10 + size]
    return found


def _extents(content: bytes, inner: dict[bytes, range]) -> Iterator[tuple[int, int, int]]:
    """(item, place in the file, length) of every stretch in the item location box."""
    if b"iloc" not in inner:
        return
    place = inner[b"iloc"].start
    version, sizes = content[place], content[place + 4 : place + 6]
    widths = [sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4, (sizes[1] & 15) if version in (1, 2) else 0]
    if version > 2 or not set(widths) <= {0, 4, 8}:
        raise _Odd
    offset_size, length_size, base_size, index_size = widths
    place += 6

    def number(size: int) -> int:
        nonlocal place
        place += size
        return int.from_bytes(content[place - size : place])

    wide = 4 if version == 2 else 2
    for _ in range(number(wide)):
        item = number(wide)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)
        base = number(base_size) + (inner[b"idat"].start if method == 1 and b"idat" in inner else 0)
        for _ in range(number(2)):
            number(index_size)
            start, length = base + number(offset_size), number(length_size)
            if method in (0, 1):
                yield item, start, length


_KINDS: tuple[tuple[Callable[[bytes], bool], _Strip], ...] = (
    (lambda content: content[:3] == b"\xff\xd8\xff", _jpeg),
    (lambda content: content[:8] == _PNG, _png),
    (lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP", _webp),
    (lambda content: content[:4] in (b"II*\0", b"MM\0*"), _tiff),
    (lambda content: content[4:8] == b"ftyp", _heif),
)
