"""Pictures of what a model draws while it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.model import presets
from miras.train import validation


@pytest.mark.parametrize(
    ("size", "shown"),
    [((60, 80), (420, 315)), ((16, 5000), (420, 1)), ((5000, 16), (5, 1680)), ((90, 10), (187, 1680))],
)
def test_photos_of_every_shape_stand_side_by_side(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    mask = np.zeros(size, bool)
    mask[: size[0] // 2, : size[1] // 2] = True
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / "p.png")
    photo = AnnotatedPhoto("p", tmp_path / "p.png", size, (Annotation("cup", "cup", encode_rle(mask)),), "test")
    validation.sheet(presets.build("miras-tiny"), [photo], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * validation.WIDTH, shown[1])
