from __future__ import annotations

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.data.lettering import art
from miras.data.lettering.art import inked, set_type
from miras.data.lettering.sheet import Row, Sheet

SHEET = Sheet((Row("WET PAINT", "text"),), (10, 10, 10), (250, 250, 250), "sign")


def test_a_line_holds_its_words_on_its_board() -> None:
    made = set_type("sign", SHEET)
    (line,) = made.lines
    assert made.carrier is not None and made.carrier[0] == "sign"
    assert [word for word, _ in line.words] == ["WET", "PAINT"]
    assert not (line.shape & ~made.carrier[1]).any() and not any((shape & ~line.shape).any() for _, shape in line.words)
    first, second = (np.flatnonzero(shape.any(0)) for _, shape in line.words)
    assert first[-1] < second[0]


def test_another_ink_moves_no_letter() -> None:
    bare = set_type("text", Sheet((Row("OPEN", "text"),), (0, 0, 0)))
    red = inked(bare, (200, 0, 0))
    assert (red.picture[..., 3] == bare.picture[..., 3]).all() and (red.picture[..., :3] == (200, 0, 0)).all()


def test_without_matplotlib_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        return None

    art._folder.cache_clear()
    art._font.cache_clear()
    monkeypatch.setattr(art, "find_spec", nothing)
    with pytest.raises(InputError, match=r"miras\[data\]"):
        set_type("plate", SHEET)
    monkeypatch.undo()
    art._folder.cache_clear()
