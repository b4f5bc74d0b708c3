"""Qwen3-VL's language model with its own photos against `transformers`' whole class, in one pass and in pieces."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen3VLForConditionalGeneration

from miras.core.errors import InputError, WeightsError
from miras.core.grammar import QWEN3VL, Encoder, render
from miras.core.types import Conversation, Turn, Words
from miras.model.hub import checkpoint
from miras.model.instruction import InstructionComprehension
from miras.model.language import registry
from miras.model.language.qwen import wide
from miras.model.miras import MirasConfig
from miras.model.runtime.networks import TorchCache
from miras.model.towers import registry as towers
from tests import checkpoints, qwen

PAD = qwen.TEXT["vocab_size"]
"""Our first special token, `<image>`."""
PHOTO = qwen.PHOTO
TOLERANCE = 5e-6
"""The same products in the same order but for padding; states are of the size of 10."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return qwen.qwen3vl(tmp_path_factory.mktemp("qwen") / "it")


@pytest.fixture(scope="module")
def theirs(folder):
    return Qwen3VLForConditionalGeneration.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tower(folder):
    return towers.build(f"qwen3vl:{folder}")


@pytest.fixture(scope="module")
def mine(folder):
    config = MirasConfig(
        language=f"qwen3vl:{folder}", semantic_tower=f"qwen3vl:{folder}", alignment_layers=(0, 1, 3), fusion="tokens",
        semantic_size=64, semantic_stride=32, mask_decoder="sam2:none", decoder_size=64,
    )  # fmt: skip
    return InstructionComprehension(config, registry.source(f"qwen3vl:{folder}").load()).eval()


def read(tower, theirs, grid, before, after):
    """Their answer to words, a photo in so many rows and columns, words; and the same ids and rows as ours."""
    height, width = grid
    pixels = torch.randn(1, 3, 32 * height, 32 * width)
    ids = torch.tensor([[*before, *[PHOTO] * (height * width), *after]])
    sides = torch.tensor([[1, 2 * height, 2 * width]])
    with torch.no_grad():
        out = theirs(
            input_ids=ids, pixel_values=tower.patches(pixels), image_grid_thw=sides,
            mm_token_type_ids=(ids == PHOTO).int(), output_hidden_states=True,
        )  # fmt: skip
    tokens, deep, _ = tower.tokens([pixels])
    return out, torch.where(ids == PHOTO, PAD, ids), wide(tokens, deep, [grid])


@pytest.mark.parametrize("grid", [(2, 2), (1, 4), (3, 2)])
@torch.no_grad()
def test_a_photo_and_words_are_read_as_they_read_them(tower, theirs, mine, grid):
    out, ids, rows = read(tower, theirs, grid, [5, 6, 7], [8, 9, 10, 11])
    last, states = mine(mine.embed(ids, rows, None))
    expected = torch.cat([out.hidden_states[number] for number in (0, 1, 3)], -1)
    torch.testing.assert_close(states, expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(mine.logits(last)[..., :PAD], out.logits, atol=TOLERANCE, rtol=0)
    plain, _ = mine(mine.embed(ids, rows[..., : mine.width], None))
    assert float((plain - last).abs().max()) > 0.1  # without DeepStack and places it is another model


@torch.no_grad()
def test_pieces_with_a_cache_are_one_pass_whatever_another_conversation_does(tower, theirs, mine):
    first, ids, rows = read(tower, theirs, (1, 4), [5, 6], [8, 9, 10, 11, 12])
    second, other_ids, other_rows = read(tower, theirs, (3, 2), [7], [13, 14, 15])
    embeds, other = mine.embed(ids, rows, None), mine.embed(other_ids, other_rows, None)
    cache, beside = TorchCache(mine.language.cache()), TorchCache(mine.language.cache())
    said = [mine(embeds[:, :1], cache.tensors)[0]]
    mine(other[:, :4], beside.tensors)  # the other photo, half of it, in between
    said += [mine(embeds[:, 1:4], cache.tensors)[0], mine(embeds[:, 4:8], cache.tensors)[0]]
    fork = cache.fork()
    mine(mine.embed(torch.tensor([[20, 21]]), None, None), fork.tensors)
    fork.crop(3)  # within the photo
    rest = mine(embeds[:, 3:], fork.tensors)[0]
    mine(other[:, 4:], beside.tensors)
    for at in range(8, ids.shape[1]):
        said.append(mine(mine.embed(ids[:, at : at + 1], None, None), cache.tensors)[0])
    whole = first.hidden_states[-1]
    torch.testing.assert_close(torch.cat(said, 1), whole, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(rest, whole[:, 3:], atol=TOLERANCE, rtol=0)
    beside.crop(other_ids.shape[1] - 1)
    again = mine(mine.embed(other_ids[:, -1:], None, None), beside.tensors)[0]
    torch.testing.assert_close(again, second.hidden_states[-1][:, -1:], atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_guesses_as_a_tree_stand_where_they_would_in_a_row(tower, theirs, mine):
    _, ids, rows = read(tower, theirs, (1, 4), [5], [8])
    cache = TorchCache(mine.language.cache())
    mine(mine.embed(ids, rows, None), cache.tensors)
    guesses = mine.embed(torch.tensor([[9, 10, 11]]), None, None)  # 10 or 11 after 9
    tree = mine(guesses, cache.tensors, parents=(-1, 0, 0))[0]
    cache.keep(ids.shape[1], (0, 2))
    following = mine(mine.embed(torch.tensor([[12]]), None, None), cache.tensors)[0]
    straight = torch.cat([ids, torch.tensor([[9, 11, 12]])], 1)
    row = mine(mine.embed(straight, rows, None))[0]
    torch.testing.assert_close(torch.cat([tree[:, [0, 2]], following], 1), row[:, -3:], atol=TOLERANCE, rtol=0)
    together = mine.embed(torch.cat([ids, torch.tensor([[9, 10, 11]])], 1), rows, None)
    for cache in (mine.language.cache(), None):  # photo, words and guesses in one pass
        both = mine(together, cache, parents=(-1, 0, 0))[0]
        torch.testing.assert_close(both[:, [*range(ids.shape[1] + 1), -1]], row[:, :-1], atol=TOLERANCE, rtol=0)


def test_two_photos_of_a_batch_keep_their_own_places(tower, theirs, mine):
    one, ids, rows = read(tower, theirs, (1, 4), [5, 6], [8, 9])
    other, other_ids, other_rows = read(tower, theirs, (2, 2), [5, 6], [8, 9])
    with torch.no_grad():
        last, _ = mine(mine.embed(torch.cat([ids, other_ids]), torch.cat([rows, other_rows]), None))
    both = torch.cat([one.hidden_states[-1], other.hidden_states[-1]])
    torch.testing.assert_close(last, both, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_sequences_in_one_row_are_those_in_rows_of_their_own(tower, theirs, mine):
    one, ids, rows = read(tower, theirs, (1, 4), [5, 6], [8, 9])
    other, other_ids, other_rows = read(tower, theirs, (2, 3), [7], [13, 14, 15])
    lengths = [ids.shape[1], other_ids.shape[1]]
    embeds = torch.cat([mine.embed(ids, rows, None), mine.embed(other_ids, other_rows, None)], 1)
    within = torch.cat([torch.arange(length) for length in lengths])[None]
    last, _ = mine.language.packed(embeds, (3,), within)
    both = torch.cat([one.hidden_states[-1], other.hidden_states[-1]], 1)
    torch.testing.assert_close(last, both, atol=TOLERANCE, rtol=0)


def test_gradients_reach_words_and_lora_through_deepstack(folder):
    language = registry.source(f"qwen3vl:{folder}").load()
    language.add_lora(2, 4)
    learn = [name.split(".lora_")[0] for name, p in language.module.named_parameters() if p.requires_grad]
    attention, mlp = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj", "down_proj"}
    assert {name.rpartition(".")[2] for name in learn} == attention | mlp
    tokens, deep = torch.randn(1, 4, 32, requires_grad=True), torch.randn(2, 1, 4, 32)
    last, _ = language.hidden(wide(tokens, list(deep), [(2, 2)]), (3,))
    language.logits(last).sum().backward()
    assert tokens.grad is not None and bool(tokens.grad.abs().sum() > 0)
    assert any(
        p.grad is not None and bool(p.grad.abs().any()) for n, p in language.module.named_parameters() if "lora_B" in n
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_output_layer_is_the_embeddings_where_the_checkpoint_says_so(folder, tmp_path, tied):
    place = folder if tied else qwen.qwen3vl(tmp_path / "untied", tied=False)
    language = registry.source(f"qwen3vl:{place}").load(torch.bfloat16)
    assert (language.module.lm_head.weight is language.table.weight) == tied
    assert {p.dtype for p in language.module.parameters()} == {torch.bfloat16}
    names = {name for name, _ in language.module.named_parameters()}
    assert not any("visual" in name for name in names)
    whole = load_all(place)
    head = whole.get("lm_head.weight", whole["model.language_model.embed_tokens.weight"])
    assert torch.equal(language.module.lm_head.weight, head.bfloat16())
    last, _ = language.hidden(language.embed(torch.tensor([[4, 5]])).float(), (3,))
    assert last.dtype == torch.bfloat16 and language.logits(last).shape == (1, 2, PAD)


def load_all(folder):
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


def test_a_conversation_is_written_as_qwen_s_own_template_writes_it(folder):
    tokenizer = registry.source(f"qwen3vl:{folder}").load().tokenizer
    talk = Conversation((Turn.user("Where is the cup?"), Turn("assistant", (Words("There."),)), Turn.user("And now?")))
    ids = Encoder(tokenizer, 3, 2, table=PAD).encode(render(talk, QWEN3VL)).ids
    written = tokenizer.decode([PHOTO if i == PAD else i for i in ids])
    assert written == (  # of messages: [photo], text, text, text
        "<|im_start|>user\n<|vision_start|><|image_pad|><|image_pad|><|image_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>user\nWhere is the cup?<|im_end|>\n<|im_start|>assistant\nThere.<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n"
    )
    assert tokenizer.control("<|image_pad|>") == PHOTO
    assert not set(tokenizer.encode("<|vision_start|>")) & tokenizer.reserved


@pytest.mark.parametrize("part", ["language", "tower"])
@pytest.mark.parametrize("fault", ["a shard is gone", "another family", "a mixture"])
def test_a_checkpoint_with_a_fault_is_one_line(folder, tmp_path, part, fault):
    place, said = tmp_path / "broken", "Qwen3-VL"
    if fault == "another family":
        checkpoints.sam(place)
        said = r"Qwen3-VL \(dense\) \(model_type qwen3_vl\) behind qwen3vl:REPO, got model_type sam in"
    else:
        shutil.copytree(folder, place)
    if fault == "a shard is gone":
        sorted(place.glob("*.safetensors"))[1].unlink()
        said = r"all \d+ shards of .*got no model-00002-of"
    elif fault == "a mixture":
        config = place / "config.json"
        config.write_text(config.read_text().replace('"qwen3_vl"', '"qwen3_vl_moe"'))
        said = "got model_type qwen3_vl_moe in"
    with pytest.raises((InputError, WeightsError)) as error:
        registry.source(f"qwen3vl:{place}").load() if part == "language" else towers.build(f"qwen3vl:{place}")
    assert len(str(error.value).splitlines()) == 1 and re.search(said, str(error.value)), str(error.value)


def test_shapes_and_random_weights_need_no_checkpoint():
    counts = {}
    for size in ("2B", "4B", "8B"):
        with checkpoint.origin("shapes"):
            language = registry.source(f"qwen3vl:Qwen/Qwen3-VL-{size}-Instruct").load(torch.bfloat16)
            tower = towers.build(f"qwen3vl:Qwen/Qwen3-VL-{size}-Instruct")
        counts[size] = sum(p.numel() for part in (language.module, tower) for p in part.parameters())
    assert counts == {"2B": 2_127_532_032, "4B": 4_437_815_808, "8B": 8_767_123_696}  # as the hub counts them
    with checkpoint.origin("random", dtype=torch.bfloat16, layers=1):
        kept = registry.source("qwen3vl:Qwen/Qwen3-VL-2B-Instruct")
        assert checkpoint.kind(kept.repo, {"qwen3_vl": ""}, "")["vision_config"]["deepstack_visual_indexes"] == [0]
