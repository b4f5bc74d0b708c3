"""Tiny checkpoints as the hub has them, photos of three shapes, prompts of a hand, a count of the towers' passes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from miras.core.segmenter import Prompt
from miras.segmenters.registry import segmenter_of
from tests import checkpoints

Photo = NDArray[np.uint8]
Make = Callable[..., Path]
Open = Callable[[str], Any]
SHAPES = {"wide and large": (400, 600), "tall": (211, 97), "smaller than the model's square": (40, 57)}
"""(H, W)."""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The folder of a tiny checkpoint by its name in `tests.checkpoints`, made once: leave it as it is."""
    made: dict[str, Path] = {}

    def make(family: str, **options: Any) -> Path:
        key = f"{family}-{'-'.join(map(str, options.values()))}"
        if key not in made:
            made[key] = getattr(checkpoints, family)(tmp_path_factory.mktemp(key), **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def opened() -> Open:
    """The segmenter of a spec, loaded once."""
    return functools.cache(segmenter_of)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def view(request: pytest.FixtureRequest, photo: Photo) -> Photo:
    """A part of the real photograph with one of three shapes."""
    height, width = request.param
    return np.ascontiguousarray(photo[:height, -width:])


def mask_of(photo: Photo) -> NDArray[np.bool_]:
    """An ellipse left of the middle."""
    height, width = photo.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    return ((rows / height - 0.5) ** 2 + (columns / width - 0.4) ** 2) < 0.05


def hand_prompts(photo: Photo) -> dict[str, Prompt]:
    """What a hand can say, by name; the points lie far from the diagonal, so that x and y cannot be taken for each
    other."""
    height, width = photo.shape[:2]
    points = np.array([[0.9 * width, 0.15 * height, 1], [0.1 * width, 0.8 * height, 0]], np.float32)
    box = (0.1 * width, 0.3 * height, 0.95 * width, 0.6 * height)
    return {
        "a point": Prompt(points=points[:1]), "points": Prompt(points=points), "a box": Prompt(box=box),
        "points and a box": Prompt(points=points, box=box), "a mask": Prompt(mask=mask_of(photo)),
        "a mask and a point": Prompt(mask=mask_of(photo), points=points[1:]),
    }  # fmt: skip


@contextmanager
def passes(module: nn.Module) -> Iterator[list[int]]:
    """How often a module ran in the block: the only item of the list."""
    count = [0]

    def counted(*_: Any) -> None:
        count[0] += 1

    handle = module.register_forward_hook(counted)
    try:
        yield count
    finally:
        handle.remove()
