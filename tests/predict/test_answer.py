"""What stands before every turn is read once for all questions about a photo, and the answers stay what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miras.core.masks import decode_rle
from miras.predict.answer import answers
from tests.predict.made import CUP, DRAGON, SPOON, Loaded, draw

TALKS = ((CUP,), (DRAGON,), (CUP, SPOON))


@pytest.fixture
def loaded() -> Loaded:
    return Loaded()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_photo_is_read_once(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int):
    session = loaded.chat(draw(tmp_path / "a.png"))
    embed = loaded.model.embed
    photos_read: list[bool] = []

    def counted(ids, visual=None, slots=None):
        photos_read.append(visual is not None)
        return embed(ids, visual, slots)

    monkeypatch.setattr(loaded.model, "embed", counted)
    found, failed, _ = answers(session, TALKS[:count])
    assert (len(found), failed) == (count, [])
    assert sum(photos_read) == 1


def test_answers_are_those_of_sessions_of_their_own(loaded: Loaded, tmp_path: Path):
    photo = draw(tmp_path / "a.png")
    together, _, _ = answers(loaded.chat(photo), TALKS)
    for answer, talk in zip(together, TALKS, strict=True):
        session = loaded.chat(photo)
        told = [session.ask(message).text for message in talk]
        assert answer["told"] == told
        if answer["selection"] is None:
            assert not session.selection.mask.any()
        else:
            mask = decode_rle(answer["selection"]["rle"])
            assert np.mean(mask != session.selection.mask) < 0.001  # the order of float sums
