"""`sam:REPO` gives what `SamModel` and `SamProcessor` give, used as their documentation says."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SamImageProcessorPil, SamModel, SamProcessor

from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.segmenter import Prompt
from tests.segmenters.conftest import Make, Open, Photo, hand_prompts, mask_of, passes

CLEAR = [name for name in hand_prompts(np.zeros((9, 9, 3), np.uint8)) if "mask" not in name]


@functools.cache
def library(folder: Any) -> tuple[Any, Any]:
    """Its own classes."""
    return SamModel.from_pretrained(folder).eval(), SamProcessor(SamImageProcessorPil.from_pretrained(folder))


def documented(folder: Any, photo: Photo, prompt: Prompt) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (M, H, W) and IoU (M,) of the library's own classes."""
    model, processor = library(folder)
    given: dict[str, Any] = {}
    several = prompt.box is None and prompt.points is not None and len(prompt.points) == 1
    if prompt.points is not None:
        given["input_points"] = [prompt.points[:, :2].tolist()]
        given["input_labels"] = [prompt.points[:, 2].astype(int).tolist()]
    if prompt.box is not None:
        given["input_boxes"] = [[list(prompt.box)]]
    inputs = processor(images=photo, return_tensors="pt", **given)
    with torch.no_grad():
        out = model(**inputs, multimask_output=several)
    masks = processor.post_process_masks(out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"])
    return masks[0][0], out.iou_scores[0, 0]


@pytest.mark.parametrize("name", CLEAR)
def test_it_gives_what_the_library_gives(checkpoint: Make, view: Photo, name: str, opened: Open) -> None:
    folder, prompt = checkpoint("sam"), hand_prompts(view)[name]
    segmenter = opened(f"sam:{folder}")
    got = segmenter.segment(segmenter.encode(view), prompt)
    masks, scores = documented(folder, view, prompt)
    assert got.masks.shape == (3 if name == "a point" else 1, *view.shape[:2])
    assert (got.masks == masks.numpy()).all()
    np.testing.assert_allclose(got.scores, scores.clamp(0, 1).numpy(), atol=1e-5)
    assert ((got.scores > 0) & (got.scores < 1)).any()
    assert 0 < got.masks.mean() < 1, "the tiny model draws something, so equality says something"


def test_a_mask_is_a_low_resolution_one_in_the_padded_frame(checkpoint: Make, photo: Photo, opened: Open) -> None:
    """Where SAM's padding is, the prompt is outside; where the photo is, it is the mask."""
    segmenter = opened(f"sam:{checkpoint('sam')}")
    view = np.ascontiguousarray(photo[:200])  # 200 x 600: two thirds of the square are padding
    encoding = segmenter.encode(view)
    low = segmenter._low(mask_of(view), encoding.frame)[0, 0]
    assert low.shape == (32, 32)
    assert (low[11:] == -10).all() and (low[:11] > 0).any()
    share = float((low[:11] > 0).float().mean())
    assert share == pytest.approx(float(mask_of(view).mean()), abs=0.03)


def test_a_mask_alone_comes_with_its_box(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam:{checkpoint('sam')}")
    encoding, mask = segmenter.encode(photo), mask_of(photo)
    alone, both = (segmenter.segment(encoding, Prompt(mask=mask, box=box)) for box in (None, box_of(mask)))
    assert (alone.masks == both.masks).all() and (alone.scores == both.scores).all()
    without = segmenter.segment(encoding, Prompt(box=box_of(mask)))
    assert (without.masks != both.masks).any() and (without.scores != both.scores).any(), "the mask itself matters"


def test_the_photo_is_encoded_once(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam:{checkpoint('sam')}")
    with passes(segmenter._model.vision_encoder) as towers, passes(segmenter._model.mask_decoder) as decoders:
        encoding = segmenter.encode(photo)
        for prompt in hand_prompts(photo).values():
            segmenter.segment(encoding, prompt)
    assert (towers[0], decoders[0]) == (1, len(hand_prompts(photo)))


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(phrase="the cup"), "got phrase; for words take sam3:REPO, gdino:REPO+sam2:REPO"),
        (Prompt(points=np.array([[601, 3, 1]], np.float32)), "points inside the photo, 600 x 400 pixels, got (601, 3)"),
        (Prompt(box=(10, 10, 700, 40)), "a box inside the photo"),
        (Prompt(mask=np.zeros((400, 600), np.bool_)), "a mask with pixels"),
        (Prompt(mask=np.ones((600, 400), np.bool_)), "a mask of shape (400, 600)"),
    ],
)
def test_what_it_cannot_take(checkpoint: Make, photo: Photo, prompt: Prompt, says: str, opened: Open) -> None:
    segmenter = opened(f"sam:{checkpoint('sam')}")
    with pytest.raises(InputError) as caught:
        segmenter.segment(segmenter.encode(photo), prompt)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_photo(checkpoint: Make, photo: Photo, opened: Open) -> None:
    with pytest.raises(InputError, match="a photo"):
        opened(f"sam:{checkpoint('sam')}").encode(photo)
