"""Text as people's tools write it: UTF-8, with or without a byte order mark, UTF-16, and what Windows wrote before.

In: bytes, or a file. Out: text, or UTF-8 to be read bit by bit. Bytes that are no Unicode are read by the one code page
that makes words of them; where several do, or none, an `InputError` says so and how to mend the file: a guess would
change labels. Knows no JSON and no annotation.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from miras.core.errors import InputError

_LATIN_PAGES = ("cp1252", "cp1250", "cp1254")
_OTHER_SCRIPTS = {
    "cp1251": r"\u0410-\u044f\u0401\u0451\u0406\u0456\u0407\u0457\u0404\u0454",
    "cp1253": r"\u0386\u0388-\u038f\u0391-\u03af\u03b1-\u03ce",
    "cp1255": r"\u05d0-\u05ea", "cp1256": r"\u0621-\u064a",
}  # fmt: skip
"""Code page -> letters of its script."""
_JOINING = "\u2019\u00b7"
_SIGNS = (
    "\u2018\u201c\u201d\u201a\u201e\u2013\u2014\u2026\u2022\u20ac\u00b0\u00ab\u00bb\u00bf\u00a1\u00a9\u00ae\u2122\u00aa"
    "\u00ba\u2116\u00a0"
)
"""What is no letter and still stands in text: quotation marks, dashes and the like; _JOINING may join two letters."""
_WORD = re.compile(r"[^\W\d_\u00aa\u00ba]+")
_SIGN_IN_A_WORD = re.compile(rf"[^\W\d_][{_SIGNS}]+[^\W\d_]")
_WIDE = r"\u3000-\u3020\uff01-\uff5e"
"""Punctuation, digits and letters of full width, in all four codes of East Asia."""
_IN_A_WORD = re.compile(rf"[a-z]{{2}}[^\x00-\x7f{_WIDE}]|[^\x00-\x7f{_WIDE}][a-z]{{2}}")
"""An East Asian character in a small plain word, as a wrong code gives it."""
_COMMON = 0.8
"""Share of the characters that must be of the common level of their code: rare ones are what wrong codes give."""
_SAMPLE = 24
"""Characters of a reading that are shown."""


def decoded(content: bytes, where: str, prefer: str = "") -> str:
    """The text of `content`; where: what an error names. prefer: the code page to take where several fit, or none.

    Raises InputError for bytes that are no Unicode and no one code page.
    """
    try:
        return content.decode(_unicode(content))
    except UnicodeDecodeError as error:
        fault = error
    fits = _readings(content)
    if prefer and (prefer in fits.values() or not fits):
        with suppress(UnicodeDecodeError):
            return content.decode(prefer)
    if len(fits) == 1:
        return content.decode(next(iter(fits.values())))
    got = f"{where}: byte 0x{content[fault.start]:02x} at {fault.start + 1}"
    if fits:
        got += ", which may be " + " or ".join(f"{page} ({_shown(text)})" for text, page in fits.items())
    page = next(iter(fits.values()), "ITS_ENCODING")
    raise InputError("text in UTF-8", got, f"save it as UTF-8 (iconv -f {page} -t UTF-8 FILE)") from fault


def read_text(path: Path, prefer: str = "") -> str:
    """The text of a file, see `decoded`. Raises OSError and InputError."""
    return decoded(path.read_bytes(), str(path), prefer)


def opened(path: Path) -> BinaryIO:
    """The file as UTF-8 without a byte order mark, to be read as it comes. Bytes without a mark pass as they are.

    Raises OSError; reading raises UnicodeDecodeError where marked UTF-16 is broken.
    """
    file = path.open("rb")
    encoding = _unicode(file.peek(4)[:4])
    if encoding.startswith(("utf-16", "utf-32")):
        return io.BufferedReader(_Utf8(io.TextIOWrapper(file, encoding, newline="\n")))
    if encoding == "utf-8-sig":
        file.seek(3)
    return file


class _Utf8(io.RawIOBase):
    """Text as bytes of UTF-8."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._rest = text, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or self._text.read(max(1, len(buffer) // 4)).encode()
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._text.close()
        super().close()


def _unicode(content: bytes) -> str:
    """By its mark, or by the zeros of an ASCII character in UTF-16 and UTF-32; else "utf-8"."""
    return json.detect_encoding(content)


def _readings(content: bytes) -> dict[str, str]:
    """Reading of the lines that are not ASCII -> its code page, for the pages that make words of them.

    None of UTF-8 that is damaged in a few places.
    """
    lines = b"\n".join(line for line in content.split(b"\n") if not line.isascii())
    found: dict[str, str] = {}
    as_utf8 = lines.decode("utf-8", "replace")
    if sum(not c.isascii() for c in as_utf8) > 2 * as_utf8.count("\ufffd"):
        return found
    for page, is_plausible in _PAGES.items():
        with suppress(UnicodeDecodeError):
            text = lines.decode(page)
            if is_plausible(text):
                found.setdefault(text, page)
    return found


def _of_code(code: str, common: Callable[[int], bool], known: Callable[[int], bool]) -> Callable[[str], bool]:
    """East Asian text: all characters of the code's own list (two bytes), nearly all of them common ones."""

    def is_plausible(text: str) -> bool:
        signs = [c for c in text if not c.isascii() and not re.match(f"[{_WIDE}]", c)]
        pairs = [int.from_bytes(sign.encode(code), "big") for sign in signs]
        most = sum(map(common, pairs)) >= max(1.0, _COMMON * len(pairs))
        return most and all(map(known, pairs)) and not _IN_A_WORD.search(text)

    return is_plausible


def _between(first: int, last: int, low: int = 0) -> Callable[[int], bool]:
    """Whether two bytes lie in a block of a code; low: the least second byte."""
    return lambda pair: first <= pair <= last and pair & 0xFF >= low


def _is_japanese(pair: int) -> bool:
    """Kana, and the kanji of the first level."""
    return 0x829F <= pair <= 0x8396 or pair == 0x815B or 0x889F <= pair <= 0x9872


def _is_latin(text: str) -> bool:
    """Each word with accents has plain letters too, and no three accents in a row; "à" stands alone."""
    for word in _words(text):
        accents = re.findall(r"[^\x00-\x7f]+", word)
        alone = len(word) > 1 and not re.search(r"[A-Za-z]", word)
        if alone or max(map(len, accents)) > 2 or not all(map(_is_accented, "".join(accents))) or not _is_cased(word):
            return False
    return _is_set_as_text(text)


def _is_accented(letter: str) -> bool:
    return "\u00c0" <= letter <= "\u017e" and letter != "\u00ff"  # byte 0xff, of which binary files are full


def _of_script(letters: str) -> Callable[[str], bool]:
    """Words of one script, not mixed with plain letters; one letter alone says nothing."""
    inside = re.compile(f"[{letters}]+")

    def is_plausible(text: str) -> bool:
        words = _words(text)
        known = all(inside.fullmatch(word) and _is_cased(word) for word in words)
        return any(len(word) > 1 for word in words) and known and _is_set_as_text(text)

    return is_plausible


def _words(text: str) -> list[str]:
    """The words that are not ASCII."""
    return [word for word in _WORD.findall(text) if not word.isascii()]


def _is_cased(word: str) -> bool:
    """Small, Capital or CAPITALS; scripts without case too."""
    return word in (word.lower(), word.upper()) or word[1:] == word[1:].lower()


def _is_set_as_text(text: str) -> bool:
    """No signs but those of writing, and none of these in the middle of a word."""
    return all(c.isascii() or _WORD.match(c) or c in _SIGNS + _JOINING for c in text) and not _SIGN_IN_A_WORD.search(
        text
    )


def _shown(text: str) -> str:
    """The words that are not ASCII, as far as there is room."""
    return " ".join(dict.fromkeys(_words(text) or re.findall(r"[^\x00-\x7f]\w*", text)))[:_SAMPLE]


_PAGES: dict[str, Callable[[str], bool]] = {
    "gb18030": _of_code("gb18030", _between(0xB0A1, 0xD7F9), _between(0xA1A1, 0xF7FE, 0xA1)),
    "cp932": _of_code("cp932", _is_japanese, _between(0x8140, 0xEAA4)),
    "big5": _of_code("big5", _between(0xA440, 0xC67E), _between(0xA140, 0xF9D5)),
    "cp949": _of_code("cp949", _between(0xB0A1, 0xC8FE), _between(0xA1A1, 0xC8FE, 0xA1)),
    **dict.fromkeys(_LATIN_PAGES, _is_latin),
    **{page: _of_script(letters) for page, letters in _OTHER_SCRIPTS.items()},
}  # fmt: skip
"""What Windows calls ANSI, language by language -> whether a reading by it looks like words."""
