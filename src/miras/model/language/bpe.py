"""Byte-level byte pair encoding, as GPT-2's tokenizer and its heirs write it, in plain Python.

In: a `tokenizer.json` of that form; text. Out: ids, and back: the same as `tokenizers` gives, which weighs 28 MB with
all that it brings (docs/decisions/0042-the-small-install.md). No text becomes a special token. Source: Sennrich et al.
2016; the pattern and the table of bytes are GPT-2's. Knows no model.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from miras.core.errors import WeightsError

_SPACE = "\t\n\x0b\x0c\r "
_PATTERN = re.compile(
    rf"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^{_SPACE}A-Za-z0-9]+|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
)
"""Over texts whose letters, numbers and spaces are ASCII (`_plain`)."""
_SPACES = frozenset("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(code) for code in range(0x2000, 0x200B)}


def _table() -> dict[int, str]:
    """Byte -> the character that stands for it: itself where it can be seen, else one past U+0100."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {**{byte: chr(byte) for byte in seen}, **{byte: chr(256 + n) for n, byte in enumerate(hidden)}}


_CHARACTERS = _table()
_BYTES = {character: byte for byte, character in _CHARACTERS.items()}


def reads(said: Mapping[str, Any]) -> bool:
    """Whether the content of a `tokenizer.json` is of this form."""
    first, model = said.get("pre_tokenizer") or {}, said.get("model") or {}
    plain = {"unk_token": None, "byte_fallback": False, "ignore_merges": False, "dropout": None, "type": "BPE"}
    affixes = [model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")]
    return (
        (first.get("type"), first.get("add_prefix_space"), first.get("use_regex")) == ("ByteLevel", False, True)
        and said.get("normalizer") is None
        and all(model.get(key, value) == value for key, value in plain.items())
        and not any(affixes)
    )


class BpeTokenizer:
    """said: the content of a `tokenizer.json` that `reads` knows."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._ids: dict[str, int] = said["model"]["vocab"]
        pairs = (merge if isinstance(merge, list) else merge.split(" ") for merge in said["model"]["merges"])
        self._ranks = {(one, other): rank for rank, (one, other) in enumerate(pairs)}
        added = {token["content"]: int(token["id"]) for token in said["added_tokens"]}
        self._controls = added
        self.reserved = frozenset(added.values())
        self._tokens = {**{number: token for token, number in self._ids.items()}, **{n: t for t, n in added.items()}}
        self.vocab_size = len(self._tokens)
        self._known: dict[str, list[int]] = {}

    @classmethod
    def of(cls, text: str) -> BpeTokenizer | None:
        """From a `tokenizer.json`; None for one of another form. Raises ValueError for what is none."""
        said = json.loads(text)
        return cls(said) if reads(said) else None

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; "<|im_end|>" in it is ordinary tokens, not the control token."""
        found: list[int] = []
        for piece in _PATTERN.finditer(_plain(text)):
            word = text[piece.start() : piece.end()]
            if word not in self._known:
                self._known[word] = self._merged(word)
            found += self._known[word]
        return found

    def control(self, token: str) -> int:
        """Id of a control token. Raises WeightsError when there is none of that name."""
        if token not in self._controls:
            raise WeightsError(f"a tokenizer with {token}", "one without", "use the tokenizer of the preset")
        return self._controls[token]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, nothing skipped or cleaned; broken sequences become replacement characters."""
        found = bytearray()
        for token in (self._tokens[number] for number in ids if number in self._tokens):
            whole = [_BYTES.get(character) for character in token]
            found += token.encode() if None in whole else bytes(byte for byte in whole if byte is not None)
        return found.decode("utf-8", "replace")

    def _merged(self, word: str) -> list[int]:
        """The pair that was learnt first is joined first, from the left, until none is left to join."""
        parts = [_CHARACTERS[byte] for byte in word.encode("utf-8", "replace")]
        parts = [part for part in parts if part in self._ids]
        last = len(self._ranks)
        while len(parts) > 1:
            ranks = [self._ranks.get(pair, last) for pair in pairwise(parts)]
            at = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[at] == last:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self._ids[part] for part in parts]


def _plain(text: str) -> str:
    """The same length, each character past ASCII as one of its kind: letter, number, space, or other."""
    if text.isascii():
        return text
    return "".join(character if character < "\x80" else _kind(character) for character in text)


def _kind(character: str) -> str:
    if character in _SPACES:
        return "\t"
    return {"L": "b", "N": "0"}.get(unicodedata.category(character)[0], "!")
