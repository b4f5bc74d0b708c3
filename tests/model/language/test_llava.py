"""LLaVA's language model against `transformers`' own, its tokenizer piece by piece, and checkpoints with faults."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from miras.core.errors import InputError, WeightsError
from miras.model.hub import checkpoint
from miras.model.language import registry
from miras.model.language.llava import tokenizer_of
from tests import checkpoints, hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub.llava(tmp_path_factory.mktemp("llava") / "it")


def test_states_and_logits_are_those_of_llava(folder):
    language = registry.source(f"llava:{folder}").load()
    ids = torch.randint(3, 300, (2, 9))
    last, states = language.hidden(language.embed(ids), (0, 1, 2))
    with torch.no_grad():
        out = LlavaForConditionalGeneration.from_pretrained(folder).eval()(input_ids=ids, output_hidden_states=True)
    for number, mine in states.items():
        torch.testing.assert_close(mine, out.hidden_states[number], atol=1e-6, rtol=0)
    torch.testing.assert_close(language.logits(last), out.logits, atol=1e-6, rtol=0)


def test_it_comes_in_shards_and_in_the_precision_that_was_asked_for(folder):
    assert len(list(folder.glob("*.safetensors"))) > 3
    language = registry.source(f"llava:{folder}").load(torch.bfloat16)
    assert {p.dtype for p in language.module.parameters()} == {torch.bfloat16}
    language.add_lora(2, 4)
    names = {
        name.split(".lora_")[0].rpartition(".")[2] for name, p in language.module.named_parameters() if p.requires_grad
    }
    assert names == {"q_proj", "v_proj"}


def test_pieces_of_a_conversation_are_read_back_as_they_were_written(folder):
    tokenizer = tokenizer_of(str(folder))
    for text in (" cup", "cup", "USER: the cup", " I have selected the", "ü</s>", " "):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    library = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    assert tokenizer.encode(" the cup") == library("the cup", add_special_tokens=False).input_ids
    assert tokenizer.control("</s>") not in tokenizer.encode("</s>")


def broken(folder, out, fault):
    shutil.copytree(folder, out)
    if fault == "a shard is gone":
        sorted(out.glob("*.safetensors"))[1].unlink()
    elif fault == "a shard is cut off":
        file = sorted(out.glob("*.safetensors"))[1]
        file.write_bytes(file.read_bytes()[:-40])
    elif fault == "no tokenizer":
        (out / "tokenizer.json").unlink()
    else:
        file = next(
            file for file in sorted(out.glob("*.safetensors")) if any("1.mlp.down_proj" in n for n in load_file(file))
        )
        save_file({n: v for n, v in load_file(file).items() if "1.mlp.down_proj" not in n}, file, {"format": "pt"})
    return out


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("a shard is gone", r"expected all \d+ shards of .*got no model-0"),
        ("a shard is cut off", "expected whole shards in"),
        ("no tokenizer", r"expected a tokenizer\.json in"),
        ("a weight is gone", "expected all weights of LlavaForConditionalGeneration in .*1 missing"),
    ],
)
def test_a_checkpoint_with_a_fault_is_one_line(folder, tmp_path, fault, said):
    with pytest.raises(WeightsError) as error:
        registry.source(f"llava:{broken(folder, tmp_path / 'broken', fault)}").load()
    assert len(str(error.value).splitlines()) == 1
    assert re.search(said, str(error.value)), str(error.value)


def test_a_checkpoint_of_another_family_is_named(tmp_path):
    sam = checkpoints.sam(tmp_path / "sam")
    with pytest.raises(InputError, match=r"LLaVA-1\.5 \(model_type llava\).*got model_type sam in"):
        registry.source(f"llava:{sam}").load()


def test_random_weights_and_shapes_need_no_checkpoint():
    with checkpoint.origin("shapes"):
        language = registry.source("llava:llava-hf/llava-1.5-7b-hf").load(torch.bfloat16)
    assert sum(p.numel() for p in language.module.parameters()) == 6_738_415_616 + 2 * 64 * 4096
    assert all(p.is_meta for p in language.module.parameters())
    assert language.tokenizer.control("</s>") in language.tokenizer.reserved
