"""Our model as a segmenter draws what it draws in a conversation, and reads the photo once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError, WeightsError
from miras.core.grammar import OBJ, SEG
from miras.core.segmenter import Prompt
from miras.model import presets
from miras.model.boxed import boxed
from miras.model.miras import Miras
from miras.segmenters import own
from miras.segmenters.own import MirasSegmenter
from miras.segmenters.registry import segmenter_of
from miras.segmenters.source import Place
from tests.centred import centred
from tests.elsewhere import CUDA, elsewhere
from tests.segmenters.conftest import Photo, hand_prompts, mask_of, passes


@pytest.fixture(scope="module")
def tiny() -> Miras:
    """Random, its masks neither empty nor full."""
    model = presets.build("miras-tiny")
    centred(model)
    return model


@pytest.mark.parametrize("phrase", ["cup", "the handle of the cup", "A spoon."])
def test_a_phrase_draws_what_a_first_turn_draws(tiny: Miras, view: Photo, phrase: str) -> None:
    """The decoder is asked with the very states that the model has at that name in a conversation."""
    segmenter = MirasSegmenter("ours", tiny)
    got = segmenter.segment(segmenter.encode(view), Prompt(phrase=phrase))
    name = {"cup": "cup", "the handle of the cup": "handle of the cup", "A spoon.": "spoon"}[phrase]
    grammar, words = tiny.grammar, tiny.tokenizer
    control, encode = words.control, words.encode
    ids = [
        *[control("<|im_start|>"), *encode("system\n"), *[grammar.id("<image>")] * grammar.image_tokens],
        *[control("<|im_end|>"), *encode("\n"), control("<|im_start|>"), *encode("user\n")],
        *[*encode(f"Select the {name}."), control("<|im_end|>"), *encode("\n"), control("<|im_start|>")],
        *[*encode("assistant\n"), *encode("I found the"), grammar.id(OBJ), *encode(f" {name}"), grammar.id(SEG)],
    ]
    with torch.inference_mode():
        features = tiny.encode_image([view])
        states = tiny.comprehend(tiny.embed(torch.tensor([ids]), features.visual_BND), None).hidden_BLE[0]
        span = states[ids.index(grammar.id(OBJ)) :]
        made = tiny.segment(features, 0, span)
    assert len(got) == 1 and got.mask.any() and (got.mask == made.mask(view.shape[:2])).all()
    assert got.score == pytest.approx(float(made.iou_M[made.best]), abs=1e-4)
    assert got.presence is not None and 0 < got.presence < 1


def test_by_hand_it_is_the_decoder_and_its_candidates(tiny: Miras, photo: Photo) -> None:
    segmenter = MirasSegmenter("ours", tiny)
    encoding = segmenter.encode(photo)
    for name, prompt in hand_prompts(photo).items():
        got = segmenter.segment(encoding, prompt)
        with torch.inference_mode():
            made = tiny.segment(encoding.features, 0, None, None, prompt.mask, prompt.points, prompt.box)
        if prompt.box is not None:
            mask, index = boxed(made.logits_Mhw, prompt.box, photo.shape[:2], prompt.points, made.best)
            assert (got.masks == mask).all() and got.scores == pytest.approx([float(made.iou_M[index])])
        else:
            indices = range(len(made.iou_M)) if prompt.points is not None else [made.best]
            assert (got.masks == np.stack([made.mask(photo.shape[:2], index) for index in indices])).all(), name
        assert got.presence is None


def test_an_embedding_stands_for_the_words_it_was_read_at(tiny: Miras, photo: Photo) -> None:
    segmenter = MirasSegmenter("ours", tiny)
    encoding = segmenter.encode(photo)
    span, presence = segmenter.read(encoding, "the cup")
    by_words = segmenter.segment(encoding, Prompt(phrase="cup", points=np.array([[50, 60, 1]], np.float32)))
    by_states = segmenter.segment(encoding, Prompt(embedding=span, points=np.array([[50, 60, 1]], np.float32)))
    assert (by_words.masks == by_states.masks).all()
    assert (by_words.presence, by_states.presence) == (presence, None)
    for wrong in (span[0], span[:, :-1], [[1.0]]):
        with pytest.raises(InputError, match="an embedding, a tensor of shape"):
            segmenter.segment(encoding, Prompt(embedding=wrong))


def test_the_photo_is_read_once_and_phrases_do_not_mix(tiny: Miras, photo: Photo) -> None:
    segmenter = MirasSegmenter("ours", tiny)
    before = tiny.encoded_photos
    with passes(tiny.decoder) as decoders:
        encoding = segmenter.encode(photo)
        length = encoding.cache.get_seq_length()
        first = segmenter.segment(encoding, Prompt(phrase="cup"))
        segmenter.segment(encoding, Prompt(phrase="the spoon left of it"))
        again = segmenter.segment(encoding, Prompt(phrase="cup", mask=None))
    assert (tiny.encoded_photos - before, decoders[0]) == (1, 3)
    assert encoding.cache.get_seq_length() == length
    assert (first.masks == again.masks).all() and first.presence == again.presence


def test_nothing_stays_on_the_cpu(photo: Photo) -> None:
    here = segmenter_of("miras-tiny")
    prompts = [*hand_prompts(photo).values(), Prompt(phrase="cup"), Prompt(phrase="cup", mask=mask_of(photo))]
    with elsewhere():
        there = own.opened("miras-tiny", Place(CUDA), "there")
        encoding = there.encode(photo)
        found = [there.segment(encoding, prompt) for prompt in prompts]
    encoding = here.encode(photo)
    for prompt, got in zip(prompts, found, strict=True):
        assert (got.masks == here.segment(encoding, prompt).masks).all()


def test_by_name_and_by_folder(tiny: Miras, photo: Photo, tmp_path: object) -> None:
    tiny.save_pretrained(str(tmp_path))
    segmenter = segmenter_of(f"miras:{tmp_path}")
    assert segmenter.facts()["weights"] != segmenter_of("miras-tiny").facts()["weights"]
    prompt = Prompt(phrase="cup")
    assert segmenter.segment(segmenter.encode(photo), prompt).masks.shape == (1, 400, 600)
    with pytest.raises(WeightsError, match="no such folder"):
        segmenter_of("miras:no/such")
    with pytest.raises(InputError, match="miras-tiny"):
        segmenter_of("miras-tinny")


def test_a_phrase_that_does_not_fit(tiny: Miras, photo: Photo) -> None:
    segmenter = MirasSegmenter("ours", tiny)
    with pytest.raises(InputError, match="a phrase that fits"):
        segmenter.segment(segmenter.encode(photo), Prompt(phrase="cup " * 4000))


@given(st.text(alphabet="theancup .[SEG]", max_size=30).filter(str.strip))
def test_a_name_has_no_article_and_no_full_stop(phrase: str) -> None:
    name = own._bare(phrase)
    assert name and (not name.endswith(".") or not set(name) - set(". "))
    assert name.replace(" ", "") in phrase.replace(" ", "")
