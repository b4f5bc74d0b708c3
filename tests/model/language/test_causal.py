"""Causal language models of `transformers` that are no Llama: built from a configuration, they talk as Llama does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    DynamicCache,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from miras.chat import load as loading
from miras.chat.session import ChatSession
from miras.core.errors import WeightsError
from miras.core.grammar import OBJ, SEG, SPECIAL_TOKENS
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.language import registry
from miras.model.language.base import Source
from miras.model.language.causal import CausalLanguage
from miras.model.language.tokenizers import ByteTokenizer
from miras.model.miras import Miras
from miras.model.saved import LANGUAGE_PREFIX

TINY = presets.configuration("miras-tiny").to_diff_dict()
SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def qwen() -> tuple[PreTrainedModel, tuple[str, ...]]:
    config = Qwen2Config(**SIZES, intermediate_size=48, num_key_value_heads=2, tie_word_embeddings=True)
    return Qwen2ForCausalLM(config), ("q_proj", "v_proj", "up_proj")


def neox() -> tuple[PreTrainedModel, tuple[str, ...]]:
    config = GPTNeoXConfig(**SIZES, intermediate_size=48, tie_word_embeddings=False)
    return GPTNeoXForCausalLM(config), ("query_key_value", "dense_h_to_4h")


class Random(Source):
    """The same weights at each load."""

    published = False
    MAKERS = {"qwen": qwen, "neox": neox}  # noqa: RUF012

    def load(self, dtype: torch.dtype = torch.float32) -> CausalLanguage:
        """float32."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            model, targets = self.MAKERS[self.name]()
        return CausalLanguage(model, ByteTokenizer(), targets)


@pytest.fixture(params=["qwen", "neox"])
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    registry.LANGUAGES[request.param] = Random
    yield request.param
    del registry.LANGUAGES[request.param]


@pytest.fixture
def model(name: str) -> Miras:
    torch.manual_seed(4)
    model = Miras(MirasConfig(**{**TINY, "language": name})).eval()
    for key, value in model.named_parameters():
        if "lora_B" in key:
            value.data.normal_(0, 0.1)
    return model


def forced(model: Miras, *pieces: str) -> tuple[int, ...]:
    rows = [[model.grammar.id(p)] if p in SPECIAL_TOKENS else model.tokenizer.encode(p) for p in pieces]
    return tuple(token for row in rows for token in row)


def test_it_talks_is_saved_and_talks_again(model: Miras, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    assert (model.instruction.vocab_size, model.instruction.width) == (300, 32)
    assert {n for n, p in model.instruction.named_parameters() if p.requires_grad and "special" not in n}
    model.save_pretrained(tmp_path)
    again = loading.load(tmp_path).model
    said = []
    for one in (Miras.from_pretrained(tmp_path), again):
        session = ChatSession(one, photo, max_new_tokens=24)
        session.ask("Where is the cup?", forced=forced(one, "The ", OBJ, " cup", SEG))
        session.ask("And what else?")
        session.refine(points=[(10, 12, 1)], region=1)
        session.undo()
        events = json.loads(ChatSession.from_json(one, session.to_json(), photo).to_json())["events"]
        said.append([{key: value for key, value in event.items() if key != "seconds"} for event in events])
    assert len(said[0]) == 2 and said[0][0]["regions"]
    assert [event["reply_ids"] for event in said[0]] == [event["reply_ids"] for event in said[1]]


def test_only_what_was_tuned_is_saved(model: Miras, tmp_path: Path) -> None:
    names = [n.removeprefix(LANGUAGE_PREFIX) for n in model.own_state_dict() if n.startswith(LANGUAGE_PREFIX)]
    assert names and all("lora_" in n for n in names)
    model.config.language_tuned = True
    whole = {n.removeprefix(LANGUAGE_PREFIX) for n in model.own_state_dict() if n.startswith(LANGUAGE_PREFIX)}
    kept = {n for n in model.instruction.language_model.state_dict() if n != "lm_head.weight"}
    tied = model.instruction.language_model.config.tie_word_embeddings
    assert whole == (kept if tied else kept | ({"lm_head.weight"} & {*model.instruction.language_model.state_dict()}))


def test_with_a_cache_and_with_guesses_the_states_are_the_same(model: Miras) -> None:
    torch.manual_seed(6)
    past, new, tree = (torch.randn(1, n, model.instruction.width) for n in (6, 2, 5))
    parents = [-1, 0, -1, 2, 0]
    with torch.no_grad():
        cache = model.instruction.language.cache()
        assert isinstance(cache, DynamicCache)
        model.instruction(past, cache)
        last, got = model.instruction(torch.cat([new, tree], 1), cache, parents=parents)
        for path in ([0, 1], [0, 4], [2, 3]):
            _, wanted = model.instruction(torch.cat([past, new, tree[:, path]], 1))
            rows = got[:, [0, 1, *(2 + n for n in path)]]
            torch.testing.assert_close(rows, wanted[:, 6:], atol=1e-5, rtol=1e-4)
        before = model.instruction.logits(last)
        assert before.shape[-1] == 300 + 8
        model.instruction.answer_fast(64)  # LoRA is merged, and no more
        after, _ = model.instruction(torch.cat([past, new], 1), model.instruction.language.cache())
        torch.testing.assert_close(after[:, 6:], last[:, :2], atol=1e-5, rtol=1e-4)


def test_weights_of_another_language_model_are_refused(model: Miras, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    other = "neox" if model.config.language == "qwen" else "qwen"
    config = json.loads((tmp_path / "config.json").read_text())
    registry.LANGUAGES[other] = Random
    try:
        (tmp_path / "config.json").write_text(json.dumps({**config, "language": other}))
        for load in (lambda: Miras.from_pretrained(tmp_path), lambda: loading.load(tmp_path)):
            with pytest.raises(WeightsError, match="fit the configuration"):
                load()
    finally:
        del registry.LANGUAGES[other]
