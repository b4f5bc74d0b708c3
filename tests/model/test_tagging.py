"""Tags: the likeliest names, no more than asked, and they travel with the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.chat.session import ChatSession
from miras.model.miras import Miras
from miras.model.numeric.tags import LEAST, MOST
from miras.model.presets import build
from miras.model.tagging import Tagger

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)


def tagger(chances) -> Tagger:
    """It says the same of every photo."""
    made = Tagger([f"thing {number}" for number in range(len(chances))], 4)
    made.bias_T = torch.tensor(chances).logit()
    return made


def test_the_likeliest_first_and_no_unlikely_ones():
    assert tagger([0.2, 0.9, LEAST / 2, 0.5]).tags(torch.zeros(4)) == ("thing 1", "thing 3", "thing 0")


def test_no_more_than_a_dozen():
    many = tagger([0.5 + number / 100 for number in range(MOST + 5)]).tags(torch.zeros(4))
    assert many == tuple(f"thing {number}" for number in range(MOST + 4, 4, -1))


@pytest.mark.parametrize("left_out", ["use_semantic_tower", "use_detail_tower", None])
def test_pooled_features_are_as_wide_as_said(left_out):
    model = build("miras-tiny")
    if left_out:
        model = Miras(type(model.config)(**{**model.config.to_diff_dict(), left_out: False}))
    assert model.encode_image([PHOTO]).pooled_BF.shape == (1, model.image_encoder.pooled_width)


def test_without_a_tagger_there_are_no_tags():
    model = build("miras-tiny")
    assert model.tags(model.encode_image([PHOTO]), 0) == ()
    assert ChatSession(model, PHOTO).tags == ()


def test_it_travels_with_the_weights_and_stands_in_the_opening(tmp_path):
    model = build("miras-tiny")
    bare = ChatSession(model, PHOTO)
    made = model.learn_tags(["cup", "handle of the cup", "spoon"])
    made.bias_T = torch.tensor([2.0, 1.0, -9.0])
    model.save_pretrained(tmp_path)
    session = ChatSession(Miras.from_pretrained(tmp_path), PHOTO)
    assert session.tags == ("cup", "handle of the cup")
    opening = model.tokenizer.decode([i for i in session.backend.context.prefix if i < model.tokenizer.vocab_size])
    assert " cup, handle of the cup" in opening
    assert len(session.backend.context.prefix) > len(bare.backend.context.prefix)
