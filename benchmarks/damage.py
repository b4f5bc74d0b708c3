"""Damage to one file of a dataset, at random: what editors, exports, copies and full disks do to annotations.

In: a folder and which files in it are annotations. Out: the folder changed, and what was done to which file.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

PHOTOS = (".jpg", ".png")
DEEP = 60_000
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2.5, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**63, "", " ", "x", "../up",
    "/etc/hostname", "a\0b", "\ud800", "é" * 300, "NaN", [], {}, [[]], [None], [{}], {"a": 1}, [[1, 2], [3]], "@deep@",
    "@digits@", "@overflow@", "../../..", "C:\\a.jpg", "con", ".", "..", "-1", "1e9", [0] * 1000,
)  # fmt: skip
"""Values that stand in place of others."""
ENCODINGS = ("utf-16", "utf-16-le", "utf-8-sig", "latin-1", "gb18030", "cp037", "utf-32")


class Harm(NamedTuple):
    """what: was done to which file. names_stay: which photo a mask is on cannot have changed. of_index: the file says
    which others are read."""

    what: str
    names_stay: bool
    of_index: bool

    def with_another(self, other: Harm) -> Harm:
        """Both."""
        return Harm(f"{self.what}, {other.what}", self.names_stay and other.names_stay, self.of_index or other.of_index)


def harm(draw: random.Random, folder: Path, annotations: tuple[str, ...]) -> Harm:
    """Damage a file of the folder. annotations: patterns of its annotation files, those that name others first."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [path for pattern in annotations for path in sorted(folder.glob(pattern)) if path.is_file()]
    photos = [path for path in files if path.suffix in PHOTOS and path not in listed]
    if photos and draw.random() < 0.25:
        file, what = draw.choice(photos), draw.choice(list(ON_PHOTOS))
        _do(ON_PHOTOS[what], draw, file)
        return Harm(f"{what} of {file.relative_to(folder).as_posix()}", what not in RENAMING, False)
    if not listed:
        return Harm("nothing", True, False)
    file = draw.choice(listed)
    ways = [*ON_BYTES, *ON_STRUCTURE.get(file.suffix, ()), *ON_STRUCTURE.get(file.suffix, ())]
    what = draw.choice(ways)
    way = ON_BYTES.get(what) or ON_STRUCTURE[file.suffix][what]
    index = file in sorted(folder.glob(annotations[0])) and len(annotations) > 1
    _do(way, draw, file)
    return Harm(f"{what} of {file.relative_to(folder).as_posix()}", what in NAMES_STAY, index)


def _do(way: Callable[[random.Random, Path], None], draw: random.Random, file: Path) -> None:
    try:
        way(draw, file)
    except (ValueError, IndexError, OSError, RecursionError):  # what a first damage left cannot be edited any more
        ON_BYTES["truncation"](draw, file)


# Bytes


def _bytes(change: Callable[[random.Random, bytearray], bytes | bytearray]) -> Callable[[random.Random, Path], None]:
    def way(draw: random.Random, file: Path) -> None:
        file.write_bytes(change(draw, bytearray(file.read_bytes())))

    return way


def _flip(draw: random.Random, data: bytearray) -> bytearray:
    for _ in range(draw.choice((1, 1, 1, 3, 20))):
        if data:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def _cut(draw: random.Random, data: bytearray) -> bytearray:
    return data[: draw.randrange(len(data) + 1)]


def _lose(draw: random.Random, data: bytearray) -> bytearray:
    start = draw.randrange(len(data) + 1)
    del data[start : start + draw.choice((1, 2, 10, 100))]
    return data


def _repeat(draw: random.Random, data: bytearray) -> bytearray:
    start = draw.randrange(len(data) + 1)
    part = data[start : start + draw.choice((1, 5, 50, 500))]
    return data[:start] + part + data[start:]


def _insert(draw: random.Random, data: bytearray) -> bytearray:
    start = draw.randrange(len(data) + 1)
    return (
        data[:start]
        + draw.choice((b"\0", b"\xff", b'"', b"\n", b"}", b"[", b"<", b"&", b"\xef\xbb\xbf", b"9" * 5000))
        + data[start:]
    )


def _encode(draw: random.Random, data: bytearray) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(draw.choice(ENCODINGS), "replace")


def _windows(draw: random.Random, data: bytearray) -> bytes:
    return bytes(data).replace(b"\n", b"\r\n")


ON_BYTES: dict[str, Callable[[random.Random, Path], None]] = {
    "flipped bits": _bytes(_flip), "truncation": _bytes(_cut), "lost bytes": _bytes(_lose),
    "repeated bytes": _bytes(_repeat), "inserted bytes": _bytes(_insert), "another encoding": _bytes(_encode),
    "line ends": _bytes(_windows),
    "emptying": _bytes(lambda draw, data: b""), "a byte order mark": _bytes(lambda draw, data: b"\xef\xbb\xbf" + data),
    "deletion": lambda draw, file: file.unlink(),
}  # fmt: skip
NAMES_STAY = ("truncation", "another encoding", "line ends", "emptying", "a byte order mark", "deletion")

# JSON


class _Twice(dict[str, Any]):
    """Written with its first key twice."""

    def items(self) -> Any:
        pairs = list(super().items())
        return [*pairs, (pairs[0][0], "twice")] if pairs else pairs


def _json(change: Callable[[random.Random, Any, Any], Any]) -> Callable[[random.Random, Path], None]:
    """change: of one value somewhere, given its container and key; returns what becomes of it (_GONE: nothing)."""

    def way(draw: random.Random, file: Path) -> None:
        lines = file.read_text().split("\n") if file.suffix == ".jsonl" else [file.read_text()]
        place = draw.randrange(max(1, len(lines) - 1))
        document = [json.loads(lines[place])]
        container, key = draw.choice(list(_places(document)))
        value = change(draw, container, key)
        if value is _GONE:
            del container[key]
        else:
            container[key] = value
        lines[place] = _text(document[0]) if document else ""
        file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))

    return way


_GONE = object()


def _places(value: Any) -> Any:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys)[:60]:
        yield value, key
        yield from _places(value[key])


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    deep = "[" * DEEP + "]" * DEEP
    return text.replace('"@deep@"', deep).replace('"@digits@"', "9" * 6000).replace('"@overflow@"', "1e999")


def _renamed(draw: random.Random, container: Any, key: Any) -> Any:
    if isinstance(container, dict):
        container[draw.choice((key.upper(), f"{key}_", "x", ""))] = container[key]
        return _GONE
    return draw.choice(STRANGE)


def _swapped(draw: random.Random, container: Any, key: Any) -> Any:
    other = draw.choice(list(container) if isinstance(container, dict) else range(len(container)))
    mine = container[key]
    container[key] = container[other]
    container[other] = mine
    return container[key]


def _doubled(draw: random.Random, container: Any, key: Any) -> Any:
    if isinstance(container, list):
        container.insert(key, container[key])
        return container[key]
    return _Twice(container[key]) if isinstance(container[key], dict) else [container[key], container[key]]


def _scaled(draw: random.Random, container: Any, key: Any) -> Any:
    value = container[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * draw.choice((-1, 0, 0.5, 10, 1e6, 1e300))
    return [value] if draw.random() < 0.5 else str(value)


_ON_JSON: dict[str, Callable[[random.Random, Path], None]] = {
    "a strange value": _json(lambda draw, container, key: draw.choice(STRANGE)),
    "a dropped value": _json(lambda draw, container, key: _GONE), "another key": _json(_renamed),
    "swapped values": _json(_swapped), "a doubled value": _json(_doubled), "another number": _json(_scaled),
}  # fmt: skip

# XML and lines of text


def _xml(draw: random.Random, file: Path) -> None:
    text = file.read_text()
    attributes = list(re.finditer(r'(\w+)="([^"]*)"', text))
    elements = list(re.finditer(r"<(\w+)[^<>]*/>", text)) or attributes
    kind = draw.choice(("value", "drop", "swap", "double", "lose", "name", "doctype"))
    one, other = draw.choice(attributes), draw.choice(attributes)
    part = draw.choice(elements)
    strange = str(draw.choice(STRANGE)).replace('"', "").replace("<", "").replace("\0", "")
    if kind == "value":
        text = f"{text[: one.start(2)]}{strange}{text[one.end(2) :]}"
    elif kind == "drop":
        text = text[: one.start()] + text[one.end() :]
    elif kind == "swap" and one.start() < other.start():
        text = text[: one.start(2)] + other[2] + text[one.end(2) : other.start(2)] + one[2] + text[other.end(2) :]
    elif kind == "double":
        text = text[: part.end()] + part[0] + text[part.end() :]
    elif kind == "lose":
        text = text[: part.start()] + text[part.end() :]
    elif kind == "name":
        text = text[: one.start(1)] + "x" + text[one.end(1) :]
    else:
        text = text.replace("<annotations", '<!DOCTYPE a [<!ENTITY b "c">]><annotations', 1)
    file.write_bytes(text.encode("utf-8", "replace"))


def _lines(draw: random.Random, file: Path) -> None:
    lines = file.read_text().split("\n")
    place = draw.randrange(len(lines))
    words = lines[place].split(" ")
    kind = draw.choice(("drop", "double", "swap", "word", "lose", "join"))
    if kind == "drop":
        del lines[place]
    elif kind == "double":
        lines.insert(place, lines[place])
    elif kind == "swap":
        other = draw.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    elif kind == "lose":
        del words[draw.randrange(len(words))]
        lines[place] = " ".join(words)
    elif kind == "word":
        words[draw.randrange(len(words))] = str(draw.choice(STRANGE))
        lines[place] = " ".join(words)
    else:
        lines[place : place + 2] = ["".join(lines[place : place + 2])]
    file.write_bytes("\n".join(lines).encode("utf-8", "replace"))


def _pixels(draw: random.Random, file: Path) -> None:
    with Image.open(file) as image:
        kind = draw.choice(("size", "colour", "values", "turned"))
        if kind == "size":
            image = image.resize((image.width + 1, image.height))
        elif kind == "colour":
            image = image.convert("RGBA")
        elif kind == "values":
            image = image.point(lambda value: (value * 37 + 11) % 256) if image.mode in ("L", "P", "RGB") else image
        else:
            image = image.transpose(Image.Transpose.ROTATE_90)
        image.load()
    image.save(file)


ON_STRUCTURE: dict[str, dict[str, Callable[[random.Random, Path], None]]] = {
    ".json": _ON_JSON, ".jsonl": _ON_JSON, ".xml": {"an edit": _xml}, ".txt": {"an edit": _lines},
    ".yaml": {"an edit": _lines}, ".png": {"other pixels": _pixels},
}  # fmt: skip

# Photos


def _moved(draw: random.Random, file: Path) -> None:
    file.rename(
        file.with_name(draw.choice((file.name.upper(), f"copy of {file.name}", f"{file.stem}.webp", f".{file.name}")))
    )


def _swap_photos(draw: random.Random, file: Path) -> None:
    other = draw.choice([path for path in file.parent.iterdir() if path.suffix == file.suffix])
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    other.write_bytes(mine)


def _other_ending(draw: random.Random, file: Path) -> None:
    """Another photo of the same name beside it."""
    Image.new("RGB", (32, 24), (draw.randrange(256), 9, 9)).save(
        file.with_suffix(".png" if file.suffix == ".jpg" else ".jpg")
    )


def _resized(draw: random.Random, file: Path) -> None:
    with Image.open(file) as image:
        other = image.resize((draw.choice((1, 31, 33, 64)), draw.choice((1, 23, 25, 48))))
    other.save(file)


def _folder(draw: random.Random, file: Path) -> None:
    file.unlink()
    file.mkdir()


ON_PHOTOS: dict[str, Callable[[random.Random, Path], None]] = {
    "deletion": lambda draw, file: file.unlink(), "a new name": _moved, "swapped photos": _swap_photos,
    "truncation": _bytes(_cut), "flipped bits": _bytes(_flip), "emptying": _bytes(lambda draw, data: b""),
    "text in its place": _bytes(lambda draw, data: b"no photo"), "another size": _resized,
    "a folder in its place": _folder, "another photo of the same name": _other_ending,
}  # fmt: skip
RENAMING = ("swapped photos", "truncation", "flipped bits", "another size", "emptying", "text in its place")
"""What changes the bytes of a photo: its masks are no longer told by them."""
