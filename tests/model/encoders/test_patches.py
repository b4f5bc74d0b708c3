"""The whole model of `miras-7b`'s shape against one composed by hand of `transformers`' classes and plain products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPVisionModel, ConvNextModel, LlavaForConditionalGeneration, SamModel

from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from tests import hub

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    return hub.miras_7b(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def model(values):
    torch.manual_seed(0)
    return Miras(MirasConfig(**values)).eval()


def view(model, name, tower):
    """Pixels of a view as a tower of the hub takes them, from the photo."""
    pixels = getattr(model.parsing([PHOTO]), name) * 128 + 127
    mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) for value in (tower.mean, tower.std))
    return (pixels - mean) / std


@torch.no_grad()
def by_hand(model, values):
    """Visual tokens by the published classes: CLIP, ConvNeXt, the fusion written out, LLaVA's own projector."""
    encoder = model.image_encoder
    names = {key: str(values[key]).partition(":")[2] for key in ("language", "semantic_tower", "detail_tower")}
    clip = CLIPVisionModel.from_pretrained(names["semantic_tower"]).eval()
    convnext = ConvNextModel.from_pretrained(names["detail_tower"]).eval()
    llava = LlavaForConditionalGeneration.from_pretrained(names["language"]).eval()
    patches = clip(view(model, "semantic_B3ss", encoder.semantic_tower), output_hidden_states=True).hidden_states[-2][
        :, 1:
    ]
    maps = convnext(view(model, "detail_B3SS", encoder.detail_tower), output_hidden_states=True).hidden_states[1:]
    wide = torch.cat(
        [F.interpolate(m, (32, 32), mode="bilinear", align_corners=False) if m.shape[-1] < 32 else m for m in maps], 1
    )
    mining = encoder.mining
    found = torch.zeros_like(patches)
    for row in range(4):
        for column in range(4):
            cells = wide[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].flatten(1).T
            query = mining.query(patches[0, 4 * row + column])
            weight = (mining.key(cells) @ query / 16**0.5).softmax(0)
            found[0, 4 * row + column] = weight @ mining.value(cells)
    return llava.model.multi_modal_projector(patches + found)


def test_visual_tokens_are_those_composed_by_hand(model, values):
    features = model.encode_image([PHOTO])
    theirs = by_hand(model, values)
    assert features.visual_BND.shape == (1, 16, 32)
    torch.testing.assert_close(features.visual_BND, theirs, atol=2e-6, rtol=0)
    assert float((theirs[0] - theirs[0, :1]).abs().max()) > 1e-3  # the patches see different things


@torch.no_grad()
def test_masks_are_those_of_sam_for_the_prompts_of_the_language_model(model, values):
    features = model.encode_image([PHOTO])
    grammar = model.grammar
    ids = [grammar.id("<image>")] * 16 + model.tokenizer.encode("USER: the cup") + [grammar.id("[OBJ]")]
    ids += [*model.tokenizer.encode(" cup"), grammar.id("[SEG]")]
    span = slice(ids.index(grammar.id("[OBJ]")), len(ids))
    embeds = model.embed(torch.tensor([ids]), features.visual_BND)
    mine = model.comprehend(embeds).hidden_BLE[0, span]
    llava = LlavaForConditionalGeneration.from_pretrained(str(values["language"]).partition(":")[2]).eval()
    states = llava.model.language_model(inputs_embeds=embeds, output_hidden_states=True).hidden_states
    torch.testing.assert_close(mine, torch.cat([states[0], states[2]], -1)[0, span], atol=2e-6, rtol=0)

    prediction = model.segment(features, 0, mine)
    sam = SamModel.from_pretrained(str(values["mask_decoder"]).partition(":")[2]).eval()
    embedding = sam.get_image_embeddings(view(model, "decoder_B3SS", model.decoder))
    prompts, _ = model.alignment(mine[None], torch.ones(1, len(mine), dtype=torch.bool))
    none = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(embedding)
    drawn, scores = sam.mask_decoder(
        image_embeddings=embedding, image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=prompts[:, None], dense_prompt_embeddings=none, multimask_output=False,
    )  # fmt: skip
    drawn = F.interpolate(drawn[:, 0], prediction.logits_Mhw.shape[-2:], mode="bilinear", align_corners=False)
    score = float(scores[0, 0, 0].clamp(1e-4, 1 - 1e-4))
    assert prediction.iou_M[0] == pytest.approx(score, abs=2e-5)
    same = (
        (torch.from_numpy(prediction.logits_Mhw[0]).abs() - drawn[0, 0].abs()).abs().max()
    )  # specks change their sign
    assert float(same) < 2e-5


def test_what_is_saved_is_what_was_trained(model, tmp_path):
    names = model.own_state_dict().keys()
    assert any(name.startswith("decoder.model.mask_decoder.") for name in names)
    assert not any(
        "_tower." in name or "vision_encoder" in name or ("language_model.model" in name and "lora" not in name)
        for name in names
    )
    model.save_pretrained(tmp_path)
    again = Miras.from_pretrained(tmp_path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=2e-3, rtol=2e-3)


def test_it_talks_draws_and_is_clicked(model, values, tmp_path):
    model.save_pretrained(tmp_path)
    from miras.chat.load import load

    session = load(tmp_path).chat(PHOTO, max_new_tokens=12)
    grammar = model.grammar
    ids = (grammar.id("[OBJ]"), *model.tokenizer.encode(" cup"), grammar.id("[SEG]"))
    assert session.ask("Where is the cup?", forced=ids).regions[0].phrase == "cup"
    assert session.refine(points=[(20, 20, 1)]).selection.mask.shape == PHOTO.shape[:2]
    assert isinstance(session.ask("And the spoon?").text, str)


def test_the_faults_of_the_released_code_work_at_this_shape(values):
    torch.manual_seed(0)
    faulty = Miras(MirasConfig(**values, paper_bugs=True)).eval()
    grammar = faulty.grammar
    ids = [5, 6, *[grammar.id("<image>")] * 16, 7, 8, grammar.id("[OBJ]"), 9, grammar.id("[SEG]")]
    place = faulty.misread(ids)
    assert place is not None and 2 <= place < 18  # D1: among the visual tokens, of which no word is known
    span, words = torch.randn(1, 3, 64), torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        one, other = faulty.alignment(span, words)[0], faulty.alignment(span, words)[0]
    assert float((one - other).abs().max()) > 1e-3  # D6: another random layer at each call
    session = ChatSession(faulty, PHOTO, max_new_tokens=12)
    assert session.ask("cup", forced=(grammar.id("[OBJ]"), 9, grammar.id("[SEG]"))) is not None


def test_a_tower_that_does_not_fit_the_projector_is_named(values, tmp_path):
    with pytest.raises(InputError, match=r"projector of llava:.*\(32, 16\), got one that needs \(32, 8\)"):
        Miras(MirasConfig(**{**values, "semantic_tower": "tiny", "semantic_size": 128, "semantic_stride": 32}))
