from __future__ import annotations

import numpy as np
import pytest

from miras.chat.composed.masks import Drawing
from miras.chat.composed.plan import Want
from miras.core.segmenter import Candidates, Prompt
from miras.core.text_regions import TextRegion

LEFT = TextRegion("OPEN", ((5, 5), (25, 5), (25, 15), (5, 15)), 0.9)
RIGHT = TextRegion("EXIT", ((60, 5), (80, 5), (80, 15), (60, 15)), 0.9)
DOOR = np.zeros((40, 100), np.bool_)
DOOR[20:35, 60:90] = True


class Door:
    """A segmenter that always draws the door."""

    name = "door"
    prompts = frozenset({"phrase", "box", "points"})

    def encode(self, photo: np.ndarray) -> None:
        return None

    def segment(self, encoding: None, prompt: Prompt) -> Candidates:
        return Candidates(DOOR[None], np.array([0.8], np.float32), None)


@pytest.mark.parametrize(
    ("want", "found"),
    [
        (Want("text on the door"), [LEFT, RIGHT]),
        (Want("text on the door", box=(55.0, 0.0, 100.0, 40.0)), [RIGHT]),
        (Want("text on the door", points=np.array([[10, 10, 1]], np.float32)), [LEFT]),
        (Want("text on the door", points=np.array([[70, 30, 1]], np.float32)), []),  # none there: the segmenter draws
        (Want("text on the sign", mask=RIGHT.mask((40, 100))), [RIGHT]),
        (Want("text 'OPEN'", box=(55.0, 0.0, 100.0, 40.0)), []),  # what is read elsewhere is not it
        (Want("text 'EXIT'", box=(55.0, 0.0, 100.0, 40.0)), [RIGHT]),
        (Want("text 'EXIT'"), [RIGHT]),
    ],
)
def test_text_that_was_read_lies_where_the_talker_looks(want: Want, found: list[TextRegion]) -> None:
    drawing = Drawing(Door(), np.zeros((40, 100, 3), np.uint8))
    (made,) = drawing.wanted(want, (LEFT, RIGHT))
    right = np.logical_or.reduce([line.mask((40, 100)) for line in found]) if found else DOOR
    assert np.array_equal(made.mask, right)
