"""Text in whatever encoding: marks, the one code page that makes words, and a cure where several do."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.text import decoded, opened, read_text

JSON = '{{"label": "{}"}}'

MARKED = {
    "UTF-8": "utf-8", "UTF-8 with a mark": "utf-8-sig", "UTF-16 with a mark": "utf-16", "UTF-16 LE": "utf-16-le",
    "UTF-16 BE": "utf-16-be", "UTF-32 with a mark": "utf-32",
}  # fmt: skip


@pytest.mark.parametrize("encoding", MARKED.values(), ids=MARKED)
def test_unicode_is_read_however_it_is_marked(tmp_path: Path, encoding: str) -> None:
    text = JSON.format("café \U0001f408 杯子") + "\nb\u2028c\n"
    file = tmp_path / "a.json"
    file.write_bytes(text.encode(encoding))
    assert read_text(file) == text
    with opened(file) as lines:
        assert lines.readlines() == [line.encode() for line in text.splitlines(keepends=True)[:1]] + [
            "b\u2028c\n".encode()
        ]
    with opened(file) as whole:
        assert b"".join(iter(lambda: whole.read(3), b"")) == text.encode()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_whatever_is_utf_8_stays(text: str) -> None:
    plain = "a" + text
    assert decoded(plain.encode(), "x") == plain
    assert decoded(codecs.BOM_UTF8 + plain.encode(), "x") == plain


TOLD = {
    "gb18030": ["杯子", "键盘 鼠标", "红色的杯子\uff0c勺子"], "cp932": ["カップ", "りんご", "赤い車"],
    "big5": ["杯子", "湯匙 杯子"],
    "cp1252": ["café", "Größe", "Löffel Schüssel", "don\u2019t"], "cp1250": ["šálek"], "cp1253": ["ποτήρι"],
    "cp1251": ["яблоко мышь"], "cp1256": ["كوب"],
}  # fmt: skip


@pytest.mark.parametrize(("page", "words"), [(page, words) for page, given in TOLD.items() for words in given])
def test_the_one_code_page_that_makes_words(page: str, words: str) -> None:
    assert decoded(JSON.format(words).encode(page), "a.json") == JSON.format(words)


UNCLEAR = {
    "French, or Czech": ("crème", "cp1252", r"cp1252 \(crème\) or cp1250 \(crčme\); save .* \(iconv -f cp1252 -t"),
    "Chinese, or Russian": ("椅子", "gb18030", r"gb18030 \(椅子\) or cp1251 \(ТОЧУ\)"),
    "Korean, or Chinese": ("사과", "cp949", r"gb18030 .* or cp949 \(사과\)"),
    "Turkish, or Icelandic": ("ka\u015f\u0131k", "cp1254", "cp1254 .ka\u015f\u0131k."),
}  # fmt: skip


@pytest.mark.parametrize(("words", "page", "said"), UNCLEAR.values(), ids=UNCLEAR)
def test_where_several_make_words_the_cure_is_told(words: str, page: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        decoded(JSON.format(words).encode(page), "a.json")


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "\xff"}',
        b'{"a": "caf\x81"}',
        b'{"a": "\xe6\x9d"}',
        b"\x89PNG\r\n\xff\xfe",
        "一只猫和一只狗".encode()[:-1],
    ],
)
def test_where_none_does_the_byte_is_told(content: bytes) -> None:
    with pytest.raises(InputError, match=r"text in UTF-8, got a\.json: byte 0x.*save it as UTF-8"):
        decoded(content, "a.json")


def test_a_code_page_that_is_preferred() -> None:
    assert decoded("crème".encode("cp1252"), "x", prefer="cp1252") == "crème"
    assert decoded(b"5 \xb1 1", "x", prefer="cp1252") == "5 \xb1 1"
    assert decoded("键盘 鼠标".encode("gb18030"), "x", prefer="cp1252") == "键盘 鼠标"


def test_broken_utf_16(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(codecs.BOM_UTF16_LE + b"\x00\xd8a")
    with pytest.raises(InputError, match="UTF-8"):
        read_text(tmp_path / "a")
    with pytest.raises(UnicodeDecodeError), opened(tmp_path / "a") as file:
        file.read()
