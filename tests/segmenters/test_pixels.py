"""The square of pixels: the processors' own where torchvision is there, and what a configuration may say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.core.errors import WeightsError
from miras.segmenters import sam2, sam3
from miras.segmenters.pixels import Square, square_of
from tests.segmenters.conftest import Photo

WRITTEN: dict[str, Any] = {"size": {"height": 64, "width": 64}, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}


def written(folder: Path, name: str = "preprocessor_config.json", **changes: Any) -> Path:
    config = {"image_processor_type": "Sam2ImageProcessorFast", **WRITTEN, **changes}
    whole = config if name.startswith("pre") else {"processor_class": "Sam2Processor", "image_processor": config}
    (folder / name).write_text(json.dumps(whole))
    return folder


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_a_checkpoint_says_its_own_square(tmp_path: Path, name: str) -> None:
    assert square_of(written(tmp_path, name), "x", sam2.USUAL) == Square((64, 64), (0.1, 0.2, 0.3), (1, 2, 3))


def test_what_is_not_said_is_the_familys(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert square_of(tmp_path, "x", sam3.USUAL) == sam3.USUAL


@pytest.mark.parametrize(
    "changes", [{"size": {"longest_edge": 64}}, {"resample": 3}, {"do_normalize": False}, {"rescale_factor": 1.0}]
)
def test_other_steps_are_not_taken_silently(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"a bilinear resize to a square in the preprocessor_config.json of REPO"):
        square_of(written(tmp_path, **changes), "REPO", sam2.USUAL)


def test_a_flat_colour_stays_flat_and_is_normalised(tmp_path: Path) -> None:
    square = square_of(written(tmp_path), "x", sam2.USUAL)
    pixels = square(np.full((31, 200, 3), (255, 51, 0), np.uint8))
    assert pixels.shape == (1, 3, 64, 64)
    expected = [(1.0 - 0.1) / 1, (0.2 - 0.2) / 2, (0.0 - 0.3) / 3]
    np.testing.assert_allclose(pixels.amin((0, 2, 3)).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(pixels.amax((0, 2, 3)).numpy(), expected, atol=1e-6)


def test_left_stays_left_and_the_top_the_top(tmp_path: Path) -> None:
    photo = np.zeros((60, 200, 3), np.uint8)
    photo[:20, :50, 0] = 255
    red = square_of(written(tmp_path, image_mean=[0, 0, 0], image_std=[1, 1, 1]), "x", sam2.USUAL)(photo)[0, 0]
    assert red[:20, :15].min() > 0.99 and red[23:].max() == 0 and red[:, 18:].max() == 0


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="the processors need torchvision")
@pytest.mark.parametrize(("family", "usual"), [("Sam2", sam2.USUAL), ("Sam3", sam3.USUAL)])
def test_it_is_the_processors_own_to_the_bit(view: Photo, family: str, usual: Square) -> None:
    import transformers

    processor = getattr(transformers, f"{family}ImageProcessor")()
    official = processor(view, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    assert float((usual(view) - official).abs().max()) == 0
