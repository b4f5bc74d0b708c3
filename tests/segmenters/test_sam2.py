"""`sam2:REPO` gives what `Sam2Model` gives, used as its documentation says.

`Sam2Processor` maps the coordinates; its image processor needs torchvision, so pixels and masks are made by the steps
that it documents (tests/segmenters/test_pixels.py compares them with the processor where torchvision is installed).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import Sam2Model, Sam2Processor

from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.segmenter import Prompt
from miras.segmenters import clicks, sam2
from miras.segmenters.registry import segmenter_of
from miras.segmenters.source import Place
from tests.elsewhere import CUDA, elsewhere
from tests.segmenters.conftest import Make, Open, Photo, hand_prompts, mask_of, passes


@functools.cache
def library(folder: Any) -> Any:
    """Its own class."""
    return Sam2Model.from_pretrained(folder).eval()


def mapped(photo: Photo, prompt: Prompt, side: int) -> dict[str, torch.Tensor]:
    """Points and boxes as the library's own processor gives them to the model."""
    processor: Any = object.__new__(Sam2Processor)
    processor.target_size, processor.point_pad_value = side, -10
    given: dict[str, Any] = {}
    if prompt.points is not None:
        given["input_points"] = [[prompt.points[:, :2].tolist()]]
        given["input_labels"] = [[prompt.points[:, 2].astype(int).tolist()]]
    if prompt.box is not None:
        given["input_boxes"] = [[list(prompt.box)]]
    encoded = processor(original_sizes=[list(photo.shape[:2])], return_tensors="pt", **given)
    return {name: value for name, value in encoded.items() if name != "original_sizes"}


def documented(model: Any, photo: Photo, prompt: Prompt, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (M, H, W) and IoU (M,) of the library's model of the pixels (1, 3, S, S)."""
    several = prompt.box is None and prompt.mask is None and prompt.points is not None and len(prompt.points) == 1
    mask = None if prompt.mask is None else torch.from_numpy(prompt.mask)[None, None].float() * 20 - 10
    with torch.no_grad():
        out = model(pixels, **mapped(photo, prompt, pixels.shape[-1]), input_masks=mask, multimask_output=several)
    whole = F.interpolate(out.pred_masks[0], photo.shape[:2], mode="bilinear", align_corners=False)
    return (whole > 0)[0], out.iou_scores[0, 0]


def pixels_of(photo: Photo, side: int, mean: list[float], std: list[float]) -> torch.Tensor:
    """The square by the documented steps; torch's antialiased filter, which torchvision's resize calls."""
    raw = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous()
    small = F.interpolate(raw, (side, side), mode="bilinear", antialias=True).float()
    scale = 1.0 / (1 / 255)  # the processor fuses rescaling and normalising
    return (small - torch.tensor(mean)[:, None, None] * scale) / (torch.tensor(std)[:, None, None] * scale)


@pytest.mark.parametrize("name", hand_prompts(np.zeros((9, 9, 3), np.uint8)))
@pytest.mark.parametrize("video", [False, True], ids=["sam2", "sam2_video"])
def test_it_gives_what_the_library_gives(checkpoint: Make, view: Photo, name: str, video: bool, opened: Open) -> None:
    folder, prompt = checkpoint("sam2", video=video), hand_prompts(view)[name]
    segmenter = opened(f"sam2:{folder}")
    got = segmenter.segment(segmenter.encode(view), prompt)
    model = library(folder)
    pixels = pixels_of(view, 64, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with_box = prompt if name != "a mask" else Prompt(mask=prompt.mask, box=box_of(mask_of(view)))
    masks, scores = documented(model, view, with_box, pixels)
    assert got.masks.shape == (3 if name == "a point" else 1, *view.shape[:2])
    assert (got.masks == masks.numpy()).all()
    np.testing.assert_allclose(got.scores, scores.numpy(), atol=1e-5)
    assert 0 < got.masks.mean() < 1


def test_the_pixels_are_those_of_pillow_within_one_grey_level(view: Photo, checkpoint: Make, opened: Open) -> None:
    """An independent filter: Pillow's, which torch's is made after."""
    segmenter = opened(f"sam2:{checkpoint('sam2')}")
    resized = np.asarray(Image.fromarray(view).resize((64, 64), Image.Resampling.BILINEAR), np.float32)
    ours = segmenter._square(view)[0].permute(1, 2, 0).numpy() * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    assert np.abs(ours * 255 - resized).max() <= 1.01


def test_the_photo_is_encoded_once_and_encodings_do_not_mix(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam2:{checkpoint('sam2')}")
    other = np.ascontiguousarray(photo[:, ::-1])
    fresh = {name: segmenter.segment(segmenter.encode(photo), p) for name, p in hand_prompts(photo).items()}
    with passes(segmenter._model.vision_encoder) as towers, passes(segmenter._model.mask_decoder) as decoders:
        first, second = segmenter.encode(photo), segmenter.encode(other)
        for name, prompt in hand_prompts(photo).items():
            segmenter.segment(second, prompt)
            again = segmenter.segment(first, prompt)
            assert (again.masks == fresh[name].masks).all() and (again.scores == fresh[name].scores).all()
    assert (towers[0], decoders[0]) == (2, 2 * len(fresh))


def test_an_empty_mask_beside_a_click_says_nothing(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam2:{checkpoint('sam2')}")
    encoding, points = segmenter.encode(photo), np.array([[100, 50, 1]], np.float32)
    nothing = Prompt(points=points, mask=np.zeros(photo.shape[:2], np.bool_))
    assert (
        segmenter.segment(encoding, nothing).masks == segmenter.segment(encoding, Prompt(points=points)).masks
    ).all()


def test_a_number_format_is_for_the_tower_alone(checkpoint: Make, photo: Photo) -> None:
    spec = f"sam2:{checkpoint('sam2')}"
    exact, half = (segmenter_of(spec, dtype=dtype) for dtype in ("float32", "bfloat16"))
    ours, theirs = exact.encode(photo), half.encode(photo)
    for one, other in zip(ours.embeddings, theirs.embeddings, strict=True):
        assert other.dtype == torch.float32
        assert 0 < float((one - other).abs().max()) < 0.1 * float(one.abs().max())
    assert half.facts()["dtype"] == "torch.bfloat16"


def test_nothing_stays_on_the_cpu(checkpoint: Make, photo: Photo, opened: Open) -> None:
    """On a device that is not there: a tensor left behind would raise as it does on a GPU."""
    folder = checkpoint("sam2")
    here = opened(f"sam2:{folder}")
    with elsewhere():
        there = sam2.opened(str(folder), Place(CUDA), "sam2:there")
        found = {name: there.segment(there.encode(photo), p) for name, p in hand_prompts(photo).items()}
    encoding = here.encode(photo)
    for name, prompt in hand_prompts(photo).items():
        assert (found[name].masks == here.segment(encoding, prompt).masks).all()


def test_words_are_for_others(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam2:{checkpoint('sam2')}")
    with pytest.raises(InputError, match=r"got phrase; for words take sam3:REPO, gdino:REPO\+sam2:REPO, clipseg:REPO"):
        segmenter.segment(segmenter.encode(photo), Prompt(phrase="cup", box=(1, 1, 9, 9)))
    assert segmenter.prompts == clicks.CLICKS
