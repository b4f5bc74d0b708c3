"""The whole model of `miras-qwen`'s shape against one composed by hand of `transformers`' classes; conversations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import Qwen3VLForConditionalGeneration, Sam2Config, Sam2Model

from miras.chat.load import load
from miras.core.errors import InputError
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.decoders import registry as decoders
from miras.model.encoders.tokens import grid_of
from miras.model.hub import checkpoint
from miras.model.miras import Miras
from miras.model.region_alignment import as_square
from tests import qwen

PHOTO = np.random.default_rng(0).integers(0, 255, (40, 90, 3), dtype=np.uint8)
ASKED = "Where is the cup?"


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    return qwen.miras_qwen(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def model(values):
    torch.manual_seed(0)
    made = Miras(MirasConfig(**values)).eval()
    torch.nn.init.normal_(made.alignment.dense_out.weight, std=0.3)  # it starts at zero
    return made


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


def part(values, name):
    return str(values[name]).partition(":")[2]


@pytest.mark.parametrize(
    ("size", "count", "grid"),
    [((10, 10), 900, (30, 30)), ((480, 640), 900, (25, 36)), ((640, 480), 900, (36, 25)), ((100, 225), 900, (20, 45)),
     ((48, 80), 16, (4, 4)), ((40, 90), 16, (2, 8)), ((1, 900), 16, (1, 16))],
)  # fmt: skip
def test_a_photo_has_the_same_count_of_tokens_in_its_own_shape(size, count, grid):
    assert grid_of(size, count) == grid


def test_what_is_said_of_tokens_is_said_of_the_cells_of_a_square():
    place = torch.tensor([[[y, x] for y in (1, 2) for x in range(1, 9)]]).float()
    logits = torch.arange(16.0).reshape(1, 1, 16)  # 2 rows of 8
    rows = [0, 2, 4, 6]  # the columns in the middle of each quarter begin at 1, so 1, 3, 5, 7
    expected = [row * 8 + column + 1 for row in (0, 0, 1, 1) for column in rows]
    assert as_square(logits, place)[0, 0].tolist() == expected
    square = torch.tensor([[[y, x] for y in range(1, 5) for x in range(1, 5)]]).float()
    assert torch.equal(as_square(logits, square), logits)


@torch.no_grad()
def test_a_mask_is_that_of_the_published_classes_put_together_by_hand(model, values):
    features, grammar = model.encode_image([PHOTO]), model.grammar
    qwen3vl = Qwen3VLForConditionalGeneration.from_pretrained(part(values, "language")).eval()
    config = Sam2Config.from_pretrained(part(values, "mask_decoder"))
    sam = Sam2Model.from_pretrained(part(values, "mask_decoder"), config=config).eval()
    sam.mask_decoder.dynamic_multimask_via_stability = False

    words = model.tokenizer.encode(ASKED)
    end = [grammar.id("[OBJ]"), *model.tokenizer.encode(" cup"), grammar.id("[SEG]")]
    ids = [*words, *[grammar.id("<image>")] * 16, *end]
    embeds = model.embed(torch.tensor([ids]), features.visual_BND)
    mine = model.comprehend(embeds).hidden_BLE[0, -len(end) :]

    view = F.interpolate(
        model.parsing([PHOTO]).semantic_B3ss * (128 / 127.5) - 0.5 / 127.5, (64, 256), mode="bicubic",
        align_corners=False, antialias=True,
    )  # fmt: skip
    cells = (
        view.reshape(3, 2, 2, 16, 8, 2, 16).permute(1, 4, 2, 5, 0, 3, 6)[..., None, :, :].expand(*[-1] * 5, 2, -1, -1)
    )
    given = torch.where(torch.tensor([ids]) < grammar.words, torch.tensor([ids]), qwen.PHOTO)
    kinds = torch.tensor([[0] * len(words) + [1] * 16 + [0] * len(end)])
    rows = torch.where(
        (kinds == 0)[..., None], embeds[..., :32], qwen3vl.model.language_model.embed_tokens.weight[qwen.PHOTO]
    )
    seen = qwen3vl.model.visual(cells.reshape(64, -1), grid_thw=torch.tensor([[1, 4, 16]]))
    places, _ = qwen3vl.model.get_rope_index(given, kinds, image_grid_thw=torch.tensor([[1, 4, 16]]))
    states = qwen3vl.model.language_model(
        inputs_embeds=rows.masked_scatter((kinds == 1)[..., None], seen.pooler_output), position_ids=places,
        visual_pos_masks=kinds == 1, deepstack_visual_embeds=seen.deepstack_features, output_hidden_states=True,
    ).hidden_states  # fmt: skip
    theirs = torch.cat([states[0], states[1], states[3]], -1)[0, -len(end) :]
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)

    prediction = model.segment(features, 0, mine)
    pixels = model.parsing([PHOTO]).decoder_B3SS * 128 + 127 - torch.tensor(model.decoder.mean).reshape(1, 3, 1, 1)
    maps = sam.get_image_embeddings(pixels / torch.tensor(model.decoder.std).reshape(1, 3, 1, 1))
    prompts, _ = model.alignment(mine[None], torch.ones(1, len(mine), dtype=torch.bool))
    assert prompts.shape == (1, 3, 32)  # two sparse ones, and the dense one
    none = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1) + prompts[:, 2, :, None, None]
    drawn, scores, *_ = sam.mask_decoder(
        image_embeddings=maps[-1], image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=prompts[:, None, :2], dense_prompt_embeddings=none.expand_as(maps[-1]),
        multimask_output=False, high_resolution_features=maps[:-1],
    )  # fmt: skip
    assert prediction.iou_M[0] == pytest.approx(float(scores[0, 0, 0].clamp(1e-4, 1 - 1e-4)), abs=2e-5)
    apart = torch.from_numpy(prediction.logits_Mhw[0]).abs() - drawn[0, 0, 0].abs()  # specks change their sign
    assert float(apart.abs().max()) < 2e-5
    plain, _, *_ = sam.mask_decoder(
        image_embeddings=maps[-1], image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=prompts[:, None, :2],
        dense_prompt_embeddings=sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(maps[-1]),
        multimask_output=False, high_resolution_features=maps[:-1],
    )  # fmt: skip
    assert float((plain - drawn).abs().max()) > 1e-3  # the dense prompt counts


def test_what_is_saved_is_what_was_trained(model, saved):
    names = model.own_state_dict().keys()
    assert any(name.startswith("decoder.model.mask_decoder.") for name in names)
    assert not any(
        "_tower." in name or "vision_encoder" in name or ("language_model.model" in name and "lora" not in name)
        for name in names
    )
    again = Miras.from_pretrained(saved).state_dict()
    assert again.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again[name], value, atol=2e-3, rtol=2e-3)


def test_turns_with_a_cache_are_those_that_start_anew_each_time(saved):
    loaded = load(saved, dtype="float32")
    sessions = [loaded.chat(PHOTO, max_new_tokens=10, recompute=how) for how in ("never", "turn")]
    grammar = sessions[0].model.grammar
    ids = (grammar.id("[OBJ]"), *grammar.tokenizer.encode(" cup"), grammar.id("[SEG]"))
    told = []
    for session in sessions:
        said = [session.ask(ASKED, forced=ids), session.ask("And the spoon?")]
        said.append(session.refine(points=[(20, 20, 1)]))
        session.undo()
        before = session.regions[0].mask if hasattr(session, "regions") else said[0].regions[0].mask
        said.append(session.ask("Now the handle", forced=(grammar.id("[ADD]"), *ids)))
        told.append(([one.text for one in said if hasattr(one, "text")], before, said[-1].selection.mask))
    assert told[0][0] == told[1][0]
    assert np.array_equal(told[0][1], told[1][1]) and np.array_equal(told[0][2], told[1][2])
    assert told[0][2].shape == PHOTO.shape[:2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"paper_bugs": True}, "paper_bugs is the released code's.*miras-7b has"),
     ({"use_semantic_tower": False}, "fusion='tokens' needs language and semantic_tower of qwen3vl:REPO"),
     ({"mask_decoder": "", "decoder_size": 0}, "dense_prompt is for a mask_decoder of the hub"),
     ({"semantic_size": 100}, "semantic_size must be a multiple of 32"),
     ({"decoder_size": 128}, r"width=32 and decoder_size=64 for sam2:.*got width=32, decoder_size=128"),
     ({"semantic_stride": 16}, "a semantic tower of width 32 and stride 16, got one of width 32 and stride 32")],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(values, changed, said):
    with pytest.raises(InputError, match=said) as error:
        Miras(MirasConfig(**{**values, **changed}))
    assert len(str(error.value).splitlines()) == 1


@torch.no_grad()
def test_without_detail_tower_alignment_or_dense_prompt_it_is_another_model(values):
    switched = {"use_detail_tower": False, "use_alignment": False, "dense_prompt": False, "use_mask_encoder": False}
    torch.manual_seed(0)
    bare = Miras(MirasConfig(**{**values, **switched})).eval()
    assert not hasattr(bare.image_encoder, "middle") and not hasattr(bare.alignment, "dense_out")
    features = bare.encode_image([PHOTO])
    span = torch.randn(3, 96)
    assert bare.segment(features, 0, span).logits_Mhw.shape == (4, 16, 16)


def test_the_presets_name_checkpoints_of_the_hub():
    for name, size in (("miras-qwen", "4B"), ("miras-qwen-2b", "2B"), ("miras-qwen-8b", "8B")):
        config = presets.configuration(name)
        assert config.language == config.semantic_tower == f"qwen3vl:Qwen/Qwen3-VL-{size}-Instruct"
        assert (config.image_tokens, config.mask_side) == (900, 256)
    with checkpoint.origin("shapes", dtype=torch.bfloat16), torch.device("meta"):
        decoder = decoders.fitting(config.mask_decoder, 256, 1024, True)
    assert sum(p.numel() for p in decoder.model.vision_encoder.parameters()) == 212_703_280
    with checkpoint.origin("shapes", narrower=8, layers=1), torch.device("meta"):
        small = Miras(presets.configuration("miras-qwen"))
    assert (small.instruction.width, small.decoder.width) == (320, 256)
    assert small.image_encoder.semantic_tower.channels[3] == 128
