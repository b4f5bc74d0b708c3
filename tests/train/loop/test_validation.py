"""Pictures of what a model draws while it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.model import presets
from miras.train.loop import validation
from tests.elsewhere import elsewhere


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


def test_a_model_that_trains_on_a_gpu_is_measured_there(tmp_path: Path) -> None:
    mask = np.zeros((60, 80), bool)
    mask[:30, :40] = True
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(tmp_path / "p.png")
    photo = AnnotatedPhoto("p", tmp_path / "p.png", (60, 80), (Annotation("cup", "cup", encode_rle(mask)),), "test")
    wanted = validation.phrases(presets.build("miras-tiny"), [photo])
    with elsewhere() as there:
        model = presets.build("miras-tiny").to(torch.device("cuda"))  # type: ignore[arg-type]
        assert validation.phrases(model, [photo]) == wanted
        validation.sheet(model, [photo], tmp_path / "sheet.png")
    assert there.met > 100
