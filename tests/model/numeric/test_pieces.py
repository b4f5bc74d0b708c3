"""What belongs to no large piece goes to the nearest, as SciPy's distance transform chooses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from miras.model.numeric.pieces import nearest


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_number_ties_too(seed: int) -> None:
    draw = np.random.default_rng(seed)
    numbers = ndimage.label(draw.random((40, 50)) > 0.7)[0].astype(np.int32)
    numbers[draw.random(numbers.shape) < 0.3] = 0
    mask = (numbers > 0) | (draw.random(numbers.shape) < 0.3)
    at = ndimage.distance_transform_edt(numbers == 0, return_distances=False, return_indices=True)
    assert np.array_equal(nearest(numbers, mask), np.where(mask, numbers[tuple(at)], 0))
