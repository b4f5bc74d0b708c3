"""What the light does to one line, and what it leaves; whole photos: tests/annotate/written/test_printing.py."""

from __future__ import annotations

import numpy as np
import pytest

from miras.data.lettering.art import set_type
from miras.data.lettering.light import BARE, PRINTED, lay, quantile, spread
from miras.data.lettering.place import Placement
from miras.data.lettering.sheet import Row, Sheet


def test_quantile_by_hand() -> None:
    from PIL import Image

    page = Image.fromarray(np.array([[0, 10, 20, 30]], np.uint8))
    assert [quantile(page, share) for share in (0.25, 0.5, 1.0)] == [0, 10, 30]


@pytest.mark.parametrize(("finish", "legible"), [(PRINTED, True), (BARE, False)])
def test_white_in_a_dull_photo_is_white_only_as_printed(finish, legible) -> None:
    """In the scene's light nothing is whiter than the photo's own white."""
    photo = np.full((80, 200, 3), 150, np.uint8)
    art = set_type("text", Sheet((Row("OPEN", "text"),), (255, 255, 255)))
    quad = ((20.0, 20.0), (180.0, 20.0), (180.0, 60.0), (20.0, 60.0))
    place = Placement(quad, 0.0, 0.0, 160 / art.picture.shape[1])
    page, (mask,) = lay(photo, art, place, finish, [art.lines[0].shape], 40.0, np.random.default_rng(0))
    assert (spread(page, mask) > 60) is legible
    assert (page[~mask] == 150).mean() > 0.9 and mask[40, 100]
