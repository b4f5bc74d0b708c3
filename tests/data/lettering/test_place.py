from __future__ import annotations

import numpy as np
import pytest

from miras.data.lettering.place import Placement

SQUARE = ((10.0, 20.0), (50.0, 24.0), (46.0, 60.0), (12.0, 52.0))


def test_corners_of_the_place_are_corners_of_the_artwork() -> None:
    for bend in (0.0, 0.3):
        place = Placement(SQUARE, bend, 0.0, 1.0)
        x, y = np.array(SQUARE).T
        across, down = place.flat(x, y)
        assert across == pytest.approx([0, 1, 1, 0], abs=1e-9) and down == pytest.approx([0, 0, 1, 1], abs=1e-9)


def test_sag_moves_the_middle_and_not_the_ends() -> None:
    place = Placement(((0.0, 0.0), (100.0, 0.0), (100.0, 40.0), (0.0, 40.0)), 0.0, 0.25, 1.0)
    _, down = place.flat(np.array([0.0, 50.0, 100.0]), np.array([20.0, 30.0, 20.0]))
    assert down == pytest.approx([0.5, 0.5, 0.5])
