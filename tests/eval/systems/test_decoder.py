"""Our decoder, told by words and hand."""

from __future__ import annotations

import numpy as np
import pytest

from miras.chat.load import Loaded
from miras.eval.systems.decoder import OurDecoder


@pytest.mark.parametrize("phrase", ["", "cup", "a " * 5000])
def test_our_decoder_stays_in_the_box(tiny, photo, phrase):
    """With words, without, and with words too long to be asked; points alone cut nothing."""
    session = Loaded(tiny, "tiny", 0.0).chat(photo)
    mask, score = OurDecoder(session).refine(phrase=phrase, points=None, box=(100.5, 50.0, 300.0, 250.2))
    assert mask.shape == photo.shape[:2] and score is not None and not session.turns
    mask[50:251, 100:300] = False
    assert not mask.any()
    points = np.array([[20, 30, 1]], np.float32)
    pointed, _ = OurDecoder(session).refine(phrase="", points=points, box=None)
    assert np.array_equal(pointed, session.fork().refine(points=points).regions[0].mask)
